#include "store/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <vector>

#include "store/store.h"

namespace isla::store {
namespace {

TEST(Keys, EveryKeyHasTheDocumentedForm) {
  const Keys keys;
  EXPECT_EQ(keys.Spec("session", "default", "web"), "/isla/default/spec/session/default/web");
  EXPECT_EQ(keys.Status("project", kClusterWide, "a"), "/isla/default/status/project/_/a");
  EXPECT_EQ(keys.Bind("ns", "s"), "/isla/default/bind/ns/s");
  EXPECT_EQ(keys.Run("n1", "u-1", 3), "/isla/default/run/n1/u-1/3");
  EXPECT_EQ(keys.Node("n1"), "/isla/default/node/n1");
  EXPECT_EQ(keys.NodeTerm("n1"), "/isla/default/nodeterm/n1");
  EXPECT_EQ(keys.Gateway("g"), "/isla/default/gateway/g");
  EXPECT_EQ(keys.Lead(), "/isla/default/lead/controllers");
  EXPECT_EQ(keys.Manifest("ns", "m"), "/isla/default/manifest/ns/m");
  EXPECT_EQ(keys.ManifestStatus("ns", "m"), "/isla/default/manifest-status/ns/m");
  EXPECT_EQ(keys.Cluster(), "/isla/default/meta/cluster");
  EXPECT_EQ(keys.Compacted(), "/isla/default/meta/compacted");
  EXPECT_EQ(keys.Barrier("i"), "/isla/default/barrier/i");
}

TEST(Keys, ParseInvertsEveryBuilder) {
  const Keys keys("/x/");
  const auto spec = keys.Parse(keys.Spec("session", "ns", "web").text());
  ASSERT_TRUE(spec.has_value());
  EXPECT_EQ(spec->key_class, KeyClass::kSpec);
  EXPECT_EQ(spec->kind, "session");
  EXPECT_EQ(spec->ns, "ns");
  EXPECT_EQ(spec->name, "web");
  const auto run = keys.Parse(keys.Run("n", "uid", 12).text());
  ASSERT_TRUE(run.has_value());
  EXPECT_EQ(run->key_class, KeyClass::kRun);
  EXPECT_EQ(run->node, "n");
  EXPECT_EQ(run->container, "uid");
  EXPECT_EQ(run->incarnation, 12);
  const auto bind = keys.Parse(keys.Bind("ns", "s").text());
  ASSERT_TRUE(bind.has_value());
  EXPECT_EQ(bind->key_class, KeyClass::kBind);
  EXPECT_EQ(bind->ns, "ns");
  EXPECT_EQ(bind->name, "s");
  EXPECT_EQ(keys.Parse(keys.Status("k", "_", "n").text())->key_class, KeyClass::kStatus);
  EXPECT_EQ(keys.Parse(keys.Node("n").text())->key_class, KeyClass::kNode);
  EXPECT_EQ(keys.Parse(keys.NodeTerm("n").text())->key_class, KeyClass::kNodeTerm);
  EXPECT_EQ(keys.Parse(keys.Gateway("g").text())->name, "g");
  EXPECT_EQ(keys.Parse(keys.Lead().text())->key_class, KeyClass::kLead);
  EXPECT_EQ(keys.Parse(keys.Manifest("a", "b").text())->key_class, KeyClass::kManifest);
  EXPECT_EQ(keys.Parse(keys.ManifestStatus("a", "b").text())->key_class, KeyClass::kManifestStatus);
  EXPECT_EQ(keys.Parse(keys.Cluster().text())->name, "cluster");
  EXPECT_EQ(keys.Parse(keys.Barrier("i").text())->key_class, KeyClass::kBarrier);
  EXPECT_EQ(keys.Parse("/x/sgroup/g/config/a/b")->key_class, KeyClass::kConfig);
}

TEST(Keys, KeysOutsideThePrefixAreNotOurs) {
  const Keys keys;
  EXPECT_FALSE(keys.Parse("/isla/other/spec/session/a/b").has_value());
  EXPECT_FALSE(keys.Parse("").has_value());
  EXPECT_FALSE(keys.Parse("/isla/default").has_value());
}

TEST(Keys, KeysOfNoKnownShapeAreOtherAndEmpty) {
  const Keys keys("/x/");
  for (const char* key : {"/x/", "/x/spec", "/x/spec/session/a", "/x/spec/session/a/b/c", "/x/spec//a/b", "/x/spec/session/a/",
                          "/x/spec/session//b", "/x/node/a/b", "/x/node/", "/x/run/n/u/zero", "/x/run/n/u/0", "/x/run/n/u/-1",
                          "/x/run/n/u/01", "/x/run/n/u/1x", "/x/run/n/u/99999999999999999999", "/x/elsewhere/a"}) {
    const auto parsed = keys.Parse(key);
    ASSERT_TRUE(parsed.has_value()) << key;
    EXPECT_EQ(parsed->key_class, KeyClass::kOther) << key;
    EXPECT_EQ(parsed->name, "") << key;
    EXPECT_EQ(parsed->node, "") << key;
  }
}

TEST(Keys, ClassPrefixesEndInASlashSoNeighboursDontMatch) {
  const Keys keys("/x/");
  EXPECT_EQ(keys.SpecPrefix(), "/x/spec/");
  EXPECT_EQ(keys.SpecPrefix("session"), "/x/spec/session/");
  EXPECT_EQ(keys.SpecPrefix("session", "ns"), "/x/spec/session/ns/");
  EXPECT_EQ(keys.StatusPrefix("session", "ns"), "/x/status/session/ns/");
  EXPECT_EQ(keys.BindPrefix(), "/x/bind/");
  EXPECT_EQ(keys.BindPrefix("ns"), "/x/bind/ns/");
  EXPECT_EQ(keys.RunPrefix("n1"), "/x/run/n1/");
  EXPECT_EQ(keys.NodePrefix(), "/x/node/");
  EXPECT_FALSE(keys.NodePrefix().Covers(keys.NodeTerm("a").text()));
  EXPECT_FALSE(keys.ManifestPrefix().Covers(keys.ManifestStatus("a", "b").text()));
  EXPECT_FALSE(keys.RunPrefix("n1").Covers(keys.Run("n10", "u", 1).text()));
}

// Else a key could be listed, and its neighbours with it, or a prefix be got, which is never there.
static_assert(!std::is_convertible_v<Key, Prefix> && !std::is_convertible_v<Prefix, Key>);
static_assert(!std::is_convertible_v<std::string, Prefix> && !std::is_convertible_v<Prefix, std::string>);

TEST(KeysDeathTest, PrefixMustBeginAndEndWithASlash) {
  EXPECT_DEATH(Keys("isla/"), "CHECK|check");
  EXPECT_DEATH(Keys("/isla"), "CHECK|check");
  EXPECT_DEATH(Keys(""), "CHECK|check");
}

TEST(Prefix, ItsEndIsTheFirstKeyAfterAllWithThePrefix) {
  EXPECT_EQ(Prefix("a").End(), "b");
  EXPECT_EQ(Prefix("/isla/").End(), "/isla0");
  EXPECT_EQ(Prefix("a\xff").End(), "b");
  EXPECT_EQ(Prefix("a\xff\xff").End(), "b");
  EXPECT_EQ(Prefix("\xff\xff").End(), "");
  EXPECT_EQ(Prefix("").End(), "");
  EXPECT_EQ(Prefix(std::string("a\0", 2)).End(), "a\x01");
  EXPECT_EQ(Prefix("a\x7f").End(), "a\x80");
}

}  // namespace
}  // namespace isla::store
