#include "api/object/quantity.h"

#include <gtest/gtest.h>

namespace isla::api {
namespace {

using namespace std::chrono_literals;

template <typename T>
std::string Error(const StatusOr<T>& value) {
  if (value.ok()) return "no error";
  EXPECT_EQ(value.status().code(), Code::kInvalidArgument);
  return Message(value.status());
}

TEST(Quantity, CpuIsReadInMillis) {
  const struct {
    const char* text;
    int64_t millis;
  } kCases[] = {{"2", 2000},      {"500m", 500},    {"0.5", 500},        {"1k", 1'000'000},   {".25", 250},
                {"1.", 1000},     {"0", 0},         {"1e3", 1'000'000},  {"1E-1", 100},       {"+2", 2000},
                {"1u", 1},        {"1n", 1},        {"0.0001", 1},       {"100001u", 101},    {"0.5000000000000000001", 501},
                {"1Ki", 1024000}, {"1M", 1'000'000'000}, {"00002", 2000}, {"0.00000000000000000000000001", 1}};
  for (const auto& [text, millis] : kCases) {
    const StatusOr<int64_t> value = ParseCpuMillis(text);
    ASSERT_TRUE(value.ok()) << text << ": " << ToString(value.status());
    EXPECT_EQ(*value, millis) << text;
  }
}

TEST(Quantity, BytesAreReadInEveryUnit) {
  const struct {
    const char* text;
    int64_t bytes;
  } kCases[] = {{"64Mi", int64_t{64} << 20}, {"1.5Gi", int64_t{3} << 29}, {"2G", 2'000'000'000}, {"1e9", 1'000'000'000},
                {"128974848", 128974848},    {"1Ki", 1024},               {"1k", 1000},          {"1Ti", int64_t{1} << 40},
                {"1P", 1'000'000'000'000'000}, {"1Ei", int64_t{1} << 60},  {"100m", 1},           {"1.1", 2},
                {"12E", -1}, {"1E", 1'000'000'000'000'000'000}};
  for (const auto& [text, bytes] : kCases) {
    const StatusOr<int64_t> value = ParseBytes(text);
    if (bytes < 0) {
      EXPECT_EQ(Error(value), fmt::format("'{}' is too large", text));
      continue;
    }
    ASSERT_TRUE(value.ok()) << text << ": " << ToString(value.status());
    EXPECT_EQ(*value, bytes) << text;
  }
}

TEST(Quantity, WhatIsNoneIsRefused) {
  for (const char* text : {"", " ", "x", "1 ", " 1", "1 Gi", "1gi", "1GI", "1KI", "1K", "1mi", "0x10", "1_000", "1,5", ".", "+",
                           "++1", "1.2.3", "1e", "1e+", "1e99", "1e1000000000000", "NaN", "inf", "1mm", "1Mib", "1B"}) {
    EXPECT_EQ(Error(ParseCpuMillis(text)), fmt::format("'{}' is not a quantity (expected such as \"500m\", \"2\")", text));
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
  EXPECT_EQ(Error(ParseBytes("-1Gi")), "'-1Gi' must not be negative");
  EXPECT_EQ(Error(ParseCpuMillis("-0")), "'-0' must not be negative");
}

TEST(Quantity, BoundsHoldWithoutOverflow) {
  EXPECT_EQ(*ParseCpuMillis("1000000"), 1'000'000'000);
  EXPECT_EQ(Error(ParseCpuMillis("1000000.001")), "'1000000.001' is too large");
  EXPECT_EQ(*ParseBytes("1152921504606846976"), int64_t{1} << 60);
  EXPECT_EQ(Error(ParseBytes("1152921504606846977")), "'1152921504606846977' is too large");
  EXPECT_FALSE(ParseBytes("99999999999999999999999999999999999999999999999999").ok());
  EXPECT_FALSE(ParseBytes("340282366920938463463374607431768211456").ok());
  EXPECT_FALSE(ParseBytes("340282366920938463463374607431Ei").ok());
  EXPECT_FALSE(ParseCpuMillis("18446744073709551616").ok());
  EXPECT_LT(Error(ParseBytes(std::string(100'000, '9'))).size(), 100u);
}

TEST(Duration, IsReadAsGoWritesIt) {
  const struct {
    const char* text;
    std::chrono::nanoseconds value;
  } kCases[] = {{"300ms", 300ms}, {"30s", 30s}, {"1h30m", 90min}, {"0", 0s}, {"0s", 0s}, {"1.5h", 90min}, {"+1s", 1s},
                {"1us", 1us}, {"1\xC2\xB5s", 1us}, {"5ns", 5ns}, {"2h45m30.5s", 9930500ms}, {".5s", 500ms}, {"1m1m", 2min},
                {"87600h", 87600h}};
  for (const auto& [text, value] : kCases) {
    const StatusOr<std::chrono::nanoseconds> duration = ParseDuration(text);
    ASSERT_TRUE(duration.ok()) << text << ": " << ToString(duration.status());
    EXPECT_EQ(*duration, value) << text;
  }
}

TEST(Duration, WhatIsNoneIsRefused) {
  for (const char* text : {"", "30", "s", "1d", "1w", "1 s", "1h ", "1hm", "1.2.3s", "x", "+", "1e3s", "30S"}) {
    EXPECT_EQ(Error(ParseDuration(text)),
              fmt::format("'{}' is not a duration (expected such as \"30s\", \"5m\", \"1h30m\")", text));
  }
  EXPECT_EQ(Error(ParseDuration("-1s")), "'-1s' must not be negative");
  for (const char* text : {"87841h", "999999999999999999999999h", "87840h1ns", "9999999999999999999999999999999999999999ns"}) {
    EXPECT_EQ(Error(ParseDuration(text)), fmt::format("'{}' is longer than 10 years", text));
  }
}

TEST(Format, QuantitiesAreShortAndExact) {
  EXPECT_EQ(FormatCpuMillis(500), "500m");
  EXPECT_EQ(FormatCpuMillis(2000), "2");
  EXPECT_EQ(FormatCpuMillis(0), "0");
  EXPECT_EQ(FormatCpuMillis(1001), "1001m");
  EXPECT_EQ(FormatBytes(67108864), "64Mi");
  EXPECT_EQ(FormatBytes(1000), "1000");
  EXPECT_EQ(FormatBytes(0), "0");
  EXPECT_EQ(FormatBytes(int64_t{3} << 29), "1536Mi");
  EXPECT_EQ(FormatBytes(int64_t{1} << 60), "1Ei");
  for (const int64_t value : {int64_t{1}, int64_t{1023}, int64_t{1024}, int64_t{123456789}, int64_t{1} << 59}) {
    EXPECT_EQ(*ParseBytes(FormatBytes(value)), value);
    if (value < 1'000'000'000) {
      EXPECT_EQ(*ParseCpuMillis(FormatCpuMillis(value)), value);
    }
  }
}

TEST(Format, DurationsAreReadBackAsTheyWere) {
  EXPECT_EQ(FormatDuration(90min), "1h30m");
  EXPECT_EQ(FormatDuration(250ms), "250ms");
  EXPECT_EQ(FormatDuration(0s), "0s");
  EXPECT_EQ(FormatDuration(30s), "30s");
  EXPECT_EQ(FormatDuration(-90s), "-1m30s");
  for (const std::chrono::nanoseconds value : {1ns, 1'234'567'890'123ns, std::chrono::nanoseconds(26h + 3s)}) {
    EXPECT_EQ(*ParseDuration(FormatDuration(value)), value);
  }
}

TEST(Format, AgesAreKubectls) {
  const struct {
    std::chrono::nanoseconds age;
    const char* text;
  } kCases[] = {{-3s, "<invalid>"}, {-2s, "<invalid>"}, {-1999ms, "0s"}, {-1s, "0s"}, {0s, "0s"}, {119s, "119s"},
                {120s, "2m"}, {121s, "2m1s"}, {599s, "9m59s"}, {600s, "10m"}, {179min, "179m"}, {180min, "3h"},
                {181min, "3h1m"}, {479min, "7h59m"}, {8h, "8h"}, {47h, "47h"}, {48h, "2d"}, {49h, "2d1h"}, {191h, "7d23h"},
                {192h, "8d"}, {24h * 729, "729d"}, {24h * 730, "2y"}, {24h * 731, "2y1d"}, {24h * 365 * 8, "8y"}};
  for (const auto& [age, text] : kCases) EXPECT_EQ(FormatAge(age), text);
}

}  // namespace
}  // namespace isla::api
