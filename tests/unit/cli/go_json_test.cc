#include "cli/go_json.h"

#include <gtest/gtest.h>

namespace isla::cli {
namespace {

TEST(GoJson, NumbersAsGoPrintsThem) {
  for (const auto& [text, shown] : std::vector<std::pair<std::string, std::string>>{
           {"0", "0"},
           {"-0", "0"},
           {"1", "1"},
           {"1.0", "1"},
           {"-1.50", "-1.5"},
           {"1e3", "1000"},
           {"1E+2", "100"},
           {"0.000001", "0.000001"},
           {"0.0000001", "1e-7"},
           {"1.5e-9", "1.5e-9"},
           {"1e20", "100000000000000000000"},
           {"1e21", "1e+21"},
           {"1e100", "1e+100"},
           {"1e-100", "1e-100"},
           {"9223372036854775807", "9223372036854775807"},
           {"9223372036854775808", "9223372036854775808"},
           {"0.1", "0.1"},
           {"-0.0", "-0"},
           {"123456789.125", "123456789.125"}}) {
    EXPECT_EQ(GoNumber(text), shown) << text;
  }
}

TEST(GoJson, SortsMembersAndEscapesAsGoDoes) {
  const auto value = json::Parse(
      R"({"b":[1,{"z":null,"a":true}],"a":"<a href=\"x\">&\u2028\u2029\n\r\t\b\f\u0001\u007f\\/é","A":{}, "c":[]})");
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(GoJson(*value),
            R"({"A":{},"a":"\u003ca href=\"x\"\u003e\u0026\u2028\u2029\n\r\t\b\f\u0001)"
            "\x7f"
            R"(\\/é","b":[1,{"a":true,"z":null}],"c":[]})");
}

}  // namespace
}  // namespace isla::cli
