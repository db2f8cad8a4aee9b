// A store that was restored, imported into, or that is another: what is told to whom.
#include <gmock/gmock.h>

#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

/// A Hello that says that the agent's journal has the containers.
isla::v1::Hello HelloWith(const std::vector<int>& containers, int64_t highest_term = 0) {
  auto hello = FakeAgent::MakeHello();
  hello.set_highest_term(highest_term);
  for (const int n : containers) {
    auto& item = *hello.add_inventory();
    item.set_uid(Uid(n));
    item.set_incarnation(1);
    item.set_state(isla::v1::RUNNING);
  }
  return hello;
}

std::vector<std::string> Told(const isla::v1::Delta& delta) {
  std::vector<std::string> uids;
  for (const auto& desired : delta.upserts()) uids.push_back(desired.uid());
  return uids;
}

TEST_F(GatewayTest, WhatWasBoundBeforeARestoreIsToldOnlyToAnAgentThatKnowsIt) {
  StartGateway();
  PutBind(1);
  PutBind(2);
  BindContainer ended = Container(3);
  ended.released = true;
  PutBind(3, ended);
  PutBind(4, Container(4, "n1", Desired::kStop));
  controllers::Run run;
  run.state = RunState::kRunning;
  Put(RunKeyOf(1), Encode(run));
  Put(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1})");
  ASSERT_TRUE(Eventually([this] { return state_->epoch() == 2; }));
  FakeAgent agent(Target());
  agent.Join(HelloWith({2}));
  EXPECT_THAT(Told(agent.first), ::testing::UnorderedElementsAre(Uid(2), Uid(4)));
  ASSERT_TRUE(Eventually([this] { return ReadRun(1).has_value() && ReadRun(1)->nack.has_value(); }));
  EXPECT_EQ(ReadRun(1)->nack->reason, kStoreRestored);
  EXPECT_FALSE(ReadRun(3).has_value()) << "it had ended: there is nothing to tell, and nothing to run again";
  // What is bound since then is told.
  Bind bind;
  bind.uid = Uid(1001);
  bind.incarnation = 2;
  bind.epoch = 2;
  bind.containers = {Container(1, "n1", Desired::kRun, 2)};
  Put(BindKey(1), Encode(bind));
  const auto delta = agent.NextDelta();
  ASSERT_TRUE(delta.has_value());
  EXPECT_THAT(Told(*delta), ::testing::ElementsAre(Uid(1)));
  EXPECT_EQ(delta->upserts(0).incarnation(), 2);
}

TEST_F(GatewayTest, AnAgentThatKnowsAHigherTermRaisesTheEpochBeforeItIsToldAnythingOnceForEachRestore) {
  StartGateway();
  for (const char* node : {"n1", "n2"}) {
    FakeAgent agent(Target());
    agent.Join(FakeAgent::MakeHello(node));
  }
  PutBind(1);
  {
    FakeAgent agent(Target());
    agent.Hello(HelloWith({}, 41));
    const auto welcome = agent.Next(isla::v1::GatewayMessage::kWelcome);
    ASSERT_TRUE(welcome.has_value());
    EXPECT_EQ(welcome->welcome().cluster_epoch(), 2);
    const auto delta = agent.NextDelta();
    ASSERT_TRUE(delta.has_value());
    EXPECT_THAT(Told(*delta), ::testing::IsEmpty());
  }
  EXPECT_EQ(ClusterEpoch(Read(keys_.Cluster()).get()), 2);
  auto other = FakeAgent::MakeHello("n2");
  other.set_highest_term(41);
  FakeAgent agent(Target());
  agent.Join(other);
  EXPECT_EQ(ClusterEpoch(Read(keys_.Cluster()).get()), 2) << "of the same restore";
}

TEST_F(GatewayTest, AHistoryThatIsAnotherRaisesTheEpochAndEndsWhatBeganBefore) {
  StartGateway();
  PutBind(1);
  FakeAgent before(Target());
  before.Join();
  ASSERT_THAT(Told(before.first), ::testing::ElementsAre(Uid(1)));
  informer_.reset();
  state_->Reset(cache_->List(keys_.prefix()), 1);
  EXPECT_EQ(state_->epoch(), 2) << "from the very moment that the state is of the other history";
  listeners_.OnReset();
  EXPECT_TRUE(before.Ended());
  EXPECT_TRUE(Eventually([this] { return ClusterEpoch(Read(keys_.Cluster()).get()) == 2; }));
  informer_ = std::make_unique<Informer>(*cache_, *state_, listeners_);
  ASSERT_TRUE(Eventually([this] { return state_->stored_epoch() == 2; }));
  EXPECT_EQ(state_->epoch(), 2);
  FakeAgent after(Target());
  after.Join();
  EXPECT_THAT(Told(after.first), ::testing::IsEmpty());
}

TEST_F(GatewayTest, AClosedStoreServesNoAgentAndTellsNothingOfWhatIsPutThere) {
  StartGateway();
  PutBind(1);
  FakeAgent before(Target());
  before.Join();
  ASSERT_THAT(Told(before.first), ::testing::ElementsAre(Uid(1)));
  // As an import does it: closed under a greater epoch, then what it brings, then open.
  Put(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1,"closed":{"reason":"import"}})");
  PutBind(2);
  PutBind(3);
  EXPECT_TRUE(before.Ended());
  EXPECT_FALSE(before.NextDelta(std::chrono::milliseconds(100)).has_value());
  ASSERT_TRUE(Eventually([this] { return !state_->CheckOpen().ok(); }));
  {
    FakeAgent meanwhile(Target());
    meanwhile.Hello(HelloWith({3}));
    EXPECT_TRUE(meanwhile.Ended());
  }
  Put(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1})");
  ASSERT_TRUE(Eventually([this] { return state_->CheckOpen().ok(); }));
  FakeAgent after(Target());
  after.Join(HelloWith({3}));
  EXPECT_THAT(Told(after.first), ::testing::ElementsAre(Uid(3))) << "the others may have run elsewhere since";
}

}  // namespace
}  // namespace isla::controllers
