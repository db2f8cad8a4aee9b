// The settings over the store: reads, writes by compare-and-set, races and lost answers, watches.
#include "tests/unit/registry/registry_fixture.h"

namespace isla::registry {
namespace {

using config::Scope;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigRegistryTest : public RegistryTest {
 protected:
  ConfigRegistry& config() { return registry_->config(); }
  static ConfigChange Change(std::map<std::string, std::optional<json::Value>> values,
                             std::map<std::string, store::Revision> preconditions = {}) {
    ConfigChange change;
    change.values = std::move(values);
    change.preconditions = std::move(preconditions);
    return change;
  }
  StatusOr<ConfigWritten> Set(const Scope& scope, const std::string& name, json::Value value) {
    return config().Write(scope, Change({{name, std::move(value)}}));
  }
  std::string Key(const Scope& scope, const std::string& name) { return config::KeyPrefix(keys_, scope) + name; }
  std::string Explained(const Scope& scope, const std::string& name) {
    const auto explained = config().Explain(scope, name);
    EXPECT_TRUE(explained.ok()) << ToString(explained.status());
    if (!explained.ok() || explained->settings.size() != 1) return "";
    const config::Effective& one = explained->settings[0];
    return json::Serialize(*one.value) + " " + (one.from ? config::ScopeText(*one.from) : "default");
  }
};

TEST_F(ConfigRegistryTest, ManyAreSetAndUnsetInOneTransaction) {
  ASSERT_TRUE(Set({}, "agent/log/level", "warn").ok());
  const store::Revision before = StoreRevision();
  const auto written = config().Write(
      {}, Change({{"agent/log/level", std::nullopt}, {"agent/log/maxBytes", 81920}, {"agent/start/maxParallel", 2}}));
  ASSERT_TRUE(written.ok()) << ToString(written.status());
  EXPECT_THAT(written->changed, ElementsAre("agent/log/level", "agent/log/maxBytes", "agent/start/maxParallel"));
  EXPECT_EQ(written->values.revision, before + 1);
  EXPECT_EQ(StoreRevision(), before + 1);
  const auto values = config().Read({}, "");
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->leaves.size(), 2u);
  EXPECT_EQ(values->leaves.at("agent/log/maxBytes").revision, before + 1);
}

TEST_F(ConfigRegistryTest, OneWrongValueKeepsAllFromBeingSet) {
  const store::Revision before = StoreRevision();
  const auto written = config().Write(
      {}, Change({{"agent/log/level", "debug"}, {"agent/log/maxBytes", 1}, {"agent/log/maxByte", 81920}}));
  EXPECT_EQ(written.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(Fields(written.status()), ElementsAre("agent/log/maxByte", "agent/log/maxBytes"));
  EXPECT_THAT(Message(written.status()), HasSubstr("did you mean 'agent/log/maxBytes'?"));
  EXPECT_EQ(StoreRevision(), before);
}

TEST_F(ConfigRegistryTest, WhatIsSoAlreadyIsNotWritten) {
  ASSERT_TRUE(Set({}, "agent/log/maxBytes", 81920).ok());
  const store::Revision before = StoreRevision();
  const auto again = Set({}, "agent/log/maxBytes", json::Value::Number("81920.0"));
  ASSERT_TRUE(again.ok());
  EXPECT_THAT(again->changed, IsEmpty());
  const auto unset = config().Write({}, Change({{"agent/log/level", std::nullopt}}));
  ASSERT_TRUE(unset.ok());
  EXPECT_THAT(unset->changed, IsEmpty());
  EXPECT_EQ(StoreRevision(), before);
}

TEST_F(ConfigRegistryTest, PreconditionIsTheVersionOfEachSetting) {
  const auto first = config().Write({}, Change({{"agent/log/maxBytes", 81920}}, {{"agent/log/maxBytes", 0}}));
  ASSERT_TRUE(first.ok()) << ToString(first.status());
  const store::Revision version = first->values.leaves.at("agent/log/maxBytes").revision;
  EXPECT_EQ(config().Write({}, Change({{"agent/log/maxBytes", 90000}}, {{"agent/log/maxBytes", 0}})).status().code(),
            Code::kAborted);
  ASSERT_TRUE(config().Write({}, Change({{"agent/log/maxBytes", 90000}}, {{"agent/log/maxBytes", version}})).ok());
  // The old version again: by now it is another's, and nothing is changed, not even the setting without a condition.
  const auto stale = config().Write({}, Change({{"agent/log/maxBytes", std::nullopt}, {"agent/log/level", "debug"}},
                                               {{"agent/log/maxBytes", version}}));
  EXPECT_EQ(stale.status().code(), Code::kAborted);
  EXPECT_EQ(Stored(Key({}, "agent/log/maxBytes")), "90000");
  EXPECT_EQ(Stored(Key({}, "agent/log/level")), "");
  EXPECT_EQ(config().Write({}, Change({{"agent/log/level", "info"}}, {{"agent/log/maxBytes", 1}})).status().code(),
            Code::kInvalidArgument);
}

TEST_F(ConfigRegistryTest, LosingARaceIsTriedAgainAndAConditionIsNot) {
  store_.BeforeWrite([this] { PutRaw(Key({}, "agent/log/level"), "\"error\""); });
  ASSERT_TRUE(Set({}, "agent/log/level", "debug").ok());
  EXPECT_EQ(Stored(Key({}, "agent/log/level")), "\"debug\"");
  const store::Revision version = config().Read({}, "")->leaves.at("agent/log/level").revision;
  store_.BeforeWrite([this] { PutRaw(Key({}, "agent/log/level"), "\"error\""); });
  EXPECT_EQ(config().Write({}, Change({{"agent/log/level", "warn"}}, {{"agent/log/level", version}})).status().code(),
            Code::kAborted);
  EXPECT_EQ(Stored(Key({}, "agent/log/level")), "\"error\"");
}

TEST_F(ConfigRegistryTest, AnAnswerThatWasLostIsReadBack) {
  store_.LoseAnswer();
  const auto lost = config().Write({}, Change({{"agent/log/level", "debug"}, {"agent/log/maxBytes", 81920}}));
  ASSERT_TRUE(lost.ok()) << ToString(lost.status());
  EXPECT_EQ(lost->values.revision, StoreRevision());
  store_.LoseRequest();
  EXPECT_EQ(Set({}, "agent/log/level", "warn").status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(Stored(Key({}, "agent/log/level")), "\"debug\"");
}

TEST_F(ConfigRegistryTest, AConditionIsNotTakenToHaveHeldBecauseAnotherWroteTheSame) {
  store_.BeforeWrite([this] { PutRaw(Key({}, "agent/log/level"), "\"debug\""); });
  store_.LoseRequest();
  EXPECT_EQ(config().Write({}, Change({{"agent/log/level", "debug"}}, {{"agent/log/level", 0}})).status().code(),
            Code::kDeadlineExceeded);
}

TEST_F(ConfigRegistryTest, AScopeThatNoNodeIsInIsWarnedOf) {
  const auto warnings = [this](const Scope& scope) {
    const auto written = Set(scope, "agent/log/level", "debug");
    EXPECT_TRUE(written.ok()) << ToString(written.status());
    return written.ok() ? written->warnings : std::vector<std::string>();
  };
  EXPECT_THAT(warnings({}), IsEmpty());
  EXPECT_THAT(warnings(Scope::Node("n1")), ElementsAre("no node 'n1' has registered so far"));
  EXPECT_THAT(warnings(Scope::Group("gpu")), ElementsAre("no node is in the group 'gpu' so far"));
  PutRaw(keys_.Node("n1"), R"({"uid":"u","labels":{"isla/group":"gpu"}})");
  PutRaw(keys_.Node("n2"), "{broken");
  ASSERT_TRUE(cache_->WaitFor(StoreRevision(), seconds(5)).ok());
  EXPECT_THAT(warnings(Scope::Node("n1")), IsEmpty());
  EXPECT_THAT(warnings(Scope::Group("gpu")), IsEmpty());
  ASSERT_TRUE(Set(Scope::Node("n1"), "node/group", "other").ok());
  ASSERT_TRUE(cache_->WaitFor(StoreRevision(), seconds(5)).ok());
  EXPECT_THAT(warnings(Scope::Group("gpu")), ElementsAre("no node is in the group 'gpu' so far"));
  EXPECT_THAT(warnings(Scope::Group("other")), IsEmpty());
}

TEST_F(ConfigRegistryTest, AHundredAreChangedAtOnceAndNoMore) {
  std::map<std::string, std::optional<json::Value>> values;
  for (int i = 0; i < 100; ++i) {
    PutRaw(Key({}, fmt::format("future/x{}", i)), "1");
    values[fmt::format("future/x{}", i)] = std::nullopt;
  }
  const auto removed = config().Write({}, Change(values));
  ASSERT_TRUE(removed.ok()) << ToString(removed.status());
  EXPECT_EQ(removed->changed.size(), 100u);
  EXPECT_EQ(config().Read({}, "")->leaves.size(), 0u);
  values["future/y"] = std::nullopt;
  EXPECT_EQ(config().Write({}, Change(values)).status().code(), Code::kInvalidArgument);
}

TEST_F(ConfigRegistryTest, AWriteIsFencedByTheCluster) {
  store_.BeforeWrite([this] { PutRaw(keys_.Cluster(), R"({"id":"x","epoch":1,"level":2})"); });
  EXPECT_EQ(Set({}, "agent/log/level", "debug").status().code(), Code::kUnavailable);
  EXPECT_EQ(Stored(Key({}, "agent/log/level")), "");
}

TEST_F(ConfigRegistryTest, DryRunChecksAndWritesNothing) {
  const store::Revision before = StoreRevision();
  ConfigChange change = Change({{"agent/log/level", "debug"}});
  change.dry_run = true;
  const auto written = config().Write({}, change);
  ASSERT_TRUE(written.ok());
  EXPECT_THAT(written->changed, ElementsAre("agent/log/level"));
  EXPECT_EQ(StoreRevision(), before);
}

TEST_F(ConfigRegistryTest, NodeTakesItsGroupFromItsSettingElseItsLabel) {
  ASSERT_TRUE(Set({}, "agent/log/level", "warn").ok());
  ASSERT_TRUE(Set(Scope::Group("a"), "agent/log/level", "error").ok());
  ASSERT_TRUE(Set(Scope::Group("b"), "agent/log/level", "debug").ok());
  EXPECT_EQ(Explained(Scope::Node("n1"), "agent/log/level"), "\"warn\" global");
  PutRaw(keys_.Node("n1"), R"({"uid":"u","labels":{"isla/group":"a"}})");
  EXPECT_EQ(Explained(Scope::Node("n1"), "agent/log/level"), "\"error\" group/a");
  ASSERT_TRUE(Set(Scope::Node("n1"), "node/group", "b").ok());
  EXPECT_EQ(Explained(Scope::Node("n1"), "agent/log/level"), "\"debug\" group/b");
  EXPECT_EQ(config().Explain(Scope::Node("n1"), "")->group, "b");
  ASSERT_TRUE(Set(Scope::Node("n1"), "agent/log/level", "info").ok());
  EXPECT_EQ(Explained(Scope::Node("n1"), "agent/log/level"), "\"info\" node/n1");
  EXPECT_EQ(Explained(Scope::Node("n2"), "agent/log/level"), "\"warn\" global");
  EXPECT_EQ(Explained(Scope::Node("n2"), "agent/log/maxBytes"), "16777216 default");
}

TEST_F(ConfigRegistryTest, WhatIsNotKnownIsShownAndCanBeRemovedButNotMade) {
  PutRaw(Key({}, "agent/future/thing"), "1");
  const auto values = config().Read({}, "agent/future");
  ASSERT_TRUE(values.ok()) << ToString(values.status());
  EXPECT_EQ(values->leaves.at("agent/future/thing").error, "Unknown setting");
  EXPECT_EQ(config().Read({}, "agent/futur").status().code(), Code::kInvalidArgument);
  ASSERT_TRUE(config().Write({}, Change({{"agent/future/thing", std::nullopt}})).ok());
  EXPECT_EQ(Stored(Key({}, "agent/future/thing")), "");
  EXPECT_EQ(config().Write({}, Change({{"agent/future/thing", std::nullopt}})).status().code(), Code::kInvalidArgument);
}

TEST_F(ConfigRegistryTest, PrefixesEndOnAPart) {
  ASSERT_TRUE(Set({}, "agent/log/level", "debug").ok());
  EXPECT_EQ(config().Read({}, "agent/log")->leaves.size(), 1u);
  EXPECT_EQ(config().Read({}, "agent/start")->leaves.size(), 0u);
  EXPECT_EQ(config().Read({}, "agent/lo").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(config().Read(Scope::Node("a/b"), "").status().code(), Code::kInvalidArgument);
}

TEST_F(ConfigRegistryTest, WatchTellsTheChangesOfItsScopeOnly) {
  ASSERT_TRUE(Set({}, "agent/log/level", "debug").ok());
  auto watch = config().Watch(Scope::Node("n1"), "agent/log", config().Read({}, "")->revision);
  ASSERT_TRUE(watch.ok()) << ToString(watch.status());
  ASSERT_TRUE(Set({}, "agent/log/level", "warn").ok());
  ASSERT_TRUE(Set(Scope::Node("n1"), "agent/start/maxParallel", 3).ok());
  ASSERT_TRUE(Set(Scope::Node("n1"), "agent/log/level", "error").ok());
  PutRaw(Key(Scope::Node("n1"), "agent/log/level"), "loud");
  ASSERT_TRUE(config().Write(Scope::Node("n1"), Change({{"agent/log/level", std::nullopt}})).ok());
  std::vector<std::string> seen;
  const MonotonicTime until = Clock::Real().Monotonic() + seconds(5);
  while (seen.size() < 3 && Clock::Real().Monotonic() < until) {
    const auto events = (*watch)->Next(milliseconds(100));
    if (!events.ok()) continue;
    for (const ConfigEvent& event : *events) {
      static const char* const kTypes[] = {"added ", "modified ", "deleted "};
      seen.push_back(kTypes[static_cast<int>(event.type)] + event.name);
      EXPECT_GT(event.leaf.revision, 0);
    }
  }
  EXPECT_THAT(seen, ElementsAre("added agent/log/level", "modified agent/log/level", "deleted agent/log/level"));
  EXPECT_EQ(config().Watch({}, "", StoreRevision() + 100).status().code(), Code::kOutOfRange);
}

}  // namespace
}  // namespace isla::registry
