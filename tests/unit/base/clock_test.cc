#include "api/base/clock.h"

#include <gtest/gtest.h>

namespace isla {
namespace {

using namespace std::chrono_literals;

TEST(Rfc3339, TimesAreWrittenInUtc) {
  const WallTime time(1'767'225'600s + 123'456'789ns);
  EXPECT_EQ(FormatRfc3339(time), "2026-01-01T00:00:00Z");
  EXPECT_EQ(FormatRfc3339(time, 3), "2026-01-01T00:00:00.123Z");
  EXPECT_EQ(FormatRfc3339(time, 6), "2026-01-01T00:00:00.123456Z");
  EXPECT_EQ(FormatRfc3339(time, 9), "2026-01-01T00:00:00.123456789Z");
  EXPECT_EQ(FormatRfc3339(WallTime(-1ns), 9), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(FormatRfc3339(WallTime(5ms), 6), "1970-01-01T00:00:00.005000Z");
}

TEST(Rfc3339, TimesAreReadInEveryForm) {
  const WallTime noon(1'767'268'800s);
  for (const char* text : {"2026-01-01T12:00:00Z", "2026-01-01t12:00:00z", "2026-01-01T12:00:00.000000000Z",
                           "2026-01-01T13:30:00+01:30", "2026-01-01T00:00:00-12:00", "2026-01-01T11:59:60Z"}) {
    const StatusOr<WallTime> time = ParseRfc3339(text);
    ASSERT_TRUE(time.ok()) << text;
    EXPECT_EQ(*time, noon) << text;
  }
  EXPECT_EQ(ParseRfc3339("2024-02-29T00:00:00.5Z").value(), WallTime(1'709'164'800s + 500ms));
}

TEST(Rfc3339, WhatIsNoneIsRefused) {
  for (const char* text : {"", "now", "2026-01-01", "2026-01-01T12:00:00", "2026-01-01 12:00:00Z", "2026-13-01T12:00:00Z",
                           "2026-02-29T12:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T12:60:00Z", "2026-01-01T12:00:61Z",
                           "2026-01-01T12:00:00.Z", "2026-01-01T12:00:00.0123456789Z", "2026-01-01T12:00:00+1:00",
                           "2026-01-01T12:00:00+01:60", "2026-01-01T12:00:00+0100", "2026-01-01T12:00:00Zx", "2026-01-01T12:00:00+",
                           "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "1677-01-01T00:00:00Z", "2262-12-31T00:00:00Z",
                           "-026-01-01T12:00:00Z"}) {
    EXPECT_EQ(ParseRfc3339(text).status().code(), Code::kInvalidArgument) << text;
  }
}

TEST(Rfc3339, WhatIsWrittenIsReadBack) {
  for (const WallTime time : {WallTime(0ns), WallTime(1ns), WallTime(-1ns), WallTime(4'102'444'800s + 999'999'999ns)}) {
    EXPECT_EQ(ParseRfc3339(FormatRfc3339(time, 9)).value(), time);
  }
}

TEST(FakeClock, MovesOnlyWhenTold) {
  FakeClock clock;
  const WallTime wall = clock.Wall();
  const MonotonicTime monotonic = clock.Monotonic();
  clock.Advance(5s);
  EXPECT_EQ(clock.Wall() - wall, 5s);
  EXPECT_EQ(clock.Monotonic() - monotonic, 5s);
  clock.StepWall(-1h);
  EXPECT_EQ(clock.Wall() - wall, 5s - 1h);
  EXPECT_EQ(clock.Monotonic() - monotonic, 5s);
}

TEST(RealClock, MonotonicTimeDoesNotFall) {
  const MonotonicTime before = Clock::Real().Monotonic();
  EXPECT_GE(Clock::Real().Monotonic(), before);
}

}  // namespace
}  // namespace isla
