#include "cli/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isla::cli {
namespace {

using ::testing::HasSubstr;

constexpr const char* kObject = R"({"apiVersion":"v","kind":"K","metadata":{"name":"a"}})";

TEST(Manifest, DocumentsAreSeparatedByDashesOrNothing) {
  const std::string one = kObject;
  EXPECT_EQ(ParseManifests(one + one, "f").size(), 2U);
  EXPECT_EQ(ParseManifests(one + "\n---\n" + one + "\n--- \r\n---\n\n" + one, "f").size(), 3U);
  EXPECT_EQ(ParseManifests("---\n" + one + "\n---\n", "f").size(), 1U);
  EXPECT_TRUE(ParseManifests("", "f").empty());
  EXPECT_TRUE(ParseManifests("\n---\n  \n---\n", "f").empty());
}

TEST(Manifest, SourcesNameTheLineOfLaterDocuments) {
  const Manifests found = ParseManifests(std::string(kObject) + "\n---\n\n" + kObject, "f");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0]->source, "f");
  EXPECT_EQ(found[1]->source, "f:4");
}

TEST(Manifest, BrokenDocumentDoesNotHideTheOthers) {
  const Manifests found =
      ParseManifests(std::string(kObject) + "\n---\n{\"a\": tru}\n---\n" + kObject, "f");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_TRUE(found[0].ok());
  EXPECT_THAT(Message(found[1].status()), ::testing::StartsWith("error parsing f:3:"));
  EXPECT_TRUE(found[2].ok());
}

TEST(Manifest, ListsAreTakenApart) {
  const Manifests found =
      ParseManifests(std::string(R"({"kind":"List","apiVersion":"v1","items":[)") + kObject +
                         ",7," + kObject + "]}",
                     "f");
  ASSERT_EQ(found.size(), 3U);
  EXPECT_TRUE(found[0].ok());
  EXPECT_THAT(Message(found[1].status()), HasSubstr("expected an object, not a number"));
  EXPECT_TRUE(found[2].ok());
}

TEST(Manifest, PlacesOfFields) {
  Manifest manifest;
  manifest.file = "f";
  manifest.object = *json::Parse(
      "{\"metadata\": {\"labels\": {\"a.b/c\": 1}},\n \"spec\": {\"env\": [{},\n  {\"name\": "
      "7}]}}");
  EXPECT_EQ(manifest.Place("spec.env[1].name"), " (f:3:12)");
  EXPECT_EQ(manifest.Place("spec.env[1].value"), " (f:3:3)") << "missing: the nearest above it";
  EXPECT_EQ(manifest.Place("spec.env[9]"), " (f:2:18)");
  EXPECT_EQ(manifest.Place("metadata.labels[a.b/c]"), " (f:1:35)");
  EXPECT_EQ(manifest.Place(""), " (f:1:1)");
  for (const char* odd : {".", "[", "[]", "a[", "..", "spec.env[-1]",
                          "spec.env[99999999999999999999]", "[[[", "spec.[x"}) {
    EXPECT_FALSE(manifest.Place(odd).empty()) << odd;
  }
}

}  // namespace
}  // namespace isla::cli
