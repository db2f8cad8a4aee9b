#include "sandbox/supervisor/confine.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/bpf/compiler.h"
#include "sandbox/capabilities.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/supervisor/load.h"

namespace isla::supervisor {
namespace {

using sandbox::Action;

constexpr unsigned kKept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,      CAP_FSETID,           CAP_KILL,       CAP_SETGID,
                              CAP_SETUID, CAP_SETFCAP,      CAP_SYS_CHROOT,  CAP_NET_BIND_SERVICE, CAP_SYS_PTRACE, CAP_MKNOD};

constexpr std::string_view kOwnCalls[] = {
    // memory, threads, time
    "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "futex", "exit", "exit_group", "set_robust_list", "rseq", "set_tid_address",
    "arch_prctl", "sched_yield", "sched_getaffinity", "sched_setaffinity", "getrandom", "clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday",
    "timerfd_create", "timerfd_settime", "eventfd2", "membarrier",
    // signals
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "sigaltstack", "restart_syscall", "tgkill", "getpid", "gettid", "pidfd_send_signal",
    // descriptors
    "read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "ioctl", "poll", "ppoll",
    "fstat", "newfstatat", "statx", "stat", "lstat", "fstatfs", "statfs", "memfd_create", "ftruncate", "fchmod", "kcmp",
    // the listener, its callers, what is done for them
    "seccomp", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "open", "openat", "openat2", "readlink", "readlinkat",
    "getdents64", "faccessat", "faccessat2", "mknod", "mknodat", "unlinkat", "fchownat", "fchown", "utimensat", "connect", "bind", "getsockopt", "getsockname", "setsockopt",
    "recvmsg", "sendmsg", "recvfrom", "sendto", "shutdown", "sysinfo", "uname",
    // rights
    "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setgroups", "setresuid", "setresgid", "setfsuid", "setfsgid",
    "capget", "capset", "prctl", "umask", "getrlimit", "prlimit64",
};

Status DropCapabilities() {
  uint64_t mask = 0;
  for (const unsigned capability : kKept) mask |= uint64_t{1} << capability;
  if (!sandbox::BoundCapabilities(mask)) return FromErrno(errno, "bound capabilities");
  if (!sandbox::DropCapabilities(mask)) return FromErrno(errno, "drop capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FromErrno(errno, "set no_new_privs");
  return OkStatus();
}

}  // namespace

sandbox::Policy OwnPolicy(sandbox::Arch arch) {
  sandbox::Policy policy;
  policy.arch = arch;
  policy.rules[0].action = Action::Errno(EPERM);
  const sandbox::RuleId allow = policy.AddRule("own", Action::Allow());
  for (const std::string_view call : kOwnCalls) {
    if (const auto number = sandbox::SyscallNumber(arch, call)) policy.Append(*number, allow);
  }
  const auto when = [&policy, arch, allow](std::string_view call, uint64_t mask, sandbox::IntervalSet values) {
    policy.Append(*sandbox::SyscallNumber(arch, call), allow, sandbox::NumberTest{sandbox::Number::kArgument0, sandbox::Width::k32, mask, std::move(values)});
  };
  when("clone", CLONE_THREAD, sandbox::IntervalSet::Of(CLONE_THREAD));
  when("unshare", 0xffffffffu, sandbox::IntervalSet::Of(CLONE_FS));
  // Its flags are behind a pointer; the C library goes back to clone.
  policy.Append(*sandbox::SyscallNumber(arch, "clone3"), policy.AddRule("clone3", Action::Errno(ENOSYS)));
  return policy;
}

Status ConfineSupervisor() {
  RETURN_IF_ERROR(DropCapabilities());
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return OkStatus();
#else
  ASSIGN_OR_RETURN(const sandbox::Filter filter, sandbox::Compile(OwnPolicy(sandbox::kNativeArch)));
  const int error = LoadFilter(filter.program);
  return error == 0 ? OkStatus() : FromErrno(error, "load the supervisor's own filter");
#endif
}

}  // namespace isla::supervisor
