// Servers that answer nonsense: every command ends with an error, none crashes, hangs or believes
// it.
#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

class HostileTest : public CliTest {};

const std::vector<std::vector<std::string>>& Commands() {
  static const std::vector<std::vector<std::string>> commands{
      {"get", "sessions"},
      {"get", "sessions", "-o", "json"},
      {"get", "session", "a"},
      {"get", "session", "a", "-o", "yaml"},
      {"get", "all", "-A"},
      {"describe", "session", "a"},
      {"describe", "sessions"},
      {"delete", "session", "a", "--timeout=100ms"},
      {"delete", "sessions", "--all", "--timeout=100ms"},
      {"logs", "a"},
      {"wait", "session/a", "--for=condition=Ready", "--timeout=100ms"},
      {"wait", "session/a", "--for=jsonpath={.a[0]}", "--timeout=100ms"},
      {"version"},
      {"api-resources"},
      {"run", "--dry-run=server", "--", "x"},
      {"apply", "-f", "-"},
      {"create", "-f", "-"}};
  return commands;
}

TEST_F(HostileTest, NonsenseFromTheFirstByteOn) {
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"),
        std::string("\xff\xfe"), std::string("{\"kind\":7}"),
        std::string("{\"resources\":[{\"name\":\"sessions\",\"kind\":[]}]}"),
        std::string("{\"items\":{}}"), std::string(100'000, '[')}) {
    api_.Intercept("", [&body](const FakeRequest&) { return FakeReply{.body = body}; });
    for (const auto& command : Commands()) {
      const Result result =
          Isla(command, R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"a"}})");
      EXPECT_LT(result.code, 126) << command[0] << body.substr(0, 40);
    }
  }
}

TEST_F(HostileTest, NonsenseWhereObjectsShouldBe) {
  for (const char* body :
       {"{}", "[]", "7", "{\"kind\":\"Table\"}",
        "{\"kind\":\"Table\",\"columnDefinitions\":[],\"rows\":[{}]}", "{\"items\":[7,null,[],{}]}",
        "{\"metadata\":[],\"status\":7}",
        "{\"items\":[{\"metadata\":7,\"status\":{\"conditions\":{}}}],\"metadata\":7}",
        "{\"kind\":\"Status\",\"details\":[]}"}) {
    api_.Intercept("", [this, body](const FakeRequest& request) {
      if (request.path != "/apis/isla/v1") return FakeReply{.body = body};
      return FakeReply{
          .body =
              R"({"resources":[{"name":"sessions","singularName":"session","namespaced":true,"kind":"Session","categories":["all"],"verbs":["list"]}]})"};
    });
    for (const auto& command : Commands()) {
      const Result result =
          Isla(command, R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"a"}})");
      EXPECT_LT(result.code, 126) << command[0] << body;
    }
  }
}

TEST_F(HostileTest, ErrorsOfEveryStatus) {
  for (const int status :
       {300, 400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422, 429, 500, 501, 503, 504, 599}) {
    for (const char* body :
         {"", "<html>", "{\"kind\":\"Status\"}",
          "{\"kind\":\"Status\",\"code\":-5,\"reason\":7,\"details\":{\"causes\":{}}}"}) {
      api_.Intercept("", [status, body](const FakeRequest&) {
        return FakeReply{.status = status, .body = body};
      });
      const Result result = Isla({"get", "sessions"});
      EXPECT_EQ(result.code, 1) << status << body;
      EXPECT_FALSE(result.err.empty());
    }
  }
}

TEST_F(HostileTest, ConnectionsThatBreakAnywhere) {
  const std::string whole =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
      "12\r\n\r\n{\"kind\":\"x\"}";
  for (size_t cut = 1; cut < whole.size(); cut += 3) {
    api_.Intercept("", [&whole, cut](const FakeRequest&) {
      return FakeReply{.raw = whole.substr(0, cut), .close = true};
    });
    const Result result = Isla({"get", "sessions"});
    EXPECT_EQ(result.code, 1);
    EXPECT_FALSE(result.err.empty());
  }
}

}  // namespace
}  // namespace isla::testing
