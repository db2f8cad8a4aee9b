#include "api/client/api_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/client/api_error.h"
#include "tests/unit/client/fake_server.h"

namespace isla::client {
namespace {

using isla::testing::FakeReply;
using isla::testing::FakeRequest;
using isla::testing::FakeServer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kDiscovery =
    R"({"kind":"APIResourceList","groupVersion":"isla/v1","resources":[
  {"name":"sessions","singularName":"session","namespaced":true,"kind":"Session","shortNames":["se"],"categories":["all"],"verbs":["get","list"]},
  {"name":"sessions/status","kind":"Session","namespaced":true,"verbs":["get"]},
  {"name":"nodes","singularName":"node","namespaced":false,"kind":"Node","shortNames":["no"],"verbs":["get"]}]})";

struct Fixture {
  explicit Fixture(FakeServer::Handler handler) : server(std::move(handler)) {
    Endpoint endpoint;
    endpoint.socket_path = server.socket_path();
    http = MakeHttpClient(endpoint);
    api = std::make_unique<ApiClient>(
        *http, [this](const std::string& text) { warnings.push_back(text); });
  }
  FakeServer server;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<ApiClient> api;
  std::vector<std::string> warnings;
};

TEST(ApiClient, FindsTypesByAnyOfTheirNamesAndAsksOnce) {
  Fixture f([](const FakeRequest&) { return FakeReply{.body = kDiscovery}; });
  for (const char* word :
       {"sessions", "session", "Session", "se", "SESSIONS", "sessions.isla", "session.v1.isla"}) {
    const auto found = f.api->Find(word);
    ASSERT_TRUE(found.ok()) << word;
    EXPECT_EQ(found->name, "sessions");
  }
  EXPECT_EQ(Message(f.api->Find("foo").status()),
            "the server doesn't have a resource type \"foo\"");
  EXPECT_FALSE(f.api->Find("sessions.other").ok());
  EXPECT_FALSE(f.api->Find("sessions/status").ok());
  EXPECT_EQ(f.api->Find("node")->ObjectPath("x", "a/b"), "/apis/isla/v1/nodes/a%2Fb");
  EXPECT_EQ(f.api->Find("se")->CollectionPath("n"), "/apis/isla/v1/namespaces/n/sessions");
  EXPECT_EQ(f.api->Find("se")->CollectionPath(""), "/apis/isla/v1/sessions");
  EXPECT_EQ(f.api->Find("se")->QualifiedSingular(), "session.isla");
  EXPECT_EQ(f.api->FindKind("isla/v1", "Node")->name, "nodes");
  EXPECT_EQ(Message(f.api->FindKind("isla/v2", "Node").status()),
            "no matches for kind \"Node\" in version \"isla/v2\"");
  EXPECT_THAT(f.server.Calls(), ElementsAre("GET /apis/isla/v1"));
}

TEST(ApiClient, ServerWithoutOurGroupIsAskedForItsGroups) {
  Fixture f([](const FakeRequest& request) {
    if (request.path == "/apis")
      return FakeReply{.body = R"({"groups":[{"preferredVersion":{"groupVersion":"isla/v2"}}]})"};
    if (request.path == "/apis/isla/v2")
      return FakeReply{
          .body = R"({"resources":[{"name":"sessions","kind":"Session","namespaced":true}]})"};
    return FakeReply{.status = 404, .body = "nope"};
  });
  EXPECT_EQ(f.api->Find("session")->group_version, "isla/v2");
}

TEST(ApiClient, StatusOfTheServerIsCarriedWhole) {
  Fixture f([](const FakeRequest&) {
    return FakeReply{
        .status = 422,
        .body = R"({"kind":"Status","status":"Failure","message":"m","reason":"Invalid","code":422,
      "details":{"kind":"Session","name":"x","causes":[{"reason":"FieldValueInvalid","message":"bad","field":"spec.a"},7]}})"};
  });
  const auto answer = f.api->Get("/x");
  EXPECT_EQ(answer.status().code(), Code::kInvalidArgument);
  const auto error = ApiErrorOf(answer.status());
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->reason, "Invalid");
  EXPECT_EQ(error->kind, "Session");
  ASSERT_EQ(error->causes.size(), 2U);
  EXPECT_EQ(error->causes[0].field, "spec.a");
}

TEST(ApiClient, EachReasonHasItsCode) {
  const std::vector<std::tuple<int, std::string, Code>> rows{
      {404, "NotFound", Code::kNotFound},
      {409, "AlreadyExists", Code::kAlreadyExists},
      {409, "Conflict", Code::kAborted},
      {401, "Unauthorized", Code::kUnauthenticated},
      {403, "Forbidden", Code::kPermissionDenied},
      {410, "Expired", Code::kOutOfRange},
      {400, "BadRequest", Code::kInvalidArgument},
      {415, "UnsupportedMediaType", Code::kUnimplemented},
      {500, "InternalError", Code::kInternal},
      {503, "ServiceUnavailable", Code::kUnavailable},
      {418, "Teapot", Code::kFailedPrecondition},
      {599, "Strange", Code::kInternal}};
  for (const auto& [http, reason, code] : rows) {
    const HttpResponse response{
        .status = http,
        .body = "{\"kind\":\"Status\",\"message\":\"m\",\"reason\":\"" + reason + "\"}"};
    EXPECT_EQ(ErrorOfResponse(response).code(), code) << reason;
    EXPECT_EQ(ApiErrorOf(ErrorOfResponse(response))->reason, reason);
  }
}

TEST(ApiClient, ErrorsThatAreNotAStatusAreQuotedCutShort) {
  EXPECT_EQ(Message(ErrorOfResponse({.status = 404, .body = "<html>"})),
            "the server could not find the requested resource");
  EXPECT_EQ(Message(ErrorOfResponse({.status = 500, .body = "boom\x1b[2J"})),
            "an error on the server (\"boom [2J\") has prevented the request from succeeding");
  EXPECT_LT(Message(ErrorOfResponse({.status = 502, .body = std::string(100'000, 'x')})).size(),
            500U);
  EXPECT_EQ(ErrorOfResponse({.status = 401, .body = ""}).code(), Code::kUnauthenticated);
  EXPECT_FALSE(ErrorOfResponse({.status = 302, .body = ""}).ok());
}

TEST(ApiClient, AnswersThatAreNotObjectsAreErrors) {
  for (const char* body :
       {"", "{", "[]", "null", "7", "{\"a\":1}{", "{\"a\":\"\xff\"}", "<html></html>"}) {
    Fixture f([body](const FakeRequest&) { return FakeReply{.body = body}; });
    EXPECT_EQ(f.api->Get("/x").status().code(), Code::kInternal) << body;
    EXPECT_FALSE(f.api->Find("sessions").ok()) << body;
  }
  const std::string deep = std::string(100'000, '[');
  Fixture f([&deep](const FakeRequest&) { return FakeReply{.body = deep}; });
  EXPECT_EQ(f.api->Get("/x").status().code(), Code::kInternal);
}

TEST(ApiClient, DiscoveryOfWrongTypesIsNotACrash) {
  for (const char* body :
       {R"({"resources":{}})",
        R"({"resources":[7,null,{"name":7},{"name":"x","shortNames":"y","verbs":[1]}]})",
        R"({})"}) {
    Fixture f([body](const FakeRequest&) { return FakeReply{.body = body}; });
    EXPECT_FALSE(f.api->Find("sessions").ok());
  }
}

TEST(ApiClient, BusyServerIsAskedAgainWhenItSaysWhen) {
  std::atomic<int> calls{0};
  Fixture f([&calls](const FakeRequest&) {
    if (++calls < 3)
      return FakeReply{.status = 429, .body = "busy", .headers = "Retry-After: 0\r\n"};
    return FakeReply{.body = "{}", .headers = "Warning: 299 - \"hm\"\r\n"};
  });
  EXPECT_TRUE(f.api->Get("/x").ok());
  EXPECT_EQ(calls, 3);
  EXPECT_THAT(f.warnings, ElementsAre("hm"));
}

TEST(ApiClient, BusyServerWithoutATimeOrWithALongOneIsAnError) {
  std::atomic<int> calls{0};
  Fixture f([&calls](const FakeRequest& request) {
    ++calls;
    return FakeReply{.status = 503,
                     .body = "busy",
                     .headers = request.path == "/long" ? "Retry-After: 3600\r\n" : ""};
  });
  EXPECT_EQ(f.api->Get("/x").status().code(), Code::kUnavailable);
  EXPECT_EQ(f.api->Get("/long").status().code(), Code::kUnavailable);
  EXPECT_EQ(calls, 2);
}

TEST(ApiClient, WritesSayTheirTypes) {
  Fixture f([](const FakeRequest&) { return FakeReply{.body = "{}"}; });
  const json::Value body = json::Value::MakeObject({{"a", 1}});
  ASSERT_TRUE(f.api->Post("/p", body).ok());
  ASSERT_TRUE(f.api->MergePatch("/q", body).ok());
  ASSERT_TRUE(f.api->Delete("/r", body).ok());
  const auto requests = f.server.Requests();
  EXPECT_EQ(requests[0].headers.at("content-type"), "application/json");
  EXPECT_EQ(requests[1].method, "PATCH");
  EXPECT_EQ(requests[1].headers.at("content-type"), "application/merge-patch+json");
  EXPECT_EQ(requests[2].method + requests[2].body, "DELETE{\"a\":1}");
}

}  // namespace
}  // namespace isla::client
