// The settings over HTTP.
#include "tests/unit/server/server_fixture.h"

namespace isla::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kConfig = "/apis/isla/v1/config";
constexpr const char* kMerge = "application/merge-patch+json";

class ConfigApiTest : public ServerTest {
 protected:
  void SetUp() override { Start(); }
  RawClient::Answer Patch(const std::string& query, const std::string& body) {
    return Ask("PATCH", kConfig + query, body, kMerge);
  }
};

TEST_F(ConfigApiTest, SetGetExplainUnset) {
  const auto set = Patch("?node=n1", R"({"values":{"agent/log/level":"debug","agent/log/maxBytes":81920}})");
  ASSERT_EQ(set.status, 200) << set.body;
  EXPECT_EQ(json::Serialize(*Json(set).Find("changed")), R"(["agent/log/level","agent/log/maxBytes"])");
  const json::Value got = Json(Ask(std::string(kConfig) + "?node=n1&prefix=agent/log"));
  EXPECT_EQ(json::Serialize(*got.Find("tree")), R"({"agent":{"log":{"level":"debug","maxBytes":81920}}})");
  EXPECT_EQ(json::Serialize(*Json(Ask(kConfig)).Find("items")), "[]");
  ASSERT_EQ(Patch("", R"({"values":{"agent/log/level":"warn"}})").status, 200);
  const json::Value effective = Json(Ask(std::string(kConfig) + "/effective?node=n1&prefix=agent/log/level"));
  ASSERT_EQ(effective.Find("items")->items().size(), 1u);
  EXPECT_EQ(json::Serialize(effective.Find("items")->items()[0]),
            R"({"name":"agent/log/level","value":"debug","source":"node/n1","default":"info",)"
            R"("overridden":[{"source":"global","value":"warn"}]})");
  ASSERT_EQ(Patch("?node=n1", R"({"values":{"agent/log/level":null}})").status, 200);
  const json::Value after = Json(Ask(std::string(kConfig) + "/effective?node=n1&prefix=agent/log/level"));
  EXPECT_EQ(after.Find("items")->items()[0].StringAt({"source"}), "global");
}

TEST_F(ConfigApiTest, WhatIsWrongIsSaidWithItsName) {
  const auto wrong = Patch("", R"({"values":{"agent/log/levl":"debug","agent/log/maxBytes":"many"}})");
  EXPECT_EQ(wrong.status, 422);
  EXPECT_THAT(wrong.body, HasSubstr("did you mean 'agent/log/level'?"));
  EXPECT_THAT(wrong.body, HasSubstr("expected an integer from 65536"));
  EXPECT_EQ(Json(wrong).FindPath({"details", "causes"})->items().size(), 2u);
  EXPECT_EQ(Patch("?node=n1", R"({"values":{"islad/log/level":"debug"}})").status, 422);
  for (const char* body : {"[]", "{", R"({"value":{}})", R"({"values":[]})", R"({"values":{}})",
                           R"({"values":{"agent/log/level":"info"},"preconditions":{"agent/log/level":1}})"}) {
    EXPECT_EQ(Patch("", body).status, 400) << body;
  }
  EXPECT_EQ(Patch("?node=n1&group=g", R"({"values":{"agent/log/level":"info"}})").status, 400);
  EXPECT_EQ(Patch("?nod=n1", R"({"values":{"agent/log/level":"info"}})").status, 400);
  EXPECT_EQ(Patch("?node=%2e%2e", R"({"values":{"agent/log/level":"info"}})").status, 400);
  EXPECT_EQ(Ask("PATCH", kConfig, "{}", "application/json").status, 415);
  EXPECT_EQ(Ask("POST", kConfig, "{}", "application/json").status, 405);
  EXPECT_EQ(Ask(std::string(kConfig) + "/other").status, 404);
  EXPECT_EQ(Ask(std::string(kConfig) + "?prefix=agent/lo").status, 400);
}

TEST_F(ConfigApiTest, AConditionThatDoesNotHoldIsAConflict) {
  ASSERT_EQ(Patch("", R"({"values":{"agent/log/level":"warn"},"preconditions":{"agent/log/level":"0"}})").status, 200);
  const auto conflict = Patch("", R"({"values":{"agent/log/level":"info"},"preconditions":{"agent/log/level":"0"}})");
  EXPECT_EQ(conflict.status, 409);
  EXPECT_THAT(conflict.body, HasSubstr("agent/log/level has changed"));
}

TEST_F(ConfigApiTest, DryRunChangesNothing) {
  ASSERT_EQ(Patch("?dryRun=All", R"({"values":{"agent/log/level":"warn"}})").status, 200);
  EXPECT_EQ(json::Serialize(*Json(Ask(kConfig)).Find("items")), "[]");
}

TEST_F(ConfigApiTest, SchemaIsServed) {
  const json::Value schema = Json(Ask(std::string(kConfig) + "/schema"));
  EXPECT_EQ(schema.Find("items")->items().size(), config::Settings().size());
}

TEST_F(ConfigApiTest, WatchSendsChangesAsLines) {
  const std::string version = Json(Ask(kConfig)).StringAt({"metadata", "resourceVersion"});
  RawClient client = Connect();
  client.Get(std::string(kConfig) + "?watch=true&timeoutSeconds=1&resourceVersion=" + version);
  EXPECT_EQ(client.Read().status, 200);
  ASSERT_EQ(Patch("", R"({"values":{"agent/log/level":"warn"}})").status, 200);
  ASSERT_EQ(Patch("", R"({"values":{"agent/log/level":"info"}})").status, 200);
  ASSERT_EQ(Patch("", R"({"values":{"agent/log/level":null}})").status, 200);
  std::string body;
  for (std::string chunk = client.ReadChunk(); !chunk.empty(); chunk = client.ReadChunk()) body += chunk;
  const std::string metadata = R"({"metadata":{"name":"agent/log/level","resourceVersion":")";
  EXPECT_THAT(body, HasSubstr(R"({"type":"ADDED","object":)" + metadata));
  EXPECT_THAT(body, HasSubstr(R"("value":"warn")"));
  EXPECT_THAT(body, HasSubstr(R"({"type":"MODIFIED","object":)" + metadata));
  EXPECT_THAT(body, HasSubstr(R"({"type":"DELETED","object":)" + metadata));
  EXPECT_EQ(Ask(std::string(kConfig) + "?watch=true&resourceVersion=1000000").status, 410);
  EXPECT_EQ(Ask(std::string(kConfig) + "?watch=perhaps").status, 400);
  EXPECT_EQ(Ask(std::string(kConfig) + "?watch=true&resourceVersion=-1").status, 400);
}

TEST_F(ConfigApiTest, WhatSomebodyPutIsListedWithItsErrorAndCanBeRemoved) {
  Put(keys_.prefix() + "config/agent/log/level", "{\xff");
  Put(keys_.prefix() + "config/agent//odd", "1");
  const json::Value list = Json(Ask(kConfig));
  ASSERT_EQ(list.Find("items")->items().size(), 1u);
  EXPECT_THAT(list.Find("items")->items()[0].StringAt({"error"}), HasSubstr("not JSON"));
  EXPECT_EQ(json::Serialize(*list.Find("tree")), "{}");
  const json::Value effective = Json(Ask(std::string(kConfig) + "/effective?prefix=agent/log/level"));
  const json::Value& item = effective.Find("items")->items()[0];
  EXPECT_EQ(item.StringAt({"source"}), "default");
  EXPECT_THAT(item.Find("overridden")->items()[0].StringAt({"error"}), HasSubstr("not JSON"));
  EXPECT_EQ(Patch("", R"({"values":{"agent/log/level":null}})").status, 200);
  EXPECT_EQ(json::Serialize(*Json(Ask(kConfig)).Find("items")), "[]");
}

TEST_F(ConfigApiTest, ANodeThatIsNotThereIsWarnedOf) {
  EXPECT_THAT(Patch("?node=n1", R"({"values":{"agent/log/level":"debug"}})").head,
              HasSubstr("Warning: 299 - \"no node 'n1' has registered so far\"\r\n"));
  EXPECT_THAT(Patch("", R"({"values":{"agent/log/level":"debug"}})").head, Not(HasSubstr("Warning")));
}

}  // namespace
}  // namespace isla::server
