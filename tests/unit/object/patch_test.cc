#include <gtest/gtest.h>

#include "api/object/object.h"
#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

TEST(MergePatch, DoesTheExamplesOfRfc7396) {
  const struct {
    const char *target, *patch, *result;
  } kCases[] = {
      {R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
      {R"({"a":"b"})", R"({"a":null})", R"({})"},
      {R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
      {R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
      {R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
      {R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
      {R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
      {R"(["a","b"])", R"(["c","d"])", R"(["c","d"])"},
      {R"({"a":"b"})", R"(["c"])", R"(["c"])"},
      {R"({"a":"foo"})", R"(null)", R"(null)"},
      {R"({"a":"foo"})", R"("bar")", R"("bar")"},
      {R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
      {R"([1,2])", R"({"a":"b","c":null})", R"({"a":"b"})"},
      {R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
  };
  for (const auto& [target, patch, result] : kCases) {
    EXPECT_EQ(json::Serialize(MergePatch(Read(target), Read(patch))), result) << target << " + " << patch;
  }
}

TEST(MergePatch, KeepsTheOrderAndTheTextOfWhatItLeavesAlone) {
  const json::Value target = Read(R"({"z":1.50,"a":{"n":1e3,"m":0},"k":[]})");
  EXPECT_EQ(json::Serialize(MergePatch(target, Read(R"({"a":{"m":2},"y":1})"))), R"({"z":1.50,"a":{"n":1e3,"m":2},"k":[],"y":1})");
}

TEST(MergePatch, OnlyWhatThePatchSaysHasAPlaceInTheUsersText) {
  const json::Value merged = MergePatch(Read("{\"spec\":{\"image\":\"host\",\"x\":1}}"), Read("{\n\"spec\":{\"x\":2}}"));
  EXPECT_EQ(merged.FindPath({"spec", "image"})->position().line, 0u);
  EXPECT_EQ(merged.FindPath({"spec", "x"})->position().line, 2u);
}

TEST(MergePatch, LargeObjectsDoNotCostTheProductOfTheirSizes) {
  std::string target = "{", patch = "{";
  for (int i = 0; i < 12'000; ++i) {
    target += fmt::format("\"t{}\":0,", i);
    patch += fmt::format("\"{}{}\":{},", i % 2 == 0 ? "t" : "p", i, i % 4 == 0 ? "null" : "1");
  }
  target.back() = '}';
  patch.back() = '}';
  const json::Value merged = MergePatch(Read(target), Read(patch));
  EXPECT_EQ(merged.members().size(), 12'000u - 3'000u + 6'000u);
  EXPECT_EQ(merged.Find("t0"), nullptr);
  EXPECT_EQ(*merged.Find("t2"), json::Value(1));
  EXPECT_EQ(*merged.Find("p1"), json::Value(1));
}

TEST(SpecDiffers, LooksAtSpecOnlyAndNotAtTheOrder) {
  EXPECT_FALSE(SpecDiffers(Read(R"({"spec":{"a":1,"b":2},"status":{"x":1}})"), Read(R"({"spec":{"b":2,"a":1}})")));
  EXPECT_TRUE(SpecDiffers(Read(R"({"spec":{"a":1}})"), Read(R"({"spec":{"a":2}})")));
  EXPECT_FALSE(SpecDiffers(Read("{}"), Read(R"({"spec":{}})")));
}

}  // namespace
}  // namespace isla::api
