// Whether an object's members have the types of its kind, without making a message of it: for caches that hold many objects and
// keep a few members of each.
#pragma once

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/object/kind.h"

namespace isla::api {

/// What ToSession (ToProject, ToNode) would say of the object: INVALID_ARGUMENT for a wrong type, with its path.
Status CheckTypes(const Kind& kind, const json::Value& object);

}  // namespace isla::api
