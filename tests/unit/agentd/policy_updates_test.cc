// New versions of the policy of what runs: told by a delta, compiled, handed to the shim, reported; and what becomes of it wherever agentd dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/base/uuid.h"
#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::string TextOf(const std::string& version) { return "{" + version + "}"; }
std::string HashOf(const std::string& version) { return Sha256Hex(TextOf(version)); }

/// The container as it was bound with `bound`, and should have `wanted` by now.
isla::v1::Delta DeltaOf(FakeNode& node, const ContainerKey& key, const std::string& bound, const std::string& wanted, bool with_text = true) {
  isla::v1::LaunchSpec launch = SmallLaunch();
  launch.set_sandbox_policy("web");
  launch.set_sandbox_policy_hash(HashOf(bound));
  isla::v1::Delta delta = node.RunDelta(key, launch);
  delta.mutable_upserts(0)->set_hash("hash with " + wanted);
  delta.mutable_upserts(0)->mutable_live()->set_sandbox_policy_hash(HashOf(wanted));
  if (with_text) {
    delta.add_policies()->set_hash(HashOf(wanted));
    delta.mutable_policies(0)->set_text(TextOf(wanted));
  }
  return delta;
}

isla::v1::Delta Full(isla::v1::Delta delta) {
  delta.set_full(true);
  delta.set_expected_count(static_cast<uint64_t>(delta.upserts_size()));
  return delta;
}

ShimPolicy TakesRestart(const std::string& version) { return {"", "", HashOf(version), "it takes effect at a restart, as it changes: files", true}; }

class PolicyUpdatesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    node_.StartAgent();
    node_.Run();
    node_.Connect();
    Tell("one");
    ASSERT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
    ASSERT_EQ(InForce(), HashOf("one"));
  }
  void Tell(const std::string& version, bool with_text = true) {
    const auto ack = node_.SendDelta(DeltaOf(node_, key_, "one", version, with_text));
    ASSERT_TRUE(ack.has_value() && ack->nacks().empty() && ack->refused().empty());
    node_.Run();
  }
  void Restart() {
    node_.KillAgent();
    node_.StartAgent();
    node_.Run();
    node_.Connect();
    node_.Run();
  }
  std::string InForce() { return node_.shims[key_].policy; }
  const isla::v1::PolicyReport& Reported() { return node_.reports[key_].sandbox_policy(); }

  FakeNode node_;
  const ContainerKey key_ = TestKey(1);
};

TEST_F(PolicyUpdatesTest, ANewVersionIsCompiledHandedToTheShimAndReported) {
  EXPECT_EQ(Reported().in_force(), HashOf("one"));
  EXPECT_TRUE(node_.swapped.empty());
  Tell("two");
  EXPECT_EQ(InForce(), HashOf("two"));
  EXPECT_THAT(node_.prepared, ElementsAre("web", "web"));
  EXPECT_EQ(Reported().in_force(), HashOf("two"));
  EXPECT_EQ(Reported().reason(), "");
  EXPECT_EQ(node_.payload_starts[key_], 1);
  Tell("two", false);  // the same once more
  EXPECT_THAT(node_.swapped, SizeIs(1));
}

TEST_F(PolicyUpdatesTest, WhatIsTheSameIsNotReportedAgain) {
  const uint64_t before = node_.reports[key_].sequence();
  node_.Run(seconds(300));
  EXPECT_EQ(node_.reports[key_].sequence(), before);
  Tell("two");
  EXPECT_EQ(node_.reports[key_].sequence(), before + 1);
}

TEST_F(PolicyUpdatesTest, OneThatTakesARestartIsReportedAndNotTriedAgain) {
  node_.swap_refusals[HashOf("two")] = TakesRestart("two");
  Tell("two");
  node_.Run(seconds(600));
  EXPECT_THAT(node_.swapped, SizeIs(1));
  EXPECT_EQ(Reported().in_force(), HashOf("one"));
  EXPECT_EQ(Reported().refused(), HashOf("two"));
  EXPECT_EQ(Reported().reason(), "PolicyRestartRequired");
  EXPECT_THAT(Reported().message(), HasSubstr("as it changes: files"));
  // The next one is another matter.
  Tell("three");
  EXPECT_EQ(Reported().in_force(), HashOf("three"));
  EXPECT_EQ(Reported().reason(), "");
}

TEST_F(PolicyUpdatesTest, ARefusalSaysWhichCallsOnceTheVersionsWereCompared) {
  node_.swap_refusals[HashOf("three")] = TakesRestart("three");
  node_.changes[HashOf("three")] = {"filter of one", false, "mkdir: allow -> deny (restart)"};
  Tell("two");
  Tell("three");
  EXPECT_THAT(node_.compared, ElementsAre(HashOf("one") + " " + HashOf("three"))) << "its filter is that of the start";
  EXPECT_EQ(Reported().reason(), "PolicyRestartRequired");
  EXPECT_THAT(Reported().message(), HasSubstr("as it changes: files: mkdir: allow -> deny (restart)"));
  EXPECT_EQ(Reported().in_force(), HashOf("two"));
}

TEST_F(PolicyUpdatesTest, AnotherFilterThatMeansTheSameIsHandedOverWithWhatItWasComparedWith) {
  node_.swap_refusals[HashOf("two")] = TakesRestart("two");
  node_.changes[HashOf("two")] = {"filter of one", true, ""};
  Tell("two");
  EXPECT_THAT(node_.swapped, ElementsAre(HashOf("two"), HashOf("two") + " after filter of one"));
  EXPECT_EQ(Reported().in_force(), HashOf("two"));
  EXPECT_EQ(Reported().reason(), "");
  // What it was started with is still there to compare with, however many came since, and whichever agentd does it.
  node_.swap_refusals[HashOf("four")] = TakesRestart("four");
  node_.changes[HashOf("four")] = {"filter of one", true, ""};
  Tell("three");
  Restart();
  Tell("four");
  EXPECT_EQ(node_.compared.back(), HashOf("one") + " " + HashOf("four"));
  EXPECT_EQ(Reported().in_force(), HashOf("four"));
}

TEST_F(PolicyUpdatesTest, OneThatDoesNotCompileLeavesTheOldInForceAndSaysSo) {
  node_.prepare_errors.push_back(Error(Code::kInvalidArgument, "spec.rules[0]: no"));
  Tell("two");
  node_.Run(seconds(600));
  EXPECT_EQ(InForce(), HashOf("one"));
  EXPECT_TRUE(node_.swapped.empty());
  EXPECT_EQ(Reported().reason(), "PolicyNotCompiled");
  EXPECT_EQ(Reported().message(), "spec.rules[0]: no");
}

TEST_F(PolicyUpdatesTest, WhatMayPassIsTriedAgain) {
  for (int i = 0; i < 3; ++i) node_.prepare_errors.push_back(Error(Code::kDeadlineExceeded, "slow"));
  Tell("two");
  EXPECT_EQ(Reported().reason(), "PolicyNotCompiled");
  node_.Run(seconds(60));
  EXPECT_EQ(InForce(), HashOf("two"));
  EXPECT_EQ(Reported().in_force(), HashOf("two"));
  EXPECT_EQ(Reported().reason(), "");
}

TEST_F(PolicyUpdatesTest, ASupervisorThatDoesNotTakeItIsTriedAgain) {
  node_.swap_refusals[HashOf("two")] = {"", "", HashOf("two"), "the supervisor didn't answer", false};
  Tell("two");
  EXPECT_EQ(Reported().reason(), "PolicyNotApplied");
  node_.swap_refusals.clear();
  node_.Run(seconds(60));
  EXPECT_EQ(InForce(), HashOf("two"));
  EXPECT_EQ(Reported().reason(), "");
}

TEST_F(PolicyUpdatesTest, AnAnswerThatIsLostIsHadByAskingAgain) {
  node_.swaps_unanswered = 1;
  Tell("two");
  EXPECT_EQ(InForce(), HashOf("two"));
  EXPECT_EQ(Reported().in_force(), HashOf("one"));
  node_.Run(seconds(60));
  EXPECT_EQ(Reported().in_force(), HashOf("two"));
  EXPECT_EQ(Reported().reason(), "");
  EXPECT_THAT(node_.swapped, SizeIs(2));
}

TEST_F(PolicyUpdatesTest, AShimThatNeverAnswersIsToldOf) {
  node_.shims[key_].hung = true;
  Tell("two");
  node_.Run(seconds(300));
  EXPECT_EQ(Reported().reason(), "PolicyNotApplied");
  EXPECT_EQ(Reported().message(), "its shim does not answer");
  EXPECT_LT(node_.swapped.size(), 12u) << "with pauses that grow";
}

TEST_F(PolicyUpdatesTest, VersionsThatCameAndWentArePassedOver) {
  for (const char* version : {"two", "three", "four", "five"}) node_.PostDelta(DeltaOf(node_, key_, "one", version));
  node_.Run();
  EXPECT_EQ(InForce(), HashOf("five"));
  EXPECT_EQ(Reported().in_force(), HashOf("five"));
  EXPECT_LE(node_.swapped.size(), 2u);
}

TEST_F(PolicyUpdatesTest, ItGoesBackToAnOlderVersion) {
  Tell("two");
  Tell("one");
  EXPECT_EQ(InForce(), HashOf("one"));
  EXPECT_EQ(Reported().in_force(), HashOf("one"));
}

TEST_F(PolicyUpdatesTest, AVersionWithoutItsTextWaitsForIt) {
  Tell("two", false);
  EXPECT_EQ(InForce(), HashOf("one"));
  EXPECT_EQ(Reported().reason(), "PolicyChanged");
  // A policy that was removed, and applied again: the hash is the same.
  Restart();
  const auto hello = std::find_if(node_.sent.rbegin(), node_.sent.rend(), [](const auto& message) { return message.has_hello(); });
  ASSERT_NE(hello, node_.sent.rend());
  EXPECT_TRUE(hello->hello().inventory(0).lacks_policy());
  Tell("two");
  EXPECT_EQ(InForce(), HashOf("two"));
  EXPECT_EQ(Reported().in_force(), HashOf("two"));
  EXPECT_EQ(Reported().reason(), "");
}

TEST_F(PolicyUpdatesTest, ARestartedAgentReportsWhatTheShimHasInForce) {
  Tell("two");
  node_.reports.clear();
  Restart();
  EXPECT_EQ(Reported().in_force(), HashOf("two"));
  EXPECT_THAT(node_.swapped, SizeIs(1)) << "it is in force";
}

TEST_F(PolicyUpdatesTest, ARefusalIsFoundOutAgainAfterARestart) {
  node_.swap_refusals[HashOf("two")] = TakesRestart("two");
  Tell("two");
  node_.reports.clear();
  Restart();
  EXPECT_EQ(Reported().reason(), "PolicyRestartRequired");
  EXPECT_EQ(Reported().in_force(), HashOf("one"));
}

TEST_F(PolicyUpdatesTest, WhatHasNotStartedStartsWithTheNewest) {
  const ContainerKey key = TestKey(2);
  const auto ack = node_.SendDelta(DeltaOf(node_, key, "one", "two"));
  ASSERT_TRUE(ack.has_value() && ack->nacks().empty());
  node_.Run(seconds(5));
  EXPECT_EQ(node_.shims[key].policy_at_start, HashOf("two"));
  EXPECT_TRUE(node_.swapped.empty());
  EXPECT_EQ(node_.reports[key].sandbox_policy().in_force(), HashOf("two"));
  // And that one is compared with from then on.
  node_.swap_refusals[HashOf("four")] = TakesRestart("four");
  for (const char* version : {"three", "four"}) ASSERT_TRUE(node_.SendDelta(DeltaOf(node_, key, "one", version)).has_value());
  node_.Run(seconds(5));
  EXPECT_THAT(node_.compared, ElementsAre(HashOf("two") + " " + HashOf("four")));
}

TEST_F(PolicyUpdatesTest, AStoppedOrUnknownContainerIsLeftAlone) {
  node_.shims[key_].hung = true;
  ASSERT_TRUE(node_.SendDelta(node_.StopDelta(key_, 60'000)).has_value());
  const auto ack = node_.SendDelta(DeltaOf(node_, key_, "one", "two"));
  ASSERT_TRUE(ack.has_value());
  node_.Run();
  EXPECT_TRUE(node_.swapped.empty());
  isla::v1::Delta none;
  none.set_full(true);
  ASSERT_TRUE(node_.SendDelta(none).has_value());
  node_.Run();
  EXPECT_TRUE(node_.swapped.empty());
}

TEST(PolicyUpdatesCrash, WhereverAgentdDiesTheNewestIsInForceAndReportedInTheEnd) {
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    for (int steps = 0; steps < 40; ++steps) {
      SCOPED_TRACE(fmt::format("seed {} steps {}", seed, steps));
      FakeNode node(seed);
      const ContainerKey key = TestKey(1);
      node.StartAgent();
      node.Run();
      node.Connect();
      ASSERT_TRUE(node.SendDelta(DeltaOf(node, key, "one", "one")).has_value());
      node.Run();
      const bool refused = seed % 4 == 0;
      if (refused) node.swap_refusals[HashOf("three")] = TakesRestart("three");
      node.PostDelta(DeltaOf(node, key, "one", "two"));
      node.PostDelta(DeltaOf(node, key, "one", "three"));
      for (int i = 0; i < steps; ++i) node.Step();
      node.KillAgent();
      for (int i = 0; i < static_cast<int>(seed % 3); ++i) node.Step();
      node.StartAgent();
      node.Run();
      node.Connect();
      ASSERT_TRUE(node.SendDelta(Full(DeltaOf(node, key, "one", "three"))).has_value());
      node.Run(seconds(120));
      const isla::v1::PolicyReport& report = node.reports[key].sandbox_policy();
      EXPECT_EQ(report.in_force(), node.shims[key].policy);
      if (refused) {
        EXPECT_EQ(report.refused(), HashOf("three"));
        EXPECT_EQ(report.reason(), "PolicyRestartRequired");
        EXPECT_NE(node.shims[key].policy, HashOf("three"));
      } else {
        EXPECT_EQ(report.in_force(), HashOf("three"));
        EXPECT_EQ(report.reason(), "");
      }
      EXPECT_EQ(node.payload_starts[key], 1);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace isla::agent
