#include "controllers/transfer/raw_keys.h"

#include "tests/unit/transfer/transfer_fixture.h"

namespace isla::transfer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RawKeysTest : public TransferTest {
 protected:
  Status Try(const std::string& key, const std::string& value, bool force = false, store::Revision revision = -1) {
    PutOptions options;
    options.by = "ann";
    options.force = force;
    options.revision = revision;
    if (revision < 0) {
      const auto now = raw_.Get(key);
      options.revision = now.ok() ? now->mod_revision : 0;
    }
    return raw_.Put(key, value, options).status();
  }
  std::string Now(const std::string& key) { return Value(*source_, keys_.prefix() + key); }

  RawKeys raw_{*source_, keys_};
};

TEST_F(RawKeysTest, AKeyIsReadWithItsRevisions) {
  const auto kv = raw_.Get("config/agent/log/level");
  ASSERT_TRUE(kv.ok());
  EXPECT_EQ(kv->key, "config/agent/log/level");
  EXPECT_EQ(kv->value, R"("debug")");
  EXPECT_GT(kv->mod_revision, 0);
  EXPECT_EQ(raw_.Get("nothing").status().code(), Code::kNotFound);
  EXPECT_EQ(raw_.ClassOf("spec/session/default/a"), "spec");
  EXPECT_EQ(raw_.ClassOf("x"), "other");
}

TEST_F(RawKeysTest, KeysAreListedInPages) {
  std::vector<std::string> names;
  for (std::string after;;) {
    const auto page = raw_.List("spec/", after, 2);
    ASSERT_TRUE(page.ok());
    EXPECT_LE(page->kvs.size(), 2U);
    for (const auto& kv : page->kvs) names.push_back(after = kv->key.substr(keys_.prefix().size()));
    if (!page->more) break;
  }
  EXPECT_THAT(names, ElementsAre("spec/project/_/default", "spec/session/default/apple", "spec/session/default/mango",
                                 "spec/session/default/zebra"));
}

TEST_F(RawKeysTest, APutReplacesWhatItsCallerSawAndNothingElse) {
  const store::Revision now = raw_.Get("config/agent/log/level")->mod_revision;
  EXPECT_EQ(Try("config/agent/log/level", R"("info")", false, 0).code(), Code::kAborted);
  EXPECT_EQ(Try("config/agent/log/level", R"("info")", false, now - 1).code(), Code::kAborted);
  EXPECT_TRUE(Try("config/agent/log/level", R"("info")", false, now).ok());
  EXPECT_EQ(Now("config/agent/log/level"), R"("info")");
  EXPECT_EQ(Try("config/new", "1", false, 5).code(), Code::kAborted);
  EXPECT_TRUE(Try("config/new", "1", false, 0).ok());
}

TEST_F(RawKeysTest, ADryRunWritesNothing) {
  PutOptions options;
  options.dry_run = true;
  EXPECT_TRUE(raw_.Put("config/new", "1", options).ok());
  EXPECT_EQ(Now("config/new"), "");
  EXPECT_FALSE(raw_.Put("config/new", "{", options).ok());
  EXPECT_EQ(raw_.Put("spec/node/_/n1", "{}", options).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(raw_.Put("config/agent/log/maxBytes", "\"many\"", options).status().code(), Code::kInvalidArgument);
}

TEST_F(RawKeysTest, WhatMakesNoSenseIsRefusedWithForceToo) {
  const std::pair<const char*, const char*> wrong[] = {
      {"spec/session/default/broken", "{}"},       {"spec/thing/default/x", "{}"},  {"status/session/default/zebra", "[]"},
      {"bind/default/zebra", "5"},                 {"run/n1/x/1", "\"\""},          {"node/n1", R"({"connected":"yes"})"},
      {"nodeterm/n1", R"({"term":"x"})"},          {"config/x", "{"},               {"meta/cluster", R"({"id":""})"},
      {"manifest-status/default/old", "nothing"},
  };
  for (const auto& [key, value] : wrong) EXPECT_EQ(Try(key, value, true).code(), Code::kInvalidArgument) << key;
  for (const char* key : {"", "/a", "a/", "a//b"}) EXPECT_EQ(Try(key, "1", true, 0).code(), Code::kInvalidArgument) << key;
}

TEST_F(RawKeysTest, WhatIsAProcessesIsNobodyElses) {
  for (const char* key : {"lead/controllers", "gateway/g1", "barrier/a", "meta/compacted"}) {
    EXPECT_EQ(Try(key, R"({"revision":1})", true).code(), Code::kFailedPrecondition) << key;
  }
}

TEST_F(RawKeysTest, WhatControllersRelyOnNeedsForce) {
  const std::pair<std::string, std::string> keys[] = {
      {"bind/default/zebra", Now("bind/default/zebra")},
      {"node/n1", Now("node/n1")},
      {"nodeterm/n1", R"({"term":8})"},
      {"manifest-status/default/old", R"({"revision":1})"},
      {"of/a/newer/islad", "x"},
      {"meta/cluster", R"({"id":"other","epoch":2,"level":1})"},
  };
  for (const auto& [key, value] : keys) {
    const Status refused = Try(key, value);
    EXPECT_EQ(refused.code(), Code::kFailedPrecondition) << key;
    EXPECT_THAT(Message(refused), HasSubstr("--force")) << key;
    EXPECT_TRUE(Try(key, value, true).ok()) << key;
    EXPECT_EQ(Now(key), value);
  }
}

TEST_F(RawKeysTest, TermsAndEpochsNeverFall) {
  EXPECT_EQ(Try("nodeterm/n1", R"({"term":6})", true).code(), Code::kFailedPrecondition);
  ASSERT_TRUE(Try("meta/cluster", R"({"id":"c","epoch":3,"level":1})", true).ok());
  EXPECT_EQ(Try("meta/cluster", R"({"id":"c","epoch":2,"level":1})", true).code(), Code::kFailedPrecondition);
}

TEST_F(RawKeysTest, AnObjectThatCantBeReadIsRepaired) {
  const std::string key = "spec/session/default/zebra", good = Now(key);
  Put(*source_, keys_.prefix() + key, good.substr(0, good.size() / 2));
  EXPECT_TRUE(Try(key, good).ok());
  EXPECT_THAT(Message(Try(key, good)), HasSubstr("isla apply")) << "now it can be changed as any other";
  Put(*source_, keys_.prefix() + key, "{");
  json::Value other = controllers::SessionJson("zebra");
  other.Member("metadata").Set("uid", controllers::UidOf("another"));
  EXPECT_THAT(Message(Try(key, json::Serialize(other))), HasSubstr("it has a placement (bind/) of uid"));
  EXPECT_TRUE(Try(key, json::Serialize(other), true).ok());
}

TEST_F(RawKeysTest, AStatusIsOfAnObjectThatIsThere) {
  const auto status = [](const std::string& uid) { return R"({"uid":")" + uid + R"(","observedGeneration":1,"status":{}})"; };
  EXPECT_EQ(Try("status/session/default/zebra", status("x")).code(), Code::kFailedPrecondition);
  EXPECT_EQ(Try("status/session/default/none", status("x")).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(Try("status/session/default/zebra", status(controllers::UidOf("zebra"))).ok());
}

TEST_F(RawKeysTest, AClosedStoreTakesNothingButMetaCluster) {
  ASSERT_TRUE(Seal(*source_, keys_, clock_, "ann").ok());
  EXPECT_EQ(Try("config/new", "1", true, 0).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(Try("meta/cluster", R"({"id":"c","epoch":2,"level":1})", true).ok());
  EXPECT_TRUE(Try("config/new", "1", true, 0).ok());
}

TEST_F(RawKeysTest, WhatChangedBetweenTheCheckAndTheWriteIsLeftAlone) {
  CountingStore counting(*source_);
  RawKeys raw(counting, keys_);
  counting.before = [this](int) {
    Put(*source_, keys_.prefix() + "config/agent/log/level", R"("info")");
    return OkStatus();
  };
  PutOptions options;
  options.revision = raw.Get("config/agent/log/level")->mod_revision;
  EXPECT_EQ(raw.Put("config/agent/log/level", R"("warn")", options).status().code(), Code::kAborted);
  EXPECT_EQ(Now("config/agent/log/level"), R"("info")");
}

}  // namespace
}  // namespace isla::transfer
