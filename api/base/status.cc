#include "api/base/status.h"

#include <absl/strings/cord.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace isla {

Status Error(Code code, const std::string& message) {
  ISLA_CHECK(code != Code::kOk);
  return Status(code, message);
}

Status Annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  Status out(status.code(), fmt::format("{}: {}", context, Message(status)));
  // What travels inside (the field errors of a manifest) travels on.
  status.ForEachPayload([&out](absl::string_view type, const absl::Cord& bytes) { out.SetPayload(type, bytes); });
  return out;
}

Status FromErrno(int error, std::string_view what) {
  Code code = Code::kInternal;
  switch (error) {
    case ENOENT: code = Code::kNotFound; break;
    case EEXIST: code = Code::kAlreadyExists; break;
    case EACCES:
    case EPERM:
    case EROFS: code = Code::kPermissionDenied; break;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM: code = Code::kResourceExhausted; break;
    case EAGAIN:
    case ECONNREFUSED:
    case EINTR: code = Code::kUnavailable; break;
    case ETIMEDOUT: code = Code::kDeadlineExceeded; break;
    default: break;
  }
  char buffer[128];
  const char* text = strerror_r(error, buffer, sizeof buffer);
  return Errorf(code, "{}: {} (errno {})", what, text, error);
}

std::string Message(const Status& status) {
  return std::string(status.message().data(), status.message().size());
}

std::string ToString(const Status& status) {
  if (status.ok()) return "OK";
  return fmt::format("{}: {}", CodeName(status.code()), Message(status));
}

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "OK";
    case Code::kCancelled: return "CANCELLED";
    case Code::kUnknown: return "UNKNOWN";
    case Code::kInvalidArgument: return "INVALID_ARGUMENT";
    case Code::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case Code::kNotFound: return "NOT_FOUND";
    case Code::kAlreadyExists: return "ALREADY_EXISTS";
    case Code::kPermissionDenied: return "PERMISSION_DENIED";
    case Code::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case Code::kFailedPrecondition: return "FAILED_PRECONDITION";
    case Code::kAborted: return "ABORTED";
    case Code::kOutOfRange: return "OUT_OF_RANGE";
    case Code::kUnimplemented: return "UNIMPLEMENTED";
    case Code::kInternal: return "INTERNAL";
    case Code::kUnavailable: return "UNAVAILABLE";
    case Code::kDataLoss: return "DATA_LOSS";
    case Code::kUnauthenticated: return "UNAUTHENTICATED";
    default: return "UNKNOWN";
  }
}

void internal::CheckFailed(const char* file, int line, const char* what, const std::string& detail) {
  std::fprintf(stderr, "%s:%d: check failed: %s %s\n", file, line, what, detail.c_str());
  std::abort();
}

}  // namespace isla
