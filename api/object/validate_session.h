// The checks of a session's spec, and what they share with those of metadata. Internal to api/object.
#pragma once

#include "api/object/field.h"

namespace isla::api {

void CheckSession(const Field& spec, FieldErrors& errors);
/// Keys and values of a map of labels.
void CheckLabels(const Field& labels, FieldErrors& errors);

}  // namespace isla::api
