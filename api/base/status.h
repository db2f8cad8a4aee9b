// Errors of isla: what every fallible function returns, and the macros that pass it on.
//
// Include this header, never absl's: Debian's absl is built with its own string_view, so other absl
// types don't mix with the standard ones. The codes are gRPC's, each with one meaning here:
//   NOT_FOUND            no such key, object, file
//   ALREADY_EXISTS       create on something live
//   ABORTED              a precondition on a revision failed: re-read, decide again
//   FAILED_PRECONDITION  the state of the system forbids it; retrying alone doesn't help
//   OUT_OF_RANGE         the revision is compacted: list again
//   UNAVAILABLE          nothing was done (or it is safe to do again): try again with backoff
//   DEADLINE_EXCEEDED    the outcome is unknown: re-read before trying again
//   RESOURCE_EXHAUSTED   a bound was hit
//   INVALID_ARGUMENT     the user's input is wrong: never retried
//   PERMISSION_DENIED, UNAUTHENTICATED, CANCELLED, UNIMPLEMENTED as in gRPC
//   DATA_LOSS            what is stored is damaged, or a part of it is missing
//   INTERNAL             our bug
// Messages: lower case, no full stop, values quoted 'x'; each layer adds context once (Annotate).
#pragma once

#include <fmt/format.h>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <utility>

namespace isla {

using Status = absl::Status;
template <typename T>
using StatusOr = absl::StatusOr<T>;
using Code = absl::StatusCode;

inline Status OkStatus() { return absl::OkStatus(); }

/// A status of `code` with this text. `code` must not be kOk.
Status Error(Code code, const std::string& message);

/// A status of `code` with a formatted text: Errorf(Code::kNotFound, "no key '{}'", key).
template <typename... Args>
Status Errorf(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// The same code with "context: " before the text. OK stays OK.
Status Annotate(const Status& status, std::string_view context);

/// A status for errno (ENOENT is NOT_FOUND, EEXIST ALREADY_EXISTS, EACCES and EPERM PERMISSION_DENIED,
/// ENOSPC, EMFILE, ENOMEM RESOURCE_EXHAUSTED, EAGAIN UNAVAILABLE; any other INTERNAL), with the text
/// "<what>: <strerror> (errno N)".
Status FromErrno(int error, std::string_view what);

/// The text of a status as a std::string (absl::Status::message() is absl's string_view).
std::string Message(const Status& status);

/// "NOT_FOUND: no key 'x'", or "OK".
std::string ToString(const Status& status);

/// The upper-case name of a code: "NOT_FOUND".
std::string_view CodeName(Code code);

namespace internal {
inline Status ToStatus(Status status) { return status; }
template <typename T>
Status ToStatus(const StatusOr<T>& status) {
  return status.status();
}
[[noreturn]] void CheckFailed(const char* file, int line, const char* what, const std::string& detail);
}  // namespace internal

}  // namespace isla

#define ISLA_CONCAT_INNER(a, b) a##b
#define ISLA_CONCAT(a, b) ISLA_CONCAT_INNER(a, b)

/// Returns from the function if the expression (Status or StatusOr) is an error.
#define RETURN_IF_ERROR(expression)                                            \
  do {                                                                         \
    auto isla_status_ = ::isla::internal::ToStatus((expression));              \
    if (!isla_status_.ok()) return isla_status_;                               \
  } while (false)

/// ASSIGN_OR_RETURN(auto x, F()): x is the value, or the function returns the error.
#define ASSIGN_OR_RETURN(lhs, expression) \
  ASSIGN_OR_RETURN_IMPL(ISLA_CONCAT(isla_statusor_, __LINE__), lhs, expression)
#define ASSIGN_OR_RETURN_IMPL(temporary, lhs, expression) \
  auto temporary = (expression);                          \
  if (!temporary.ok()) return temporary.status();         \
  lhs = std::move(temporary).value()

/// Aborts with a message: programmer errors only. What a user, peer or kernel can cause is a Status.
#define ISLA_CHECK(condition)                                                             \
  do {                                                                                    \
    if (!(condition)) ::isla::internal::CheckFailed(__FILE__, __LINE__, #condition, {});  \
  } while (false)
#define ISLA_CHECK_OK(expression)                                                               \
  do {                                                                                          \
    auto isla_check_ = ::isla::internal::ToStatus((expression));                                \
    if (!isla_check_.ok())                                                                      \
      ::isla::internal::CheckFailed(__FILE__, __LINE__, #expression, ::isla::ToString(isla_check_)); \
  } while (false)
