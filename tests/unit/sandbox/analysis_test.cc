// What is said of all calls: solver, cells, paths, verification. Compared with what a search through small
// domains, and random calls, find.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "sandbox/bpf/compiler.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/default_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/proof/cells.h"
#include "sandbox/proof/paths.h"
#include "sandbox/proof/solver.h"
#include "tests/unit/sandbox/random_policy.h"

namespace isla::sandbox {
namespace {

TEST(Solver, NumbersUnderMasksAreSolvedAsASearchWould) {
  RandomPolicies random(11);
  size_t solvable = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<MaskedSet> sets;
    for (size_t n = 1 + random.Below(3); n > 0; --n) {
      const uint64_t mask = random.Below(256), a = random.Below(260), b = random.Below(260);
      sets.push_back({mask, IntervalSet::Range(std::min(a, b), std::max(a, b))});
      if (random.Below(3) == 0) sets.back().values = sets.back().values.Complement();
    }
    sets.push_back({~uint64_t{0}, IntervalSet::Range(0, 255)});
    std::optional<uint64_t> smallest;
    for (uint64_t v = 0; v < 256 && !smallest; ++v) {
      const bool all = std::all_of(sets.begin(), sets.end(), [v](const MaskedSet& each) { return each.values.Contains(v & each.mask); });
      if (all) smallest = v;
    }
    const NumberSolution solution = SolveNumber(sets);
    ASSERT_EQ(solution.answer, smallest ? Answer::kYes : Answer::kNo);
    if (smallest) {
      ASSERT_EQ(solution.value, *smallest);
      ++solvable;
    }
  }
  EXPECT_GT(solvable, 3000u);
}

TEST(Solver, WhatItSaysOfTestsTogetherIsTrue) {
  // Random tests: an example must fit; "no" must never be said of tests that a random call fits.
  RandomPolicies random(12);
  size_t yes = 0, no = 0, unknown = 0;
  for (int round = 0; round < 3000; ++round) {
    const Policy policy = random.Make({.calls = 2, .most_rules = 3, .most_depth = 1, .rates = false});
    std::vector<std::pair<AnyTest, bool>> tests;
    const NotifiedCall witness = random.RandomCall();
    for (const auto& [number, rules] : policy.calls) {
      for (const CallRule& rule : rules) {
        if (rule.when.kind() == Condition::Kind::kTest) tests.emplace_back(rule.when.test(), random.Below(2) == 0);
      }
    }
    Situation situation;
    bool witness_fits = true;
    for (const auto& [test, holds] : tests) {
      situation.Add(test, holds);
      witness_fits = witness_fits && Holds(test, witness) == holds;
    }
    if (situation.answer() == Answer::kYes) {
      ++yes;
      const CallExample example = situation.Example();
      for (const auto& [test, holds] : tests) ASSERT_EQ(Holds(test, example.View()), holds);
    } else if (situation.answer() == Answer::kNo) {
      ++no;
      ASSERT_FALSE(witness_fits) << round;
    } else {
      ++unknown;
    }
  }
  EXPECT_GT(yes, 500u);
  EXPECT_GT(no, 50u);
  EXPECT_LT(unknown, yes / 5);
}

TEST(Solver, AddressesOfOneKindFailTheTestsOfTheOthers) {
  const AnyTest path = TextTest{Text::kAddressPath, Match::kUnder, "/run"}, ten = NetworkTest{*IpNetwork::FromText("10.0.0.0/8")},
             part = NetworkTest{*IpNetwork::FromText("10.0.0.0/9")}, rest = NetworkTest{*IpNetwork::FromText("10.128.0.0/9")};
  Situation both;
  both.Add(path, true);
  EXPECT_EQ(both.Add(ten, true), Answer::kNo);
  Situation hole;
  hole.Add(ten, true);
  EXPECT_EQ(hole.Add(part, false), Answer::kYes);
  EXPECT_EQ(hole.Example().address.ToText(), "10.128.0.0:0");
  EXPECT_EQ(hole.Add(rest, false), Answer::kNo) << "both halves are out";
}

TEST(Cells, EveryCallIsInOneAndItsRuleDecides) {
  RandomPolicies random(13);
  size_t cells = 0, in_doubt = 0, calls = 0;
  for (int round = 0; round < 150; ++round) {
    const Policy policy = random.Make({.calls = 2, .most_rules = 4, .most_depth = 2});
    for (const auto& [number, rules] : policy.calls) {
      std::vector<NotifiedCall> some;
      for (int i = 0; i < 100; ++i) {
        some.push_back(random.RandomCall());
        some.back().number = number;
      }
      std::vector<int> found(some.size());
      const Status status = ForEachCell(rules, nullptr, {}, [&](const Cell& cell) {
        ++cells;
        in_doubt += cell.certain ? 0 : 1;
        if (cell.certain) {
          CallExample example = cell.example;
          example.number = number;
          EXPECT_EQ(policy.Decide(example.View()), cell.first);
        }
        for (size_t i = 0; i < some.size(); ++i) {
          const bool in = std::all_of(cell.tests.begin(), cell.tests.end(),
                                      [&](const auto& test) { return Holds(*test.first, some[i]) == test.second; });
          if (!in) continue;
          ++found[i];
          EXPECT_EQ(policy.Decide(some[i]), cell.first);
        }
        return true;
      });
      ASSERT_TRUE(status.ok()) << ToString(status);
      for (const int times : found) ASSERT_EQ(times, 1);
      calls += some.size();
    }
  }
  EXPECT_GT(calls, 10'000u);
  EXPECT_LT(in_doubt, cells / 3);
}

TEST(Cells, AThousandRulesAreGoneThroughQuickly) {
  std::vector<CallRule> rules;
  for (RuleId i = 1; i <= 1000; ++i) {
    rules.push_back({i, NumberTest{Number::kArgument1, Width::k32, 0xffffffff, IntervalSet::Of(i)}});
    rules.push_back({i, TextTest{Text::kPath0, Match::kUnder, fmt::format("/srv/{}", i)}});
  }
  std::set<RuleId> seen;
  ASSERT_TRUE(ForEachCell(rules, nullptr, {}, [&seen](const Cell& cell) { return seen.insert(cell.first), true; }).ok());
  EXPECT_EQ(seen.size(), 1001u);
  EXPECT_EQ(ForEachCell(rules, nullptr, {.most_cells = 10, .situation = {}}, [](const Cell&) { return true; }).code(), Code::kResourceExhausted);
}

TEST(Cells, WhatCanHoldAndWhatCant) {
  const Condition four = NumberTest{Number::kArgument0, Width::k32, 0xffffffff, IntervalSet::Of(4)};
  const Condition flag = NumberTest{Number::kArgument0, Width::k32, 3, IntervalSet::Of(1)};
  const Condition etc = TextTest{Text::kPath0, Match::kUnder, "/etc"}, shadow = TextTest{Text::kPath0, Match::kExact, "/etc/shadow"};
  EXPECT_EQ(CanHold(Condition::And({four, flag})), Answer::kNo);
  EXPECT_EQ(CanHold(Condition::And({four, Condition::Not(flag)})), Answer::kYes);
  EXPECT_EQ(CanHold(Condition::And({shadow, Condition::Not(etc)})), Answer::kNo);
  EXPECT_EQ(CanHold(Condition::And({etc, Condition::Not(shadow)})), Answer::kYes);
  EXPECT_EQ(CanHold(Condition::Or({Condition::And({four, flag}), etc})), Answer::kYes);
  EXPECT_EQ(CanHold(Condition::False()), Answer::kNo);
}

TEST(Paths, EveryRunOfAProgramIsOnOneOfThem) {
  RandomPolicies random(14);
  for (int round = 0; round < 60; ++round) {
    const Policy policy = random.Make({.calls = 2, .most_rules = 4, .most_depth = 2});
    const Program program = Compile(policy)->program;
    for (const auto& [number, rules] : policy.calls) {
      const auto paths = PathsOf(program, policy.arch, number);
      ASSERT_TRUE(paths.ok()) << ToString(paths.status());
      for (const ProgramPath& path : *paths) {
        EXPECT_EQ(RunProgram(program, CallOn(policy.arch, number, path.example)), path.result);
      }
      for (int i = 0; i < 200; ++i) {
        const NotifiedCall call = random.RandomCall();
        size_t on = 0;
        for (const ProgramPath& path : *paths) {
          const bool fits = std::all_of(path.demands.begin(), path.demands.end(),
                                        [&call](const NumberTest& demand) { return Holds(AnyTest(demand), call); });
          if (!fits) continue;
          ++on;
          EXPECT_EQ(RunProgram(program, CallOn(policy.arch, number, call.arguments)), path.result);
        }
        ASSERT_EQ(on, 1u);
      }
    }
  }
}

TEST(Verify, CompiledPoliciesAreProvenToMeanWhatTheySay) {
  RandomPolicies random(15);
  for (int round = 0; round < 40; ++round) {
    RandomPolicies::Shape shape;
    shape.arch = round % 2 == 0 ? Arch::kX86_64 : Arch::kArm64;
    shape.most_rules = 4;
    shape.most_depth = 2;
    const Policy policy = random.Make(shape);
    const Status status = Verify(policy, Compile(policy)->program);
    ASSERT_TRUE(status.ok()) << ToString(status);
  }
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    const Policy policy = UnderFloor(FloorPolicy(arch), DefaultPolicy(arch));
    const Status status = Verify(policy, Compile(policy)->program);
    EXPECT_TRUE(status.ok()) << ToString(status);
  }
}

TEST(Verify, EveryWrongInstructionIsFound) {
  Policy policy;
  const auto is = [](Number number, uint64_t value) -> Condition {
    return NumberTest{number, Width::k64, ~uint64_t{0}, IntervalSet::Of(value)};
  };
  policy.Append(300, policy.AddRule("a", Action::Errno(1)), Condition::And({is(Number::kArgument0, 5), is(Number::kArgument1, 7)}));
  policy.Append(300, policy.AddRule("b", Action::Allow()), NumberTest{Number::kArgument2, Width::k32, 6, IntervalSet::Of(2)});
  policy.Append(301, 2);
  const Program program = Compile(policy)->program;
  ASSERT_TRUE(Verify(policy, program).ok());
  for (size_t i = 0; i < program.size(); ++i) {
    Program wrong = program;
    if (wrong[i].code == (BPF_LD | BPF_W | BPF_ABS)) wrong[i].k = wrong[i].k == 0 ? 16 : 0;
    else wrong[i].k ^= 1;
    EXPECT_FALSE(Verify(policy, wrong).ok()) << i << "\n" << Dump(wrong);
  }
}

}  // namespace
}  // namespace isla::sandbox
