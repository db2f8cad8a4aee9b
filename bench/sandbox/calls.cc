// One call, over and over: allowed, answered by the supervisor's process, by a bare loop on the listener, by a tracer.
#include <errno.h>
#include <fmt/format.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <thread>

#include "bench/sandbox/bench.h"
#include "bench/sandbox/target.h"
#include "sandbox/default_policy.h"
#include "sandbox/supervisor/keeper.h"
#include "sandbox/table/rule_table.h"

namespace isla::bench {
namespace {

using sandbox::Action;

double Plain(const TargetOptions& options) { return Target(options, std::nullopt, false).Nanoseconds(); }

double UnderDefaultPolicy(const TargetOptions& options) {
  static const StatusOr<sandbox::Program> program = sandbox::CompileDefaultPolicy();
  ISLA_CHECK_OK(program);
  return Target(options, *program, false).Nanoseconds();
}

double BareLoop(const TargetOptions& options) {
  Target target(options, AnsweringGetppid(SECCOMP_RET_USER_NOTIF), true);
  const supervisor::Listener listener(std::move(target.listener), target.wait_killable);
  const std::jthread loop([&listener] {
    for (;;) {
      seccomp_notif call{};
      const supervisor::Listener::Received received = listener.Receive(&call);
      if (received == supervisor::Listener::Received::kEnd) return;
      if (received == supervisor::Listener::Received::kCall) listener.Reply(call.id, 42);
    }
  });
  return target.Nanoseconds();
}

/// isla-supervisor itself, kept as the shim and isla-box keep it. `rules`: on paths of another call, besides.
supervisor::Keeper Keep(Target& target, int rules) {
  sandbox::Policy policy;
  for (int i = 0; i < rules; ++i) {
    sandbox::TextTest test;
    test.match = sandbox::Match::kUnder;
    test.pattern = fmt::format("/srv/tenants/{}/data", i);
    policy.Append(SYS_openat, policy.AddRule(fmt::format("rules[{}]", i), Action::Of(Action::Kind::kDeny)), test);
  }
  Action spoof = Action::Of(Action::Kind::kSpoof);
  spoof.value = 42;
  policy.Append(SYS_getppid, policy.AddRule("answer", spoof));
  const StatusOr<std::string> table = sandbox::RuleTable::Build(policy);
  ISLA_CHECK_OK(table);
  supervisor::KeeperOptions options;
  options.program = ProgramFolder() + "/isla-supervisor";
  options.config.policy_version = "bench";
  options.config.calls_per_second = 0;
  options.table = *table;
  StatusOr<supervisor::Keeper> keeper = supervisor::Keeper::Create({std::move(target.listener), target.wait_killable}, std::move(options));
  ISLA_CHECK_OK(keeper);
  ISLA_CHECK_OK(keeper->Spawn());
  return *std::move(keeper);
}

double Supervised(const TargetOptions& options) {
  Target target(options, AnsweringGetppid(SECCOMP_RET_USER_NOTIF), true);
  const supervisor::Keeper keeper = Keep(target, 0);
  return target.Nanoseconds();
}

double PssKib(int rules) {
  Target target({.calls = 1'000, .linger = true}, AnsweringGetppid(SECCOMP_RET_USER_NOTIF), true);
  const supervisor::Keeper keeper = Keep(target, rules);
  target.Nanoseconds();
  const StatusOr<std::string> maps = ReadFile(fmt::format("/proc/{}/smaps_rollup", keeper.pid()));
  ISLA_CHECK_OK(maps);
  const size_t at = maps->find_first_of("0123456789", maps->find("\nPss:"));
  double kib = 0;
  std::from_chars(maps->data() + at, maps->data() + maps->size(), kib);
  return kib;
}

/// One stop a call (SECCOMP_RET_TRACE), registers and 32 bytes behind a pointer are read, the result is set.
double Traced(TargetOptions options) {
  options.traced = true;
  Target target(options, AnsweringGetppid(SECCOMP_RET_TRACE), false);
  const pid_t pid = target.pid();
  int status = 0;
  waitpid(pid, &status, 0);
  ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
  for (int signal = 0;;) {
    ptrace(PTRACE_CONT, pid, nullptr, signal);
    if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status)) break;
    const bool call = status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8);
    signal = call || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
    if (!call) continue;
#if defined(__x86_64__)
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, pid, nullptr, &registers);
    for (unsigned i = 0; i < 4; ++i) (void)ptrace(PTRACE_PEEKDATA, pid, registers.rdi + i * sizeof(long), nullptr);
    registers.orig_rax = ~0ULL;
    registers.rax = 42;
    ptrace(PTRACE_SETREGS, pid, nullptr, &registers);
#endif
  }
  return target.Nanoseconds();
}

}  // namespace

void RunCalls(const SandboxSettings& settings) {
  const TargetOptions plain{.calls = 200'000}, tight{.calls = 10'000}, spaced{.calls = 500, .work_usec = 200};
  Row allowed("allowed by the default policy", "ns", "no filter", Row::By::kRatio, Row::Aim::kAtMost, 1.3);
  Row answered("notified and spoofed", "ns", "bare notify loop", Row::By::kRatio, Row::Aim::kAtMost, 1.25);
  Row traced("notified and spoofed", "ns", "ptrace, registers + string", Row::By::kInverse, Row::Aim::kAtLeast, 3);
  Row answered_spaced("the same, 200 us of work between", "ns", "bare notify loop", Row::By::kRatio, Row::Aim::kAtMost, 1.25);
  Row traced_spaced("the same, 200 us of work between", "ns", "ptrace, registers + string", Row::By::kInverse, Row::Aim::kAtLeast, 3);
  Row one_rule("supervisor after 1,000 calls, 1 rule", "KiB", "", Row::By::kOurs, Row::Aim::kAtMost, 1536);
  Row many_rules("supervisor after 1,000 calls, 100 rules", "KiB", "", Row::By::kOurs, Row::Aim::kAtMost, 1536);
  for (int round = 0; round < settings.rounds; ++round) {
    allowed.Add(UnderDefaultPolicy(plain), Plain(plain));
    const double bare = BareLoop(tight), ours = Supervised(tight);
    answered.Add(ours, bare);
    traced.Add(ours, Traced(tight));
    const double bare_spaced = BareLoop(spaced), ours_spaced = Supervised(spaced);
    answered_spaced.Add(ours_spaced, bare_spaced);
    traced_spaced.Add(ours_spaced, Traced(spaced));
    one_rule.Add(PssKib(0));
    many_rules.Add(PssKib(100));
  }
  for (const Row* row : {&allowed, &answered, &traced, &answered_spaced, &traced_spaced, &one_rule, &many_rules}) row->Print();
}

}  // namespace isla::bench
