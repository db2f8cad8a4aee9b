#include "api/config/scope.h"

#include <gtest/gtest.h>

namespace isla::config {
namespace {

TEST(ConfigName, IsAPathOfWords) {
  EXPECT_EQ(CheckName("agent/log/maxBytes"), "");
  EXPECT_EQ(CheckName("a"), "");
  for (const char* bad : {"", "/", "a/", "/a", "a//b", "A/b", "a/b.c", "a/../b", "a b", "a/b\n", "1a", "a/\xc3\xa4", "a-b"}) {
    EXPECT_NE(CheckName(bad), "") << bad;
  }
  EXPECT_EQ(CheckName("a/b/c/d/e/f/g/h"), "");
  EXPECT_NE(CheckName("a/b/c/d/e/f/g/h/i"), "");
  EXPECT_EQ(CheckName(std::string(63, 'a')), "");
  EXPECT_NE(CheckName(std::string(64, 'a')), "");
}

TEST(ConfigPrefix, EndsWhereAWordEnds) {
  EXPECT_TRUE(IsBelow("a/bc", "a"));
  EXPECT_TRUE(IsBelow("a/bc", "a/bc"));
  EXPECT_TRUE(IsBelow("a/bc", ""));
  EXPECT_FALSE(IsBelow("a/bc", "a/b"));
  EXPECT_FALSE(IsBelow("a", "a/b"));
}

TEST(ConfigScope, KeyIsReadBackAsItWasMade) {
  const store::Keys keys;
  for (const Scope& scope : {Scope::Global(), Scope::Group("config"), Scope::Node("n1.example.org")}) {
    const auto parsed = keys.Parse((KeyPrefix(keys, scope) + "agent/log/level").text());
    ASSERT_TRUE(parsed && parsed->key_class == store::KeyClass::kConfig) << ScopeText(scope);
    const auto path = ParsePath(parsed->name);
    ASSERT_TRUE(path) << parsed->name;
    EXPECT_EQ(path->first, scope);
    EXPECT_EQ(path->second, "agent/log/level");
  }
  EXPECT_EQ(KeyPrefix(keys, Scope::Node("n1")), "/isla/default/nodes/agents/n1/config/");
}

TEST(ConfigScope, OtherKeysAreNoSettings) {
  for (const char* path : {"config/", "config/A", "config", "sgroup/g/config", "sgroup//config/a", "sgroup/g/other/a",
                           "nodes/agents/n1/a", "nodes/agents/../config/a", "nodes/n1/config/a"}) {
    EXPECT_FALSE(ParsePath(path)) << path;
  }
}

TEST(ConfigScope, NamesAreThoseOfGroupsAndNodes) {
  EXPECT_TRUE(CheckScope(Scope::Global()).ok());
  EXPECT_TRUE(CheckScope(Scope::Group("gpu-1")).ok());
  EXPECT_TRUE(CheckScope(Scope::Node("n1.example.org")).ok());
  EXPECT_FALSE(CheckScope(Scope::Group("")).ok());
  EXPECT_FALSE(CheckScope(Scope::Group("a/b")).ok());
  EXPECT_FALSE(CheckScope(Scope::Node("..")).ok());
}

}  // namespace
}  // namespace isla::config
