#include "api/config/schema.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace isla::config {
namespace {

std::string Wrong(const Scope& scope, std::string_view name, const json::Value& value) {
  const auto error = CheckPut(scope, name, value);
  return error ? error->field + ": " + error->detail : "";
}

TEST(ConfigSchema, TableIsSortedAndMakesATree) {
  const auto settings = Settings();
  for (size_t i = 0; i < settings.size(); ++i) {
    const Setting& setting = settings[i];
    EXPECT_EQ(CheckName(setting.name), "") << setting.name;
    EXPECT_FALSE(setting.about.empty() || setting.applies.empty()) << setting.name;
    EXPECT_TRUE(i == 0 || settings[i - 1].name < setting.name) << setting.name;
    for (const Setting& other : settings) {
      EXPECT_FALSE(&other != &setting && IsBelow(other.name, setting.name)) << other.name << " below " << setting.name;
    }
  }
}

TEST(ConfigSchema, DefaultsPassTheirOwnCheckInEveryScopeOfTheirs) {
  for (const Setting& setting : Settings()) {
    for (const Scope& scope : {Scope::Global(), Scope::Group("g"), Scope::Node("n")}) {
      if (!setting.MayBeIn(scope.kind) || !setting.Default()) continue;
      EXPECT_EQ(Wrong(scope, setting.name, *setting.Default()), "");
    }
  }
}

TEST(ConfigSchema, UnknownNameGetsASuggestion) {
  EXPECT_EQ(Wrong({}, "agent/log/levl", "debug"), "agent/log/levl: Unknown setting: did you mean 'agent/log/level'?");
  EXPECT_EQ(Wrong({}, "maxParallel", 1), "maxParallel: Unknown setting: did you mean 'agent/start/maxParallel'?");
  EXPECT_EQ(Wrong({}, "agent/log-level", "debug"), "agent/log-level: Unknown setting: did you mean 'agent/log/level'?");
  EXPECT_EQ(Wrong({}, "zzz", 1), "zzz: Unknown setting: 'isla config list --schema' shows all");
  EXPECT_EQ(Wrong({}, "", 1), ": Unknown setting: 'isla config list --schema' shows all");
}

TEST(ConfigSchema, WhatLiesBelowANameThatIsNoneIsSaid) {
  for (const char* above : {"islad", "islad/"}) {
    EXPECT_EQ(Wrong({}, above, 1), std::string(above) +
                                       ": Unknown setting: below it are 'islad/history/keepSeconds', 'islad/log/level'");
  }
}

TEST(ConfigSchema, TypesAndRangesAreSaid) {
  EXPECT_EQ(Wrong({}, kAgentLogMaxBytes, 65536), "");
  EXPECT_EQ(Wrong({}, kAgentLogMaxBytes, json::Value::Number("1e6")), "");
  EXPECT_EQ(Wrong({}, kAgentLogMaxBytes, 65535),
            "agent/log/maxBytes: Invalid value: 65535: must be an integer from 65536 to 1099511627776 (bytes)");
  EXPECT_EQ(Wrong({}, kAgentLogMaxBytes, "16Mi"),
            "agent/log/maxBytes: Invalid type: \"16Mi\" (string): expected an integer from 65536 to 1099511627776 (bytes)");
  EXPECT_NE(Wrong({}, kAgentLogMaxBytes, json::Value::Number("65536.5")), "");
  EXPECT_NE(Wrong({}, kAgentLogMaxBytes, json::Value::Number("1e400")), "");
  EXPECT_NE(Wrong({}, kAgentLogLevel, "loud").find("supported values: \"debug\", \"info\", \"warn\", \"error\""),
            std::string::npos);
  EXPECT_NE(Wrong({}, kAgentLogLevel, "debug info"), "");
  EXPECT_NE(Wrong({}, kAgentLogLevel, ""), "");
  EXPECT_NE(Wrong({}, kAgentLogLevel, 1), "");
  EXPECT_NE(Wrong({}, kAgentLogLevel, json::Value()), "");
}

TEST(ConfigSchema, ScopesAreKept) {
  EXPECT_EQ(Wrong(Scope::Node("n"), kIsladLogLevel, "debug"),
            "islad/log/level: Forbidden: it can't be set in the scope node, only in: global");
  EXPECT_EQ(Wrong(Scope::Node("n"), kNodeGroup, "gpu"), "");
  EXPECT_NE(Wrong(Scope::Global(), kNodeGroup, "gpu"), "");
  EXPECT_NE(Wrong(Scope::Node("n"), kNodeGroup, "G P U"), "");
}

TEST(ConfigSchema, PrefixIsASettingOrAboveOne) {
  EXPECT_TRUE(CheckPrefix("").ok());
  EXPECT_TRUE(CheckPrefix("agent").ok());
  EXPECT_TRUE(CheckPrefix("agent/log/level").ok());
  EXPECT_FALSE(CheckPrefix("agent/lo").ok());
  EXPECT_FALSE(CheckPrefix("agent/log/level/x").ok());
}

TEST(ConfigSchema, JsonHasEverySetting) {
  const json::Value schema = SchemaJson();
  ASSERT_EQ(schema.items().size(), Settings().size());
  const auto bytes = std::find_if(schema.items().begin(), schema.items().end(), [](const json::Value& item) {
    return item.StringAt({"name"}) == kAgentLogMaxBytes;
  });
  ASSERT_NE(bytes, schema.items().end());
  EXPECT_EQ(bytes->Int64At({"minimum"}), 65536);
  EXPECT_EQ(bytes->Int64At({"default"}), 16777216);
  EXPECT_EQ(bytes->StringAt({"unit"}), "bytes");
}

}  // namespace
}  // namespace isla::config
