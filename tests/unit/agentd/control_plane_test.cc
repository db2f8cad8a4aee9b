#include "agentd/control_plane.h"

#include <gtest/gtest.h>

#include "api/base/uuid.h"
#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

using isla::v1::Delta;
using isla::v1::DesiredContainer;
using isla::v1::GatewayMessage;
using std::chrono::seconds;

class ControlPlaneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    node_.StartAgent();
    node_.Run();
    node_.Connect();
  }
  Delta Full(Delta delta) {
    delta.set_full(true);
    delta.set_expected_count(static_cast<uint64_t>(delta.upserts_size()));
    return delta;
  }
  void RunIt(const ContainerKey& key) {
    const auto ack = node_.SendDelta(node_.RunDelta(key));
    ASSERT_TRUE(ack.has_value());
    ASSERT_EQ(ack->nacks_size(), 0);
    node_.Run();
    ASSERT_EQ(node_.ReportedState(key), isla::v1::RUNNING);
  }
  std::string Refused(Delta delta) {
    const auto ack = node_.SendDelta(std::move(delta));
    return ack.has_value() ? ack->refused() : "no answer";
  }
  std::string NackOf(Delta delta) {
    const auto ack = node_.SendDelta(std::move(delta));
    return !ack.has_value() ? "no answer" : ack->nacks_size() == 0 ? "" : ack->nacks(0).reason();
  }

  FakeNode node_;
  const ContainerKey key_ = TestKey(1);
};

TEST_F(ControlPlaneTest, HelloSaysWhoItIsAndWhatItHas) {
  RunIt(key_);
  node_.Disconnect();
  node_.Connect();
  isla::v1::Hello hello;
  for (const auto& message : node_.sent) {
    if (message.has_hello()) hello = message.hello();
  }
  EXPECT_EQ(hello.node_name(), "n1");
  EXPECT_EQ(hello.boot_id(), "boot-1");
  EXPECT_EQ(hello.highest_term(), 1);
  EXPECT_EQ(hello.capacity().cpu_millis(), 4000);
  ASSERT_EQ(hello.inventory_size(), 1);
  EXPECT_EQ(hello.inventory(0).uid(), key_.uid);
  EXPECT_EQ(hello.inventory(0).hash(), "h");
  EXPECT_EQ(hello.inventory(0).state(), isla::v1::RUNNING);
}

TEST_F(ControlPlaneTest, ADeltaIsAcknowledgedWhenItIsDurableAndNotBefore) {
  node_.disk_stuck = true;
  const uint64_t nonce = node_.PostDelta(node_.RunDelta(key_));
  node_.Run();
  EXPECT_FALSE(node_.AckOf(nonce).has_value());
  node_.disk_stuck = false;
  node_.Run();
  EXPECT_TRUE(node_.AckOf(nonce).has_value());
}

TEST_F(ControlPlaneTest, AnAckOfAnEarlierStreamIsNotSentOnALaterOne) {
  node_.disk_stuck = true;
  const uint64_t nonce = node_.PostDelta(node_.RunDelta(key_));
  node_.Run();
  node_.Disconnect();
  node_.Connect();
  node_.disk_stuck = false;
  node_.Run();
  EXPECT_FALSE(node_.AckOf(nonce).has_value());
  EXPECT_EQ(node_.payload_starts[key_], 1) << "but what was journalled counts";
}

TEST_F(ControlPlaneTest, ALowerTermIsNotServed) {
  node_.Disconnect();
  node_.Connect(50);
  node_.Disconnect();
  node_.Connect(49);
  node_.Run();
  ASSERT_EQ(node_.closed.size(), 1u);
  EXPECT_FALSE(node_.control_plane().is_served());
  // Over restarts too.
  node_.KillAgent();
  node_.StartAgent();
  node_.Run();
  node_.Connect(49);
  EXPECT_FALSE(node_.control_plane().is_served());
}

TEST_F(ControlPlaneTest, ADeltaOfAnotherTermIsRefusedWhole) {
  Delta delta = node_.RunDelta(key_);
  delta.set_term(99);
  EXPECT_NE(Refused(delta), "");
  node_.Run();
  EXPECT_EQ(node_.payload_starts[key_], 0);
  EXPECT_EQ(node_.journal().state().entries.size(), 0u);
}

TEST_F(ControlPlaneTest, WhatCannotBeIsRefusedWhole) {
  Delta twice = node_.RunDelta(key_);
  twice.MergeFrom(node_.StopDelta(key_));
  Delta path = node_.RunDelta({"../../../etc", 1});
  Delta zero = node_.RunDelta(TestKey(1, 0));
  Delta neither = node_.RunDelta(key_);
  neither.mutable_upserts(0)->set_desired(DesiredContainer::UNSPECIFIED);
  Delta both = node_.RunDelta(key_);
  both.add_removals()->set_uid(key_.uid);
  both.mutable_removals(0)->set_incarnation(1);
  Delta miscounted = Full(node_.RunDelta(key_));
  miscounted.set_expected_count(2);
  for (const Delta& delta : {twice, path, zero, neither, both, miscounted}) {
    EXPECT_NE(Refused(delta), "") << delta.ShortDebugString();
  }
  node_.Run();
  EXPECT_EQ(node_.journal().state().entries.size(), 0u);
  EXPECT_EQ(node_.payload_starts[key_], 0);
}

TEST_F(ControlPlaneTest, AnEmptyFullStateThatDoesNotSaySoStopsNothing) {
  RunIt(key_);
  Delta empty;
  empty.set_full(true);
  empty.set_expected_count(1);
  EXPECT_NE(Refused(empty), "");
  EXPECT_FALSE(node_.journal().Find(key_)->orphan());
  empty.set_expected_count(0);
  EXPECT_EQ(Refused(empty), "");
  node_.Run(seconds(3600));
  EXPECT_TRUE(node_.shims[key_].payload) << "absence is never a command";
  EXPECT_TRUE(node_.journal().Find(key_)->orphan());
  // Named again, it is no orphan any more, and nothing happened to it.
  EXPECT_EQ(Refused(Full(node_.RunDelta(key_))), "");
  node_.Run();
  EXPECT_FALSE(node_.journal().Find(key_)->orphan());
  EXPECT_EQ(node_.payload_starts[key_], 1);
}

TEST_F(ControlPlaneTest, ARemovalTouchesOnlyWhatIsGone) {
  RunIt(key_);
  Delta removal;
  removal.add_removals()->set_uid(key_.uid);
  removal.mutable_removals(0)->set_incarnation(1);
  removal.add_removals()->set_uid("unknown");
  EXPECT_EQ(Refused(removal), "");
  node_.Run(seconds(60));
  EXPECT_TRUE(node_.shims[key_].payload);
  node_.SendDelta(node_.StopDelta(key_));
  node_.Run(seconds(60));
  ASSERT_EQ(node_.ReportedState(key_), isla::v1::GONE);
  EXPECT_EQ(Refused(removal), "");
  EXPECT_EQ(node_.journal().state().entries.size(), 0u);
  EXPECT_EQ(node_.containers().Count(), 0u);
}

TEST_F(ControlPlaneTest, ANewHashRestartsNothing) {
  RunIt(key_);
  Delta changed = node_.RunDelta(key_);
  changed.mutable_upserts(0)->set_hash("other");
  changed.mutable_upserts(0)->mutable_launch()->set_argv(0, "/bin/false");
  EXPECT_EQ(Refused(changed), "");
  node_.Run(seconds(60));
  EXPECT_EQ(node_.payload_starts[key_], 1);
  EXPECT_EQ(node_.journal().Find(key_)->desired().hash(), "other");
  EXPECT_EQ(node_.journal().Find(key_)->desired().launch().argv(0), "/bin/true") << "as it was started";
}

TEST_F(ControlPlaneTest, AStopIsFinal) {
  RunIt(key_);
  node_.SendDelta(node_.StopDelta(key_));
  EXPECT_EQ(NackOf(node_.RunDelta(key_)), "Stopped");
  node_.Run(seconds(60));
  EXPECT_EQ(NackOf(node_.RunDelta(key_)), "Stopped");
  node_.Run(seconds(60));
  EXPECT_EQ(node_.payload_starts[key_], 1);
}

TEST_F(ControlPlaneTest, AStopOfWhatTheNodeNeverHadIsGoneAndNeverStartsLater) {
  node_.SendDelta(node_.StopDelta(key_));
  node_.Run();
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::GONE);
  EXPECT_FALSE(node_.reports[key_].has_exit());
  EXPECT_EQ(NackOf(node_.RunDelta(key_)), "Stopped");
  node_.Run(seconds(60));
  EXPECT_EQ(node_.payload_starts[key_], 0);
}

TEST_F(ControlPlaneTest, ARefusalIsRememberedAndRepeatedNotReconsidered) {
  auto launch = SmallLaunch();
  launch.set_cpu_millis(1'000'000);
  EXPECT_EQ(NackOf(node_.RunDelta(key_, launch)), "OutOfCpu");
  node_.Run();
  EXPECT_EQ(node_.reports[key_].nack().reason(), "OutOfCpu");
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::GONE);
  // The same incarnation with a launch that would fit.
  EXPECT_EQ(NackOf(node_.RunDelta(key_)), "OutOfCpu");
  node_.KillAgent();
  node_.StartAgent();
  node_.Run();
  node_.Connect();
  EXPECT_EQ(NackOf(node_.RunDelta(key_)), "OutOfCpu");
  node_.Run(seconds(60));
  EXPECT_EQ(node_.payload_starts[key_], 0);
  EXPECT_EQ(NackOf(node_.RunDelta(TestKey(1, 2))), "") << "another incarnation is another question";
}

TEST_F(ControlPlaneTest, ContainersOfOneDeltaShareTheRoomThatIsThere) {
  auto launch = SmallLaunch();
  launch.set_cpu_millis(1500);
  Delta delta;
  for (int i = 1; i <= 3; ++i) delta.MergeFrom(node_.RunDelta(TestKey(i), launch));
  const auto ack = node_.SendDelta(delta);
  ASSERT_TRUE(ack.has_value());
  ASSERT_EQ(ack->nacks_size(), 1);
  EXPECT_EQ(ack->nacks(0).reason(), "OutOfCpu");
  node_.Run();
  EXPECT_EQ(node_.containers().CountIn(Phase::kRunning), 2u);
}

TEST_F(ControlPlaneTest, AnOlderIncarnationIsNotStartedBesideANewer) {
  RunIt(TestKey(1, 5));
  EXPECT_EQ(NackOf(node_.RunDelta(TestKey(1, 4))), "StaleIncarnation");
}

TEST_F(ControlPlaneTest, EachContainerHasIdsOfItsOwnUntilItIsGone) {
  for (int i = 1; i <= 5; ++i) RunIt(TestKey(i));
  std::set<uint32_t> bases;
  for (const auto& [key, entry] : node_.journal().state().entries) bases.insert(entry.id_base());
  EXPECT_EQ(bases.size(), 5u);
  node_.SendDelta(node_.StopDelta(TestKey(1)));
  node_.Run(seconds(60));
  EXPECT_EQ(node_.journal().Find(TestKey(1))->id_base(), 0u);
}

TEST_F(ControlPlaneTest, AConfigReadAgainCountsForWhatComesLater) {
  auto launch = SmallLaunch();
  launch.set_network("host");
  EXPECT_EQ(NackOf(node_.RunDelta(key_, launch)), "NotAllowed");
  NodeConfig config;
  config.host_network = true;
  node_.control_plane().SetConfig(config);
  EXPECT_EQ(NackOf(node_.RunDelta(TestKey(2), launch)), "");
}

TEST_F(ControlPlaneTest, ReportsComeAgainUntilAcknowledgedInOrderAndNeverAfter) {
  node_.ack_reports = false;
  RunIt(key_);
  node_.EndPayload(key_, 0);
  node_.Run();
  node_.Disconnect();
  node_.sent.clear();
  node_.Connect();
  node_.Run();
  uint64_t last = 0;
  int count = 0;
  for (const auto& message : node_.sent) {
    if (!message.has_report()) continue;
    EXPECT_GT(message.report().sequence(), last);
    last = message.report().sequence();
    ++count;
  }
  EXPECT_EQ(count, 1) << "the newest of a container stands for all before it";
  GatewayMessage ack;
  ack.mutable_report_ack()->set_sequence(last);
  node_.SendMessage(ack);
  EXPECT_EQ(node_.reporter().unacked(), 0u);
  node_.KillAgent();
  node_.sent.clear();
  node_.StartAgent();
  node_.Run();
  node_.Connect();
  node_.Run();
  for (const auto& message : node_.sent) EXPECT_FALSE(message.has_report());
}

TEST_F(ControlPlaneTest, WhatARestoredStoreHasLostIsReportedAgain) {
  RunIt(key_);
  ASSERT_EQ(node_.reporter().unacked(), 0u);
  const auto reports_of_the_next_stream = [this] {
    node_.Disconnect();
    node_.sent.clear();
    node_.Connect();
    node_.Run();
    int count = 0;
    for (const auto& message : node_.sent) count += message.has_report() ? 1 : 0;
    return count;
  };
  EXPECT_EQ(reports_of_the_next_stream(), 0) << "it was acknowledged";
  node_.cluster_epoch = 2;
  EXPECT_EQ(reports_of_the_next_stream(), 1);
  EXPECT_EQ(reports_of_the_next_stream(), 0);
}

TEST_F(ControlPlaneTest, AnAckOfANumberNeverGivenAcknowledgesNothing) {
  node_.ack_reports = false;
  RunIt(key_);
  GatewayMessage ack;
  ack.mutable_report_ack()->set_sequence(1'000'000);
  node_.SendMessage(ack);
  EXPECT_EQ(node_.reporter().unacked(), 1u);
}

TEST_F(ControlPlaneTest, TheDigestIsOfWhatWasTold) {
  RunIt(key_);
  RunIt(TestKey(2));
  node_.SendDelta(node_.StopDelta(TestKey(2)));
  const std::string lines = key_.uid + " 1 h RUN\n" + TestKey(2).uid + " 1 s STOP\n";
  GatewayMessage message;
  message.mutable_digest()->set_sequence(1);
  message.mutable_digest()->set_count(2);
  message.mutable_digest()->set_digest(Sha256Hex(lines));
  node_.SendMessage(message);
  EXPECT_TRUE(node_.sent.back().digest_reply().matches());
  message.mutable_digest()->set_digest(Sha256Hex(""));
  node_.SendMessage(message);
  EXPECT_FALSE(node_.sent.back().digest_reply().matches());
}

TEST_F(ControlPlaneTest, ASilentGatewayIsLeftAndTheClockRunsFromTheAnsweredPing) {
  node_.answer_pings = false;
  node_.Run(seconds(6));
  uint64_t sequence = 0;
  for (const auto& message : node_.sent) {
    if (message.has_ping()) sequence = message.ping().sequence();
  }
  ASSERT_GT(sequence, 0u);
  const auto before = node_.clock.Monotonic();
  GatewayMessage pong;
  pong.mutable_pong()->set_sequence(sequence);
  node_.SendMessage(pong);
  EXPECT_LT(node_.control_plane().last_answered_ping(), before);
  EXPECT_GT(node_.control_plane().last_answered_ping(), before - seconds(2));
  EXPECT_TRUE(node_.closed.empty());
  node_.Run(seconds(30));
  ASSERT_EQ(node_.closed.size(), 1u);
  EXPECT_EQ(node_.closed[0], "no answer to pings");
}

TEST_F(ControlPlaneTest, AGatewayThatSpeaksBeforeItsWelcomeIsLeft) {
  node_.Disconnect();
  node_.KillAgent();
  node_.StartAgent();
  node_.Run();
  node_.control_plane().OnConnected();
  Delta delta = node_.RunDelta(key_);
  GatewayMessage message;
  *message.mutable_delta() = delta;
  node_.SendMessage(message);
  EXPECT_EQ(node_.closed.size(), 1u);
  node_.Run();
  EXPECT_EQ(node_.payload_starts[key_], 0);
}

TEST_F(ControlPlaneTest, GoneContainersThatAFullStateDoesNotNameAreForgottenOnceHeard) {
  node_.ack_reports = false;
  RunIt(key_);
  node_.SendDelta(node_.StopDelta(key_));
  node_.Run(seconds(60));
  Delta empty;
  empty.set_full(true);
  EXPECT_EQ(Refused(empty), "");
  EXPECT_NE(node_.journal().Find(key_), nullptr) << "its report wasn't heard";
  GatewayMessage ack;
  ack.mutable_report_ack()->set_sequence(node_.reports[key_].sequence());
  node_.SendMessage(ack);
  EXPECT_EQ(Refused(empty), "");
  EXPECT_EQ(node_.journal().Find(key_), nullptr);
}

}  // namespace
}  // namespace isla::agent
