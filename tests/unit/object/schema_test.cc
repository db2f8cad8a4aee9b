#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/object/object.h"
#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<std::string> Check(std::string_view text, const Kind& kind = SessionKind()) {
  return Texts(CheckSchema(kind, Read(text)));
}

TEST(Schema, KnowsEveryFieldOfASession) {
  EXPECT_THAT(Check(R"({"apiVersion":"isla/v1","kind":"Session",
    "metadata":{"name":"x","generateName":"x-","namespace":"n","uid":"u","resourceVersion":"1","generation":1,
      "creationTimestamp":null,"deletionTimestamp":"t","deletionGracePeriodSeconds":0,"labels":{"a":"b"},
      "annotations":{"c":"d"},"finalizers":["f"],"createdBy":"me"},
    "spec":{"type":"batch","image":"host","command":["a"],"args":[],"env":[{"name":"A","value":""}],"workingDir":"/",
      "resources":{"cpu":"1","memory":"1Gi","tasks":1.0},"nodeSelector":{"a":""},"timeout":"1s",
      "terminationGracePeriod":"1s","network":"none","mounts":[{"hostPath":"/a","mountPath":"/b","readOnly":false}],
      "sandbox":{"policy":"default"}},
    "status":{"phase":"Running","unknown":[1]}})"),
              IsEmpty());
}

TEST(Schema, FieldsThatKubernetesToolsSendPass) {
  EXPECT_THAT(Check(R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"x","creationTimestamp":null,
    "managedFields":[{"manager":"kubectl","fieldsV1":{"f:spec":{}}}],"ownerReferences":[{"kind":"X"}],"selfLink":"/x",
    "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}\n"}},"spec":{"command":["a"]},"status":{}})"),
              IsEmpty());
}

TEST(Schema, UnknownAndMisspeltFieldsAreRefusedWithASuggestion) {
  EXPECT_THAT(Check(R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"nmae":"x"},"spec":{"comand":["a"],"work_dir":"/",
    "working_dir":"/","Image":"x","resources":{"memroy":"1"},"env":[{"nam":"A"}],"zebra":1,"mounts":[{"mountpath":"/x"}]},"sepc":{}})"),
              UnorderedElementsAre(
                  "metadata.nmae: Unknown field: did you mean 'name'?", "spec.comand: Unknown field: did you mean 'command'?",
                  "spec.work_dir: Unknown field: did you mean 'workingDir'?",
                  "spec.working_dir: Unknown field: did you mean 'workingDir'?", "spec.Image: Unknown field: did you mean 'image'?",
                  "spec.resources.memroy: Unknown field: did you mean 'memory'?", "spec.env[0].nam: Unknown field: did you mean 'name'?",
                  "spec.zebra: Unknown field", "spec.mounts[0].mountpath: Unknown field: did you mean 'mountPath'?",
                  "sepc: Unknown field: did you mean 'spec'?"));
}

TEST(Schema, ErrorsKnowTheirLineAndColumn) {
  const FieldErrors errors = CheckSchema(SessionKind(), Read("{\"apiVersion\":\"isla/v1\",\n \"kind\":\"Session\",\n"
                                                             "  \"spec\": {\"imgae\": 1,\n    \"command\": [\"a\", 2]}}"));
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[0].position.line, 3u);
  EXPECT_EQ(errors[0].position.column, 12u);
  EXPECT_EQ(errors[1].field, "spec.command[1]");
  EXPECT_EQ(errors[1].position.line, 4u);
  EXPECT_EQ(errors[1].position.column, 22u);
}

TEST(Schema, WrongTypesSayWhatWasExpected) {
  const struct {
    const char *spec, *error;
  } kCases[] = {
      {R"([])", "spec: Invalid type: array (array): expected an object"},
      {R"({"command":"true"})", "spec.command: Invalid type: \"true\" (string): expected an array"},
      {R"({"command":[1]})", "spec.command[0]: Invalid type: 1 (number): expected a string: write \"1\""},
      {R"({"command":[null]})", "spec.command[0]: Invalid type: null (null): expected a string"},
      {R"({"resources":{"cpu":2}})", "spec.resources.cpu: Invalid type: 2 (number): expected a string: write \"2\""},
      {R"({"resources":{"tasks":"512"}})", "spec.resources.tasks: Invalid type: \"512\" (string): expected an integer"},
      {R"({"resources":{"tasks":1.5}})", "spec.resources.tasks: Invalid type: 1.5 (number): expected an integer"},
      {R"({"resources":{"tasks":99999999999999999999}})",
       "spec.resources.tasks: Invalid type: 99999999999999999999 (number): expected an integer"},
      {R"({"env":{"A":"B"}})", "spec.env: Invalid type: object (object): expected an array"},
      {R"({"env":["A=B"]})", "spec.env[0]: Invalid type: \"A=B\" (string): expected an object"},
      {R"({"env":[{"name":"A","value":true}]})", "spec.env[0].value: Invalid type: true (boolean): expected a string: write \"true\""},
      {R"({"mounts":[{"readOnly":"true"}]})", "spec.mounts[0].readOnly: Invalid type: \"true\" (string): expected true or false"},
      {R"({"nodeSelector":{"a":1}})", "spec.nodeSelector[a]: Invalid type: 1 (number): expected a string: write \"1\""},
      {R"({"nodeSelector":[]})", "spec.nodeSelector: Invalid type: array (array): expected an object"},
      {R"({"image":"a\u0000b"})", "spec.image: Invalid value: \"a\\u0000b\": must not contain a NUL byte"},
  };
  for (const auto& [spec, error] : kCases) EXPECT_THAT(Texts(CheckSchema(SessionKind(), SessionWith(spec))), ElementsAre(error));
}

TEST(Schema, ApiVersionAndKindMustBeTheKinds) {
  EXPECT_THAT(Check("{}"), ElementsAre("apiVersion: Required value: expected \"isla/v1\"", "kind: Required value: expected \"Session\""));
  EXPECT_THAT(Check(R"({"apiVersion":"isla/v2","kind":"session"})"),
              ElementsAre("apiVersion: Invalid value: \"isla/v2\": expected \"isla/v1\"",
                          "kind: Invalid value: \"session\": expected \"Session\""));
  EXPECT_THAT(Check("[]"), ElementsAre(": Invalid type: array (array): expected an object"));
  EXPECT_THAT(Check("null"), ElementsAre(": Invalid type: null (null): expected an object"));
}

TEST(Schema, OtherKindsHaveTheirOwnFields) {
  EXPECT_THAT(Check(R"({"apiVersion":"isla/v1","kind":"Project","metadata":{"name":"p"},"spec":{"description":"d"}})", ProjectKind()),
              IsEmpty());
  EXPECT_THAT(Check(R"({"apiVersion":"isla/v1","kind":"Project","metadata":{"name":"p"},"spec":{"command":[]}})", ProjectKind()),
              ElementsAre("spec.command: Unknown field"));
}

TEST(Schema, ThousandsOfMistakesEndAfterAHundred) {
  std::string text = R"({"apiVersion":"isla/v1","kind":"Session","spec":{)";
  for (int i = 0; i < 20'000; ++i) text += fmt::format("\"f{}\":0,", i);
  text.back() = '}';
  EXPECT_EQ(CheckSchema(SessionKind(), Read(text + "}")).size(), kMostFieldErrors + 1);
}

TEST(Schema, HugeNamesAndValuesAreCutInMessages) {
  const FieldErrors errors = CheckSchema(
      SessionKind(), SessionWith(fmt::format(R"({{"{}":1,"resources":"{}"}})", std::string(100'000, 'n'), std::string(100'000, 'v'))));
  ASSERT_EQ(errors.size(), 2u);
  for (const FieldError& error : errors) EXPECT_LT(error.field.size() + error.detail.size(), 300u);
}

}  // namespace
}  // namespace isla::api
