#include "cli/output.h"

#include <gtest/gtest.h>

namespace isla::cli {
namespace {

std::string Path(const std::string& expression) {
  const auto value =
      json::Parse(R"({"a":{"b":"x","c.d":1,"n":null,"l":[1,2,{"e":[3,4]}]},"m":{"p":1,"q":2}})");
  const auto found = EvaluateJsonPath(expression, *value);
  return found.ok() ? *found : "ERROR " + Message(found.status());
}

TEST(JsonPath, FindsWhatIsNamed) {
  EXPECT_EQ(Path("{.a.b}"), "x");
  EXPECT_EQ(Path(".a.b"), "x");
  EXPECT_EQ(Path("a.b"), "x");
  EXPECT_EQ(Path("{$.a.b}"), "x");
  EXPECT_EQ(Path("{.a.l[0]}"), "1");
  EXPECT_EQ(Path("{.a.l[-1].e[*]}"), "3 4");
  EXPECT_EQ(Path("{.m.*}"), "1 2");
  EXPECT_EQ(Path("{.a['c.d']}"), "1");
  EXPECT_EQ(Path("{.a.c\\.d}"), "1");
  EXPECT_EQ(Path("{.m}"), R"({"p":1,"q":2})");
  EXPECT_EQ(Path("{.a.nope.x}"), "");
  EXPECT_EQ(Path("{.a.n}"), "");
  EXPECT_EQ(Path("p={.m.p}{\"\\n\"}q={.m.q}"), "p=1\nq=2");
  EXPECT_EQ(Path("{}"),
            R"({"a":{"b":"x","c.d":1,"n":null,"l":[1,2,{"e":[3,4]}]},"m":{"p":1,"q":2}})");
}

TEST(JsonPath, WhatIsNotSupportedIsAnError) {
  for (const char* bad :
       {"{.a..b}", "{.a[?(@.x)]}", "{.a[0:1]}", "{.a", "{.a[0}", "{range .items[*]}", "{.a[x]}"}) {
    EXPECT_EQ(Path(bad).substr(0, 6), "ERROR ") << bad;
  }
}

}  // namespace
}  // namespace isla::cli
