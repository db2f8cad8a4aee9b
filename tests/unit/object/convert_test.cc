#include <gtest/gtest.h>

#include "api/object/check_types.h"
#include "api/object/object.h"
#include "isla/v1/agent.pb.h"
#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

TEST(Convert, MessagesComeBackThroughJson) {
  isla::v1::SessionStatus status;
  status.set_phase("Failed");
  status.set_exit_code(-1);
  status.set_observed_generation(int64_t{1} << 62);
  status.add_conditions()->set_type("Ready");
  status.add_conditions();
  auto& container = *status.add_containers();
  container.set_uid("u");
  container.set_peak_memory_bytes(5);
  const json::Value value = FromMessage(status);
  EXPECT_EQ(json::Serialize(value),
            R"({"phase":"Failed","observedGeneration":4611686018427387904,"conditions":[{"type":"Ready"},{}],)"
            R"("containers":[{"uid":"u","peakMemoryBytes":5}],"exitCode":-1})");
  const StatusOr<isla::v1::SessionStatus> back = ToSessionStatus(value);
  ASSERT_TRUE(back.ok()) << ToString(back.status());
  EXPECT_EQ(back->SerializeAsString(), status.SerializeAsString());
}

TEST(Convert, MapsEnumsAndUnsignedNumbersComeBackToo) {
  isla::v1::Hello hello;
  hello.set_protocol_min(7);
  (*hello.mutable_labels())["b"] = "2";
  (*hello.mutable_labels())["a"] = "1";
  hello.add_features("cgroup=v2");
  hello.add_inventory()->set_state(isla::v1::RUNNING);
  const json::Value value = FromMessage(hello);
  EXPECT_EQ(json::Serialize(value), R"({"protocolMin":7,"labels":{"a":"1","b":"2"},"features":["cgroup=v2"],"inventory":[{"state":"RUNNING"}]})");
  isla::v1::Hello back;
  ASSERT_TRUE(ToMessage(value, back).ok());
  EXPECT_EQ(json::Serialize(FromMessage(back)), json::Serialize(value));
  isla::v1::Report report;
  EXPECT_FALSE(ToMessage(Read(R"({"sequence":-1})"), report).ok());
  EXPECT_FALSE(ToMessage(Read(R"({"state":"FLYING"})"), report).ok());
}

TEST(Convert, UnknownFieldsAreIgnoredAndNullsAreAbsent) {
  const StatusOr<isla::v1::Session> session =
      ToSession(Read(R"({"future":1,"metadata":{"name":"x","new":{"a":[]}},"spec":{"command":["a"],"env":null}})"));
  ASSERT_TRUE(session.ok()) << ToString(session.status());
  EXPECT_EQ(session->metadata().name(), "x");
  EXPECT_EQ(session->spec().env_size(), 0);
}

TEST(Convert, WrongTypesAreRefusedWithTheirPath) {
  const struct {
    const char *object, *error;
  } kCases[] = {
      {R"([])", "value: is array (expected an object)"},
      {R"({"metadata":1})", "metadata: is number (expected an object)"},
      {R"({"spec":{"command":"x"}})", "spec.command: is string (expected an array)"},
      {R"({"spec":{"command":["x",1]}})", "spec.command[1]: is number (expected a string)"},
      {R"({"spec":{"resources":{"tasks":1.5}}})", "spec.resources.tasks: 1.5 is not an integer that fits here"},
      {R"({"status":{"exitCode":2147483648}})", "status.exitCode: 2147483648 is not an integer that fits here"},
      {R"({"spec":{"resources":{"tasks":"1"}}})", "spec.resources.tasks: is string (expected an integer)"},
      {R"({"metadata":{"labels":{"a":1}}})", "metadata.labels[a]: is number (expected a string)"},
      {R"({"spec":{"mounts":[{"readOnly":"yes"}]}})", "spec.mounts[0].readOnly: is string (expected true or false)"},
      {R"({"spec":{"mounts":[null]}})", "spec.mounts[0]: is null (expected an object)"},
  };
  for (const auto& [object, error] : kCases) {
    const Status status = ToSession(Read(object)).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << object;
    EXPECT_EQ(Message(status), error);
    EXPECT_EQ(Message(CheckTypes(SessionKind(), Read(object))), error);
  }
}

TEST(Convert, TypesAreGoodWhereAViewCanBeMade) {
  for (const char* const object :
       {"{}", R"({"future":1,"metadata":{"labels":{"a":"b","c":"d"},"annotations":null}})",
        R"({"spec":{"command":["a"],"env":[{"name":"A","value":"b"}],"resources":{"tasks":64},"mounts":[{"readOnly":null}]},"status":{"exitCode":-1}})"}) {
    EXPECT_TRUE(ToSession(Read(object)).ok()) << object;
    EXPECT_TRUE(CheckTypes(SessionKind(), Read(object)).ok()) << object;
  }
  EXPECT_EQ(Message(CheckTypes(ProjectKind(), Read(R"({"spec":{"description":1}})"))), "spec.description: is number (expected a string)");
  EXPECT_EQ(Message(CheckTypes(NodeKind(), Read(R"({"status":{"connected":1}})"))), "status.connected: is number (expected true or false)");
}

TEST(Convert, ASessionsViewHasEveryDefaultThoughTheJsonHasNone) {
  const StatusOr<isla::v1::Session> session = ToSession(
      Read(R"({"spec":{"image":null,"mounts":[{"hostPath":"/a"},{"readOnly":false},{"readOnly":null},{"readOnly":true}]}})"));
  ASSERT_TRUE(session.ok()) << ToString(session.status());
  EXPECT_EQ(session->spec().image(), "host");
  EXPECT_EQ(session->spec().resources().cpu(), "1");
  EXPECT_EQ(session->spec().resources().tasks(), 512);
  EXPECT_EQ(session->spec().sandbox().policy(), "default");
  EXPECT_TRUE(session->spec().mounts(0).read_only());
  EXPECT_FALSE(session->spec().mounts(1).read_only());
  EXPECT_TRUE(session->spec().mounts(2).read_only());
  EXPECT_TRUE(session->spec().mounts(3).read_only());
}

}  // namespace
}  // namespace isla::api
