// isla config get, set, unset, list, explain.
#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::HasSubstr;

class ConfigTest : public CliTest {
 protected:
  /// The next calls get this answer; the last of them is kept.
  void Answer(const std::string& call, const std::string& body, int status = 200) {
    api_.Intercept(call, [this, body, status](const FakeRequest& request) {
      target_ = request.target;
      body_ = request.body;
      return FakeReply{.status = status, .body = body};
    });
  }
  std::string target_;
  std::string body_;
};

TEST_F(ConfigTest, SetSendsAllInOneCall) {
  Answer("PATCH /apis/isla/v1/config", R"({"changed":["agent/log/level"]})");
  const Result result = Isla({"config", "set", "agent/log/level=debug", "agent/log/maxBytes=81920", "--node=n1"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "agent/log/level set\nagent/log/maxBytes unchanged\n");
  EXPECT_EQ(target_, "/apis/isla/v1/config?node=n1");
  EXPECT_EQ(body_, R"({"values":{"agent/log/level":"debug","agent/log/maxBytes":81920}})");
}

TEST_F(ConfigTest, UnsetWithAConditionAndDryRun) {
  Answer("PATCH /apis/isla/v1/config", R"({"changed":["agent/log/level"]})");
  const Result result =
      Isla({"config", "unset", "agent/log/level", "--group=gpu", "--resource-version=12", "--dry-run=server"});
  EXPECT_EQ(result.out, "agent/log/level unset (server dry run)\n") << result.err;
  EXPECT_EQ(target_, "/apis/isla/v1/config?group=gpu&dryRun=All");
  EXPECT_EQ(body_, R"({"preconditions":{"agent/log/level":"12"},"values":{"agent/log/level":null}})");
}

TEST_F(ConfigTest, GetPrintsOneValueBareAndSeveralAsATable) {
  Answer("GET /apis/isla/v1/config", R"({"items":[{"metadata":{"name":"agent/log/level","resourceVersion":"7"},"value":"debug"}],"tree":{"agent":{"log":{"level":"debug"}}}})");
  EXPECT_EQ(Isla({"config", "get", "agent/log/level"}).out, "debug\n");
  EXPECT_EQ(Isla({"config", "get", "agent/log/level", "-o", "json"}).out, "\"debug\"\n");
  EXPECT_EQ(Isla({"config", "get", "agent/log"}).out,
            "NAME              VALUE   RESOURCEVERSION   NOTE\nagent/log/level   debug   7\n");
  EXPECT_EQ(Isla({"config", "get", "--prefix=agent/log", "--no-headers"}).out, "agent/log/level   debug   7\n");
  EXPECT_EQ(target_, "/apis/isla/v1/config?prefix=agent%2Flog");
  EXPECT_EQ(Isla({"config", "get", "agent/log", "-o", "json"}).out,
            "{\n    \"agent\": {\n        \"log\": {\n            \"level\": \"debug\"\n        }\n    }\n}\n");
  Answer("GET /apis/isla/v1/config", R"({"items":[]})");
  const Result none = Isla({"config", "get", "agent/log/level", "--node", "n1"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("agent/log/level is not set in the scope node n1"));
}

TEST_F(ConfigTest, WhatIsIgnoredIsSaid) {
  Answer("GET /apis/isla/v1/config",
         R"({"items":[{"metadata":{"name":"agent/log/level","resourceVersion":"7"},"value":"loud\u001b","error":"Unsupported"}]})");
  const Result one = Isla({"config", "get", "agent/log/level"});
  EXPECT_EQ(one.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(one.err, "Warning: agent/log/level is ignored: Unsupported\n");
  EXPECT_THAT(Isla({"config", "list"}).out, HasSubstr("7                 ignored: Unsupported\n"));
}

TEST_F(ConfigTest, SeveralVersionsAreConditionsOfOneWrite) {
  Answer("PATCH /apis/isla/v1/config", R"({"changed":["a/b","a/c"]})");
  EXPECT_EQ(Isla({"config", "set", "a/b=1", "a/c=2", "--resource-version=a/b=7,a/c=0"}).code, 0);
  EXPECT_EQ(body_, R"({"preconditions":{"a/b":"7","a/c":"0"},"values":{"a/b":1,"a/c":2}})");
  body_.clear();
  const auto error = [this](const std::string& versions) {
    return Isla({"config", "set", "a/b=1", "a/c=2", "--resource-version=" + versions}).err;
  };
  EXPECT_THAT(error("7"), HasSubstr("NAME=VERSION"));
  EXPECT_THAT(error("a/b=7,a/d=1"), HasSubstr("'a/d' isn't one that is to be changed"));
  EXPECT_THAT(error("a/b=7,a/b=8"), HasSubstr("given twice"));
  EXPECT_THAT(error("a/b=7,"), HasSubstr("'' is not NAME=VERSION"));
  EXPECT_EQ(body_, "");
}

TEST_F(ConfigTest, WatchPrintsWhatIsSetAndEachChange) {
  api_.Intercept("GET /apis/isla/v1/config", [](const FakeRequest& request) {
    FakeReply reply;
    if (request.query.find("watch=true") == std::string::npos) {
      reply.body = R"({"metadata":{"resourceVersion":"9"},"items":[)"
                   R"({"metadata":{"name":"agent/log/level","resourceVersion":"7"},"value":"debug"}]})";
      return reply;
    }
    if (request.query.find("resourceVersion=9&node=n1") == std::string::npos) return FakeReply{.status = 400};
    reply.stream = [](StreamWriter& writer) {
      writer.Chunk(R"({"type":"ADDED","object":{"metadata":{"name":"agent/log/maxBytes","resourceVersion":"10"},"value":1}})" "\n");
      writer.Chunk(R"({"type":"DELETED","object":{"metadata":{"name":"agent/log/level","resourceVersion":"11"}}})" "\n");
      writer.Hold();
    };
    return reply;
  });
  Background watch(api_, {"config", "list", "-w", "--node=n1"});
  ASSERT_TRUE(watch.SeesOut("unset\n")) << watch.io().err();
  watch.io().Interrupt();
  watch.Join();
  EXPECT_EQ(watch.io().out(),
            "NAME              VALUE   RESOURCEVERSION   NOTE\n"
            "agent/log/level   debug   7\n"
            "agent/log/maxBytes   1       10\n"
            "agent/log/level              11                unset\n");
}

TEST_F(ConfigTest, ExplainSaysWhereAValueComesFrom) {
  Answer("GET /apis/isla/v1/config/effective",
         R"({"items":[{"name":"agent/log/level","value":"debug","source":"node/n1","default":"info",)"
         R"("overridden":[{"source":"global","value":7,"error":"Invalid type"}]}]})");
  const Result result = Isla({"config", "explain", "agent/log/level", "--node=n1"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("agent/log/level   debug   node/n1   info      global: 7 (ignored: Invalid type)"));
}

TEST_F(ConfigTest, ListSaysWhenNothingIsSetAndPrintsTheSchema) {
  Answer("GET /apis/isla/v1/config", R"({"items":[]})");
  EXPECT_EQ(Isla({"config", "list"}).err, "Nothing is set in the scope global.\n");
  Answer("GET /apis/isla/v1/config/schema",
         R"({"items":[{"name":"a/b","expected":"one of x, y","default":"x","scopes":["global"],"description":"What","applies":"at once"}]})");
  EXPECT_THAT(Isla({"config", "list", "--schema"}).out, HasSubstr("a/b    one of x, y   x         global   What; applies at once"));
}

TEST_F(ConfigTest, MistakesAreFoundBeforeTheServerIsAsked) {
  EXPECT_THAT(Isla({"config", "set", "agent/log/level"}).err, HasSubstr("is not NAME=VALUE"));
  EXPECT_THAT(Isla({"config", "set", "a=1", "a=2"}).err, HasSubstr("'a' is given twice"));
  EXPECT_THAT(Isla({"config", "get"}).err, HasSubstr("expected 'config get NAME'"));
  EXPECT_THAT(Isla({"config", "list", "--node=n", "--group=g"}).err, HasSubstr("name one"));
  EXPECT_THAT(Isla({"config", "get", "a", "--prefix=b"}).err, HasSubstr("expected 'config get NAME'"));
  EXPECT_THAT(Isla({"config", "unset", "a=1"}).err, HasSubstr("unset takes names alone"));
  EXPECT_EQ(Isla({"config", "frob"}).code, 1);
  EXPECT_EQ(Isla({"config", "list", "-o", "name"}).code, 1);
}

TEST_F(ConfigTest, TheServersErrorIsPrinted) {
  Answer("PATCH /apis/isla/v1/config",
         R"({"kind":"Status","status":"Failure","reason":"Invalid","code":422,"message":"m","details":{"causes":[)"
         R"({"reason":"FieldValueInvalid","field":"agent/log/levl","message":"Unknown setting: did you mean 'agent/log/level'?"}]}})",
         422);
  const Result result = Isla({"config", "set", "agent/log/levl=debug"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "The request is invalid: agent/log/levl: Unknown setting: did you mean 'agent/log/level'?\n");
}

TEST_F(ConfigTest, CompletionOffersSettings) {
  Answer("GET /apis/isla/v1/config/schema", R"({"items":[{"name":"agent/log/level"},{"name":"node/group"}]})");
  const auto offer = [this](std::vector<std::string> words) {
    TestIo io;
    std::vector<std::string> args{"__complete", "--socket=" + api_.socket(), "config"};
    args.insert(args.end(), words.begin(), words.end());
    EXPECT_EQ(cli::Main(args, io), 0);
    return io.out();
  };
  EXPECT_EQ(offer({"un"}), "unset\n");
  EXPECT_EQ(offer({"get", "ag"}), "agent/log/level\n");
  EXPECT_EQ(offer({"set", "no"}), "node/group=\n");
  EXPECT_EQ(offer({"list", "-o", "t"}), "table\n");
}

}  // namespace
}  // namespace isla::testing
