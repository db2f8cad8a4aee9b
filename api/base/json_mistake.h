// What a text that is no JSON has wrong, taken out of the status that reading it ended with: for who shows the place in a form of its own.
#pragma once

#include <optional>
#include <string>

#include "api/base/json.h"
#include "api/base/status.h"

namespace isla::json {

struct Mistake {
  Position position;
  std::string what;  // without the place
};

/// Of a status of Parse() or ParseAll(). Nothing of any other, nor of a text that is too large as a whole.
std::optional<Mistake> MistakeOf(const Status& status);

}  // namespace isla::json
