#include "agentd/policyc/confine.h"

#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/bpf/compiler.h"
#include "sandbox/capabilities.h"
#include "sandbox/names/syscalls.h"

namespace isla::policyc {
namespace {

Status DropRights(uint32_t uid) {
  if (uid != 0) {
    if (syscall(SYS_setgroups, 0, nullptr) != 0) return FromErrno(errno, "drop groups");
    if (syscall(SYS_setresgid, uid, uid, uid) != 0 || syscall(SYS_setresuid, uid, uid, uid) != 0) return FromErrno(errno, "take an id of its own");
  }
  if (!sandbox::BoundCapabilities(0) || !sandbox::DropCapabilities(0)) return FromErrno(errno, "drop capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FromErrno(errno, "set no_new_privs");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return FromErrno(errno, "hide from others");
  return OkStatus();
}

Status Limit(const Bounds& bounds) {
  const std::pair<__rlimit_resource, uint64_t> limits[] = {{RLIMIT_AS, bounds.memory_bytes}, {RLIMIT_CPU, bounds.cpu_seconds},
                                                           {RLIMIT_FSIZE, bounds.output_bytes}, {RLIMIT_NOFILE, 3},
                                                           {RLIMIT_NPROC, 0}, {RLIMIT_CORE, 0}};
  for (const auto& [resource, value] : limits) {
    rlimit limit{};
    if (getrlimit(resource, &limit) != 0) return FromErrno(errno, "read a limit");
    limit.rlim_cur = limit.rlim_max = std::min<rlim_t>(value, limit.rlim_max);
    if (setrlimit(resource, &limit) != 0) return FromErrno(errno, "set a limit");
  }
  return OkStatus();
}

StatusOr<sandbox::Program> OwnFilter() {
  using sandbox::Action;
  sandbox::Policy policy;
  policy.rules[0].action = Action::Kill();
  const sandbox::RuleId allow = policy.AddRule("allow", Action::Allow());
  const auto add = [&policy, allow](std::string_view call, sandbox::Condition when = {}) {
    if (const auto number = sandbox::SyscallNumber(policy.arch, call)) policy.Append(*number, allow, std::move(when));
  };
  for (const char* call : {"read", "pread64", "write", "lseek", "fstat", "newfstatat", "munmap", "mremap", "brk", "madvise", "futex", "clock_gettime",
                           "rt_sigreturn", "rt_sigprocmask", "getpid", "gettid", "exit", "exit_group"}) {
    add(call);
  }
  for (const char* call : {"mmap", "mprotect"}) {
    add(call, sandbox::NumberTest{sandbox::Number::kArgument2, sandbox::Width::k64, PROT_EXEC, sandbox::IntervalSet::Of(0)});
  }
  ASSIGN_OR_RETURN(sandbox::Filter filter, sandbox::Compile(policy));
  return std::move(filter.program);
}

}  // namespace

Status Confine(uint32_t uid, const Bounds& bounds) {
  if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0) return FromErrno(errno, "close descriptors");
  ASSIGN_OR_RETURN(const sandbox::Program filter, OwnFilter());
  RETURN_IF_ERROR(DropRights(uid));
  RETURN_IF_ERROR(Limit(bounds));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &program) != 0) return FromErrno(errno, "load the filter");
  return OkStatus();
}

}  // namespace isla::policyc
