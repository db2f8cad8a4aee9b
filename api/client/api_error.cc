#include "api/client/api_error.h"

#include <absl/strings/cord.h>

#include <array>

namespace isla::client {
namespace {

constexpr const char* kUrl = "isla/api-error";
constexpr size_t kMaxQuoted = 300;

struct ReasonRow {
  int http;
  std::string_view reason;
  Code code;
};

// The first row of an HTTP status is the reason that an answer without one gets.
constexpr std::array<ReasonRow, 17> kReasons{{
    {400, "BadRequest", Code::kInvalidArgument},
    {401, "Unauthorized", Code::kUnauthenticated},
    {403, "Forbidden", Code::kPermissionDenied},
    {404, "NotFound", Code::kNotFound},
    {405, "MethodNotAllowed", Code::kUnimplemented},
    {406, "NotAcceptable", Code::kUnimplemented},
    {409, "Conflict", Code::kAborted},
    {409, "AlreadyExists", Code::kAlreadyExists},
    {410, "Expired", Code::kOutOfRange},
    {410, "Gone", Code::kOutOfRange},
    {413, "RequestEntityTooLarge", Code::kInvalidArgument},
    {415, "UnsupportedMediaType", Code::kUnimplemented},
    {422, "Invalid", Code::kInvalidArgument},
    {429, "TooManyRequests", Code::kResourceExhausted},
    {500, "InternalError", Code::kInternal},
    {503, "ServiceUnavailable", Code::kUnavailable},
    {504, "Timeout", Code::kDeadlineExceeded},
}};

std::string_view ReasonOfHttp(int http) {
  for (const ReasonRow& row : kReasons) {
    if (row.http == http) return row.reason;
  }
  return "";
}

Code CodeOf(std::string_view reason, int http) {
  for (const ReasonRow& row : kReasons) {
    if (row.reason == reason) return row.code;
  }
  for (const ReasonRow& row : kReasons) {
    if (row.http == http) return row.code;
  }
  return http >= 500 ? Code::kInternal : Code::kFailedPrecondition;
}

/// What a person can read of a body that we don't understand.
std::string Quoted(const std::string& body) {
  std::string out;
  for (const char c : body.substr(0, kMaxQuoted)) out.push_back(c >= ' ' && c < 127 ? c : ' ');
  while (out.ends_with(' ')) out.pop_back();
  return body.size() > kMaxQuoted ? out + "..." : out;
}

Status Make(const json::Value& object, int code, const std::string& reason,
            const std::string& message) {
  json::Value carried = object;
  carried.Set("code", int64_t{code});
  carried.Set("reason", reason);
  carried.Set("message", message);
  Status status = Error(CodeOf(reason, code), message);
  status.SetPayload(kUrl, absl::Cord(json::Serialize(carried)));
  return status;
}

std::string DefaultMessage(int http, const std::string& body) {
  switch (http) {
    case 401:
      return "Unauthorized";
    case 404:
      return "the server could not find the requested resource";
    case 405:
      return "the server does not allow this method on the requested resource";
    default:
      break;
  }
  const std::string quoted = Quoted(body);
  if (quoted.empty()) return fmt::format("the server answered with HTTP status {}", http);
  if (http >= 500) {
    return fmt::format("an error on the server (\"{}\") has prevented the request from succeeding",
                       quoted);
  }
  return fmt::format("the server answered with HTTP status {}: {}", http, quoted);
}

}  // namespace

Status ErrorOfStatusObject(const json::Value& object, int http_status) {
  const int64_t stated = object.Int64At({"code"}).value_or(http_status);
  const int code = stated > 0 && stated < 1000 ? static_cast<int>(stated) : http_status;
  std::string reason = object.StringAt({"reason"});
  if (reason.empty()) reason = ReasonOfHttp(code);
  std::string message = object.StringAt({"message"});
  if (message.empty()) message = DefaultMessage(code, "");
  return Make(object, code, reason, message);
}

Status ErrorOfResponse(const HttpResponse& response) {
  json::Limits limits;
  limits.max_bytes = size_t{4} << 20;
  const auto parsed = json::Parse(response.body, limits);
  if (parsed.ok() && parsed->is_object() && parsed->StringAt({"kind"}) == "Status") {
    return ErrorOfStatusObject(*parsed, response.status);
  }
  return Make(json::Value::MakeObject(), response.status,
              std::string(ReasonOfHttp(response.status)),
              DefaultMessage(response.status, response.body));
}

std::optional<ApiError> ApiErrorOf(const Status& status) {
  const auto payload = status.GetPayload(kUrl);
  if (!payload) return std::nullopt;
  json::Limits limits;
  limits.max_bytes = size_t{8} << 20;
  const auto object = json::Parse(std::string(*payload), limits);
  if (!object.ok()) return std::nullopt;
  ApiError error;
  error.code = static_cast<int>(object->Int64At({"code"}).value_or(0));
  error.reason = object->StringAt({"reason"});
  error.message = object->StringAt({"message"});
  const json::Value* details = object->Find("details");
  error.has_details = details != nullptr && details->is_object();
  error.kind = object->StringAt({"details", "kind"});
  error.name = object->StringAt({"details", "name"});
  const json::Value* causes = object->FindPath({"details", "causes"});
  if (causes != nullptr && causes->is_array()) {
    for (const json::Value& cause : causes->items()) {
      error.causes.push_back(
          {cause.StringAt({"reason"}), cause.StringAt({"message"}), cause.StringAt({"field"})});
    }
  }
  return error;
}

}  // namespace isla::client
