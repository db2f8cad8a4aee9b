// The compiled program must mean what the policy means: checked on every number and on the values around
// every boundary of every test, against Policy::Decide().
#include "sandbox/bpf/compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <sys/syscall.h>

#include <set>

#include "sandbox/bpf/evaluator.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/names/syscalls.h"
#include "tests/unit/sandbox/random_policy.h"

namespace isla::sandbox {
namespace {

// Numbers without a meaning that matters here: none is among NeverNotified().
constexpr int kCall = 300, kOtherCall = 301;

Condition On(Number number, Width width, IntervalSet values, uint64_t mask = ~uint64_t{0}) {
  return NumberTest{number, width, mask & MaskOf(width), std::move(values)};
}

Program Compiled(const Policy& policy) {
  StatusOr<Filter> filter = Compile(policy);
  EXPECT_TRUE(filter.ok()) << ToString(filter.status());
  if (!filter.ok()) return {BPF_STMT(BPF_RET | BPF_K, 0xdeadbeef)};
  EXPECT_TRUE(Check(filter->program).ok()) << Dump(filter->program);
  return std::move(filter->program);
}

uint32_t ReturnOf(const Action& action) {
  switch (action.kind) {
    case Action::Kind::kAllow: return SECCOMP_RET_ALLOW;
    case Action::Kind::kLog: return SECCOMP_RET_LOG;
    case Action::Kind::kErrno: return SECCOMP_RET_ERRNO | action.error;
    case Action::Kind::kKill: return SECCOMP_RET_KILL_PROCESS;
    default: return SECCOMP_RET_USER_NOTIF;
  }
}

uint32_t Meaning(const Policy& policy, int number, std::array<uint64_t, 6> arguments = {}) {
  NotifiedCall call;
  call.number = number;
  call.arguments = arguments;
  return ReturnOf(policy.ActionOf(policy.Decide(call)));
}

void AddInteresting(const Condition& when, std::set<uint64_t>& values) {
  for (const Condition& part : when.parts()) AddInteresting(part, values);
  if (when.kind() != Condition::Kind::kTest) return;
  const auto& test = std::get<NumberTest>(when.test());
  for (const Interval& each : test.values.intervals()) {
    for (const uint64_t edge : {each.first, each.last}) {
      for (const uint64_t v : {edge - 1, edge, edge + 1}) {
        values.insert({v, v ^ (uint64_t{1} << 32), v | 0xffffffff00000000u, v & test.mask, v | ~test.mask, v ^ test.mask});
      }
    }
  }
}

/// For every value next to an edge of the policy's tests, and with the upper word disturbed.
void ExpectSameMeaning(const Policy& policy, const Program& program, int number) {
  std::set<uint64_t> values = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, ~uint64_t{0}};
  for (const CallRule& rule : policy.calls.at(number)) AddInteresting(rule.when, values);
  for (const uint64_t a : values) {
    for (const uint64_t b : values) {
      ASSERT_EQ(RunProgram(program, CallOn(policy.arch, number, {a, b, a, b, a, b})), Meaning(policy, number, {a, b, a, b, a, b}))
          << "call " << number << " arguments " << a << ", " << b << "\n" << Dump(program);
    }
  }
}

TEST(Compiler, EveryNumberGetsItsAction) {
  Policy policy;
  const RuleId allow = policy.AddRule("allow", Action::Allow()), kill = policy.AddRule("kill", Action::Kill());
  for (int number = 0; number < 470; number += 3) policy.Append(number, number == 6 ? kill : allow);
  const Program program = Compiled(policy);
  for (int number = 0; number < 512; ++number) {
    EXPECT_EQ(RunProgram(program, NativeCall(number)), Meaning(policy, number)) << number;
  }
}

TEST(Compiler, EverySetOfEachWidthAndMaskMatchesItsDefinition) {
  constexpr uint64_t kTop = ~uint64_t{0};
  const std::vector<IntervalSet> sets = {
      IntervalSet(), IntervalSet::All(), IntervalSet::Of(0), IntervalSet::Of(7), IntervalSet::Of(0xffffffff),
      IntervalSet::Of(0x100000000), IntervalSet::Of(0x500000007), IntervalSet::Of(kTop), IntervalSet::Range(0, 6),
      IntervalSet::Range(7, 0xffffffff), IntervalSet::Range(7, 0x500000007), IntervalSet::Range(0x80000000, 0x17fffffff),
      IntervalSet::Range(0x100000000, 0x2ffffffff), IntervalSet::Range(0x4ffffffff, 0x500000000), IntervalSet::Range(1, kTop),
      {{1, 1}, {3, 3}, {5, 5}, {7, 7}, {9, 9}, {11, 11}, {13, 13}, {15, 15}, {100, 200}, {300, 300}},
      {{5, 5}, {0x100000005, 0x100000005}, {0x200000000, 0x2ffffffff}, {0x300000001, kTop - 1}}};
  for (const Width width : {Width::k16, Width::k32, Width::k64}) {
    for (const IntervalSet& set : sets) {
      for (const uint64_t mask : {kTop, uint64_t{0xf00000007}, uint64_t{8}, uint64_t{0x300000000}, uint64_t{0}}) {
        for (const IntervalSet& values : {set, set.Complement()}) {
          Policy policy;
          policy.Append(kCall, policy.AddRule("a", Action::Errno(1)), On(Number::kArgument1, width, values, mask));
          policy.Append(kCall, policy.AddRule("b", Action::Allow()));
          ExpectSameMeaning(policy, Compiled(policy), kCall);
        }
      }
    }
  }
}

TEST(Compiler, FirstRuleWhoseConditionHoldsDecides) {
  Policy policy;
  const Condition four = On(Number::kArgument0, Width::k32, IntervalSet::Of(4));
  policy.Append(kCall, policy.AddRule("a", Action::Errno(1)),
                Condition::And({four, On(Number::kArgument1, Width::k64, IntervalSet::Range(10, ~uint64_t{0}))}));
  policy.Append(kCall, policy.AddRule("b", Action::Allow()), four);
  policy.Append(kCall, policy.AddRule("c", Action::Kill()), On(Number::kArgument1, Width::k64, IntervalSet::Range(0, 2)));
  ExpectSameMeaning(policy, Compiled(policy), kCall);
}

TEST(Compiler, RulesOfOneArgumentBecomeATree) {
  Policy policy;
  for (uint64_t i = 0; i < 200; ++i) {
    policy.Append(kCall, policy.AddRule("r", Action::Errno(static_cast<int>(i % 90) + 1)),
                  On(Number::kArgument1, Width::k32, IntervalSet::Of(i * 7 % 512)));
  }
  const Program program = Compiled(policy);
  for (uint64_t value = 0; value < 600; ++value) {
    ASSERT_EQ(RunProgram(program, NativeCall(kCall, {0, value})), Meaning(policy, kCall, {0, value})) << value;
  }
  // A chain would run through 200 comparisons for the last value; the tree through about its logarithm.
  EXPECT_LT(program.size(), 700u);
}

TEST(Compiler, WhatArgumentsLeaveOpenIsNotified) {
  Policy policy;
  const Condition path = TextTest{Text::kPath0, Match::kUnder, "/etc"};
  const Condition four = On(Number::kArgument0, Width::k32, IntervalSet::Of(4));
  policy.rules[0].action = Action::Errno(38);
  policy.Append(kCall, policy.AddRule("a", Action::Errno(1)), Condition::And({four, path}));
  policy.Append(kCall, policy.AddRule("b", Action::Errno(2)), Condition::Or({On(Number::kArgument1, Width::k32, IntervalSet::Of(9)), path}));
  policy.Append(kCall, policy.AddRule("c", Action::Allow()));
  policy.Append(kOtherCall, policy.AddRule("d", Action::Of(Action::Kind::kDeny)), four);
  policy.Append(kOtherCall, policy.AddRule("e", Action::Kill()), Condition::And({Condition::Not(four), path, Condition::False()}));
  const StatusOr<Filter> filter = Compile(policy);
  ASSERT_TRUE(filter.ok()) << ToString(filter.status());
  const auto run = [&filter](int number, uint64_t a, uint64_t b) { return RunProgram(filter->program, NativeCall(number, {a, b})); };
  EXPECT_EQ(run(kCall, 4, 0), SECCOMP_RET_USER_NOTIF) << "the path decides";
  EXPECT_EQ(run(kCall, 4, 9), SECCOMP_RET_USER_NOTIF) << "errno 1 or 2, by the path";
  EXPECT_EQ(run(kCall, 5, 9), SECCOMP_RET_ERRNO | 2) << "whatever the path is";
  EXPECT_EQ(run(kCall, 5, 0), SECCOMP_RET_USER_NOTIF);
  EXPECT_EQ(run(kOtherCall, 4, 0), SECCOMP_RET_USER_NOTIF) << "an action of the supervisor's";
  EXPECT_EQ(run(kOtherCall, 5, 0), SECCOMP_RET_ERRNO | 38);
  EXPECT_EQ(filter->notified, (std::vector<int>{kCall, kOtherCall}));
  EXPECT_FALSE(filter->notifies_rest);
}

TEST(Compiler, AMillionEvaluationsMeanWhatThePoliciesSay) {
  RandomPolicies random(20261122);
  size_t evaluations = 0, decided = 0, notified = 0;
  for (int round = 0; evaluations < 1'000'000; ++round) {
    RandomPolicies::Shape shape;
    shape.arch = round % 3 == 0 ? Arch::kArm64 : Arch::kX86_64;
    shape.facts = round % 2 == 0;
    shape.supervisor = round % 4 < 2;
    const Policy policy = random.Make(shape);
    const Program program = Compiled(policy);
    for (int i = 0; i < 2000; ++i, ++evaluations) {
      const NotifiedCall call = random.RandomCall();
      const uint32_t result = RunProgram(program, CallOn(policy.arch, call.number, call.arguments));
      if (policy.arch == Arch::kX86_64 && call.number >= 512 && call.number < 548) {
        ASSERT_EQ(result, SECCOMP_RET_ERRNO | 38);
        continue;
      }
      const uint32_t meaning = ReturnOf(policy.ActionOf(policy.Decide(call)));
      if (result == SECCOMP_RET_USER_NOTIF && policy.Needs(call.number) != 0) {
        ++notified;
        continue;
      }
      ++decided;
      ASSERT_EQ(result, meaning) << "round " << round << " call " << call.number << "\n" << Dump(program);
    }
  }
  // Both halves were tested.
  EXPECT_GT(decided, 500'000u);
  EXPECT_GT(notified, 50'000u);
}

TEST(Compiler, ForeignArchitecturesAreKilled) {
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    Policy policy;
    policy.arch = arch;
    policy.rules[0].action = Action::Allow();
    const Program program = Compiled(policy);
    for (const uint32_t other : {uint32_t{AUDIT_ARCH_I386}, uint32_t{AUDIT_ARCH_ARM}, uint32_t{AUDIT_ARCH_X86_64},
                                 uint32_t{AUDIT_ARCH_AARCH64}, 0u, ~0u}) {
      seccomp_data data = CallOn(arch, 1, {});
      data.arch = other;
      EXPECT_EQ(RunProgram(program, data), other == AuditArch(arch) ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS) << other;
    }
  }
}

TEST(Compiler, TheX32RangesGetEnosysOnX86Only) {
  Policy policy;
  policy.rules[0].action = Action::Allow();
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    policy.arch = arch;
    const Program program = Compiled(policy);
    const uint32_t expected = arch == Arch::kX86_64 ? SECCOMP_RET_ERRNO | 38u : uint32_t{SECCOMP_RET_ALLOW};
    for (const int number : {512, 547, 0x40000000, 0x40000001, 0x40000000 + 59, 0x7fffffff, -1}) {
      EXPECT_EQ(RunProgram(program, CallOn(arch, number, {})), expected) << number;
    }
    EXPECT_EQ(RunProgram(program, CallOn(arch, 511, {})), SECCOMP_RET_ALLOW);
    EXPECT_EQ(RunProgram(program, CallOn(arch, 548, {})), SECCOMP_RET_ALLOW);
  }
}

TEST(Compiler, JumpsBeyond255InstructionsArriveWhereTheyShould) {
  Policy policy;
  for (int number = 0; number < 500; ++number) {
    policy.Append(number, policy.AddRule("r", Action::Errno(number % 90 + 1)),
                  On(Number::kArgument0, Width::k64, IntervalSet::Of(static_cast<uint64_t>(number))));
  }
  const Program program = Compiled(policy);
  ASSERT_GT(program.size(), 2000u);
  for (int number = 0; number < 512; ++number) {
    for (const uint64_t a : {static_cast<uint64_t>(number), static_cast<uint64_t>(number) + 1, static_cast<uint64_t>(number) | (uint64_t{1} << 40)}) {
      EXPECT_EQ(RunProgram(program, NativeCall(number, {a})), Meaning(policy, number, {a})) << number;
    }
  }
}

TEST(Compiler, ALongListOfRulesReachesItsFarEnds) {
  // Conditions of two arguments, so that nothing becomes a tree: a chain far longer than a jump spans, whose rules
  // share their ends.
  Policy policy;
  for (uint64_t i = 0; i < 500; ++i) {
    policy.Append(kCall, policy.AddRule("r", Action::Errno(static_cast<int>(i % 3) + 1)),
                  Condition::And({On(Number::kArgument0, Width::k32, IntervalSet::Of(i)),
                                  On(Number::kArgument1, Width::k32, IntervalSet::Range(i, i + 2))}));
  }
  const Program program = Compiled(policy);
  for (uint64_t a = 0; a < 502; ++a) {
    for (const uint64_t b : {a - 1, a, a + 1, a + 2, a + 3}) {
      ASSERT_EQ(RunProgram(program, NativeCall(kCall, {a, b})), Meaning(policy, kCall, {a, b})) << a << " " << b;
    }
  }
}

TEST(Compiler, WhatCantBeCompiledIsRefusedByName) {
  Policy policy;
  const RuleId allow = policy.AddRule("first", Action::Allow());
  policy.Append(SYS_ioctl, allow, NumberTest{Number::kArgument1, Width::k32, ~uint64_t{0}, IntervalSet::Of(1)});
  EXPECT_EQ(Compile(policy).status().code(), Code::kInvalidArgument);
  EXPECT_THAT(Message(Compile(policy).status()), testing::HasSubstr("first: mask"));
  policy.calls.clear();
  policy.rules[allow].action = Action::Errno(0);
  EXPECT_THAT(Message(Compile(policy).status()), testing::HasSubstr("first: errno 0"));
  policy.rules[allow].action = Action::Allow();
  policy.Append(-1, allow);
  EXPECT_EQ(Compile(policy).status().code(), Code::kInvalidArgument);
  policy.calls.clear();
  policy.Append(SYS_read, 77);
  EXPECT_EQ(Compile(policy).status().code(), Code::kInvalidArgument);
  policy.calls.clear();
  for (int number = 0; number < 500; ++number) {
    for (uint64_t i = 0; i < 9; ++i) {
      policy.Append(number, allow, Condition::And({On(Number::kArgument0, Width::k32, IntervalSet::Of(i * 1000 + static_cast<uint64_t>(number))),
                                                   On(Number::kArgument1, Width::k32, IntervalSet::Of(i))}));
    }
  }
  EXPECT_EQ(Compile(policy).status().code(), Code::kResourceExhausted);
}

TEST(Compiler, CallsBeforeAnybodyListensAreNeverNotified) {
  Policy policy;
  for (const std::string_view name : NeverNotified()) {
    ASSERT_NE(FindSyscall(name), nullptr) << name;
    Policy bad = policy;
    bad.Append(*SyscallNumber(kNativeArch, name), bad.AddRule("a", Action::Of(Action::Kind::kDeny)));
    EXPECT_THAT(Message(Compile(bad).status()), testing::HasSubstr(fmt::format("'{}' can't be handed to a supervisor", name)));
  }
  // Learning sees every other call.
  policy.mode = Mode::kLearn;
  policy.Append(SYS_read, policy.AddRule("a", Action::Allow()));
  const StatusOr<Filter> filter = Compile(policy);
  ASSERT_TRUE(filter.ok()) << ToString(filter.status());
  EXPECT_EQ(RunProgram(filter->program, NativeCall(SYS_read)), SECCOMP_RET_ALLOW);
  EXPECT_EQ(RunProgram(filter->program, NativeCall(SYS_execve)), SECCOMP_RET_LOG) << "would have been ENOSYS";
  EXPECT_EQ(RunProgram(filter->program, NativeCall(SYS_openat)), SECCOMP_RET_USER_NOTIF);
  EXPECT_TRUE(filter->notifies_rest);
  policy.mode = Mode::kWarn;
  const StatusOr<Filter> warn = Compile(policy);
  ASSERT_TRUE(warn.ok());
  EXPECT_EQ(RunProgram(warn->program, NativeCall(SYS_read)), SECCOMP_RET_ALLOW);
  EXPECT_EQ(RunProgram(warn->program, NativeCall(SYS_openat)), SECCOMP_RET_USER_NOTIF) << "written down, then goes on";
}

TEST(Compiler, AFloorDecidesBeforeThePolicyUnderIt) {
  Policy floor, policy;
  floor.rules[0].action = Action::Allow();
  const RuleId forbid = floor.AddRule("floor", Action::Errno(1));
  floor.Append(5, forbid, On(Number::kArgument0, Width::k32, IntervalSet::Of(1)));
  floor.Append(6, forbid);
  const RuleId allow = policy.AddRule("allow", Action::Allow());
  policy.Append(5, allow);
  policy.Append(6, allow);
  const Program program = Compiled(UnderFloor(floor, policy));
  EXPECT_EQ(RunProgram(program, NativeCall(5, {1})), SECCOMP_RET_ERRNO | 1);
  EXPECT_EQ(RunProgram(program, NativeCall(5, {2})), SECCOMP_RET_ALLOW);
  EXPECT_EQ(RunProgram(program, NativeCall(6)), SECCOMP_RET_ERRNO | 1);
  EXPECT_EQ(RunProgram(program, NativeCall(7)), SECCOMP_RET_ERRNO | 38);
}

}  // namespace
}  // namespace isla::sandbox
