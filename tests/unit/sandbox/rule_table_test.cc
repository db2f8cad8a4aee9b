// The rule table must decide as the policy does; and nothing but a sound table is taken from bytes.
#include "sandbox/table/rule_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <random>

#include "tests/unit/sandbox/random_policy.h"

namespace isla::sandbox {
namespace {

RuleTable Table(const Policy& policy) {
  const StatusOr<std::string> bytes = RuleTable::Build(policy);
  EXPECT_TRUE(bytes.ok()) << ToString(bytes.status());
  StatusOr<RuleTable> table = RuleTable::FromBytes(*bytes);
  EXPECT_TRUE(table.ok()) << ToString(table.status());
  return *std::move(table);
}

NotifiedCall Open(std::string_view path) {
  NotifiedCall call;
  call.number = 257;
  call.known = 0xff;
  call.paths[0] = path;
  return call;
}

TEST(RuleTable, DecidesAMillionCallsAsThePolicyDoes) {
  RandomPolicies random(42);
  size_t calls = 0;
  std::vector<size_t> by_kind(16);
  for (int round = 0; calls < 1'000'000; ++round) {
    RandomPolicies::Shape shape;
    shape.most_rules = round % 5 == 0 ? 60 : 6;  // with an index, and without
    shape.rates = round % 2 == 0;
    const Policy policy = random.Make(shape);
    const RuleTable table = Table(policy);
    ASSERT_LE(table.rate_buckets(), random.buckets());
    RateBuckets ours(random.buckets()), theirs(random.buckets());
    uint64_t now = 1'000'000'000;
    for (int i = 0; i < 1000; ++i, ++calls) {
      NotifiedCall call = random.RandomCall();
      now += random.Below(300'000'000);
      call.now_ns = now;
      if (random.Below(50) == 0) call.known = static_cast<Facts>(random.Below(256));
      call.rates = &ours;
      const RuleId expected = policy.Decide(call);
      call.rates = &theirs;
      const Decision decision = table.Decide(call);
      ASSERT_EQ(decision.rule, expected) << "round " << round << " call " << call.number << " path " << call.paths[0];
      if (expected == kUnreadable) {
        ASSERT_EQ(decision.error, EFAULT);
      } else if (policy.ActionOf(expected).kind == Action::Kind::kErrno) {
        ASSERT_EQ(decision.error, policy.ActionOf(expected).error);
      }
      ASSERT_EQ(table.Needs(call.number), policy.Needs(call.number));
      ++by_kind[static_cast<size_t>(decision.kind)];
    }
  }
  for (const Decision::Kind kind : {Decision::Kind::kContinue, Decision::Kind::kErrno, Decision::Kind::kKill,
                                    Decision::Kind::kSpoof, Decision::Kind::kEmulate, Decision::Kind::kPerform}) {
    EXPECT_GT(by_kind[static_cast<size_t>(kind)], 1000u) << static_cast<int>(kind);
  }
}

TEST(RuleTable, ManyPathsOfOneCallAreFoundByTheirBeginnings) {
  Policy policy;
  policy.rules[0].action = Action::Allow();
  for (int i = 0; i < 1000; ++i) {
    const RuleId rule = policy.AddRule(fmt::format("r{}", i), Action::Errno(i % 100 + 1));
    const std::string path = fmt::format("/srv/{}/data{}", i % 10, i);
    policy.Append(257, rule, i % 3 == 0   ? Condition(TextTest{Text::kPath0, Match::kExact, path})
                             : i % 3 == 1 ? Condition(TextTest{Text::kPath0, Match::kUnder, path})
                                          : Condition(TextTest{Text::kPath0, Match::kGlob, path + "/*.so"}));
  }
  const RuleId odd = policy.AddRule("uid", Action::Kill());
  policy.Append(257, odd, NumberTest{Number::kUid, Width::k32, 0xffffffff, IntervalSet::Of(7)});
  const RuleTable table = Table(policy);
  for (int i = 0; i < 1000; ++i) {
    for (const char* suffix : {"", "/", "/x", "/x.so", "x", "/y/x.so"}) {
      const std::string path = fmt::format("/srv/{}/data{}{}", i % 10, i, suffix);
      ASSERT_EQ(table.Decide(Open(path)).rule, policy.Decide(Open(path))) << path;
    }
  }
  NotifiedCall call = Open("/none");
  call.uid = 7;
  EXPECT_EQ(table.Decide(call).rule, odd) << "a rule without a path is looked at, too";
  EXPECT_EQ(table.RuleName(odd), "uid");
  EXPECT_EQ(table.RuleName(kUnreadable), "unreadable");
  EXPECT_EQ(table.RuleName(77'777), "");
}

// Names of all lengths, so that a '/' is at every place of the bytes that are looked at together; and conditions that say more than
// that the text is this path, or less.
TEST(RuleTable, IndexedRulesDecideAsThePolicyDoesForTextsOfAllShapes) {
  struct {
    size_t Below(size_t limit) { return engine() % limit; }
    std::mt19937_64 engine{20'261'123};
  } random;
  const auto name = [&random] { return std::string(random.Below(11), static_cast<char>('a' + random.Below(2))); };
  const auto path_of = [&random, &name](size_t parts) {
    std::string out;
    for (size_t i = 0; i < parts; ++i) out += "/" + name();
    return out + (random.Below(8) == 0 ? "/" : "");
  };
  size_t held = 0;
  for (int round = 0; round < 300; ++round) {
    Policy policy;
    policy.rules[0].action = Action::Allow();
    const Text text = random.Below(2) == 0 ? Text::kPath0 : Text::kAddressPath;
    std::vector<std::string> paths;
    for (int i = 0; i < 40; ++i) paths.push_back(path_of(1 + random.Below(4)));
    const auto test = [&paths, &random, text] {
      constexpr Match kMatches[] = {Match::kExact, Match::kUnder, Match::kGlob};
      return Condition(TextTest{text, kMatches[random.Below(3)], paths[random.Below(paths.size())]});
    };
    const Condition owner = NumberTest{Number::kUid, Width::k32, 0xffffffff, IntervalSet::Of(7)};
    for (int i = 0; i < 20; ++i) {
      const RuleId rule = policy.AddRule(fmt::format("r{}", i), Action::Errno(static_cast<uint16_t>(i + 1)));
      switch (random.Below(5)) {
        case 0: policy.Append(257, rule, Condition::And({test(), owner})); break;
        case 1: policy.Append(257, rule, Condition::Or({test(), test()})); break;
        case 2: policy.Append(257, rule, Condition::Or({test(), Condition::And({test(), owner})})); break;
        default: policy.Append(257, rule, test());
      }
    }
    const RuleTable table = Table(policy);
    for (int i = 0; i < 300; ++i) {
      std::string looked_up = paths[random.Below(paths.size())];
      if (random.Below(2) == 0) looked_up += path_of(1 + random.Below(2));
      if (random.Below(4) == 0) looked_up = looked_up.substr(0, random.Below(looked_up.size() + 1));
      NotifiedCall call = Open(looked_up);
      call.known |= kFactAddress;
      call.address.family = random.Below(4) == 0 ? AF_INET : AF_UNIX;
      call.address.path = looked_up;
      call.uid = random.Below(2) == 0 ? 7 : 8;
      const Decision decision = table.Decide(call);
      ASSERT_EQ(decision.rule, policy.Decide(call)) << looked_up;
      held += decision.rule != 0 ? 1 : 0;
    }
  }
  EXPECT_GT(held, 10'000u);
}

TEST(RuleTable, AnActionsParametersArriveInTheDecision) {
  Policy policy;
  const auto add = [&policy](int number, Action action) { policy.Append(number, policy.AddRule("r", std::move(action))); };
  add(1, Action::Of(Action::Kind::kDeny));
  add(2, {Action::Kind::kSpoof, 0, -5, {}});
  add(3, Action::Of(Action::Kind::kFile, std::string("a\0b", 3)));
  add(4, Action::Of(Action::Kind::kRedirectAddress, "[::1]:8080"));
  add(5, Action::Of(Action::Kind::kProgram, "on_open"));
  add(6, Action::Of(Action::Kind::kLog));
  add(7, Action::Of(Action::Kind::kRedirect, "/x"));
  const RuleTable table = Table(policy);
  const auto decide = [&table](int number) {
    NotifiedCall call;
    call.number = number;
    return table.Decide(call);
  };
  EXPECT_EQ(decide(1).kind, Decision::Kind::kErrno);
  EXPECT_EQ(decide(1).error, EPERM);
  EXPECT_TRUE(decide(1).audit);
  EXPECT_EQ(decide(2).value, -5);
  EXPECT_EQ(decide(3).text, std::string_view("a\0b", 3));
  EXPECT_EQ(decide(4).address.ToText(), "[::1]:8080");
  EXPECT_EQ(decide(5).text, "on_open");
  EXPECT_EQ(decide(6).kind, Decision::Kind::kContinue);
  EXPECT_TRUE(decide(6).audit);
  EXPECT_EQ(decide(7).kind, Decision::Kind::kRedirect);
  EXPECT_EQ(decide(8).error, 38) << "the default";
  EXPECT_EQ(decide(100'000).error, 38);
  EXPECT_EQ(decide(-1).error, 38);
}

TEST(RuleTable, WarnLetsRefusalsGoOnAndLearnEverything) {
  Policy policy;
  policy.Append(1, policy.AddRule("a", Action::Errno(5)));
  policy.Append(2, policy.AddRule("b", Action::Of(Action::Kind::kEmulate, "affinity")));
  policy.Append(3, policy.AddRule("c", Action::Allow()));
  NotifiedCall call;
  const auto decide = [&](Mode mode, int number) {
    policy.mode = mode;
    call.number = number;
    return Table(policy).Decide(call);
  };
  EXPECT_EQ(decide(Mode::kWarn, 1).kind, Decision::Kind::kContinue);
  EXPECT_EQ(decide(Mode::kWarn, 1).enforced, Decision::Kind::kErrno);
  EXPECT_TRUE(decide(Mode::kWarn, 1).audit);
  EXPECT_EQ(decide(Mode::kWarn, 2).kind, Decision::Kind::kEmulate);
  EXPECT_FALSE(decide(Mode::kWarn, 3).audit);
  EXPECT_EQ(decide(Mode::kLearn, 2).kind, Decision::Kind::kContinue);
  EXPECT_TRUE(decide(Mode::kLearn, 3).audit);
}

TEST(RuleTable, WhatCouldNotBeReadIsNotDecidedUpon) {
  Policy policy;
  policy.Append(257, policy.AddRule("a", Action::Errno(5)), TextTest{Text::kPath0, Match::kUnder, "/etc"});
  policy.Append(257, policy.AddRule("b", Action::Of(Action::Kind::kPerform)));
  const RuleTable table = Table(policy);
  NotifiedCall call = Open("/etc/x");
  EXPECT_EQ(table.Decide(call).error, 5);
  call.known = kFactUid;
  EXPECT_EQ(table.Decide(call).rule, kUnreadable);
  EXPECT_EQ(table.Decide(call).error, EFAULT);
  EXPECT_EQ(table.Needs(257), kFactPath0);
  EXPECT_EQ(table.Needs(1), 0);
  EXPECT_EQ(table.Needs(-1), 0);
}

TEST(RuleTable, DamagedBytesAreRefusedOrHarmless) {
  RandomPolicies random(3);
  RandomPolicies::Shape shape;
  shape.most_rules = 40;
  shape.rates = true;
  const std::string bytes = *RuleTable::Build(random.Make(shape));
  EXPECT_FALSE(RuleTable::FromBytes("").ok());
  EXPECT_FALSE(RuleTable::FromBytes(bytes.substr(0, bytes.size() - 1)).ok());
  EXPECT_FALSE(RuleTable::FromBytes(bytes + "x").ok());
  size_t taken = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = bytes;
    for (size_t n = 1 + random.Below(3); n > 0; --n) damaged[random.Below(damaged.size())] = static_cast<char>(random.Below(256));
    const StatusOr<RuleTable> table = RuleTable::FromBytes(damaged);
    if (!table.ok()) continue;
    ++taken;
    RateBuckets rates(table->rate_buckets() % 1000);
    for (int i = 0; i < 5; ++i) {
      NotifiedCall call = random.RandomCall();
      call.rates = &rates;
      (void)table->RuleName(table->Decide(call).rule);
    }
  }
  EXPECT_GT(taken, 100u);
}

}  // namespace
}  // namespace isla::sandbox
