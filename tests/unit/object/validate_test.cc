#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/object/object.h"
#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<std::string> Check(const json::Value& object, const Kind& kind = SessionKind()) {
  EXPECT_THAT(Texts(CheckSchema(kind, object)), IsEmpty());
  return Texts(Validate(kind, object));
}

std::vector<std::string> CheckMetadata(std::string_view metadata, const Kind& kind = ProjectKind()) {
  return Check(Read(fmt::format(R"({{"apiVersion":"isla/v1","kind":"{}","metadata":{}}})", kind.kind, metadata)), kind);
}

constexpr std::string_view kLabelRule =
    "must consist of lower case letters, digits or '-', and begin and end with a letter or digit (for example 'my-name' or '123-abc')";

TEST(Validate, AGoodSessionHasNoErrorsWithOrWithoutDefaults) {
  json::Value session = SessionWith(R"({"command":["/bin/sh","-c",""],"args":[""],"env":[{"name":"A"},{"name":"a.b","value":"x"}],
    "image":"dir:/srv/images/a b","resources":{"cpu":"0.1","memory":"1.5Gi"},"nodeSelector":{"example.com/gpu":"a100"},
    "timeout":"","terminationGracePeriod":"0","mounts":[{"hostPath":"/","mountPath":"/devices"}]})");
  EXPECT_THAT(Check(session), IsEmpty());
  ApplyDefaults(SessionKind(), session);
  EXPECT_THAT(Check(session), IsEmpty());
}

TEST(Validate, EachMistakeHasItsMessage) {
  const struct {
    const char *member, *error;
  } kCases[] = {
      {R"("type":"service")", "spec.type: Unsupported value: \"service\": not supported yet: only \"batch\""},
      {R"("type":"")", "spec.type: Unsupported value: \"\": not supported yet: only \"batch\""},
      {R"("image":"debian")", "spec.image: Invalid value: \"debian\": expected \"host\" or \"dir:/path\""},
      {R"("image":"dir:")", "spec.image: Invalid value: \"dir:\": the path after 'dir:' must be an absolute path"},
      {R"("image":"dir:/a/../b")", "spec.image: Invalid value: \"dir:/a/../b\": the path after 'dir:' must have no '.' and no '..' in it"},
      {R"("image":"dir:/")", "spec.image: Invalid value: \"dir:/\": the path after 'dir:' must not be \"/\""},
      {R"("image":"dir:/a,upperdir=/etc")",
       "spec.image: Invalid value: \"dir:/a,upperdir=/etc\": the path after 'dir:' must have no ':', ',' or '\\' in it"},
      {R"("workingDir":"tmp")", "spec.workingDir: Invalid value: \"tmp\": must be an absolute path"},
      {R"("workingDir":"")", "spec.workingDir: Invalid value: \"\": must be an absolute path"},
      {R"("resources":{"cpu":"-1"})", "spec.resources.cpu: Invalid value: \"-1\": must not be negative"},
      {R"("resources":{"cpu":"0"})", "spec.resources.cpu: Invalid value: \"0\": must be greater than 0"},
      {R"("resources":{"cpu":"5m"})", "spec.resources.cpu: Invalid value: \"5m\": must be at least 10m"},
      {R"("resources":{"cpu":"10001"})", "spec.resources.cpu: Invalid value: \"10001\": must be at most 10000"},
      {R"("resources":{"cpu":"1e18"})", "spec.resources.cpu: Invalid value: \"1e18\": is too large"},
      {R"("resources":{"cpu":"two"})", "spec.resources.cpu: Invalid value: \"two\": is not a quantity (expected such as \"500m\", \"2\")"},
      {R"("resources":{"memory":"64 Mi"})",
       "spec.resources.memory: Invalid value: \"64 Mi\": is not a quantity (expected such as \"64Mi\", \"2Gi\")"},
      {R"("resources":{"memory":"1"})", "spec.resources.memory: Invalid value: \"1\": must be at least 4Mi"},
      {R"("resources":{"memory":"2Pi"})", "spec.resources.memory: Invalid value: \"2Pi\": must be at most 1Pi"},
      {R"("resources":{"memory":"999999999999999999999999Ei"})",
       "spec.resources.memory: Invalid value: \"999999999999999999999999Ei\": is too large"},
      {R"("resources":{"memory":""})", "spec.resources.memory: Invalid value: \"\": is not a quantity (expected such as \"64Mi\", \"2Gi\")"},
      {R"("resources":{"tasks":0})", "spec.resources.tasks: Invalid value: 0: must be greater than 0"},
      {R"("resources":{"tasks":-5})", "spec.resources.tasks: Invalid value: -5: must be greater than 0"},
      {R"("resources":{"tasks":1})", "spec.resources.tasks: Invalid value: 1: must be at least 2: PID 1 of the container is one"},
      {R"("resources":{"tasks":9999999})", "spec.resources.tasks: Invalid value: 9999999: must be at most 4194304"},
      {R"("timeout":"30")", "spec.timeout: Invalid value: \"30\": is not a duration (expected such as \"30s\", \"5m\", \"1h30m\")"},
      {R"("timeout":"0")", "spec.timeout: Invalid value: \"0\": must be at least 1ms"},
      {R"("timeout":"10us")", "spec.timeout: Invalid value: \"10us\": must be at least 1ms"},
      {R"("timeout":"-1s")", "spec.timeout: Invalid value: \"-1s\": must not be negative"},
      {R"("timeout":"99999999h")", "spec.timeout: Invalid value: \"99999999h\": is longer than 10 years"},
      {R"("terminationGracePeriod":"25h")", "spec.terminationGracePeriod: Invalid value: \"25h\": must be at most 24h"},
      {R"("network":"bridge")", "spec.network: Unsupported value: \"bridge\": supported values: \"none\", \"host\""},
      {R"("sandbox":{"policy":"../mine"})",
       "spec.sandbox.policy: Invalid value: \"../mine\": must consist of lower case letters, digits or '-', and begin and end with a letter or digit "
       "(for example 'my-name' or '123-abc')"},
      {R"("env":[{"value":"x"}])", "spec.env[0].name: Required value"},
      {R"("env":[{"name":"A B"}])",
       "spec.env[0].name: Invalid value: \"A B\": must consist of letters, digits, '_', '-' or '.', and not begin with a digit "
       "(for example 'MY_NAME')"},
      {R"("env":[{"name":"A"},{"name":"B"},{"name":"A"}])", "spec.env[2].name: Duplicate value: \"A\""},
      {R"("mounts":[{"hostPath":"/a"}])", "spec.mounts[0].mountPath: Required value"},
      {R"("mounts":[{"mountPath":"/a"}])", "spec.mounts[0].hostPath: Required value"},
      {R"("mounts":[{"hostPath":"a","mountPath":"/a"}])", "spec.mounts[0].hostPath: Invalid value: \"a\": must be an absolute path"},
      {R"("mounts":[{"hostPath":"/a","mountPath":"/"}])", "spec.mounts[0].mountPath: Invalid value: \"/\": must not be \"/\""},
      {R"("mounts":[{"hostPath":"/a","mountPath":"/x/../etc"}])",
       "spec.mounts[0].mountPath: Invalid value: \"/x/../etc\": must have no '.' and no '..' in it"},
      {R"("mounts":[{"hostPath":"/a","mountPath":"/proc/x"}])",
       "spec.mounts[0].mountPath: Invalid value: \"/proc/x\": must not be in /proc, /sys or /dev"},
      {R"("mounts":[{"hostPath":"/a","mountPath":"/x"},{"hostPath":"/b","mountPath":"/x"}])",
       "spec.mounts[1].mountPath: Duplicate value: \"/x\""},
  };
  for (const auto& [member, error] : kCases) EXPECT_THAT(Check(SessionBut(member)), ElementsAre(error)) << member;
}

TEST(Validate, ACommandIsRequired) {
  const std::string required = "spec.command: Required value: the program to run, such as [\"/bin/sh\", \"-c\", \"...\"]";
  EXPECT_THAT(Check(SessionWith("{}")), ElementsAre(required));
  EXPECT_THAT(Check(SessionWith(R"({"command":[]})")), ElementsAre(required));
  EXPECT_THAT(Check(SessionWith(R"({"command":null})")), ElementsAre(required));
  EXPECT_THAT(Check(SessionWith("null")), ElementsAre(required));
  EXPECT_THAT(Check(SessionWith(R"({"command":["","x"]})")), ElementsAre("spec.command[0]: Invalid value: \"\": must not be empty"));
}

TEST(Validate, WhatTheKernelWouldRefuseIsRefusedHere) {
  const std::string long_text(131'072, 'x');
  EXPECT_THAT(Check(SessionWith(fmt::format(R"({{"command":["true","{}"]}})", long_text))),
              ElementsAre("spec.command[1]: Too long: must have at most 131071 bytes"));
  EXPECT_THAT(Check(SessionWith(fmt::format(R"({{"command":["true"],"env":[{{"name":"A","value":"{}"}}]}})", long_text.substr(2)))),
              ElementsAre("spec.env[0].value: Too long: must have at most 131071 bytes with its name"));
  std::string many;
  for (int i = 0; i < 4097; ++i) many += "\"\",";
  many.pop_back();
  EXPECT_THAT(Check(SessionBut(fmt::format(R"("args":[{}])", many))), ElementsAre("spec.args: Too long: must have at most 4096 items"));
}

TEST(Validate, EveryErrorIsCollected) {
  const json::Value session = Read(R"({"apiVersion":"isla/v1","kind":"Session",
    "metadata":{"name":"A/b","namespace":"..","labels":{"bad key":"bad value"}},
    "spec":{"type":"service","resources":{"cpu":"-1","memory":"-1"},"timeout":"soon","mounts":[{}]}})");
  EXPECT_EQ(Check(session).size(), 11u);
}

TEST(Validate, NamesAreDnsLabels) {
  for (const char* name : {"a/b", "A", "a.b", "../../etc", "-a", "a_b", " ", "\\u00e9"}) {
    const std::vector<std::string> errors = CheckMetadata(fmt::format(R"({{"name":"{}"}})", name));
    ASSERT_EQ(errors.size(), 1u) << name;
    EXPECT_THAT(errors[0], testing::EndsWith(kLabelRule));
    EXPECT_THAT(errors[0], testing::StartsWith("metadata.name: Invalid value: "));
  }
  EXPECT_THAT(CheckMetadata(fmt::format(R"({{"name":"{}"}})", std::string(64, 'a'))),
              ElementsAre(testing::EndsWith(": must be no more than 63 bytes")));
  EXPECT_THAT(CheckMetadata("{}"), ElementsAre("metadata.name: Required value: name or generateName is required"));
  EXPECT_THAT(CheckMetadata("null"), ElementsAre("metadata.name: Required value: name or generateName is required"));
}

TEST(Validate, NodesMayHaveTheNamesOfHosts) {
  EXPECT_THAT(CheckMetadata(R"({"name":"node-1.example.com"})", NodeKind()), IsEmpty());
}

TEST(Validate, GeneratedNamesMustBeGoodNames) {
  EXPECT_THAT(CheckMetadata(R"({"generateName":"run-"})"), IsEmpty());
  EXPECT_EQ(CheckMetadata(R"({"generateName":"Run-"})").size(), 1u);
  EXPECT_THAT(CheckMetadata(fmt::format(R"({{"generateName":"{}"}})", std::string(59, 'a'))),
              ElementsAre(testing::EndsWith(": must be no more than 58 bytes")));
}

TEST(Validate, ProjectsAreInNoNamespace) {
  EXPECT_THAT(CheckMetadata(R"({"name":"p","namespace":"default"})"),
              ElementsAre("metadata.namespace: Forbidden: a Project is in no namespace"));
}

TEST(Validate, LabelsAnnotationsAndFinalizersHaveKubernetesSyntax) {
  EXPECT_EQ(CheckMetadata(R"({"name":"p","labels":{"a b":"x"}})").size(), 1u);
  EXPECT_EQ(CheckMetadata(R"({"name":"p","labels":{"a":"x y"}})").size(), 1u);
  EXPECT_EQ(CheckMetadata(R"({"name":"p","annotations":{"/a":"anything goes\n"}})").size(), 1u);
  EXPECT_EQ(CheckMetadata(R"({"name":"p","finalizers":["isla/session","bad one"]})").size(), 1u);
  EXPECT_EQ(Check(SessionBut(R"("nodeSelector":{"a":"b c"})")).size(), 1u);
}

TEST(Validate, ErrorsPointAtTheValueOrAtWhatLacksIt) {
  const json::Value session = Read("{\"apiVersion\":\"isla/v1\",\"kind\":\"Session\",\"metadata\":{\"name\":\"x\"},\n"
                                   "\"spec\":{\n \"command\":[\"a\"],\n \"resources\":{\"cpu\":\"-1\"},\n \"env\":[{\"value\":\"x\"}],\n"
                                   " \"nodeSelector\":{\"a b\":\"\"}}}");
  const FieldErrors errors = Validate(SessionKind(), session);
  ASSERT_EQ(errors.size(), 3u);
  std::vector<std::string> places;
  for (const FieldError& error : errors) places.push_back(fmt::format("{} {}:{}", error.field, error.position.line, error.position.column));
  EXPECT_THAT(places, UnorderedElementsAre("spec.env[0].name 5:9", "spec.resources.cpu 4:21", "spec.nodeSelector 6:18"));
}

}  // namespace
}  // namespace isla::api
