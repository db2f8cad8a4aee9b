// JSON as Go's encoder writes it: member names sorted, '<', '>' and '&' escaped, numbers
// normalised. Used for the annotation kubectl.kubernetes.io/last-applied-configuration, which must
// come out byte for byte as kubectl would write it: else the two would see a change in each other's
// work. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "api/base/json.h"

namespace isla::cli {

/// Source: encoding/json of Go (HTML escaping on), with numbers read as sigs.k8s.io/json does:
/// int64 if they are written as such, else float64.
std::string GoJson(const json::Value& value);

/// A number's source text as Go prints it: "1.0" -> "1", "1e3" -> "1000", "1e21" -> "1e+21".
std::string GoNumber(const std::string& text);

}  // namespace isla::cli
