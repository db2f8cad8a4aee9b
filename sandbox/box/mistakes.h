// What is wrong with a policy, for people and for programs. A line each, "file:line:column: error: field: what", as compilers
// print them, so that editors find the place.
#pragma once

#include <string>
#include <string_view>

#include "api/base/field_error.h"
#include "api/base/status.h"

namespace isla::sandbox {

/// Also of a text that is no JSON, which has a place but no field. Empty if the status says neither.
FieldErrors MistakesOf(const Status& status);

/// With an end. `path` as the user wrote it; "-" is shown as <stdin>.
std::string MistakeLine(const std::string& path, std::string_view kind, const FieldError& mistake);

/// All of them as errors; or the status' own text behind the path, if it has no places.
std::string MistakeLines(const std::string& path, const Status& status);

}  // namespace isla::sandbox
