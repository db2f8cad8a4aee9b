#include "sandbox/runner/privileges.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/capabilities.h"

namespace isla::runner {
using sandbox::kContainerCapabilities;

Status BoundPrivileges() {
  if (!sandbox::BoundCapabilities(kContainerCapabilities)) return FromErrno(errno, "bound capabilities");
  // Keys of the session that started us are none of the command's.
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS && errno != EDQUOT) return FromErrno(errno, "join a session keyring");
  return OkStatus();
}

Status DropPrivileges() {
  if (!sandbox::DropCapabilities(kContainerCapabilities)) return FromErrno(errno, "drop capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FromErrno(errno, "set no_new_privs");
  return OkStatus();
}

const std::vector<LimitName>& LimitNames() {
  static const std::vector<LimitName> kNames = {{"as", RLIMIT_AS},           {"core", RLIMIT_CORE},       {"cpu", RLIMIT_CPU},           {"data", RLIMIT_DATA},     {"fsize", RLIMIT_FSIZE},
                                                {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},       {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC},
                                                {"rtprio", RLIMIT_RTPRIO},   {"sigpending", RLIMIT_SIGPENDING}, {"stack", RLIMIT_STACK}};
  return kNames;
}

Status SetLimits(const std::vector<std::pair<int, rlim_t>>& limits) {
  for (const auto& [resource, value] : limits) {
    const rlimit limit = {value, value};
    if (setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0) continue;
    const int error = errno;
    std::string name = std::to_string(resource);
    for (const LimitName& each : LimitNames()) {
      if (each.resource == resource) name = each.name;
    }
    // Raising it takes a right that isn't ours.
    rlimit own{};
    const bool above = error == EPERM && getrlimit(static_cast<__rlimit_resource_t>(resource), &own) == 0;
    return FromErrno(error, fmt::format("set the limit {} to {}{}", name, value, above ? fmt::format(" (our own is {})", own.rlim_max) : ""));
  }
  return OkStatus();
}

void ResetSignals() {
  struct sigaction normal {}, now {};
  normal.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) {
    const bool stays = signal == SIGHUP || signal == SIGINT || signal == SIGQUIT;
    if (stays && sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
    sigaction(signal, &normal, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool CloseAtExec(const std::vector<int>& keep) {
  if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) != 0) return false;
  for (const int fd : keep) {
    if (fcntl(fd, F_SETFD, 0) != 0) return false;
  }
  return true;
}

}  // namespace isla::runner
