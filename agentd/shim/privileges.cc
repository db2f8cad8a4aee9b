#include "agentd/shim/privileges.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "api/base/unique_fd.h"
#include "sandbox/capabilities.h"
#include "sandbox/supervisor/load.h"

namespace isla::shim {
namespace {

using sandbox::kContainerCapabilities;

Step SetSoftLimit(int resource, const char* name, rlim_t soft, bool hard_too) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return Step::Failed(std::string("read the limit ") + name);
  limit.rlim_cur = std::min(soft, limit.rlim_max);
  if (hard_too) limit.rlim_max = limit.rlim_cur;
  if (setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return Step::Failed(std::string("set the limit ") + name);
  return Step::Done();
}

}  // namespace

void ResetOomScore() {
  UniqueFd fd(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  (void)!write(fd.get(), "0", 1);
}

Step EnterUser(int user_namespace) {
  if (setns(user_namespace, CLONE_NEWUSER) != 0) return Step::Failed("enter the user namespace");
  // Raw calls: the C library's would tell other threads, of which there are none.
  if (syscall(SYS_setgroups, 0, nullptr) != 0) return Step::Failed("drop groups");
  if (syscall(SYS_setresgid, 0, 0, 0) != 0 || syscall(SYS_setresuid, 0, 0, 0) != 0) return Step::Failed("become the container's root");
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS) return Step::Failed("join a session keyring");
  return Step::Done();
}

Step DropPrivileges() {
  if (!sandbox::BoundCapabilities(kContainerCapabilities)) return Step::Failed("bound capabilities");
  if (!sandbox::DropCapabilities(kContainerCapabilities)) return Step::Failed("drop capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Step::Failed("set no_new_privs");
  return Step::Done();
}

Step ResetProcess() {
  umask(022);
  RETURN_IF_FAILED(SetSoftLimit(RLIMIT_CORE, "core", 0, true));
  // Programs that use select() break beyond 1024; those that want more raise it themselves.
  RETURN_IF_FAILED(SetSoftLimit(RLIMIT_NOFILE, "nofile", 1024, false));
  struct sigaction normal {};
  normal.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &normal, nullptr);
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return Step::Failed("reset the signal mask");
  return Step::Done();
}

Step ArrangeDescriptors(const std::array<int, 4>& fds) {
  // First away from 0 to 3, so that none is overwritten before it is moved.
  std::array<int, 4> high{};
  for (size_t i = 0; i < fds.size(); ++i) {
    high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
    if (high[i] < 0) return Step::Failed("arrange descriptors");
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    if (dup2(high[i], static_cast<int>(i)) < 0) return Step::Failed("arrange descriptors");
  }
  if (syscall(SYS_close_range, 4u, ~0u, CLOSE_RANGE_CLOEXEC) != 0) return Step::Failed("close descriptors");
  return Step::Done();
}

Step LoadFilter(const sandbox::Program& filter) {
  const int error = supervisor::LoadFilter(filter);
  return error == 0 ? Step::Done() : Step::Failed("load the seccomp filter", error);
}

}  // namespace isla::shim
