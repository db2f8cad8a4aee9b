// What agents are told: deltas of bind/, digests.
#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

using isla::v1::DesiredContainer;
using isla::v1::GatewayMessage;

TEST_F(GatewayTest, TheFirstDeltaIsAllThatBindNamesOnTheNode) {
  PutBind(1);
  PutBind(2, Container(2, "n2"));
  PutBind(3, Container(3, "n1", Desired::kStop));
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  ASSERT_EQ(agent.first.upserts_size(), 2);
  for (const auto& desired : agent.first.upserts()) {
    if (desired.uid() == Uid(1)) {
      EXPECT_EQ(desired.desired(), DesiredContainer::RUN);
      EXPECT_EQ(desired.launch().argv(0), "/bin/true");
      EXPECT_EQ(desired.hash(), "hash-1");
    } else {
      EXPECT_EQ(desired.uid(), Uid(3));
      EXPECT_EQ(desired.desired(), DesiredContainer::STOP);
      EXPECT_EQ(desired.grace_period_msec(), 1000);
      EXPECT_FALSE(desired.has_launch());
    }
  }
}

TEST_F(GatewayTest, ANodeWithNothingIsToldSo) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  EXPECT_EQ(agent.first.upserts_size(), 0);
  EXPECT_EQ(agent.first.expected_count(), 0U);
}

TEST_F(GatewayTest, ChangesOfBindComeAsDeltas) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  PutBind(1);
  auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  EXPECT_FALSE(delta->full());
  ASSERT_EQ(delta->upserts_size(), 1);
  EXPECT_EQ(delta->upserts(0).uid(), Uid(1));
  EXPECT_EQ(delta->term(), agent.term);
  agent.Ack(*delta);

  PutBind(1, Container(1, "n1", Desired::kStop));
  delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  ASSERT_EQ(delta->upserts_size(), 1);
  EXPECT_EQ(delta->upserts(0).desired(), DesiredContainer::STOP);
  agent.Ack(*delta);

  agent.Report(1, Uid(1), isla::v1::GONE);
  ASSERT_TRUE(agent.Acked(1));
  Delete(BindKey(1));
  delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  EXPECT_FALSE(delta->full());
  EXPECT_EQ(delta->upserts_size(), 0);
  ASSERT_EQ(delta->removals_size(), 1);
  EXPECT_EQ(delta->removals(0).uid(), Uid(1));
}

TEST_F(GatewayTest, WhatMeansNothingToTheAgentIsNotSent) {
  StartGateway();
  FakeAgent agent(Target());
  PutBind(1);
  agent.Join();
  BindContainer released = Container(1);
  released.released = true;
  PutBind(1, released);
  PutBind(2, Container(2, "n2"));
  EXPECT_FALSE(agent.NextDelta(kQuiet).has_value());
}

TEST_F(GatewayTest, WhatChangesWhileADeltaIsUnderWayComesTogether) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  PutBind(1);
  const auto first = agent.NextDelta();
  ASSERT_TRUE(first.has_value());
  for (int n = 2; n <= 5; ++n) PutBind(n);
  EXPECT_FALSE(agent.NextDelta(kQuiet).has_value());
  agent.Ack(*first);
  const auto second = agent.NextDelta();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->upserts_size(), 4);
  EXPECT_GT(second->nonce(), first->nonce());
}

TEST_F(GatewayTest, ABindThatVanishesWhileItsContainerLivesStopsNothing) {
  StartGateway();
  PutBind(1);
  PutBind(2);
  FakeAgent agent(Target());
  agent.Join();
  agent.Report(1, Uid(1), isla::v1::RUNNING);
  ASSERT_TRUE(agent.Acked(1));
  Delete(BindKey(1));
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  EXPECT_TRUE(delta->full());
  EXPECT_EQ(delta->removals_size(), 0);
  ASSERT_EQ(delta->upserts_size(), 1);
  EXPECT_EQ(delta->upserts(0).uid(), Uid(2));
  EXPECT_TRUE(Eventually([this] { return ReadNode().orphans == std::vector<Orphan>{{Uid(1), 1, "Running"}}; }));
}

TEST_F(GatewayTest, ABindThatCannotBeReadChangesNothing) {
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  agent.Join();
  Put(BindKey(1), "{{{ garbage");
  EXPECT_FALSE(agent.NextDelta(kQuiet).has_value());
  PutBind(1, Container(1, "n1", Desired::kStop));
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  EXPECT_EQ(delta->upserts(0).desired(), DesiredContainer::STOP);
}

TEST_F(GatewayTest, ALaunchThatCannotBeReadIsRefusedForTheNode) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  BindContainer container = Container(1);
  container.launch.Set("argv", "not a list");
  PutBind(1, container);
  ASSERT_TRUE(Eventually([this] { return ReadRun(1).has_value(); }));
  EXPECT_EQ(ReadRun(1)->nack->reason, "InvalidLaunch");
  PutBind(2);
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  EXPECT_EQ(delta->upserts(0).uid(), Uid(2));
}

TEST_F(GatewayTest, ARefusedDeltaIsFollowedByTheFullState) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  PutBind(1);
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  isla::v1::AgentMessage refused;
  refused.mutable_ack()->set_nonce(delta->nonce());
  refused.mutable_ack()->set_term(delta->term());
  refused.mutable_ack()->set_refused("no");
  agent.Send(refused);
  const auto full = agent.NextDelta();
  ASSERT_TRUE(full.has_value());
  EXPECT_TRUE(full->full());
  EXPECT_EQ(full->upserts_size(), 1);
}

TEST_F(GatewayTest, ADigestThatDiffersBringsTheFullState) {
  options_.link.digest_every = std::chrono::milliseconds(50);
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  agent.Join();
  const auto digest = agent.Next(GatewayMessage::kDigest);
  ASSERT_TRUE(digest.has_value());
  EXPECT_EQ(digest->digest().count(), 1U);
  EXPECT_EQ(digest->digest().digest(), Sha256Hex(Uid(1) + " 1 hash-1 RUN\n"));
  isla::v1::AgentMessage reply;
  reply.mutable_digest_reply()->set_sequence(digest->digest().sequence());
  reply.mutable_digest_reply()->set_matches(true);
  agent.Send(reply);
  const auto second = agent.Next(GatewayMessage::kDigest);
  ASSERT_TRUE(second.has_value());
  reply.mutable_digest_reply()->set_sequence(second->digest().sequence());
  reply.mutable_digest_reply()->set_matches(false);
  agent.Send(reply);
  const auto full = agent.NextDelta();
  ASSERT_TRUE(full.has_value());
  EXPECT_TRUE(full->full());
}

}  // namespace
}  // namespace isla::controllers
