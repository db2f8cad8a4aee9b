// What is stored at a key of spec/: whether it is an object. The API and the controllers must agree on it.
#pragma once

#include <string>
#include <string_view>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/object/kind.h"

namespace isla::registry {

/// Why what is stored at this key of spec/ is no object of this kind; OK if it is one. `value`: parsed from it.
Status CheckStored(const api::Kind& kind, const std::string& key, const json::Value& value);
/// How a message begins that says so.
inline constexpr std::string_view kUnreadable = "the stored object can't be read: ";

}  // namespace isla::registry
