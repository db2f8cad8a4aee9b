#include "sandbox/runner/namespaces.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "api/base/unique_fd.h"

namespace isla::runner {
namespace {

Status Write(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return FromErrno(errno, "write " + path);
  return OkStatus();
}

/// The first line of a sysctl's file; "" if it isn't there.
std::string Setting(const char* path) {
  StatusOr<std::string> text = ReadFile(path, 4096);
  if (!text.ok()) return {};
  text->resize(std::min(text->find('\n'), text->size()));
  return *std::move(text);
}

bool HasCapability(unsigned capability) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  return syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective >> capability & 1) != 0;
}

}  // namespace

std::string WhyNone(int error) {
  std::string why;
  const bool root = geteuid() == 0;
  const StatusOr<std::string> own = ReadFile("/proc/self/status", 65536);
  if (error == ENOSPC || Setting("/proc/sys/user/max_user_namespaces") == "0") {
    why = "the machine allows no more of them: sysctl user.max_user_namespaces";
  } else if (error == EPERM && !root && Setting("/proc/sys/kernel/unprivileged_userns_clone") == "0") {
    why = "the machine allows ordinary users none: sysctl kernel.unprivileged_userns_clone";
  } else if (error == EPERM && own.ok() && own->find("\nSeccomp:\t2") != std::string::npos) {
    why = "a filter above us refuses them, as in a container or in another isla-box";
  } else if (error == EPERM && root && !HasCapability(CAP_SYS_ADMIN)) {
    why = "root has no CAP_SYS_ADMIN here, as in a container: --unshare=user may do";
  } else if (error == EPERM) {
    why = "they may be forbidden here, as in a container";
  }
  return why.empty() ? "" : fmt::format(" ({}; --no-namespaces runs it without)", why);
}

uint64_t Namespaces::Flags() const {
  uint64_t out = 0;
  const std::pair<bool, uint64_t> all[] = {{user, CLONE_NEWUSER}, {mount, CLONE_NEWNS}, {pid, CLONE_NEWPID}, {ipc, CLONE_NEWIPC},
                                           {uts, CLONE_NEWUTS},   {net, CLONE_NEWNET},  {cgroup, CLONE_NEWCGROUP}};
  for (const auto& [wanted, flag] : all) out |= wanted ? flag : 0;
  return out;
}

bool CanMapAllIds() { return HasCapability(CAP_SETUID) && HasCapability(CAP_SETGID); }

Status MapAllIds(pid_t pid) {
  constexpr char kAll[] = "0 0 4294967295\n";
  RETURN_IF_ERROR(Write(fmt::format("/proc/{}/uid_map", pid), kAll));
  return Write(fmt::format("/proc/{}/gid_map", pid), kAll);
}

Status MapOwnId(uid_t uid, gid_t gid, bool as_root) {
  // An unprivileged process may map groups only once it can't drop any.
  RETURN_IF_ERROR(Write("/proc/self/setgroups", "deny"));
  RETURN_IF_ERROR(Write("/proc/self/uid_map", fmt::format("{} {} 1\n", as_root ? 0 : uid, uid)));
  return Write("/proc/self/gid_map", fmt::format("{} {} 1\n", as_root ? 0 : gid, gid));
}

}  // namespace isla::runner
