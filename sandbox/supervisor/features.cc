#include "sandbox/supervisor/features.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/supervisor/seccomp_abi.h"

namespace isla::supervisor {
namespace {

enum ProbeBit : int { kSync = 1, kAdd = 2, kAddAndReply = 4, kProbed = 8 };

/// A flag that the kernel knows makes it look at the filter, which isn't there: EFAULT.
bool KnowsFlags(unsigned flags) { return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, nullptr) != 0 && errno == EFAULT; }

/// In a process of its own, which the filter dies with.
int ProbeListener() {
  sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {1, allow};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 0;
  const long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  if (fd < 0) return 0;
  const int listener = static_cast<int>(fd);
  int bits = kProbed;
  if (ioctl(listener, kSetFlags, kSyncWakeUp) == 0) bits |= kSync;
  // There is no such call: what the kernel understood ends in ENOENT.
  seccomp_notif_addfd add{};
  add.id = 1;
  add.srcfd = static_cast<uint32_t>(listener);
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) != 0 && errno == ENOENT) bits |= kAdd;
  add.flags = SECCOMP_ADDFD_FLAG_SEND;
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) != 0 && errno == ENOENT) bits |= kAddAndReply;
  return bits;
}

}  // namespace

std::string KernelFeatures::ToText() const {
  const auto yes = [](bool value) { return value ? "yes" : "no"; };
  return fmt::format(
      "waitKillable={} syncWakeUp={} addFd={} addFdAndReply={} pidfdGetfd={} pidfdThread={} openat2={} notificationBytes={}",
      yes(wait_killable), yes(sync_wake_up), yes(add_fd), yes(add_fd_and_reply), yes(pidfd_getfd), yes(pidfd_thread),
      yes(openat2), notification_bytes);
}

StatusOr<KernelFeatures> ProbeKernel() {
  KernelFeatures out;
  seccomp_notif_sizes sizes{};
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0 || !KnowsFlags(SECCOMP_FILTER_FLAG_NEW_LISTENER)) {
    return Error(Code::kUnimplemented, "this kernel has no seccomp listeners");
  }
  out.notification_bytes = sizes.seccomp_notif;
  out.response_bytes = sizes.seccomp_notif_resp;
  if (sizes.seccomp_notif < sizeof(seccomp_notif) || sizes.seccomp_notif_resp < sizeof(seccomp_notif_resp)) {
    return Errorf(Code::kUnimplemented, "this kernel's notifications have {} bytes, {} are expected", sizes.seccomp_notif,
                  sizeof(seccomp_notif));
  }
  out.wait_killable = KnowsFlags(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  out.pidfd_getfd = syscall(SYS_pidfd_getfd, -1, 0, 0) != 0 && errno == EBADF;
  out.openat2 = syscall(SYS_openat2, AT_FDCWD, nullptr, nullptr, 0) != 0 && errno != ENOSYS;
  const long pidfd = syscall(SYS_pidfd_open, getpid(), kPidfdThread);
  out.pidfd_thread = pidfd >= 0;
  if (pidfd >= 0) close(static_cast<int>(pidfd));
  const pid_t child = fork();
  if (child < 0) return FromErrno(errno, "fork to probe the kernel");
  if (child == 0) _exit(ProbeListener());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const int bits = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  if ((bits & kProbed) == 0) return Error(Code::kUnimplemented, "no seccomp listener can be made here");
  out.sync_wake_up = (bits & kSync) != 0;
  out.add_fd = (bits & kAdd) != 0;
  out.add_fd_and_reply = (bits & kAddAndReply) != 0;
  return out;
}

}  // namespace isla::supervisor
