#include "agentd/shim/mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace isla::shim {
namespace {

Step SetAttributes(int mount, uint64_t attributes, bool recursive, const std::string& shown) {
  mount_attr attr{};
  attr.attr_set = attributes;
  const unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u);
  if (mount_setattr(mount, "", flags, &attr, sizeof attr) != 0) return Step::Failed("restrict the mount of " + shown);
  return Step::Done();
}

int OpenAt2(int folder, const char* path, uint64_t flags, uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, folder, path, &how, sizeof how));
}

/// Makes and opens a file or folder that isn't there.
Step MakeOne(int folder, const std::string& name, bool file, uint32_t owner, UniqueFd& out) {
  const int made = file ? mknodat(folder, name.c_str(), S_IFREG | 0644, 0) : mkdirat(folder, name.c_str(), 0755);
  if (made != 0 || fchownat(folder, name.c_str(), owner, owner, AT_SYMLINK_NOFOLLOW) != 0) {
    return Step::Failed("make " + name + " in the container");
  }
  out.Reset(openat(folder, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  return out.valid() ? Step::Done() : Step::Failed("open " + name + " in the container");
}

}  // namespace

Step NewFilesystem(const char* type, std::initializer_list<std::pair<const char*, std::string>> options,
                   uint64_t attributes, UniqueFd& out) {
  const std::string what = std::string("mount ") + type;
  UniqueFd context(fsopen(type, FSOPEN_CLOEXEC));
  if (!context.valid()) return Step::Failed(what);
  for (const auto& [key, value] : options) {
    const bool flag = value.empty();
    if (fsconfig(context.get(), flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, flag ? nullptr : value.c_str(), 0) != 0) {
      return Step::Failed(what + " " + key + "=" + value);
    }
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return Step::Failed(what);
  out.Reset(fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  return out.valid() ? Step::Done() : Step::Failed(what);
}

Step CopyMount(int folder, const std::string& path, bool recursive, uint64_t attributes, UniqueFd& out) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0u) | (path.empty() ? AT_EMPTY_PATH : 0u);
  out.Reset(open_tree(folder, path.c_str(), flags));
  if (!out.valid()) return Step::Failed("bind " + path);
  return SetAttributes(out.get(), attributes, recursive, path);
}

Step Attach(const UniqueFd& mount, const UniqueFd& target, const std::string& shown) {
  if (move_mount(mount.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return Step::Failed("mount " + shown);
  }
  return Step::Done();
}

Step OpenInRoot(int root, const std::string& path, UniqueFd& out) {
  out.Reset(OpenAt2(root, path.c_str(), O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
  return out.valid() ? Step::Done() : Step::Failed("open " + path + " in the container");
}

Step MakeInRoot(int root, const std::string& path, bool file, uint32_t owner, UniqueFd& out) {
  Step there = OpenInRoot(root, path, out);
  if (there.error != ENOENT) return there;
  if (path.find('/') == std::string::npos) return MakeOne(root, path, file, owner, out);  // nothing on the way to it
  UniqueFd at;
  RETURN_IF_FAILED(OpenInRoot(root, "/", at));
  for (size_t begin = path.find_first_not_of('/'); begin != std::string::npos;) {
    const size_t end = path.find('/', begin);
    const size_t next_begin = end == std::string::npos ? end : path.find_first_not_of('/', end);
    const std::string so_far = path.substr(0, end), name = path.substr(begin, end - begin);
    UniqueFd next;
    if (!OpenInRoot(root, so_far, next).ok()) {
      // Missing, or a link that leads nowhere: the latter makes this fail with EEXIST.
      RETURN_IF_FAILED(MakeOne(at.get(), name, file && next_begin == std::string::npos, owner, next));
    }
    at = std::move(next);
    begin = next_begin;
  }
  out = std::move(at);
  return Step::Done();
}

}  // namespace isla::shim
