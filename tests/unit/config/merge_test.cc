#include "api/config/merge.h"

#include <gtest/gtest.h>

namespace isla::config {
namespace {

class ConfigMerge : public ::testing::Test {
 protected:
  Layer LayerOf(const Scope& scope, const std::map<std::string, std::string>& stored) {
    std::vector<KvPtr> kvs;
    for (const auto& [name, value] : stored) {
      auto kv = std::make_shared<store::KeyValue>();
      kv->key = KeyPrefix(keys_, scope) + name;
      kv->value = value;
      kv->mod_revision = ++revision_;
      kvs.push_back(std::move(kv));
    }
    return {scope, ReadLeaves(keys_, scope, kvs)};
  }
  static const Effective& Of(const std::vector<Effective>& all, std::string_view name) {
    for (const Effective& each : all) {
      if (each.setting->name == name) return each;
    }
    ADD_FAILURE() << name;
    return all.front();
  }
  static std::string Text(const Effective& effective) {
    return (effective.value ? json::Serialize(*effective.value) : "none") + " " +
           (effective.from ? ScopeText(*effective.from) : "default");
  }

  const store::Keys keys_;
  store::Revision revision_ = 0;
};

TEST_F(ConfigMerge, NodeGoesBeforeGroupBeforeGlobalBeforeDefaultLeafByLeaf) {
  const auto merged = Merge({LayerOf(Scope::Global(), {{"agent/log/level", "\"warn\""}, {"agent/log/maxBytes", "81920"}}),
                             LayerOf(Scope::Group("g"), {{"agent/log/level", "\"error\""}, {"agent/start/maxParallel", "4"}}),
                             LayerOf(Scope::Node("n"), {{"agent/log/level", "\"debug\""}})});
  EXPECT_EQ(Text(Of(merged, kAgentLogLevel)), "\"debug\" node/n");
  EXPECT_EQ(Text(Of(merged, kAgentLogMaxBytes)), "81920 global");
  EXPECT_EQ(Text(Of(merged, kAgentStartMaxParallel)), "4 group/g");
  EXPECT_EQ(Text(Of(merged, kAgentLogNodeMaxBytes)), "1073741824 default");
  EXPECT_EQ(Text(Of(merged, kNodeGroup)), "none default");
  const auto& others = Of(merged, kAgentLogLevel).others;
  ASSERT_EQ(others.size(), 2u);
  EXPECT_EQ(ScopeText(others[0].scope), "group/g");
  EXPECT_EQ(ScopeText(others[1].scope), "global");
}

TEST_F(ConfigMerge, WhatCannotBeUsedHidesNothing) {
  const auto merged = Merge({LayerOf(Scope::Global(), {{"agent/log/maxBytes", "81920"}, {"agent/log/level", "\"warn\""}}),
                             LayerOf(Scope::Node("n"), {{"agent/log/maxBytes", "\"many\""},
                                                        {"agent/log/level", "{broken"},
                                                        {"islad/log/level", "\"debug\""}})});
  EXPECT_EQ(Text(Of(merged, kAgentLogMaxBytes)), "81920 global");
  EXPECT_EQ(Text(Of(merged, kAgentLogLevel)), "\"warn\" global");
  EXPECT_EQ(Text(Of(merged, kIsladLogLevel)), "\"info\" default");
  ASSERT_EQ(Of(merged, kAgentLogLevel).others.size(), 1u);
  EXPECT_NE(Of(merged, kAgentLogLevel).others[0].error.find("not JSON"), std::string::npos);
  EXPECT_NE(Of(merged, kIsladLogLevel).others[0].error.find("Forbidden"), std::string::npos);
}

TEST_F(ConfigMerge, WhatCannotBeUsedIsShownShort) {
  const std::string much(100'000, 'x');
  const Leaves leaves = LayerOf({}, {{"agent/log/level", "\"" + much + "\""},
                                     {"agent/log/maxBytes", "[" + much},
                                     {"agent/start/maxParallel", "\xff\xfe"},
                                     {"agent/log/nodeMaxBytes", std::string("\0", 1)}}).leaves;
  ASSERT_EQ(leaves.size(), 4u);
  for (const auto& [name, leaf] : leaves) {
    EXPECT_FALSE(leaf.error.empty()) << name;
    EXPECT_LT(leaf.error.size(), 1000u) << name;
    const std::string shown = json::Serialize(leaf.value);
    EXPECT_LT(shown.size(), 300u) << name;
    EXPECT_TRUE(json::Parse(shown).ok()) << shown;
  }
}

TEST_F(ConfigMerge, PrefixEndsOnAPartAndUnknownNamesAreLeftOut) {
  const std::vector<Layer> layers = {LayerOf(Scope::Global(), {{"agent/new/thing", "1"}})};
  EXPECT_EQ(Merge(layers, "agent/log").size(), 3u);
  EXPECT_EQ(Merge(layers, "agent/lo").size(), 0u);
  EXPECT_EQ(Merge(layers).size(), Settings().size());
  EXPECT_EQ(layers[0].leaves.at("agent/new/thing").error, "Unknown setting");
}

TEST_F(ConfigMerge, KeysOfOtherScopesAndShapesAreNotRead) {
  auto kv = std::make_shared<store::KeyValue>();
  kv->key = KeyPrefix(keys_, Scope::Node("n2")) + "agent/log/level";
  kv->value = "\"debug\"";
  auto odd = std::make_shared<store::KeyValue>();
  odd->key = KeyPrefix(keys_, Scope::Node("n1")) + "agent//level";
  EXPECT_TRUE(ReadLeaves(keys_, Scope::Node("n1"), {kv, odd}).empty());
}

TEST_F(ConfigMerge, TreeHasWhatIsNamed) {
  EXPECT_EQ(json::Serialize(Tree({{"agent/log/level", "debug"}, {"agent/log/maxBytes", 1}, {"node/group", "g"}})),
            R"({"agent":{"log":{"level":"debug","maxBytes":1}},"node":{"group":"g"}})");
  EXPECT_EQ(json::Serialize(Tree({})), "{}");
}

TEST_F(ConfigMerge, GroupIsTheSettingThenTheLabelThenNone) {
  const Leaves set = LayerOf(Scope::Node("n"), {{"node/group", "\"a\""}}).leaves;
  EXPECT_EQ(GroupOf(set, {{"isla/group", "b"}}), "a");
  EXPECT_EQ(GroupOf({}, {{"isla/group", "b"}}), "b");
  EXPECT_EQ(GroupOf({}, {{"isla/group", "no/group"}}), "");
  EXPECT_EQ(GroupOf({}, {}), "");
}

}  // namespace
}  // namespace isla::config
