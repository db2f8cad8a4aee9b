// Containers under a SandboxPolicy: its text comes with the delta, is journalled with the container, compiled before the shim is spawned.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/base/uuid.h"
#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

class PolicyStartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    node_.StartAgent();
    node_.Run();
    node_.Connect();
  }
  isla::v1::Delta Delta(const ContainerKey& key, bool with_text = true) {
    isla::v1::LaunchSpec launch = SmallLaunch();
    launch.set_sandbox_policy("web");
    launch.set_sandbox_policy_hash(Sha256Hex("{the text}"));
    isla::v1::Delta delta = node_.RunDelta(key, launch);
    if (with_text) {
      delta.add_policies()->set_hash(Sha256Hex("{the text}"));
      delta.mutable_policies(0)->set_text("{the text}");
    }
    return delta;
  }

  FakeNode node_;
  const ContainerKey key_ = TestKey(1);
};

TEST_F(PolicyStartTest, ItsTextIsJournalledWithTheContainerAndCompiledFirst) {
  const auto ack = node_.SendDelta(Delta(key_));
  ASSERT_TRUE(ack.has_value() && ack->nacks().empty());
  EXPECT_EQ(node_.journal().Find(key_)->desired().launch().sandbox_policy_text(), "{the text}");
  node_.Run(seconds(5));
  EXPECT_THAT(node_.prepared, ElementsAre("web"));
  EXPECT_EQ(node_.payload_starts[key_], 1);
}

TEST_F(PolicyStartTest, TheBuiltInOneNeedsNothing) {
  ASSERT_TRUE(node_.SendDelta(node_.RunDelta(key_)).has_value());
  node_.Run(seconds(5));
  EXPECT_TRUE(node_.prepared.empty());
  EXPECT_EQ(node_.payload_starts[key_], 1);
}

TEST_F(PolicyStartTest, AVersionThatIsGoneIsRefusedSoThatTheSessionIsPlacedAnew) {
  const auto ack = node_.SendDelta(Delta(key_, false));
  ASSERT_TRUE(ack.has_value());
  ASSERT_EQ(ack->nacks_size(), 1);
  EXPECT_EQ(ack->nacks(0).reason(), "SandboxPolicyChanged");
  node_.Run(seconds(5));
  EXPECT_EQ(node_.payload_starts[key_], 0);
}

TEST_F(PolicyStartTest, WhoeverKnowsTheContainerNeedsTheTextNoMore) {
  ASSERT_TRUE(node_.SendDelta(Delta(key_)).has_value());
  node_.Run(seconds(5));
  isla::v1::Delta again = Delta(key_, false);
  again.set_full(true);
  again.set_expected_count(1);
  const auto ack = node_.SendDelta(again);
  ASSERT_TRUE(ack.has_value() && ack->nacks().empty());
  EXPECT_EQ(node_.journal().Find(key_)->desired().launch().sandbox_policy_text(), "{the text}");
}

TEST_F(PolicyStartTest, OneThatDoesNotCompileIsAStartErrorThatSaysWhy) {
  node_.prepare_errors.push_back(Error(Code::kInvalidArgument, "spec.files isn't honoured"));
  ASSERT_TRUE(node_.SendDelta(Delta(key_)).has_value());
  node_.Run(seconds(60));
  EXPECT_EQ(node_.payload_starts[key_], 0);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::EXITED);
  EXPECT_EQ(node_.reports[key_].exit().reason(), "StartError");
  EXPECT_THAT(node_.reports[key_].exit().message(), HasSubstr("compile the sandbox policy: spec.files isn't honoured"));
  EXPECT_FALSE(node_.shims[key_].alive);
}

TEST_F(PolicyStartTest, TheScopeHasRoomForItsProgram) {
  node_.program_room = 40 << 20;
  ASSERT_TRUE(node_.SendDelta(Delta(key_)).has_value());
  node_.Run(seconds(5));
  EXPECT_EQ(node_.scopes[ScopeName(key_)].memory_bytes, SmallLaunch().memory_bytes() + (8 << 20) + (40 << 20));
}

TEST_F(PolicyStartTest, AShimThatCannotDoWithItSaysWhy) {
  node_.shim_refusal = "a rule table of format 9, and this program reads format 3: they are of different packages";
  ASSERT_TRUE(node_.SendDelta(Delta(key_)).has_value());
  node_.Run(seconds(60));
  EXPECT_EQ(node_.payload_starts[key_], 0);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::EXITED);
  EXPECT_THAT(node_.reports[key_].exit().message(), HasSubstr("start the shim: a rule table of format 9"));
}

TEST_F(PolicyStartTest, ACrashBeforeItIsCompiledStartsItOnceAfterwards) {
  for (int steps = 0; steps < 40; ++steps) {
    SCOPED_TRACE(steps);
    FakeNode node(static_cast<uint32_t>(steps));
    node.StartAgent();
    node.Run();
    node.Connect();
    isla::v1::LaunchSpec launch = SmallLaunch();
    launch.set_sandbox_policy("web");
    launch.set_sandbox_policy_hash(Sha256Hex("{the text}"));
    isla::v1::Delta delta = node.RunDelta(key_, launch);
    delta.add_policies()->set_hash(Sha256Hex("{the text}"));
    delta.mutable_policies(0)->set_text("{the text}");
    node.PostDelta(delta);
    for (int i = 0; i < steps && node.Step(); ++i) {
    }
    node.KillAgent();
    node.StartAgent();
    node.Run(seconds(60));
    node.Connect();
    delta.set_full(true);
    delta.set_expected_count(1);
    ASSERT_TRUE(node.SendDelta(delta).has_value());
    node.Run(seconds(60));
    EXPECT_EQ(node.payload_starts[key_], 1);
    EXPECT_EQ(node.ReportedState(key_), isla::v1::RUNNING);
  }
}

TEST_F(PolicyStartTest, AStopWhileItIsCompiledEndsItBeforeItStarts) {
  node_.PostDelta(Delta(key_));
  node_.PostDelta(node_.StopDelta(key_));
  node_.Run(seconds(120));
  EXPECT_EQ(node_.payload_starts[key_], 0);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::GONE);
  EXPECT_FALSE(node_.HasTrace(key_));
}

}  // namespace
}  // namespace isla::agent
