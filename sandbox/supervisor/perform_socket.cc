#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "sandbox/supervisor/perform.h"
#include "sandbox/supervisor/rights.h"

namespace isla::supervisor {
namespace {

struct Target {
  sockaddr_storage address{};
  socklen_t bytes = 0;
};

/// The call's own address, with a unix path replaced by the pinned place that was decided about.
int OwnTarget(const ReceivedCall& call, bool binds, Target& out) {
  if (call.address.size() > sizeof out.address) return EINVAL;
  std::memcpy(&out.address, call.address.data(), call.address.size());
  out.bytes = static_cast<socklen_t>(call.address.size());
  const Resolved& where = call.resolved[0];
  if (where.path.empty()) return 0;  // not a path: abstract, unnamed, another family
  if (where.error != 0) return where.error;
  if (binds && where.inode.valid()) return EADDRINUSE;
  if (!binds && !where.inode.valid()) return ENOENT;
  const std::string path = binds ? fmt::format("/proc/self/fd/{}/{}", where.folder.get(), where.name)
                                 : fmt::format("/proc/self/fd/{}", where.inode.get());
  sockaddr_un unix{};
  unix.sun_family = AF_UNIX;
  if (path.size() >= sizeof unix.sun_path) return ENAMETOOLONG;
  std::memcpy(unix.sun_path, path.data(), path.size());
  std::memcpy(&out.address, &unix, sizeof unix);
  out.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return 0;
}

/// Another one, in the form that the socket takes.
int OtherTarget(const UniqueFd& socket, const SocketAddress& address, Target& out) {
  int domain = 0;
  socklen_t bytes = sizeof domain;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &bytes) != 0) return errno;
  if (domain == AF_INET6) {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(address.port);
    std::memcpy(&six.sin6_addr, address.ip.data(), sizeof six.sin6_addr);
    std::memcpy(&out.address, &six, sizeof six);
    out.bytes = sizeof six;
    return 0;
  }
  if (domain != AF_INET || !IN6_IS_ADDR_V4MAPPED(reinterpret_cast<const in6_addr*>(address.ip.data()))) return EAFNOSUPPORT;
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(address.port);
  std::memcpy(&four.sin_addr, address.ip.data() + 12, sizeof four.sin_addr);
  std::memcpy(&out.address, &four, sizeof four);
  out.bytes = sizeof four;
  return 0;
}

/// The socket is the caller's own: a duplicate of what its number meant when we looked, whatever it means now.
int Prepare(ReceivedCall& call, const SocketAddress* instead, bool binds, UniqueFd& socket, Target& target) {
  if (const int error = call.caller().Descriptor(static_cast<int>(call.arguments()[0]), socket); error != 0) return error;
  return instead == nullptr ? OwnTarget(call, binds, target) : OtherTarget(socket, *instead, target);
}

}  // namespace

Outcome PerformConnect(ReceivedCall& call, const SocketAddress* instead) {
  UniqueFd socket;
  Target target;
  if (const int error = Prepare(call, instead, false, socket, target); error != 0) return Outcome::Errno(error);
  const CallerRights rights(call.caller());
  if (rights.error() != 0) return Outcome::Errno(rights.error());
  if (!call.BeginPerforming()) return Outcome::Errno(ETIMEDOUT);
  const int result = connect(socket.get(), reinterpret_cast<const sockaddr*>(&target.address), target.bytes);
  if (result == 0) return Outcome::Value(0);
  // A predecessor had done it.
  if (errno == EISCONN && call.performed_before) return Outcome::Value(0);
  return Outcome::Errno(errno);
}

Outcome PerformBind(ReceivedCall& call, const SocketAddress* instead) {
  UniqueFd socket;
  Target target;
  sockaddr_storage bound{};
  socklen_t bytes = sizeof bound;
  const auto is_bound = [&socket, &bound, &bytes] {
    return getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &bytes) == 0 && bytes > sizeof bound.ss_family;
  };
  if (const int error = Prepare(call, instead, true, socket, target); error != 0) {
    // What is there may be what a predecessor bound.
    const bool done = error == EADDRINUSE && call.performed_before && is_bound();
    return done ? Outcome::Value(0) : Outcome::Errno(error);
  }
  const CallerRights rights(call.caller());
  if (rights.error() != 0) return Outcome::Errno(rights.error());
  if (!call.BeginPerforming()) return Outcome::Errno(ETIMEDOUT);
  const mode_t own_umask = umask(rights.status().umask);  // of this thread, see WorkLoop
  const int result = bind(socket.get(), reinterpret_cast<const sockaddr*>(&target.address), target.bytes);
  const int error = errno;
  umask(own_umask);
  if (result == 0) return Outcome::Value(0);
  if (call.performed_before && error == EINVAL && is_bound()) return Outcome::Value(0);
  return Outcome::Errno(error);
}

}  // namespace isla::supervisor
