#include "sandbox/supervisor/perform.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstddef>

#include "sandbox/supervisor/call_shape.h"
#include "sandbox/supervisor/rights.h"

namespace isla::supervisor {
namespace {

using Kind = CallShape::Kind;

constexpr uint64_t kTmpFile = O_TMPFILE & ~O_DIRECTORY;
constexpr uint64_t kOpenFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_ASYNC |
                                O_DIRECT | 0100000 /* O_LARGEFILE */ | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE;
constexpr uint64_t kWithPath = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;  // what goes with O_PATH

bool MakesFile(uint64_t flags) { return (flags & (O_CREAT | kTmpFile)) != 0; }

bool FollowsLast(const ReceivedCall& call, const CallShape& shape) {
  if (shape.last == CallShape::Last::kFollow) return true;
  if (shape.last == CallShape::Last::kKeep) return false;
  if (shape.kind == Kind::kOpen) {
    const uint64_t flags = OpenRequestOf(call).flags;
    return (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  }
  return (call.arguments()[shape.flags] & AT_SYMLINK_NOFOLLOW) == 0;
}

int FolderOf(const ReceivedCall& call, const CallShape& shape, size_t which) {
  return shape.folder[which] < 0 ? AT_FDCWD : static_cast<int>(call.arguments()[shape.folder[which]]);
}

int ResolveOne(ReceivedCall& call, const CallShape& shape, size_t which) {
  std::string path;
  // The folder itself.
  const bool absent = call.arguments()[shape.path[which]] == 0 &&
                      (call.number() == SYS_utimensat || (shape.flags >= 0 && (call.arguments()[shape.flags] & AT_EMPTY_PATH) != 0));
  if (const int error = absent ? 0 : call.caller().memory().ReadString(call.arguments()[shape.path[which]], PATH_MAX, path); error != 0) return error;
  ResolveOptions options;
  options.follow_last = FollowsLast(call, shape);
  if (shape.kind == Kind::kOpen) options.resolve_flags = OpenRequestOf(call).resolve;
  if (const int error = Resolve(call.caller(), FolderOf(call, shape, which), path, options, call.resolved[which]); error != 0) return error;
  if (path.ends_with('/') && call.resolved[which].folder.valid()) call.resolved[which].error = EISDIR;
  call.facts.paths[which] = call.resolved[which].path;
  call.facts.known |= which == 0 ? sandbox::kFactPath0 : sandbox::kFactPath1;
  return 0;
}

/// A unix socket's path leads through links like any other: what is decided about is where it leads.
int ResolveSocketPath(ReceivedCall& call, bool binds) {
  constexpr size_t kPathAt = offsetof(sockaddr_un, sun_path);
  const std::string& bytes = call.address;
  uint16_t family = AF_UNSPEC;
  if (bytes.size() <= kPathAt) return 0;
  bytes.copy(reinterpret_cast<char*>(&family), sizeof family);
  if (family != AF_UNIX || bytes[kPathAt] == '\0') return 0;
  if (bytes.size() > sizeof(sockaddr_un)) return EINVAL;
  const std::string path = bytes.substr(kPathAt, bytes.find('\0', kPathAt) - kPathAt);
  if (const int error = Resolve(call.caller(), AT_FDCWD, path, {!binds, 0}, call.resolved[0]); error != 0) return error;
  call.shown_address = bytes.substr(0, kPathAt) + call.resolved[0].path;
  return call.KnowAddress(call.shown_address) ? 0 : ENAMETOOLONG;
}

int OpenAt2(int folder, const char* name, uint64_t flags, uint64_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = flags;
  how.mode = MakesFile(flags) ? mode : 0;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, folder, name, &how, sizeof how));
}

/// Of a file that is there.
int Reopen(const ReceivedCall& call, const OpenRequest& request, uint64_t mode, const UniqueFd& inode) {
  struct stat st {};
  if (fstat(inode.get(), &st) != 0) return -errno;
  const bool exclusive = (request.flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
  // One that a predecessor has just made for this call.
  const bool ours = call.performed_before && S_ISREG(st.st_mode) && st.st_size == 0;
  if (exclusive && !ours) return -EEXIST;
  uint64_t flags = (request.flags & ~uint64_t{O_CREAT | O_NOFOLLOW}) | O_CLOEXEC | O_NOCTTY;
  if ((flags & kTmpFile) == 0) flags &= ~uint64_t{O_EXCL};
  if ((request.flags & O_PATH) != 0) {
    // The kernel hands over no O_PATH descriptor. For a folder a readable one does all that one of these can.
    if (!S_ISDIR(st.st_mode)) return (request.flags & O_DIRECTORY) != 0 ? -ENOTDIR : -EOPNOTSUPP;
    flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  }
  if (S_ISLNK(st.st_mode)) return -ELOOP;
  if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 0)) return -ENXIO;
  const bool creates = (request.flags & O_CREAT) != 0;
  if (creates && S_ISDIR(st.st_mode)) return -EISDIR;
  const int fd = OpenAt2(AT_FDCWD, fmt::format("/proc/self/fd/{}", inode.get()).c_str(), flags, mode, 0);
  return fd < 0 ? -errno : fd;
}

int Create(const OpenRequest& request, uint64_t mode, const Resolved& where) {
  if ((request.flags & O_CREAT) == 0) return -ENOENT;
  const uint64_t flags = request.flags | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
  const int fd = OpenAt2(where.folder.get(), where.name.c_str(), flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  return fd < 0 ? -errno : fd;
}

/// What openat2(2) refuses, which asks more of its caller than the others. The file system's own refusals are the kernel's.
int CheckHow(const OpenRequest& how) {
  constexpr uint64_t kScopes = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
  constexpr uint64_t kResolves = kScopes | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_CACHED;
  if ((how.flags & ~kOpenFlags) != 0 || (how.resolve & ~kResolves) != 0 || (how.resolve & kScopes) == kScopes) return EINVAL;
  if ((how.mode & ~uint64_t{07777}) != 0 || (how.mode != 0 && !MakesFile(how.flags))) return EINVAL;
  if ((how.flags & O_PATH) != 0 && (how.flags & ~kWithPath) != 0) return EINVAL;
  return (how.resolve & RESOLVE_CACHED) != 0 ? EAGAIN : 0;  // the caller asks again without it
}

Outcome PerformOpen(ReceivedCall& call, const Resolved& where) {
  const OpenRequest request = OpenRequestOf(call);
  if (call.number() == SYS_openat2) {
    if (const int error = CheckHow(request); error != 0) return Outcome::Errno(error);
  }
  if (where.error != 0) return Outcome::Errno(where.error);
  const bool close_on_exec = (request.flags & O_CLOEXEC) != 0;
  const CallerRights rights(call.caller());
  if (rights.error() != 0) return Outcome::Errno(rights.error());
  if (!call.BeginPerforming()) return Outcome::Errno(ETIMEDOUT);
  const uint64_t mode = request.mode & 07777 & ~uint64_t{rights.status().umask};
  UniqueFd fd;
  const int opened = where.inode.valid() ? Reopen(call, request, mode, where.inode) : Create(request, mode, where);
  if (opened < 0) return Outcome::Errno(-opened);
  fd.Reset(opened);
  return Outcome::Descriptor(std::move(fd), close_on_exec);
}

}  // namespace

bool CanPerform(int number) { return ShapeOf(number).kind != Kind::kOther; }

OpenRequest OpenRequestOf(const ReceivedCall& call) {
  const auto& arguments = call.arguments();
  OpenRequest out;
  // The kernel ignores flags that it doesn't know, but for openat2 (CheckHow).
  switch (call.number()) {
#ifdef SYS_open
    case SYS_open:
      out.flags = arguments[1] & kOpenFlags;
      out.mode = arguments[2];
      break;
    case SYS_creat:
      out.flags = O_CREAT | O_WRONLY | O_TRUNC;
      out.mode = arguments[1];
      break;
#endif
    case SYS_openat:
      out.flags = arguments[2] & kOpenFlags;
      out.mode = arguments[3];
      break;
    case SYS_openat2:
      out.flags = call.facts.fields[0];
      out.mode = call.facts.fields[1];
      out.resolve = call.facts.fields[2];
      break;
    default: break;
  }
  // Of O_PATH's companions the kernel keeps these alone.
  if (call.number() != SYS_openat2 && (out.flags & O_PATH) != 0) out.flags &= kWithPath;
  return out;
}

int ResolvePaths(ReceivedCall& call) {
  const CallShape& shape = ShapeOf(call.number());
  if ((call.facts.known & sandbox::kFactAddress) != 0) return ResolveSocketPath(call, shape.kind == Kind::kBind);
  for (size_t which = 0; which < static_cast<size_t>(shape.paths); ++which) {
    if (const int error = ResolveOne(call, shape, which); error != 0) return error;
  }
  return 0;
}

Outcome Perform(ReceivedCall& call) {
  switch (ShapeOf(call.number()).kind) {
    case Kind::kOpen: return PerformOpen(call, call.resolved[0]);
    case Kind::kConnect: return PerformConnect(call, nullptr);
    case Kind::kBind: return PerformBind(call, nullptr);
    case Kind::kMakeNode: return PerformMakeNode(call);
    case Kind::kOther: break;
  }
  return Outcome::Errno(EPERM);
}

Outcome PerformOn(ReceivedCall& call, const std::string& path) {
  if (ShapeOf(call.number()).kind != Kind::kOpen) return Outcome::Errno(EPERM);
  Resolved instead;
  if (const int error = Resolve(call.caller(), AT_FDCWD, path, {}, instead); error != 0) return Outcome::Errno(error);
  return PerformOpen(call, instead);
}

Outcome PerformAt(ReceivedCall& call, const SocketAddress& address) {
  const Kind kind = ShapeOf(call.number()).kind;
  if (kind == Kind::kConnect) return PerformConnect(call, &address);
  return kind == Kind::kBind ? PerformBind(call, &address) : Outcome::Errno(EPERM);
}

}  // namespace isla::supervisor
