// Errors of a manifest, under the names that api/ and its users have for them: api/base/field_error.h.
#pragma once

#include "api/base/field_error.h"

namespace isla::api {

using isla::Duplicate;
using isla::FieldError;
using isla::FieldErrors;
using isla::FieldErrorsOf;
using isla::Forbidden;
using isla::Invalid;
using isla::InvalidObject;
using isla::kMostFieldErrors;
using isla::kTooLargeRevision;
using isla::NotSupported;
using isla::Required;
using isla::Suggestion;
using isla::TooLong;
using isla::TypeInvalid;
using isla::Unknown;
using isla::WithCauses;

}  // namespace isla::api
