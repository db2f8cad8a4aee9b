#include "api/server/status_json.h"

#include "api/object/field_error.h"

namespace isla::server {

namespace {

constexpr int kRetrySeconds = 1;

int HttpCode(const Status& status) {
  switch (status.code()) {
    case Code::kNotFound: return 404;
    case Code::kAlreadyExists:
    case Code::kAborted: return 409;
    case Code::kInvalidArgument: return api::FieldErrorsOf(status).empty() ? 400 : 422;
    case Code::kFailedPrecondition:
    case Code::kPermissionDenied: return 403;
    case Code::kUnauthenticated: return 401;
    case Code::kOutOfRange: return 410;
    case Code::kResourceExhausted: return 429;
    case Code::kUnavailable:
    case Code::kCancelled: return 503;
    case Code::kDeadlineExceeded: return 504;
    case Code::kUnimplemented: return 405;
    default: return 500;
  }
}

std::string Qualified(const api::Kind& kind) { return kind.resource + "." + std::string(api::kGroup); }

std::string Text(const Status& status, const Subject& subject) {
  const std::string message = Message(status);
  if (subject.kind == nullptr) return message;
  const std::string what = fmt::format("{} \"{}\"", Qualified(*subject.kind), subject.name);
  switch (status.code()) {
    case Code::kNotFound: return what + " not found";
    case Code::kAlreadyExists: return what + " already exists";
    case Code::kAborted: return fmt::format("Operation cannot be fulfilled on {}: {}", what, message);
    case Code::kFailedPrecondition:
    case Code::kPermissionDenied: return fmt::format("{} is forbidden: {}", what, message);
    default: return message;
  }
}

json::Value Details(const Status& status, const Subject& subject, int code) {
  json::Value details = json::Value::MakeObject();
  if (subject.kind != nullptr) {
    if (!subject.name.empty()) details.Set("name", subject.name);
    details.Set("group", api::kGroup);
    // Kubernetes names the kind where the object is invalid, else the resource.
    details.Set("kind", code == 422 ? subject.kind->kind : subject.kind->resource);
  }
  const api::FieldErrors errors = api::FieldErrorsOf(status);
  if (!errors.empty()) {
    json::Value causes = json::Value::MakeArray();
    for (const api::FieldError& error : errors) {
      json::Value cause = json::Value::MakeObject({{"reason", error.reason}, {"message", error.detail}});
      if (code == 422 || !error.field.empty()) cause.Set("field", error.field);
      causes.Append(std::move(cause));
    }
    details.Set("causes", std::move(causes));
  }
  // Not as a header with 504: client-go would send the same request again, which can't succeed; by the cause it knows
  // what to do instead.
  const bool too_large = !errors.empty() && errors.front().reason == api::kTooLargeRevision;
  if (code == 429 || code == 503 || too_large) details.Set("retryAfterSeconds", kRetrySeconds);
  return details;
}

}  // namespace

std::string_view ReasonOf(int code) {
  switch (code) {
    case 400: return "BadRequest";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "NotFound";
    case 405: return "MethodNotAllowed";
    case 406: return "NotAcceptable";
    case 408: return "Timeout";
    case 409: return "Conflict";
    case 410: return "Expired";
    case 413: return "RequestEntityTooLarge";
    case 415: return "UnsupportedMediaType";
    case 422: return "Invalid";
    case 429: return "TooManyRequests";
    case 500: return "InternalError";
    case 503: return "ServiceUnavailable";
    case 504: return "Timeout";
    default: return "Unknown";
  }
}

json::Value StatusObject(int code, std::string_view reason, const std::string& message) {
  return json::Value::MakeObject({{"kind", "Status"},
                                  {"apiVersion", "v1"},
                                  {"metadata", json::Value::MakeObject()},
                                  {"status", "Failure"},
                                  {"message", message},
                                  {"reason", reason},
                                  {"code", code}});
}

Response StatusResponse(int code, const std::string& message) {
  Response response;
  response.status = code;
  json::Value body = StatusObject(code, ReasonOf(code), message);
  if (code == 429 || code == 503) {
    body.Set("details", json::Value::MakeObject({{"retryAfterSeconds", kRetrySeconds}}));
    response.headers.emplace_back("Retry-After", std::to_string(kRetrySeconds));
  }
  if (code == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"isla\"");
  response.body = json::Serialize(body);
  return response;
}

json::Value ErrorObject(const Status& status, const Subject& subject) {
  const int code = HttpCode(status);
  const std::string_view reason = status.code() == Code::kAlreadyExists ? "AlreadyExists" : ReasonOf(code);
  json::Value body = StatusObject(code, reason, Text(status, subject));
  json::Value details = Details(status, subject, code);
  if (!details.members().empty()) body.Set("details", std::move(details));
  return body;
}

Response ErrorResponse(const Status& status, const Subject& subject) {
  Response response;
  response.status = HttpCode(status);
  response.body = json::Serialize(ErrorObject(status, subject));
  if (response.status == 429 || response.status == 503) {
    response.headers.emplace_back("Retry-After", std::to_string(kRetrySeconds));
  }
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"isla\"");
  return response;
}

}  // namespace isla::server
