#include "cli/error_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/client/http.h"

namespace isla::cli {
namespace {

using client::Fault;
using client::FaultError;
using ::testing::HasSubstr;

std::string TextOf(const std::string& status_json, int http) {
  return ErrorText(client::ErrorOfResponse({.status = http, .body = status_json}), "h:1");
}

TEST(ErrorText, AsKubectlWritesThem) {
  EXPECT_EQ(
      TextOf(R"({"kind":"Status","reason":"NotFound","message":"sessions \"x\" not found"})", 404),
      "Error from server (NotFound): sessions \"x\" not found\n");
  EXPECT_EQ(TextOf(R"({"kind":"Status","reason":"AlreadyExists","message":"m"})", 409),
            "Error from server (AlreadyExists): m\n");
  EXPECT_EQ(TextOf(R"({"kind":"Status","reason":"Unauthorized","message":"Unauthorized"})", 401),
            "error: You must be logged in to the server (Unauthorized)\n");
  EXPECT_EQ(TextOf("", 401), "error: You must be logged in to the server (Unauthorized)\n");
  EXPECT_EQ(TextOf("boom", 500),
            "Error from server (InternalError): an error on the server (\"boom\") has prevented "
            "the request from succeeding\n");
  EXPECT_EQ(TextOf("", 418), "Error from server: the server answered with HTTP status 418\n");
}

TEST(ErrorText, InvalidObjects) {
  EXPECT_EQ(TextOf(R"({"kind":"Status","reason":"Invalid","message":"m"})", 422),
            "The request is invalid: m\n");
  EXPECT_EQ(TextOf(R"({"kind":"Status","reason":"Invalid","message":"m","details":{}})", 422),
            "The request is invalid: m\n");
  EXPECT_EQ(
      TextOf(R"({"kind":"Status","reason":"Invalid","details":{"kind":"Session","name":"x"}})",
             422),
      "The Session \"x\" is invalid\n");
  EXPECT_EQ(
      TextOf(
          R"({"kind":"Status","reason":"Invalid","details":{"kind":"Session","name":"x","causes":[{"field":"a","message":"b"}]}})",
          422),
      "The Session \"x\" is invalid: a: b\n");
  EXPECT_EQ(
      TextOf(
          R"({"kind":"Status","reason":"Invalid","details":{"kind":"Session","name":"x","causes":[{"field":"a","message":"b"},{"field":"c","message":"d"},{"field":"a","message":"b"},{"message":"e"}]}})",
          422),
      "The Session \"x\" is invalid: \n* a: b\n* c: d\n* e\n");
}

TEST(ErrorText, FaultsSayWhatToDoNext) {
  const auto text = [](Fault fault) {
    return ErrorText(FaultError(fault, Code::kUnavailable, "why"), "127.0.0.1:6443");
  };
  EXPECT_EQ(text(Fault::kRefused),
            "The connection to the server 127.0.0.1:6443 was refused - did you specify the right "
            "host or port?\n");
  EXPECT_THAT(
      text(Fault::kNoSocket),
      HasSubstr("start islad, or name another server with --server, --socket or --kubeconfig"));
  EXPECT_THAT(text(Fault::kDenied), HasSubstr("run isla as root or as a member of its group"));
  EXPECT_THAT(text(Fault::kTls), HasSubstr("certificate-authority"));
  EXPECT_EQ(text(Fault::kTimeout), "Unable to connect to the server: why\n");
  EXPECT_EQ(text(Fault::kName), "Unable to connect to the server: why\n");
  EXPECT_EQ(ErrorText(Error(Code::kInvalidArgument, "own"), ""), "error: own\n");
}

TEST(ErrorText, ControlCharactersOfTheServerAreMadeVisible) {
  EXPECT_EQ(
      TextOf(R"({"kind":"Status","reason":"Conflict","message":"a\u001b]0;x\u0007b\nc"})", 409),
      "Error from server (Conflict): a^[]0;x^Gb\nc\n");
}

TEST(WithSource, AddsTheSourceAndThePlaces) {
  const Status status = client::ErrorOfResponse(
      {.status = 422,
       .body =
           R"({"kind":"Status","reason":"Invalid","message":"m","details":{"kind":"K","name":"n","causes":[{"field":"a","message":"b"}]}})"});
  const Status placed = WithSource(status, "error when creating \"f\"",
                                   [](const std::string& field) { return " (f:" + field + ")"; });
  EXPECT_EQ(ErrorText(placed, ""), "The K \"n\" is invalid: a: b (f:a)\n");
  const Status refused = FaultError(Fault::kRefused, Code::kUnavailable, "x");
  EXPECT_EQ(client::FaultOf(WithSource(refused, "w", nullptr)), Fault::kRefused);
  EXPECT_EQ(ErrorText(WithSource(Error(Code::kInternal, "x"), "w", nullptr), ""), "error: w: x\n");
}

}  // namespace
}  // namespace isla::cli
