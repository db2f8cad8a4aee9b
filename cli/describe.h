// An object as a text for people. Pure functions.
#pragma once

#include <string>

#include "api/base/clock.h"
#include "api/base/json.h"

namespace isla::cli {

/// Sections of a Session; any other kind: metadata, then spec and status as indented names and
/// values. `now` is for ages.
std::string DescribeObject(const json::Value& object, WallTime now);

}  // namespace isla::cli
