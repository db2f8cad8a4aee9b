#include "api/object/selector.h"

#include <gtest/gtest.h>

#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

bool Selects(std::string_view selector, std::string_view labels) {
  const StatusOr<LabelSelector> parsed = LabelSelector::Parse(selector);
  EXPECT_TRUE(parsed.ok()) << ToString(parsed.status());
  return parsed.ok() && parsed->Matches(Read(fmt::format(R"({{"metadata":{{"labels":{}}}}})", labels)));
}

TEST(LabelSelector, MatchesAsKubernetesDoes) {
  const std::string_view labels = R"({"a":"1","tier":"web","example.com/x":""})";
  for (const char* yes : {"", " ", "a=1", "a==1", "a = 1", "a!=2", "missing!=2", "a in (1,2)", "a in(2, 1 )", "a notin (2)",
                          "missing notin (1)", "a", "!missing", "! missing", "example.com/x=", "example.com/x", "a=1,tier in (db,web),!c",
                          "example.com/x in ()"}) {
    EXPECT_TRUE(Selects(yes, labels)) << yes;
  }
  for (const char* no : {"a=2", "a!=1", "a in (2,3)", "a notin (1)", "missing", "!a", "missing=", "a=1,tier=db", "missing in (1)"}) {
    EXPECT_FALSE(Selects(no, labels)) << no;
  }
}

TEST(LabelSelector, MapsMatchAsObjectsDo) {
  using Labels = std::map<std::string, std::string>;
  const LabelSelector selector = LabelSelector::Parse("a=1,!b").value();
  EXPECT_TRUE(selector.Matches(Labels{{"a", "1"}}));
  EXPECT_FALSE(selector.Matches(Labels{{"a", "1"}, {"b", ""}}));
  EXPECT_TRUE(LabelSelector::Parse("").value().empty());
}

TEST(LabelSelector, ObjectsWithoutUsableLabelsHaveNone) {
  const LabelSelector selector = LabelSelector::Parse("a!=1").value();
  for (const char* object : {"{}", R"({"metadata":{}})", R"({"metadata":{"labels":null}})", R"({"metadata":{"labels":[]}})",
                             R"({"metadata":{"labels":{"a":1}}})"}) {
    EXPECT_TRUE(selector.Matches(Read(object))) << object;
  }
}

TEST(LabelSelector, BadSyntaxIsRefused) {
  for (const char* bad : {",", "a=1,", "=1", "!", "a>1", "a<1", "a in", "a in 1", "a in (1", "a in 1)", "a b", "a=b c", "a=b=c",
                          "a=(1)", "A B=1", "-a=1", "a notin", "a!", "a=1)"}) {
    const StatusOr<LabelSelector> parsed = LabelSelector::Parse(bad);
    EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument) << bad;
  }
}

TEST(FieldSelector, SelectsNameAndNamespaceOnly) {
  const FieldSelector selector = FieldSelector::Parse("metadata.name=x,metadata.namespace==y").value();
  EXPECT_EQ(selector.name, "x");
  EXPECT_EQ(selector.ns, "y");
  EXPECT_TRUE(selector.Matches(Read(R"({"metadata":{"name":"x","namespace":"y"}})")));
  EXPECT_FALSE(selector.Matches(Read(R"({"metadata":{"name":"x","namespace":"z"}})")));
  EXPECT_TRUE(FieldSelector::Parse("").value().Matches(Read("{}")));
  for (const char* bad : {"status.phase=Running", "metadata.name!=x", "metadata.name", "metadata.name=", "name=x",
                          "metadata.name=x,metadata.name=y", "metadata.name=x,"}) {
    EXPECT_EQ(FieldSelector::Parse(bad).status().code(), Code::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace isla::api
