#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/object/object.h"
#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kStored =
    R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"x","namespace":"default","uid":"u","generation":1,
        "creationTimestamp":"2026-01-01T00:00:00Z","createdBy":"me","labels":{"a":"1"},"finalizers":["isla/session"]},
        "spec":{"command":["true"],"resources":{"cpu":"1","memory":"64Mi"},"timeout":"1m"}})";

std::vector<std::string> Change(std::string_view patch, bool frozen, const Kind& kind = SessionKind()) {
  const json::Value before = Read(kStored);
  return Texts(ValidateUpdate(kind, before, MergePatch(before, Read(patch)), frozen));
}

TEST(Mutability, WhatIsTheUsersMayChangeAtAnyTime) {
  for (const bool frozen : {false, true}) {
    EXPECT_THAT(Change(R"({"metadata":{"labels":{"a":null,"b":"2"},"annotations":{"c":"d"}},"status":{"phase":"x"}})", frozen), IsEmpty());
    EXPECT_THAT(Change("{}", frozen), IsEmpty());
  }
}

TEST(Mutability, SpecMayChangeUntilTheSessionIsScheduled) {
  const std::string_view patch = R"({"spec":{"timeout":"2m","command":["false"],"resources":{"cpu":"2"}}})";
  EXPECT_THAT(Change(patch, false), IsEmpty());
  EXPECT_THAT(Change(patch, true),
              ElementsAre("spec.command: Forbidden: can't be changed once the session is scheduled",
                          "spec.resources.cpu: Forbidden: can't be changed once the session is scheduled",
                          "spec.timeout: Forbidden: can't be changed once the session is scheduled"));
}

TEST(Mutability, RemovingAndAddingAreChangesToo) {
  EXPECT_THAT(Change(R"({"spec":{"timeout":null,"network":"host"}})", true),
              ElementsAre("spec.network: Forbidden: can't be changed once the session is scheduled (it was added)",
                          "spec.timeout: Forbidden: can't be changed once the session is scheduled (it was removed)"));
  EXPECT_EQ(Change(R"({"spec":null})", true).size(), 1u);
  EXPECT_THAT(Change(R"({"spec":{"resources":"x"}})", true),
              ElementsAre("spec.resources: Forbidden: can't be changed once the session is scheduled"));
}

TEST(Mutability, WhatTheServerSetsMayBeLeftOutButNotChanged) {
  for (const char* field : {"uid", "creationTimestamp", "createdBy", "namespace", "deletionTimestamp", "generateName"}) {
    EXPECT_THAT(Change(fmt::format(R"({{"metadata":{{"{}":null}}}})", field), false), IsEmpty()) << field;
    EXPECT_THAT(Change(fmt::format(R"({{"metadata":{{"{}":"other"}}}})", field), false),
                ElementsAre(testing::StartsWith(fmt::format("metadata.{}: Forbidden: is set by the server only", field))))
        << field;
  }
  EXPECT_EQ(Change(R"({"metadata":{"finalizers":[]}})", false).size(), 1u);
  EXPECT_THAT(Change(R"({"metadata":{"finalizers":["isla/session"],"generation":7,"resourceVersion":"9"}})", true), IsEmpty());
}

TEST(Mutability, NameKindAndVersionNeverChange) {
  EXPECT_THAT(Change(R"({"metadata":{"name":"y"}})", false), ElementsAre("metadata.name: Forbidden: can't be changed"));
  EXPECT_THAT(Change(R"({"metadata":{"name":null}})", false), ElementsAre("metadata.name: Forbidden: can't be changed (it was removed)"));
  EXPECT_EQ(Change(R"({"kind":"Node"})", false).size(), 1u);
  EXPECT_EQ(Change(R"({"apiVersion":"isla/v2"})", false).size(), 1u);
}

TEST(Mutability, AProjectsSpecMayChangeAtAnyTime) {
  EXPECT_THAT(Change(R"({"spec":{"description":"new"}})", true, ProjectKind()), IsEmpty());
}

}  // namespace
}  // namespace isla::api
