// What the gateway tells of the node's settings, and what the agent makes of it while it runs.
#include "agentd/settings.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

class SettingsTest : public ::testing::Test {
 protected:
  void Start(NodeConfig config = {}, ContainerManagerOptions options = {}) {
    node_.StartAgent(std::move(config), options);
    node_.control_plane().OnSettingsChanged([this](const Settings& settings) {
      told_.push_back(SettingsText(settings));
      node_.containers().SetMaxStarting(settings.max_starting);
    });
    node_.Run();
    node_.Connect();
  }
  void Tell(const isla::v1::NodeSettings& settings) {
    isla::v1::GatewayMessage message;
    *message.mutable_settings() = settings;
    node_.SendMessage(message);
  }
  int64_t LogBytesOf(int n) {
    EXPECT_TRUE(node_.SendDelta(node_.RunDelta(TestKey(n))).has_value());
    const journal::Entry* entry = node_.journal().Find(TestKey(n));
    return entry == nullptr ? -1 : entry->log_max_bytes();
  }

  FakeNode node_;
  std::vector<std::string> told_;
};

TEST_F(SettingsTest, LogBoundsHoldForContainersAcceptedFromThenOn) {
  Start();
  EXPECT_EQ(LogBytesOf(1), int64_t{16} << 20);
  isla::v1::NodeSettings settings;
  settings.set_container_log_bytes(81920);
  Tell(settings);
  EXPECT_EQ(LogBytesOf(2), 81920);
  EXPECT_EQ(node_.journal().Find(TestKey(1))->log_max_bytes(), int64_t{16} << 20);
  Tell({});
  EXPECT_EQ(LogBytesOf(3), int64_t{16} << 20);
}

TEST_F(SettingsTest, NodeJsonIsACeilingBeforeAndAfterItIsReadAgain) {
  NodeConfig config;
  config.container_log_bytes = 100000;
  Start(config);
  isla::v1::NodeSettings settings;
  settings.set_container_log_bytes(200000);
  Tell(settings);
  EXPECT_EQ(LogBytesOf(1), 100000);
  config.container_log_bytes = 300000;
  node_.control_plane().SetConfig(config);
  EXPECT_EQ(LogBytesOf(2), 200000);
}

TEST_F(SettingsTest, TheLastOnesHoldWithoutAGateway) {
  Start();
  isla::v1::NodeSettings settings;
  settings.set_container_log_bytes(81920);
  Tell(settings);
  node_.Disconnect();
  node_.Connect();  // this gateway tells none
  EXPECT_EQ(LogBytesOf(1), 81920);
  EXPECT_EQ(told_.size(), 1u);
}

TEST_F(SettingsTest, WhatIsToldAgainIsNotAppliedAgain) {
  Start();
  isla::v1::NodeSettings settings;
  settings.set_log_level("debug");
  Tell(settings);
  Tell(settings);
  EXPECT_EQ(told_, std::vector<std::string>{"log_level=debug"});
  Tell({});
  EXPECT_EQ(told_.back(), "none");
}

TEST_F(SettingsTest, WhatIsOutOfRangeIsIgnoredAloneAndNamed) {
  isla::v1::NodeSettings told;
  told.set_log_level("loud");
  told.set_container_log_bytes(1);
  told.set_node_log_bytes(1 << 20);
  told.set_max_starting(0);
  std::vector<std::string> ignored;
  const Settings settings = ReadSettings(told, ignored);
  EXPECT_EQ(SettingsText(settings), "node_log_bytes=1048576");
  EXPECT_EQ(ignored, (std::vector<std::string>{"log_level=loud", "container_log_bytes=1", "max_starting=0"}));
}

TEST_F(SettingsTest, RaisingTheNumberOfStartsLetsThoseThatWaitBegin) {
  ContainerManagerOptions options;
  options.max_starting = 1;
  Start({}, options);
  isla::v1::Delta delta;
  for (int i = 1; i <= 8; ++i) delta.MergeFrom(node_.RunDelta(TestKey(i)));
  isla::v1::NodeSettings settings;
  settings.set_max_starting(4);
  Tell(settings);
  node_.PostDelta(delta);
  size_t most = 0;
  while (node_.Step()) {
    most = std::max(most, node_.containers().CountIn(Phase::kStarting) + node_.containers().CountIn(Phase::kCreated));
  }
  EXPECT_GT(most, 1u);
  EXPECT_LE(most, 4u);
  for (int i = 1; i <= 8; ++i) EXPECT_EQ(node_.ReportedState(TestKey(i)), isla::v1::RUNNING) << i;
}

}  // namespace
}  // namespace isla::agent
