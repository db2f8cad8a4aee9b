#include <gtest/gtest.h>

#include "api/object/object.h"
#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

TEST(Defaults, AreAddedBehindWhatIsThere) {
  json::Value session = SessionWith(R"({"command":["true"],"resources":{"memory":"1Gi"}})");
  ApplyDefaults(SessionKind(), session);
  EXPECT_EQ(json::Serialize(*session.Find("spec")),
            R"({"command":["true"],"resources":{"memory":"1Gi","cpu":"1","tasks":512},"type":"batch","image":"host",)"
            R"("workingDir":"/","terminationGracePeriod":"30s","network":"none","sandbox":{"policy":"default"}})");
}

TEST(Defaults, ChangeNothingThatIsThere) {
  const std::string_view spec =
      R"({"type":"","image":"x","workingDir":"","resources":{"cpu":"1.0","memory":"","tasks":0},"terminationGracePeriod":"0",)"
      R"("network":"host","sandbox":{"policy":"p"},"args":[],"env":[{"name":"A"}],"mounts":[{"hostPath":"/a"}],"timeout":null})";
  json::Value session = SessionWith(spec);
  ApplyDefaults(SessionKind(), session);
  EXPECT_EQ(json::Serialize(*session.Find("spec")), spec);
}

TEST(Defaults, AddedTwiceAreTheSame) {
  json::Value once = SessionWith("{}");
  ApplyDefaults(SessionKind(), once);
  json::Value twice = once;
  ApplyDefaults(SessionKind(), twice);
  EXPECT_EQ(json::Serialize(once), json::Serialize(twice));
}

TEST(Defaults, NullIsAbsentAndWrongTypesAreLeftToTheirError) {
  json::Value session = SessionWith(R"({"image":null,"resources":null,"sandbox":[]})");
  ApplyDefaults(SessionKind(), session);
  EXPECT_EQ(session.StringAt({"spec", "image"}), "host");
  EXPECT_EQ(session.StringAt({"spec", "resources", "cpu"}), "1");
  EXPECT_TRUE(session.FindPath({"spec", "sandbox"})->is_array());
  for (const char* text : {"[]", "1", R"({"spec":"x"})"}) {
    json::Value odd = Read(text);
    ApplyDefaults(SessionKind(), odd);
    EXPECT_EQ(json::Serialize(odd), text);
  }
}

TEST(Defaults, OtherKindsHaveNone) {
  json::Value project = Read(R"({"metadata":{"name":"p"}})");
  ApplyDefaults(ProjectKind(), project);
  EXPECT_EQ(json::Serialize(project), R"({"metadata":{"name":"p"}})");
}

}  // namespace
}  // namespace isla::api
