#include "sandbox/policy/catalogue.h"

#include <algorithm>

namespace isla::sandbox {
namespace {

using Names = std::vector<std::string_view>;

bool IsIn(const Names& sorted, std::string_view name) { return std::binary_search(sorted.begin(), sorted.end(), name); }

}  // namespace

const std::vector<Emulator>& AllEmulators() {
  static const std::vector<Emulator> kEmulators = {
      {"affinity", "the processors that were granted, by their real numbers", {"sched_getaffinity"}},
      {"sysinfo", "memory and processes as granted", {"sysinfo"}},
      {"uname", "the container's host name", {"uname"}},
  };
  return kEmulators;
}

const Emulator* FindEmulator(std::string_view name) {
  const auto found = std::find_if(AllEmulators().begin(), AllEmulators().end(),
                                  [name](const Emulator& each) { return each.name == name; });
  return found == AllEmulators().end() ? nullptr : &*found;
}

bool CanReadPaths(std::string_view call) {
  static const Names kCalls = {
      "access", "chdir", "chmod", "chown", "chroot", "creat", "faccessat", "faccessat2", "fchmodat", "fchownat", "lchown", "link",
      "linkat", "lstat", "mkdir", "mkdirat", "mknod", "mknodat", "newfstatat", "open", "openat", "openat2", "readlink",
      "readlinkat", "rename", "renameat", "renameat2", "rmdir", "stat", "statfs", "statx", "symlink", "symlinkat", "truncate",
      "unlink", "unlinkat", "utimensat"};
  return IsIn(kCalls, call);
}

bool CanReadAddress(std::string_view call) { return call == "bind" || call == "connect"; }

const std::vector<std::string_view>& PerformableCalls() {
  static const Names kCalls = {"bind", "connect", "creat", "mknod", "mknodat", "open", "openat", "openat2"};
  return kCalls;
}

bool CanPerform(std::string_view call) { return IsIn(PerformableCalls(), call); }

bool CanGiveFile(std::string_view call) { return call == "open" || call == "openat" || call == "openat2"; }

bool CanRedirectPath(std::string_view call) { return CanGiveFile(call) || call == "creat"; }

bool CanRedirectAddress(std::string_view call) { return call == "bind" || call == "connect"; }

}  // namespace isla::sandbox
