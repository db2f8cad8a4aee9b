#include "cli/three_way.h"

#include <gtest/gtest.h>

#include "api/object/object.h"

namespace isla::cli {
namespace {

json::Value J(const char* text) { return *json::Parse(text); }

std::string Patch(const char* original, const char* modified, const char* current) {
  return json::Serialize(ThreeWayMergePatch(J(original), J(modified), J(current)));
}

TEST(ThreeWay, NothingToDoIsAnEmptyPatch) {
  EXPECT_EQ(Patch(R"({"a":1})", R"({"a":1})", R"({"a":1,"b":2})"), "{}");
  EXPECT_EQ(Patch("null", R"({"a":{"b":[1,2]}})", R"({"a":{"b":[1,2],"c":3}})"), "{}");
}

TEST(ThreeWay, ChangesAndAdditionsAreSet) {
  EXPECT_EQ(Patch(R"({"a":1})", R"({"a":2,"b":{"c":3}})", R"({"a":1})"), R"({"a":2,"b":{"c":3}})");
  EXPECT_EQ(Patch(R"({"a":1})", R"({"a":1})", R"({"a":9})"), R"({"a":1})")
      << "somebody else changed it: set back";
}

TEST(ThreeWay, WhatWasAppliedAndIsNotAnyMoreIsRemoved) {
  EXPECT_EQ(Patch(R"({"a":1,"m":{"x":1,"y":2}})", R"({"m":{"y":2}})",
                  R"({"a":1,"m":{"x":1,"y":2},"others":3})"),
            R"({"m":{"x":null},"a":null})");
  EXPECT_EQ(Patch("null", R"({"m":{}})", R"({"m":{"x":1}})"), "{}")
      << "nobody said that x was ours";
}

TEST(ThreeWay, RemovalsAndChangesOfOneObjectAreJoined) {
  EXPECT_EQ(Patch(R"({"m":{"x":1}})", R"({"m":{"y":2}})", R"({"m":{"x":1}})"),
            R"({"m":{"x":null,"y":2}})");
}

TEST(ThreeWay, ListsAreReplacedWhole) {
  EXPECT_EQ(Patch(R"({"l":[1,2]})", R"({"l":[1]})", R"({"l":[1,2]})"), R"({"l":[1]})");
  EXPECT_EQ(Patch("null", R"({"l":[{"a":1}]})", R"({"l":[{"a":1,"defaulted":2}]})"),
            R"({"l":[{"a":1}]})");
}

TEST(ThreeWay, NumbersAreComparedByValue) {
  EXPECT_EQ(Patch("null", R"({"a":1.0,"b":1e3,"l":[2.0]})", R"({"a":1,"b":1000,"l":[2]})"), "{}");
  EXPECT_EQ(Patch("null", R"({"a":9223372036854775807})", R"({"a":9223372036854775806})"),
            R"({"a":9223372036854775807})");
  EXPECT_EQ(Patch("null", R"({"a":"1"})", R"({"a":1})"), R"({"a":"1"})");
}

TEST(ThreeWay, NullsInTheManifestSayNothing) {
  EXPECT_EQ(Patch("null", R"({"a":null,"m":{"b":null}})", R"({"m":{}})"), "{}");
  EXPECT_EQ(Patch(R"({"m":{"b":1}})", R"({"m":{"b":null}})", R"({"m":{"b":1}})"),
            R"({"m":{"b":null}})");
}

TEST(ThreeWay, EmptyObjectSetOnPurposeIsAValue) {
  EXPECT_EQ(Patch("null", R"({"m":{}})", R"({})"), R"({"m":{}})");
  EXPECT_EQ(Patch("null", R"({"m":{}})", R"({"m":7})"), R"({"m":{}})");
}

TEST(ThreeWay, PatchedObjectNeedsNoFurtherPatch) {
  // For a few shapes: the patch, applied, leaves nothing to do.
  const std::vector<const char*> shapes{R"({})",
                                        R"({"a":1})",
                                        R"({"a":{"b":1}})",
                                        R"({"a":{"b":{"c":[1,{"d":2}]}},"e":"x"})",
                                        R"({"a":[],"f":false,"g":0})",
                                        R"({"a":{}})",
                                        R"({"a":"s","e":{"f":1}})"};
  for (const char* original : shapes) {
    for (const char* modified : shapes) {
      for (const char* current : shapes) {
        const json::Value patch = ThreeWayMergePatch(J(original), J(modified), J(current));
        const json::Value after = api::MergePatch(J(current), patch);
        EXPECT_EQ(json::Serialize(ThreeWayMergePatch(J(modified), J(modified), after)), "{}")
            << original << modified << current;
        // Everything that the manifest says is so.
        EXPECT_EQ(json::Serialize(ThreeWayMergePatch(json::Value(), J(modified), after)), "{}");
      }
    }
  }
}

TEST(ThreeWay, AnnotationHoldsTheManifestWithoutItself) {
  const json::Value once =
      WithLastApplied(J(R"({"kind":"S","metadata":{"name":"x","annotations":{"n":"1"}}})"));
  EXPECT_EQ(once.StringAt({"metadata", "annotations", kLastApplied}),
            "{\"kind\":\"S\",\"metadata\":{\"annotations\":{\"n\":\"1\"},\"name\":\"x\"}}\n");
  EXPECT_EQ(WithLastApplied(once), once);
  EXPECT_EQ(LastAppliedOf(once),
            J(R"({"kind":"S","metadata":{"name":"x","annotations":{"n":"1"}}})"));
}

TEST(ThreeWay, BrokenAnnotationCountsAsNone) {
  for (const char* text : {"", "{", "[]", "7"}) {
    json::Value object = J("{}");
    object.Member("metadata").Member("annotations").Set(kLastApplied, text);
    EXPECT_TRUE(LastAppliedOf(object).is_null()) << text;
  }
  EXPECT_TRUE(LastAppliedOf(J(R"({"metadata":{"annotations":[]}})")).is_null());
}

}  // namespace
}  // namespace isla::cli
