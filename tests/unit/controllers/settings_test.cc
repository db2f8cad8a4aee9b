// The settings as the controllers and the gateway see them: joined by node, whatever is in the store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/controllers/world.h"

namespace isla::controllers {
namespace {

class StateSettingsTest : public testing::Test {
 protected:
  std::string Held(const std::string& node, std::string_view name) {
    for (const config::Effective& effective : world_.state.Config(node)) {
      if (effective.setting->name != name) continue;
      return (effective.value ? json::Serialize(*effective.value) : "none") + " " +
             (effective.from ? config::ScopeText(*effective.from) : "default");
    }
    return "unknown";
  }
  void Set(const std::string& path, const std::string& value) {
    world_.Put(world_.keys.prefix() + path, value);
    world_.Sync();
  }
  void Unset(const std::string& path) {
    world_.Delete(world_.keys.prefix() + path);
    world_.Sync();
  }

  World world_;
};

TEST_F(StateSettingsTest, ANodesGoBeforeItsGroupsBeforeTheGlobalOnes) {
  EXPECT_EQ(Held("n1", config::kAgentLogLevel), "\"info\" default");
  Set("config/agent/log/level", "\"warn\"");
  Set("sgroup/gpu/config/agent/log/level", "\"error\"");
  EXPECT_EQ(Held("n1", config::kAgentLogLevel), "\"warn\" global");
  Node node = NodeOf("n1");
  node.labels["isla/group"] = "gpu";
  Set("node/n1", Encode(node));
  EXPECT_EQ(Held("n1", config::kAgentLogLevel), "\"error\" group/gpu");
  EXPECT_EQ(Held("", config::kAgentLogLevel), "\"warn\" global");
  Set("nodes/agents/n1/config/agent/log/level", "\"debug\"");
  EXPECT_EQ(Held("n1", config::kAgentLogLevel), "\"debug\" node/n1");
  Unset("nodes/agents/n1/config/agent/log/level");
  Set("nodes/agents/n1/config/node/group", "\"other\"");
  EXPECT_EQ(Held("n1", config::kAgentLogLevel), "\"warn\" global");
  Unset("config/agent/log/level");
  EXPECT_EQ(Held("n1", config::kAgentLogLevel), "\"info\" default");
}

TEST_F(StateSettingsTest, WhatCannotBeUsedIsKnownWithItsReasonAndHidesNothing) {
  Set("config/agent/log/maxBytes", "81920");
  for (const char* value : {"", "{", "\"many\"", "1", "81920.5", "\xff", "[[[[", "null"}) {
    Set("nodes/agents/n1/config/agent/log/maxBytes", value);
    EXPECT_EQ(Held("n1", config::kAgentLogMaxBytes), "81920 global") << value;
    EXPECT_NE(world_.state.SettingError("nodes/agents/n1/config/agent/log/maxBytes"), "") << value;
  }
  EXPECT_EQ(world_.state.SettingError("config/agent/log/maxBytes"), "");
  EXPECT_EQ(world_.state.SettingError("config/agent/log/level"), "");
  Set("config/agent/future", "1");
  EXPECT_EQ(world_.state.SettingError("config/agent/future"), "Unknown setting");
  for (const char* path : {"config/", "config/A", "nodes/x", "sgroup/G/config/agent/log/level", "nodes/agents/n1/config/a//b"}) {
    Set(path, "1");
    EXPECT_EQ(world_.state.SettingError(path), "not the name of a setting in a scope") << path;
  }
  Set("node/n1", "{broken");
  EXPECT_EQ(Held("n1", config::kAgentLogMaxBytes), "81920 global");
}

}  // namespace
}  // namespace isla::controllers
