#include "sandbox/proof/paths.h"

#include <linux/seccomp.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>

#include "sandbox/bpf/evaluator.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/proof/cells.h"
#include "sandbox/proof/solver.h"

namespace isla::sandbox {
namespace {

constexpr uint32_t kArguments = offsetof(seccomp_data, args);

/// The accumulator: a value that is known, or the masked word at an offset.
struct Accumulator {
  std::optional<uint32_t> value = 0;
  uint32_t offset = 0, mask = 0;
};

/// (word & mask) in values, as a test of the argument that the word is half of.
NumberTest TestOfWord(uint32_t offset, uint32_t mask, const IntervalSet& values) {
  const uint32_t at = offset - kArguments;
  const bool high = at % 8 != 0;
  NumberTest out;
  out.number = static_cast<Number>(at / 8);
  out.width = Width::k64;
  out.mask = high ? uint64_t{mask} << 32 : mask;
  if (!high) {
    out.values = values.Intersection(IntervalSet::Range(0, 0xffffffff));
    return out;
  }
  std::vector<Interval> shifted;
  for (const Interval& each : values.intervals()) shifted.push_back({each.first << 32, each.last << 32});
  out.values = IntervalSet(std::move(shifted));
  return out;
}

class PathFinder {
 public:
  PathFinder(const Program& program, Arch arch, int number, size_t most)
      : program_(program), arch_(AuditArch(arch)), number_(static_cast<uint32_t>(number)), most_(most) {}

  StatusOr<std::vector<ProgramPath>> Run() {
    RETURN_IF_ERROR(Check(program_));
    RETURN_IF_ERROR(Walk(0, {}, {}, {}, 0));
    return std::move(paths_);
  }

 private:
  /// "Taken" by recursion, "not taken" in the loop.
  Status Walk(size_t at, Accumulator a, std::vector<NumberTest> demands, Situation situation, size_t instructions) {
    for (;; ++at) {
      const sock_filter& in = program_[at];
      ++instructions;
      if (in.code == (BPF_RET | BPF_K)) {
        if (paths_.size() >= most_) return Errorf(Code::kResourceExhausted, "more than {} paths", most_);
        paths_.push_back({std::move(demands), situation.Example().arguments, in.k, instructions});
        return OkStatus();
      }
      if (in.code == (BPF_LD | BPF_W | BPF_ABS)) {
        a = Loaded(in.k);
      } else if (in.code == (BPF_ALU | BPF_AND | BPF_K)) {
        if (a.value) a.value = *a.value & in.k;
        a.mask &= in.k;
      } else if (in.code == (BPF_JMP | BPF_JA)) {
        at += in.k;
      } else if (a.value) {
        at += IsTaken(in, *a.value) ? in.jt : in.jf;
      } else {
        RETURN_IF_ERROR(Branch(at, in, a, demands, situation, instructions));
        if (situation.answer() == Answer::kNo) return OkStatus();
        at += in.jf;
      }
    }
  }

  static bool IsTaken(const sock_filter& in, uint32_t value) {
    switch (BPF_OP(in.code)) {
      case BPF_JEQ: return value == in.k;
      case BPF_JGE: return value >= in.k;
      case BPF_JGT: return value > in.k;
      default: return (value & in.k) != 0;
    }
  }
  static IntervalSet Taken(const sock_filter& in) {
    switch (BPF_OP(in.code)) {
      case BPF_JEQ: return IntervalSet::Of(in.k);
      case BPF_JGE: return IntervalSet::Range(in.k, 0xffffffff);
      case BPF_JGT: return in.k == 0xffffffff ? IntervalSet() : IntervalSet::Range(in.k + 1, 0xffffffff);
      default: return IntervalSet::Range(1, 0xffffffff);
    }
  }

  Accumulator Loaded(uint32_t offset) const {
    if (offset == offsetof(seccomp_data, nr)) return {number_, 0, 0};
    if (offset == offsetof(seccomp_data, arch)) return {arch_, 0, 0};
    if (offset >= kArguments) return {std::nullopt, offset, 0xffffffff};
    return {0, 0, 0};  // the instruction pointer: no filter should look at it
  }

  Status Branch(size_t at, const sock_filter& in, const Accumulator& a, std::vector<NumberTest>& demands,
                Situation& situation, size_t instructions) {
    const uint32_t mask = BPF_OP(in.code) == BPF_JSET ? a.mask & in.k : a.mask;
    const IntervalSet taken = Taken(in);
    tests_.push_back(std::make_unique<AnyTest>(TestOfWord(a.offset, mask, taken)));
    const AnyTest& yes = *tests_.back();
    Situation with = situation;
    if (with.Add(yes, true) != Answer::kNo) {
      std::vector<NumberTest> more = demands;
      more.push_back(std::get<NumberTest>(yes));
      RETURN_IF_ERROR(Walk(at + 1 + in.jt, a, std::move(more), std::move(with), instructions));
    }
    demands.push_back(TestOfWord(a.offset, mask, taken.Complement(0xffffffff)));
    situation.Add(yes, false);
    return OkStatus();
  }

  const Program& program_;
  const uint32_t arch_, number_;
  const size_t most_;
  std::vector<ProgramPath> paths_;
  std::vector<std::unique_ptr<AnyTest>> tests_;
};

}  // namespace

StatusOr<std::vector<ProgramPath>> PathsOf(const Program& program, Arch arch, int number, size_t most) {
  return PathFinder(program, arch, number, most).Run();
}

// Verifying --------------------------------------------------------------------------------------------

namespace {

uint32_t ReturnOf(const Action& action) {
  switch (action.kind) {
    case Action::Kind::kAllow: return SECCOMP_RET_ALLOW;
    case Action::Kind::kLog: return SECCOMP_RET_LOG;
    case Action::Kind::kErrno: return SECCOMP_RET_ERRNO | action.error;
    case Action::Kind::kKill: return SECCOMP_RET_KILL_PROCESS;
    default: return SECCOMP_RET_USER_NOTIF;
  }
}

/// All that the rules may decide along one path of the program.
Status VerifyPath(const Policy& policy, int number, const std::vector<CallRule>& rules, const ProgramPath& path) {
  std::vector<AnyTest> demands(path.demands.begin(), path.demands.end());
  CellOptions options;
  for (const AnyTest& demand : demands) options.situation.Add(demand, true);
  std::optional<Cell> wrong;
  bool needs_supervisor = (policy.Needs(number) != 0);
  RETURN_IF_ERROR(ForEachCell(rules, nullptr, options, [&](const Cell& cell) {
    const uint32_t meaning = ReturnOf(policy.ActionOf(cell.first));
    if (meaning == SECCOMP_RET_USER_NOTIF) needs_supervisor = true;
    if (cell.certain && path.result != meaning && path.result != SECCOMP_RET_USER_NOTIF) wrong = cell;
    return !wrong;
  }));
  if (wrong) {
    return Errorf(Code::kInternal, "{}({:#x}): the program says {}, {} says {}", SyscallText(policy.arch, number),
                  fmt::join(wrong->example.arguments, ", "), ActionName(path.result), policy.rules[wrong->first].name,
                  policy.ActionOf(wrong->first).ToText());
  }
  if (path.result == SECCOMP_RET_USER_NOTIF && !needs_supervisor) {
    return Errorf(Code::kInternal, "{}({:#x}) is notified, but arguments decide it", SyscallText(policy.arch, number),
                  fmt::join(path.example, ", "));
  }
  return OkStatus();
}

}  // namespace

Status Verify(const Policy& policy, const Program& program) {
  if (policy.mode != Mode::kEnforce) return Error(Code::kInvalidArgument, "only the mode enforce can be verified");
  static const std::vector<CallRule> kNoRules;
  for (int number = 0; number < kCallNumbers; ++number) {
    const auto found = policy.calls.find(number);
    const std::vector<CallRule>& rules = found == policy.calls.end() ? kNoRules : found->second;
    ASSIGN_OR_RETURN(const std::vector<ProgramPath> paths, PathsOf(program, policy.arch, number));
    for (const ProgramPath& path : paths) RETURN_IF_ERROR(VerifyPath(policy, number, rules, path));
  }
  // Beyond the numbers, and of other architectures, one example tells all: no argument is looked at.
  const uint32_t rest = ReturnOf(policy.rules[0].action);
  const bool x86 = policy.arch == Arch::kX86_64;
  for (const int number : {512, 547, 548, 100'000, 0x40000000, -1}) {
    const bool x32 = x86 && (number < 548 || number >= 0x40000000);
    const uint32_t expected = x32 || (x86 && number < 0) ? SECCOMP_RET_ERRNO | ENOSYS : rest;
    if (RunProgram(program, CallOn(policy.arch, number, {})) != expected) {
      return Errorf(Code::kInternal, "number {} is not answered as it should be", number);
    }
  }
  for (const uint32_t arch : {0u, ~0u, AuditArch(policy.arch) ^ 0x80000000u}) {
    seccomp_data data = CallOn(policy.arch, 0, {});
    data.arch = arch;
    if (RunProgram(program, data) != SECCOMP_RET_KILL_PROCESS) {
      return Error(Code::kInternal, "calls of other architectures are not killed");
    }
  }
  return OkStatus();
}

}  // namespace isla::sandbox
