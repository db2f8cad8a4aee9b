#include "sandbox/default_policy.h"

#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "sandbox/bpf/compiler.h"
#include "sandbox/names/groups.h"
#include "sandbox/names/syscalls.h"

namespace isla::sandbox {
namespace {

/// A call that the architecture lacks (open on arm64) is skipped: there is nothing to allow or deny.
void Add(Policy& policy, std::string_view call, RuleId rule, Condition when = {}) {
  ISLA_CHECK(FindSyscall(call) != nullptr);
  if (const auto number = SyscallNumber(policy.arch, call)) policy.Append(*number, rule, std::move(when));
}

// The floor -----------------------------------------------------------------------------------------

// What a kernel built without the feature answers, so that programs take their other way.
constexpr std::string_view kFloorMissing[] = {
    "io_uring_setup", "io_uring_enter", "io_uring_register",  // runs calls that no filter sees
    "clone3",                                                 // its flags are behind a pointer; libc falls back to clone
    "userfaultfd",
};

// What a process without the privilege is told.
constexpr std::string_view kFloorForbidden[] = {
    // the kernel itself
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "reboot",
    "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "iopl", "ioperm", "vhangup",
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "perf_event_open", "fanotify_init", "nfsservctl", "lookup_dcookie",
    // keys are not namespaced as a container would need
    "add_key", "request_key", "keyctl",
    // mounts and namespaces
    "mount", "umount2", "pivot_root", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "setns", "sethostname", "setdomainname",
    // file handles walk out of a mount
    "open_by_handle_at",
    // another process's memory, registers and descriptors
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "move_pages",
    "migrate_pages",
};

constexpr uint64_t kNamespaceFlags = uint64_t{CLONE_NEWNS} | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                     CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/// True of an argument that has one of these flags.
Condition AnyOf(Number argument, uint64_t flags) {
  return NumberTest{argument, Width::k32, flags, IntervalSet::Range(1, flags)};
}
Condition Is(Number argument, IntervalSet values) {
  return NumberTest{argument, Width::k32, 0xffffffffu, std::move(values)};
}
Condition IsNot(Number argument, IntervalSet values) { return Condition::Not(Is(argument, std::move(values))); }

void AddNamespaceRules(Policy& policy, RuleId eperm) {
  // In clone's flags 0x80 (CLONE_NEWTIME) is part of the exit signal; it counts in unshare only.
  Add(policy, "clone", eperm, AnyOf(Number::kArgument0, kNamespaceFlags));
  Add(policy, "unshare", eperm, AnyOf(Number::kArgument0, kNamespaceFlags | 0x80));
}

void AddSocketRules(Policy& policy) {
  const RuleId family = policy.AddRule("floor: socket families", Action::Errno(EAFNOSUPPORT));
  const RuleId protocol = policy.AddRule("floor: netlink protocols", Action::Errno(EPROTONOSUPPORT));
  const IntervalSet families = {{AF_UNIX, AF_UNIX}, {AF_INET, AF_INET}, {AF_INET6, AF_INET6}, {AF_NETLINK, AF_NETLINK}};
  for (const char* call : {"socket", "socketpair"}) {
    Add(policy, call, family, IsNot(Number::kArgument0, families));
    Add(policy, call, protocol,
        Condition::And({Is(Number::kArgument0, IntervalSet::Of(AF_NETLINK)),
                        IsNot(Number::kArgument2, IntervalSet::Of(0 /* NETLINK_ROUTE */))}));
  }
}

// Writing into a terminal's input: an escape wherever a terminal is shared.
void AddTerminalRules(Policy& policy) {
  const RuleId rule = policy.AddRule("floor: typing into terminals", Action::Errno(EPERM));
  Add(policy, "ioctl", rule, Is(Number::kArgument1, {{TIOCSTI, TIOCSTI}, {TIOCLINUX, TIOCLINUX}}));
}

// The default policy -----------------------------------------------------------------------------------

// The personalities that change nothing a filter relies on: 0, ADDR_NO_RANDOMIZE's absence is wanted,
// UNAME26 and PER_LINUX32 only change what uname says; 0xffffffff asks.
void AddPersonalityRules(Policy& policy, RuleId allow) {
  const RuleId refuse = policy.AddRule("personality", Action::Errno(EPERM));
  Add(policy, "personality", allow,
      Is(Number::kArgument0, {{0, 0}, {0x8, 0x8}, {0x20000, 0x20000}, {0x20008, 0x20008}, {0xffffffff, 0xffffffff}}));
  Add(policy, "personality", refuse);
}

}  // namespace

Policy FloorPolicy(Arch arch) {
  Policy policy;
  policy.arch = arch;
  policy.rules[0].action = Action::Allow();
  const RuleId missing = policy.AddRule("floor: looks missing", Action::Errno(ENOSYS));
  const RuleId forbidden = policy.AddRule("floor: forbidden", Action::Errno(EPERM));
  for (const std::string_view name : kFloorMissing) Add(policy, name, missing);
  for (const std::string_view name : kFloorForbidden) Add(policy, name, forbidden);
  AddNamespaceRules(policy, policy.AddRule("floor: namespaces", Action::Errno(EPERM)));
  AddSocketRules(policy);
  AddTerminalRules(policy);
  return policy;
}

namespace {

Policy DefaultWith(const ViewSection& view, Arch arch) {
  Policy policy;
  policy.arch = arch;
  AddViewRules(view, {}, policy);
  const RuleId base = policy.AddRule("base", Action::Allow());
  const std::optional<Group> container = FindGroup("@container");
  for (const std::string_view name : container->calls) Add(policy, name, base);
  AddPersonalityRules(policy, base);
  return policy;
}

}  // namespace

Policy DefaultPolicy(Arch arch) { return DefaultWith({}, arch); }

void AddViewRules(const ViewSection& view, json::Position position, Policy& policy) {
  const auto add = [&policy, position](std::string_view name, std::string_view call, std::string emulator) {
    const RuleId rule = policy.AddRule(std::string(name), Action::Of(Action::Kind::kEmulate, std::move(emulator)), position);
    policy.rules[rule].where = name;
    policy.Append(*SyscallNumber(policy.arch, call), rule);
  };
  if (view.granted_cpus) add("view.cpus", "sched_getaffinity", "affinity");
  if (view.granted_memory) add("view.memory", "sysinfo", "sysinfo");
}

void AddExecRules(std::string_view field, json::Position position, Policy& policy) {
  constexpr uint64_t kNoExecSeal = 0x8;  // MFD_NOEXEC_SEAL, which Debian 12's headers lack
  const RuleId rule = policy.AddRule(std::string(field) + ".memfd", Action::Errno(EACCES), position);
  policy.rules[rule].where = std::string(field) + " (files in memory)";  // the list itself decides, whatever this rule does
  policy.Append(*SyscallNumber(policy.arch, "memfd_create"), rule, NumberTest{Number::kArgument1, Width::k32, kNoExecSeal, IntervalSet::Of(0)});
}

namespace {

/// Calls that can connect by sending, and where they have their flags.
constexpr std::pair<std::string_view, Number> kSends[] = {{"sendto", Number::kArgument3}, {"sendmsg", Number::kArgument2}, {"sendmmsg", Number::kArgument3}};

}  // namespace

void RefuseFastOpen(RuleId refusal, Policy& policy) {
  for (const auto& [call, flags] : kSends) {
    const auto found = policy.calls.find(*SyscallNumber(policy.arch, call));
    if (found == policy.calls.end()) continue;
    std::vector<CallRule> out;
    for (CallRule& each : found->second) {
      const Action& action = policy.ActionOf(each.rule);
      const bool may_go_on = action.Continues() || action.kind == Action::Kind::kPerform || action.kind == Action::Kind::kProgram;
      if (may_go_on) out.push_back({refusal, Condition::And({each.when, AnyOf(flags, MSG_FASTOPEN)})});
      out.push_back(std::move(each));
    }
    found->second = std::move(out);
  }
}

void AddConnectRules(json::Position position, Policy& policy) {
  const RuleId rule = policy.AddRule("connect.fastopen", Action::Errno(EOPNOTSUPP), position);
  policy.rules[rule].where = "rules";
  RefuseFastOpen(rule, policy);
  for (const auto& [call, flags] : kSends) Add(policy, call, rule, AnyOf(flags, MSG_FASTOPEN));  // before the base
}

ViewedPolicy DefaultWithView(bool cpus, bool memory, Arch arch) {
  ViewedPolicy out;
  out.sections.view.emplace();
  out.sections.view->granted_cpus = cpus;
  out.sections.view->granted_memory = memory;
  out.sections.limits.calls_per_second = 0;  // none of these calls fails on a machine, whoever makes them how often
  out.policy = DefaultWith(*out.sections.view, arch);
  return out;
}

StatusOr<CompiledPolicy> CompileDefaultWithView() {
  const ViewedPolicy viewed = DefaultWithView(true, true, kNativeArch);
  ASSIGN_OR_RETURN(CompiledPolicy out, CompilePolicy(UnderFloor(FloorPolicy(kNativeArch), viewed.policy), viewed.sections, "default", "default"));
  out.floor.clear();  // it is in there
  return out;
}

StatusOr<Program> CompileDefaultPolicy() {
  ASSIGN_OR_RETURN(Filter filter, Compile(UnderFloor(FloorPolicy(kNativeArch), DefaultPolicy(kNativeArch))));
  return std::move(filter.program);
}

}  // namespace isla::sandbox
