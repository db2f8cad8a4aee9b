// What the server said when it said no: a Kubernetes Status, carried inside our Status. Pure
// functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"
#include "api/client/http.h"

namespace isla::client {

struct ApiError {
  struct Cause {
    std::string reason;
    std::string message;
    std::string field;
  };
  int code = 0;
  std::string reason;  // NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Unauthorized, ...
  std::string message;
  bool has_details = false;
  std::string kind;
  std::string name;
  std::vector<Cause> causes;
};

/// The status of a response that isn't 2xx. Its code follows the reason: NotFound NOT_FOUND,
/// AlreadyExists ALREADY_EXISTS, Conflict ABORTED, Invalid and BadRequest INVALID_ARGUMENT,
/// Unauthorized UNAUTHENTICATED, Forbidden PERMISSION_DENIED, Expired and Gone OUT_OF_RANGE,
/// TooManyRequests RESOURCE_EXHAUSTED, ServiceUnavailable UNAVAILABLE, Timeout DEADLINE_EXCEEDED. A
/// body that isn't a Status is quoted, cut short.
Status ErrorOfResponse(const HttpResponse& response);
/// The same for a Status object (an ERROR event of a watch).
Status ErrorOfStatusObject(const json::Value& object, int http_status = 0);

/// The error that a status carries; nothing if it didn't come from the server.
std::optional<ApiError> ApiErrorOf(const Status& status);

}  // namespace isla::client
