// The socket, pings, the gateway's own lease, agents that are silent.
#include <sys/stat.h>

#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

using isla::v1::GatewayMessage;

TEST_F(GatewayTest, OnlyThisUserReachesTheSocket) {
  StartGateway();
  struct stat found {};
  ASSERT_EQ(stat(Socket().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0600U);
  ASSERT_EQ(stat((folder_ + "/gateway").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0700U);
}

TEST_F(GatewayTest, DoesNotTakeASocketOnWhichAnotherListens) {
  StartGateway();
  GatewayOptions options = options_;
  options.id = "gw2";
  const auto second = Gateway::Start(options, store_, *state_, listeners_, Clock::Real());
  EXPECT_EQ(second.status().code(), Code::kAlreadyExists);
  FakeAgent agent(Target());
  agent.Join();
}

TEST_F(GatewayTest, AnAgentThatAcknowledgesNothingHasToStartAfresh) {
  options_.link.digest_every = std::chrono::milliseconds(50);
  options_.link.ack_within = std::chrono::milliseconds(100);
  StartGateway();
  FakeAgent agent(Target());
  agent.Hello();
  ASSERT_TRUE(agent.NextDelta().has_value());
  EXPECT_TRUE(agent.Ended());
  EXPECT_TRUE(Eventually([this] { return !ReadNode().connected; }));
}

TEST_F(GatewayTest, AnAgentThatIsSilentLosesItsStream) {
  options_.link.digest_every = std::chrono::milliseconds(50);
  options_.link.silence_at_most = std::chrono::seconds(2);  // ten times what lies between the pings: the machine may be slow
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  for (uint64_t i = 1; i <= 12; ++i) {
    agent.Ping(i);
    EXPECT_FALSE(agent.Ended(std::chrono::milliseconds(200)));
  }
  EXPECT_TRUE(agent.Ended());
}

TEST_F(GatewayTest, AnswersPingsOnlyWhileItsKeyWasReadBack) {
  options_.lease_ttl = std::chrono::seconds(3);
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  agent.Ping(1);
  const auto pong = agent.Next(GatewayMessage::kPong);
  ASSERT_TRUE(pong.has_value());
  EXPECT_EQ(pong->pong().sequence(), 1U);
  store_.down = true;
  ASSERT_TRUE(Eventually([this] { return !gateway_->fresh(); }));
  agent.Ping(2);
  EXPECT_FALSE(agent.Next(GatewayMessage::kPong, kQuiet).has_value());
  store_.down = false;
  ASSERT_TRUE(Eventually([this] { return gateway_->fresh(); }));
  agent.Ping(3);
  EXPECT_TRUE(agent.Next(GatewayMessage::kPong).has_value());
}

TEST_F(GatewayTest, ALostLeaseEndsTheStreamsAndIsTakenAnew) {
  options_.lease_ttl = std::chrono::seconds(3);
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  Delete(keys_.Gateway("gw1"));
  EXPECT_TRUE(agent.Ended());
  ASSERT_TRUE(Eventually([this] { return gateway_->fresh() && Read(keys_.Gateway("gw1")) != nullptr; }));
  FakeAgent again(Target());
  again.Join();
  EXPECT_EQ(again.term, 2);
}

TEST_F(GatewayTest, ManyAgentsComeAndGoAtOnce) {
  StartGateway();
  std::vector<std::unique_ptr<FakeAgent>> agents;
  for (int i = 0; i < 20; ++i) agents.push_back(std::make_unique<FakeAgent>(Target()));
  for (int i = 0; i < 20; ++i) agents[static_cast<size_t>(i)]->Hello(FakeAgent::MakeHello("n" + std::to_string(i)));
  EXPECT_TRUE(Eventually([this] { return gateway_->connected() == 20; }));
  agents.clear();
  EXPECT_TRUE(Eventually([this] { return gateway_->connected() == 0; }));
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(ReadNode("n" + std::to_string(i)).connected);
}

}  // namespace
}  // namespace isla::controllers
