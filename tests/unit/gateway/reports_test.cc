// What agents report: written once, in order, for whom bind/ names.
#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

TEST_F(GatewayTest, AReportIsWrittenOnceThenAcknowledged) {
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  agent.Join();
  agent.Report(1, Uid(1), isla::v1::RUNNING);
  ASSERT_TRUE(agent.Acked(1));
  const auto run = ReadRun(1);
  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(run->state, RunState::kRunning);
  EXPECT_EQ(run->sequence, 1);
  // Whose it is, is said by bind/, not by the agent.
  EXPECT_EQ(run->session, "s1");
  EXPECT_EQ(run->session_uid, Uid(1001));
  EXPECT_FALSE(run->accepted_at.empty());
  const auto revision = Read(RunKeyOf(1))->mod_revision;

  agent.Report(2, Uid(1), isla::v1::EXITED);
  ASSERT_TRUE(agent.Acked(2));
  EXPECT_EQ(ReadRun(1)->exit->exit_code, 3);
  EXPECT_GT(Read(RunKeyOf(1))->mod_revision, revision);
}

TEST_F(GatewayTest, WhatIsSentAgainIsAcknowledgedAndNotWrittenAgain) {
  StartGateway();
  PutBind(1);
  {
    FakeAgent agent(Target());
    agent.Join();
    agent.Report(4, Uid(1), isla::v1::EXITED);
    ASSERT_TRUE(agent.Acked(4));
  }
  const auto revision = Read(RunKeyOf(1))->mod_revision;
  FakeAgent agent(Target());
  agent.Join();
  agent.Report(4, Uid(1), isla::v1::EXITED);
  ASSERT_TRUE(agent.Acked(4));
  agent.Report(5, Uid(1), isla::v1::EXITED);  // the same under a new number says nothing new
  ASSERT_TRUE(agent.Acked(5));
  EXPECT_EQ(Read(RunKeyOf(1))->mod_revision, revision);
}

TEST_F(GatewayTest, AnOlderReportNeverReplacesANewer) {
  StartGateway();
  PutBind(1);
  {
    FakeAgent agent(Target());
    agent.Join();
    agent.Report(9, Uid(1), isla::v1::EXITED);
    ASSERT_TRUE(agent.Acked(9));
  }
  FakeAgent agent(Target());
  agent.Join();
  agent.Report(3, Uid(1), isla::v1::RUNNING);
  ASSERT_TRUE(agent.Acked(3));
  EXPECT_EQ(ReadRun(1)->state, RunState::kExited);
  agent.Report(10, Uid(1), isla::v1::RUNNING);  // nor does what can't follow it
  ASSERT_TRUE(agent.Acked(10));
  EXPECT_EQ(ReadRun(1)->state, RunState::kExited);
}

TEST_F(GatewayTest, ManyReportsGoTogether) {
  StartGateway();
  constexpr int kMany = 200;
  for (int n = 1; n <= kMany; ++n) PutBind(n);
  FakeAgent agent(Target());
  agent.Join();
  ASSERT_EQ(agent.first.upserts_size(), kMany);
  const int before = store_.writes;
  for (int n = 1; n <= kMany; ++n) agent.Report(static_cast<uint64_t>(n), Uid(n), isla::v1::RUNNING);
  ASSERT_TRUE(agent.Acked(kMany));
  EXPECT_LT(store_.writes - before, kMany);
  for (int n = 1; n <= kMany; ++n) {
    ASSERT_TRUE(ReadRun(n).has_value()) << n;
    EXPECT_EQ(ReadRun(n)->state, RunState::kRunning);
  }
}

TEST_F(GatewayTest, ANackIsWrittenAsTheRunsRefusal) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  PutBind(1);
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  isla::v1::Nack nack;
  nack.set_uid(Uid(1));
  nack.set_incarnation(1);
  nack.set_reason("OutOfMemory");
  nack.set_message("1 MiB is left");
  agent.Ack(*delta, {nack});
  ASSERT_TRUE(Eventually([this] { return ReadRun(1).has_value(); }));
  EXPECT_EQ(ReadRun(1)->nack->reason, "OutOfMemory");
  EXPECT_EQ(ReadRun(1)->nack->message, "1 MiB is left");

  // The leader answers with another incarnation elsewhere; the refused one leaves the agent's records.
  PutBind(1, Container(1, "n2", Desired::kRun, 2));
  const auto removal = agent.NextDelta();
  ASSERT_TRUE(removal.has_value());
  EXPECT_FALSE(removal->full());
  ASSERT_EQ(removal->removals_size(), 1);
  EXPECT_TRUE(ReadNode().orphans.empty());
}

TEST_F(GatewayTest, AReportOfWhatBindDoesNotNameIsAnOrphans) {
  StartGateway();
  FakeAgent agent(Target());
  auto hello = FakeAgent::MakeHello();
  auto& item = *hello.add_inventory();
  item.set_uid(Uid(1));
  item.set_incarnation(2);
  item.set_state(isla::v1::RUNNING);
  agent.Join(hello);
  EXPECT_TRUE(Eventually([this] { return ReadNode().orphans == std::vector<Orphan>{{Uid(1), 2, "Running"}}; }));
  agent.Report(1, Uid(1), isla::v1::EXITED, 2);
  ASSERT_TRUE(agent.Acked(1));
  EXPECT_EQ(Read(keys_.Run("n1", Uid(1), 2)), nullptr);
  EXPECT_TRUE(Eventually([this] { return ReadNode().orphans == std::vector<Orphan>{{Uid(1), 2, "Exited"}}; }));
  agent.Report(2, Uid(1), isla::v1::GONE, 2);
  ASSERT_TRUE(agent.Acked(2));
  EXPECT_TRUE(Eventually([this] { return ReadNode().orphans.empty(); }));
}

TEST_F(GatewayTest, AnotherIncarnationOnAnotherNodeIsNotMixedUp) {
  StartGateway();
  PutBind(1, Container(1, "n2", Desired::kRun, 2));
  FakeAgent agent(Target());
  agent.Join();
  agent.Report(1, Uid(1), isla::v1::RUNNING, 1);
  agent.Report(2, Uid(1), isla::v1::RUNNING, 2);
  ASSERT_TRUE(agent.Acked(2));
  EXPECT_TRUE(memory_->List(keys_.RunPrefix())->kvs.empty());
}

TEST_F(GatewayTest, ReportsWaitForAStoreThatIsDown) {
  StartGateway();
  PutBind(1);
  PutBind(2);
  FakeAgent agent(Target());
  agent.Join();
  store_.down = true;
  agent.Report(1, Uid(1), isla::v1::RUNNING);
  agent.Report(2, Uid(2), isla::v1::RUNNING);
  agent.Report(3, Uid(1), isla::v1::EXITED);
  EXPECT_FALSE(agent.Acked(1, kQuiet));
  store_.down = false;
  ASSERT_TRUE(agent.Acked(3));
  EXPECT_EQ(ReadRun(1)->state, RunState::kExited);
  EXPECT_EQ(Read(RunKeyOf(1))->version, 1);
  EXPECT_EQ(Read(RunKeyOf(2))->version, 1);
}

TEST_F(GatewayTest, AWriteOfUnknownOutcomeIsReadBackAndNotRepeated) {
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  agent.Join();
  store_.lose_answers = 1;
  agent.Report(1, Uid(1), isla::v1::RUNNING);
  ASSERT_TRUE(agent.Acked(1));
  EXPECT_EQ(Read(RunKeyOf(1))->version, 1);
  agent.Report(2, Uid(1), isla::v1::EXITED);
  ASSERT_TRUE(agent.Acked(2));
  EXPECT_EQ(ReadRun(1)->state, RunState::kExited);
}

TEST_F(GatewayTest, MoreReportsThanTheQueueHoldsAreHeldBackAndComeThrough) {
  options_.link.max_pending_reports = 4;
  StartGateway();
  constexpr int kMany = 300;
  for (int n = 1; n <= kMany; ++n) PutBind(n);
  FakeAgent agent(Target());
  agent.Join();
  store_.down = true;
  for (int n = 1; n <= kMany; ++n) agent.Report(static_cast<uint64_t>(n), Uid(n), isla::v1::RUNNING);
  std::this_thread::sleep_for(kQuiet);
  store_.down = false;
  EXPECT_TRUE(agent.Acked(kMany));
}

TEST_F(GatewayTest, MoreRepeatedReportsThanTheQueueHoldsComeThroughWithoutAWrite) {
  StartGateway();
  constexpr int kMany = 200;
  for (int n = 1; n <= kMany; ++n) PutBind(n);
  {
    FakeAgent agent(Target());
    agent.Join();
    for (int n = 1; n <= kMany; ++n) agent.Report(static_cast<uint64_t>(n), Uid(n), isla::v1::RUNNING);
    ASSERT_TRUE(agent.Acked(kMany));
  }
  gateway_.reset();
  options_.id = "gw2";
  options_.link.max_pending_reports = 4;
  StartGateway();
  FakeAgent agent(Target());
  agent.Hello();
  // Before the welcome, so that they wait while it catches up.
  for (int n = 1; n <= kMany; ++n) agent.Report(static_cast<uint64_t>(n), Uid(n), isla::v1::RUNNING);
  EXPECT_TRUE(agent.Acked(kMany));
  EXPECT_EQ(Read(RunKeyOf(1))->version, 1);
}

TEST_F(GatewayTest, WhoLosesTheNodeWritesNothingMore) {
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  agent.Join();
  Put(keys_.NodeTerm("n1"), Encode(NodeTerm{9, "gw2"}));
  agent.Report(1, Uid(1), isla::v1::RUNNING);
  EXPECT_TRUE(agent.Ended());
  EXPECT_EQ(Read(RunKeyOf(1)), nullptr);
  std::this_thread::sleep_for(kQuiet);
  EXPECT_TRUE(ReadNode().connected);  // it is the other's now
}

TEST_F(GatewayTest, AnIslandThatMissedARestoreWritesNothing) {
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  agent.Join();
  // meta/cluster changes under a cache that doesn't hear of it.
  informer_.reset();
  Put(keys_.Cluster(), Read(keys_.Cluster())->value);
  agent.Report(1, Uid(1), isla::v1::RUNNING);
  EXPECT_FALSE(agent.Acked(1, kQuiet));
  EXPECT_EQ(Read(RunKeyOf(1)), nullptr);
}

TEST_F(GatewayTest, AReportOfASessionThatWasJustRemovedLeavesNoKey) {
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  agent.Join();
  informer_.reset();  // the cache hasn't heard of the removal
  Delete(BindKey(1));
  agent.Report(1, Uid(1), isla::v1::GONE);
  std::this_thread::sleep_for(kQuiet);
  EXPECT_EQ(Read(RunKeyOf(1)), nullptr);
  informer_ = std::make_unique<Informer>(*cache_, *state_, listeners_);
  EXPECT_TRUE(agent.Acked(1));
  EXPECT_EQ(Read(RunKeyOf(1)), nullptr);
}

}  // namespace
}  // namespace isla::controllers
