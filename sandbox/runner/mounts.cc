#include "sandbox/runner/mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace isla::runner {

StatusOr<UniqueFd> NewFilesystem(const char* type, std::initializer_list<std::pair<const char*, std::string>> options, uint64_t attributes) {
  const UniqueFd context(fsopen(type, FSOPEN_CLOEXEC));
  if (!context.valid()) return FromErrno(errno, fmt::format("make a file system of type {}", type));
  for (const auto& [key, value] : options) {
    if (fsconfig(context.get(), value.empty() ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, value.empty() ? nullptr : value.c_str(), 0) != 0) {
      return FromErrno(errno, fmt::format("mount {} with {}={}", type, key, value));
    }
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return FromErrno(errno, fmt::format("mount {}", type));
  UniqueFd out(fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!out.valid()) return FromErrno(errno, fmt::format("mount {}", type));
  return out;
}

Status SetAttributes(int fd, uint64_t attributes, bool recursive, std::string_view shown) {
  mount_attr attr{};
  attr.attr_set = attributes;
  if (mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u), &attr, sizeof attr) == 0) return OkStatus();
  return FromErrno(errno, fmt::format("restrict the mount of '{}'", shown));
}

StatusOr<UniqueFd> CopyTree(int folder, const std::string& path, uint64_t attributes) {
  UniqueFd out(open_tree(folder, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | (path.empty() ? AT_EMPTY_PATH : 0u)));
  if (!out.valid()) return FromErrno(errno, fmt::format("bind '{}'", path));
  if (attributes != 0) RETURN_IF_ERROR(SetAttributes(out.get(), attributes, true, path));
  return out;
}

Status Attach(const UniqueFd& mount, const UniqueFd& target, std::string_view shown) {
  if (move_mount(mount.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0) return OkStatus();
  return FromErrno(errno, fmt::format("mount '{}'", shown));
}

UniqueFd FindInRoot(int root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

StatusOr<UniqueFd> OpenInRoot(int root, const std::string& path) {
  UniqueFd out = FindInRoot(root, path);
  if (out.valid()) return out;
  if (IsMissing(errno)) return Errorf(Code::kNotFound, "'{}' isn't there", path);
  return FromErrno(errno, fmt::format("open '{}' in the container", path));
}

StatusOr<UniqueFd> MakeInRoot(int root, const std::string& path, bool file) {
  StatusOr<UniqueFd> there = OpenInRoot(root, path);
  if (there.ok() || there.status().code() != Code::kNotFound) return there;
  ASSIGN_OR_RETURN(UniqueFd at, OpenInRoot(root, "/"));
  for (size_t begin = path.find_first_not_of('/'); begin != std::string::npos;) {
    const size_t end = path.find('/', begin);
    const size_t next_begin = end == std::string::npos ? end : path.find_first_not_of('/', end);
    const std::string name = path.substr(begin, end == std::string::npos ? end : end - begin);
    StatusOr<UniqueFd> next = OpenInRoot(root, path.substr(0, end));
    if (!next.ok()) {
      // Missing, or a link that leads nowhere: the latter makes this fail with EEXIST.
      const bool as_file = file && next_begin == std::string::npos;
      const int made = as_file ? mknodat(at.get(), name.c_str(), S_IFREG | 0644, 0) : mkdirat(at.get(), name.c_str(), 0755);
      if (made != 0) return FromErrno(errno, fmt::format("make '{}' in the container", path.substr(0, end)));
      next = UniqueFd(openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!next->valid()) return FromErrno(errno, fmt::format("open '{}' in the container", path.substr(0, end)));
    }
    at = *std::move(next);
    begin = next_begin;
  }
  return at;
}

}  // namespace isla::runner
