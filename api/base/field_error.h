// Errors of a manifest: which field, where in the text, what is wrong, what was expected. All of them are
// collected, not only the first. They travel inside a Status (as a payload), so functions return Status as
// everywhere, and the HTTP server turns them into Status.details.causes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"

namespace isla {

struct FieldError {
  /// Kubernetes' cause reasons: FieldValueInvalid, FieldValueRequired, FieldValueNotSupported,
  /// FieldValueForbidden, FieldValueDuplicate, FieldValueTypeInvalid, FieldValueTooLong.
  std::string reason;
  std::string field;   // "spec.resources.cpu", "spec.env[2].name"
  std::string detail;  // "Invalid value: \"-1\": must be greater than 0", "Unknown field: did you mean 'image'?"
  json::Position position;  // line 0 = unknown
};

using FieldErrors = std::vector<FieldError>;

/// A manifest may hold thousands of mistakes; a person reads the first ones. The checks stop after as many.
inline constexpr size_t kMostFieldErrors = 100;

FieldError Invalid(std::string field, const json::Value& value, std::string_view why);
FieldError Required(std::string field, std::string_view why = {});
FieldError NotSupported(std::string field, const json::Value& value, const std::vector<std::string>& supported);
FieldError Duplicate(std::string field, const json::Value& value);
FieldError TooLong(std::string field, const json::Value& value, std::string_view limit);
FieldError Forbidden(std::string field, const json::Value& value, std::string_view why);
FieldError TypeInvalid(std::string field, const json::Value& value, std::string_view expected);
/// With a suggestion if one of `known` is near.
FieldError Unknown(std::string field, json::Position position, std::string_view name,
                   const std::vector<std::string>& known);

/// INVALID_ARGUMENT carrying `errors` (not empty; the first kMostFieldErrors), with a text of one line an
/// error: "Session \"x\" is invalid: spec.image (line 3:5): Invalid value: ...".
Status InvalidObject(std::string_view kind, std::string_view name, const FieldErrors& errors);
/// `status` with these causes: for errors that aren't a manifest's, but of which clients know the cause's reason.
Status WithCauses(Status status, const FieldErrors& causes);
/// The reason of the cause of a resourceVersion above the store's newest; the name is Kubernetes'.
inline constexpr std::string_view kTooLargeRevision = "ResourceVersionTooLarge";
/// The errors that a status carries; empty if it carries none.
FieldErrors FieldErrorsOf(const Status& status);

/// The name in `known` that `word` most likely meant, or "".
std::string Suggestion(std::string_view word, const std::vector<std::string>& known);

}  // namespace isla
