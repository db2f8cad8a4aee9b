#include "cli/table.h"

#include <gtest/gtest.h>

namespace isla::cli {
namespace {

TEST(Columns, ArePaddedToTheWidestAndRemembered) {
  Columns columns;
  EXPECT_EQ(columns.Format({{"NAME", "X"}, {"longer-name", "y"}}),
            "NAME          X\nlonger-name   y\n");
  EXPECT_EQ(columns.Format({{"a", "z"}}), "a             z\n");
  EXPECT_EQ(Columns().Format({{"a", "b"}}), "a     b\n") << "at least six wide";
  EXPECT_EQ(Columns().Format({{"é", "x"}, {"ee", "y"}}), "é     x\nee    y\n");
}

TEST(Columns, CellsNeverBreakTheLineOrTheTerminal) {
  EXPECT_EQ(Columns().Format({{"a\nb", "\x1b[31mred\t"}}), "a...   ^[[31mred^I\n");
}

TEST(TableLines, WrongTypesAreErrorsOrEmptyCells) {
  EXPECT_FALSE(TableLines(json::Value(), {}).ok());
  EXPECT_FALSE(TableLines(*json::Parse(R"({"kind":"Status"})"), {}).ok());
  EXPECT_FALSE(TableLines(*json::Parse(R"({"kind":"Table","columnDefinitions":7})"), {}).ok());
  const auto lines = TableLines(
      *json::Parse(
          R"({"kind":"Table","columnDefinitions":[{"name":"A"},7,{"name":"C"}],"rows":[7,{"cells":7},{"cells":["x",true]},{"cells":["x",1.50,null,"more"]}]})"),
      {});
  ASSERT_TRUE(lines.ok());
  ASSERT_EQ(lines->size(), 5U);
  EXPECT_EQ((*lines)[1], (std::vector<std::string>{"<none>", "<none>", "<none>"}));
  EXPECT_EQ((*lines)[3], (std::vector<std::string>{"x", "true", "<none>"}));
  EXPECT_EQ((*lines)[4], (std::vector<std::string>{"x", "1.50", "<none>"}));
}

}  // namespace
}  // namespace isla::cli
