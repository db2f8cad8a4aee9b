// A value within an object, with its path: api/base/field.h. Internal to api/object.
#pragma once

#include "api/base/field.h"
#include "api/object/field_error.h"

namespace isla::api {

using isla::Field;
using isla::IsFull;

}  // namespace isla::api
