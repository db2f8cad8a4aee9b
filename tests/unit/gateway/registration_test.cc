// Who may have a node's name, its term, and what becomes of the node when its stream ends.
#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

using isla::v1::DesiredContainer;
using isla::v1::GatewayMessage;

TEST_F(GatewayTest, RegistersANodeWithATermOfItsOwn) {
  StartGateway();
  FakeAgent agent(Target());
  auto hello = FakeAgent::MakeHello();
  (*hello.mutable_labels())["zone"] = "a";
  hello.add_features("cgroup2");
  agent.Join(hello);
  EXPECT_EQ(agent.term, 1);
  const Node node = ReadNode();
  EXPECT_EQ(node.uid, hello.node_uid());
  EXPECT_EQ(node.boot_id, "boot-1");
  EXPECT_TRUE(node.connected);
  EXPECT_EQ(node.gateway, "gw1");
  EXPECT_EQ(node.term, 1);
  EXPECT_EQ(node.capacity.cpu_millis, 4000);
  EXPECT_EQ(node.labels.at("zone"), "a");
  EXPECT_EQ(node.features, std::vector<std::string>{"cgroup2"});
  EXPECT_FALSE(node.created_at.empty());
  EXPECT_EQ(DecodeNodeTerm(Read(keys_.NodeTerm("n1"))->value)->owner, "gw1");
  EXPECT_EQ(gateway_->connected(), 1U);
}

TEST_F(GatewayTest, ANewStreamOfTheSameAgentTakesOverAtOnce) {
  StartGateway();
  FakeAgent first(Target());
  first.Join();
  FakeAgent second(Target());
  auto hello = FakeAgent::MakeHello();
  hello.set_agent_epoch("epoch-2");
  hello.set_highest_term(1);
  second.Join(hello);
  EXPECT_EQ(second.term, 2);
  EXPECT_TRUE(first.Ended());
  std::this_thread::sleep_for(kQuiet);  // the end of the first one must not mark the node
  EXPECT_TRUE(ReadNode().connected);
}

TEST_F(GatewayTest, RefusesASecondHolderOfAName) {
  StartGateway();
  FakeAgent first(Target());
  first.Join();
  FakeAgent second(Target());
  auto hello = FakeAgent::MakeHello();
  hello.set_boot_id("boot-of-a-copied-disk");
  second.Hello(hello);
  const auto refusal = second.Next(GatewayMessage::kRefusal);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->refusal().reason(), "SecondHolder");
  EXPECT_TRUE(second.Ended());
  EXPECT_FALSE(first.Ended(kQuiet));
}

TEST_F(GatewayTest, AnotherGatewayThatLivesHoldsTheNode) {
  StartGateway();
  {
    FakeAgent agent(Target());
    agent.Join();
  }
  ASSERT_TRUE(Eventually([this] { return !ReadNode().connected; }));
  Node node = ReadNode();
  node.connected = true;
  node.gateway = "gw2";
  Put(keys_.Node("n1"), Encode(node));
  Put(keys_.Gateway("gw2"), "{}");
  auto hello = FakeAgent::MakeHello();
  hello.set_boot_id("boot-2");
  {
    FakeAgent agent(Target());
    agent.Hello(hello);
    EXPECT_TRUE(agent.Next(GatewayMessage::kRefusal).has_value());
  }
  Delete(keys_.Gateway("gw2"));
  FakeAgent agent(Target());
  agent.Join(hello);
  EXPECT_EQ(ReadNode().boot_id, "boot-2");
}

TEST_F(GatewayTest, RefusesAnotherMachineUnderARegisteredName) {
  StartGateway();
  {
    FakeAgent agent(Target());
    agent.Join();
  }
  FakeAgent other(Target());
  auto hello = FakeAgent::MakeHello();
  hello.set_node_uid(Uid(77));
  other.Hello(hello);
  const auto refusal = other.Next(GatewayMessage::kRefusal);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->refusal().reason(), "WrongNodeUid");
  EXPECT_NE(refusal->refusal().message().find("n1"), std::string::npos);
}

TEST_F(GatewayTest, RefusesAHelloThatIsNone) {
  StartGateway();
  const auto refused = [this](const isla::v1::Hello& hello) {
    FakeAgent agent(Target());
    agent.Hello(hello);
    const auto refusal = agent.Next(GatewayMessage::kRefusal);
    return refusal ? refusal->refusal().reason() : "";
  };
  auto hello = FakeAgent::MakeHello();
  hello.set_node_name("../../etc");
  EXPECT_EQ(refused(hello), "InvalidHello");
  hello = FakeAgent::MakeHello();
  hello.set_protocol_min(7);
  hello.set_protocol_max(9);
  EXPECT_EQ(refused(hello), "NoCommonProtocol");
  hello = FakeAgent::MakeHello();
  hello.set_node_uid("x");
  EXPECT_EQ(refused(hello), "InvalidHello");
  hello = FakeAgent::MakeHello();
  hello.mutable_capacity()->set_memory_bytes(-1);
  EXPECT_EQ(refused(hello), "InvalidHello");
  EXPECT_EQ(Read(keys_.Node("n1")), nullptr);
}

TEST_F(GatewayTest, SpeakingBeforeTheHelloEndsTheStream) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Ping(1);
  EXPECT_TRUE(agent.Ended());
}

TEST_F(GatewayTest, AStoreThatWentBackGetsATermAboveTheAgents) {
  StartGateway();
  PutBind(1);
  FakeAgent agent(Target());
  auto hello = FakeAgent::MakeHello();
  hello.set_highest_term(41);
  auto& item = *hello.add_inventory();
  item.set_uid(Uid(9));
  item.set_incarnation(1);
  item.set_state(isla::v1::RUNNING);
  agent.Join(hello);
  EXPECT_EQ(agent.term, 42);
  for (const auto& desired : agent.first.upserts()) EXPECT_NE(desired.desired(), DesiredContainer::STOP);
  EXPECT_EQ(agent.first.removals_size(), 0);
}

TEST_F(GatewayTest, ARegistrationOfUnknownOutcomeIsReadBack) {
  StartGateway();
  store_.lose_answers = 1;
  FakeAgent agent(Target());
  agent.Join();
  EXPECT_EQ(agent.term, 1);
}

TEST_F(GatewayTest, TheEndOfAStreamMarksTheNode) {
  StartGateway();
  {
    FakeAgent agent(Target());
    agent.Join();
  }
  EXPECT_TRUE(Eventually([this] { return !ReadNode().connected; }));
  EXPECT_TRUE(Eventually([this] { return gateway_->connected() == 0; }));
}

TEST_F(GatewayTest, AMarkThatCouldNotBeWrittenIsWrittenLater) {
  StartGateway();
  {
    FakeAgent agent(Target());
    agent.Join();
    store_.down = true;
  }
  ASSERT_TRUE(Eventually([this] { return gateway_->connected() == 0; }));
  EXPECT_TRUE(ReadNode().connected);
  store_.down = false;
  EXPECT_TRUE(Eventually([this] { return !ReadNode().connected; }));
}

TEST_F(GatewayTest, StoppingMarksItsNodesAndGivesUpItsKey) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Join();
  ASSERT_NE(Read(keys_.Gateway("gw1")), nullptr);
  gateway_->Stop();
  EXPECT_TRUE(agent.Ended());
  EXPECT_FALSE(ReadNode().connected);
  EXPECT_EQ(Read(keys_.Gateway("gw1")), nullptr);
  struct stat found {};
  EXPECT_NE(stat(Socket().c_str(), &found), 0);
}

}  // namespace
}  // namespace isla::controllers
