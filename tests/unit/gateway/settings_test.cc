// A node's settings on its stream: after the welcome, at each change, and only then.
#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

using isla::v1::GatewayMessage;

class GatewaySettingsTest : public GatewayTest {
 protected:
  std::string NodeKey(const std::string& name) { return keys_.prefix() + "nodes/agents/n1/config/" + name; }
  static std::optional<isla::v1::NodeSettings> Next(FakeAgent& agent, Duration timeout = kSoon) {
    const auto message = agent.Next(GatewayMessage::kSettings, timeout);
    if (!message) return std::nullopt;
    return message->settings();
  }
};

TEST_F(GatewaySettingsTest, AreToldAtTheStartAndAtEachChange) {
  Put(NodeKey("agent/log/level"), "\"debug\"");
  StartGateway();
  FakeAgent agent(Target());
  agent.Hello(FakeAgent::MakeHello());
  auto settings = Next(agent);
  ASSERT_TRUE(settings.has_value());
  EXPECT_EQ(settings->log_level(), "debug");
  EXPECT_FALSE(settings->has_container_log_bytes());
  Put(keys_.prefix() + "config/agent/log/maxBytes", "81920");
  settings = Next(agent);
  ASSERT_TRUE(settings.has_value());
  EXPECT_EQ(settings->container_log_bytes(), 81920);
  EXPECT_EQ(settings->log_level(), "debug");
  Delete(NodeKey("agent/log/level"));
  settings = Next(agent);
  ASSERT_TRUE(settings.has_value());
  EXPECT_FALSE(settings->has_log_level());
}

TEST_F(GatewaySettingsTest, OfOtherNodesAndUnusableOnesAreNotTold) {
  StartGateway();
  FakeAgent agent(Target());
  agent.Hello(FakeAgent::MakeHello());
  ASSERT_TRUE(Next(agent).has_value());  // an agent may come from another gateway: it is told even that nothing is set
  Put(keys_.prefix() + "nodes/agents/n2/config/agent/log/level", "\"debug\"");
  Put(NodeKey("agent/log/level"), "7");
  EXPECT_FALSE(Next(agent, kQuiet).has_value());
}

TEST_F(GatewaySettingsTest, AGroupsHoldOnceTheNodeIsInIt) {
  Put(keys_.prefix() + "sgroup/gpu/config/agent/start/maxParallel", "4");
  StartGateway();
  FakeAgent agent(Target());
  agent.Hello(FakeAgent::MakeHello());
  const auto before = Next(agent);
  ASSERT_TRUE(before.has_value());
  EXPECT_FALSE(before->has_max_starting());
  Put(NodeKey("node/group"), "\"gpu\"");
  const auto after = Next(agent);
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(after->max_starting(), 4);
}

}  // namespace
}  // namespace isla::controllers
