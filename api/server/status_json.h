// Errors as Kubernetes' Status objects: what kubectl prints follows from reason and details.
#pragma once

#include <string>
#include <string_view>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/object/kind.h"
#include "api/server/http.h"

namespace isla::server {

/// What a request was about, for the text and the details.
struct Subject {
  const api::Kind* kind = nullptr;  // null: a path, not a resource
  std::string name;
};

/// {kind: Status, status: Failure, ...}.
json::Value StatusObject(int code, std::string_view reason, const std::string& message);
Response StatusResponse(int code, const std::string& message);

/// NOT_FOUND 404, ALREADY_EXISTS and ABORTED 409, INVALID_ARGUMENT 422 with causes or 400, FAILED_PRECONDITION
/// and PERMISSION_DENIED 403, UNAUTHENTICATED 401, OUT_OF_RANGE 410, RESOURCE_EXHAUSTED 429, UNAVAILABLE 503,
/// DEADLINE_EXCEEDED 504, UNIMPLEMENTED 405, anything else 500. 429 and 503 say when to try again, as does a 504
/// whose cause is a resourceVersion that is too large.
Response ErrorResponse(const Status& status, const Subject& subject);
json::Value ErrorObject(const Status& status, const Subject& subject);

/// Kubernetes' word for an HTTP code: "NotFound".
std::string_view ReasonOf(int code);

}  // namespace isla::server
