#include "api/base/clock.h"

#include <cstdint>
#include <cstdio>
#include <ctime>

namespace isla {
namespace {

class RealClock final : public Clock {
 public:
  WallTime Wall() const override { return std::chrono::system_clock::now(); }
  MonotonicTime Monotonic() const override { return std::chrono::steady_clock::now(); }
};

/// Reads exactly `count` digits at `at`, or -1.
int Digits(std::string_view text, size_t at, size_t count) {
  if (at + count > text.size()) return -1;
  int value = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

}  // namespace

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

FakeClock::FakeClock(WallTime start) : wall_(start), monotonic_(std::chrono::hours(1)) {}

WallTime FakeClock::Wall() const {
  MutexLock lock(mu_);
  return wall_;
}

MonotonicTime FakeClock::Monotonic() const {
  MutexLock lock(mu_);
  return monotonic_;
}

void FakeClock::Advance(Duration by) {
  ISLA_CHECK(by >= Duration::zero());
  MutexLock lock(mu_);
  wall_ += by;
  monotonic_ += by;
}

void FakeClock::StepWall(Duration by) {
  MutexLock lock(mu_);
  wall_ += by;
}

std::string FormatRfc3339(WallTime time, int precision) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  // Not gmtime_r: it reads /etc/localtime first.
  const auto days = std::chrono::floor<std::chrono::days>(seconds);
  const std::chrono::year_month_day date{days};
  const std::chrono::hh_mm_ss clock{seconds - days};
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                                static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (precision > 0) {
    const std::string nanos = fmt::format("{:09}", (time - seconds).count());
    out += "." + nanos.substr(0, static_cast<size_t>(precision));
  }
  return out + "Z";
}

StatusOr<WallTime> ParseRfc3339(std::string_view text) {
  const auto bad = [text] {
    return Errorf(Code::kInvalidArgument, "'{}' is not an RFC 3339 time such as 2026-01-31T13:05:00Z", text.substr(0, 64));
  };
  const int year = Digits(text, 0, 4), month = Digits(text, 5, 2), day = Digits(text, 8, 2);
  const int hour = Digits(text, 11, 2), minute = Digits(text, 14, 2), second = Digits(text, 17, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return bad();
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
      text[16] != ':') {
    return bad();
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  // Nanoseconds since 1970 in 64 bits reach from 1677 to 2262.
  if (year < 1678 || year > 2261) return bad();
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return bad();
  size_t at = 19;
  int64_t nanos = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    int64_t scale = 100'000'000;
    const size_t first = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10) {
      nanos += (text[at] - '0') * scale;
    }
    if (at == first || at - first > 9) return bad();
  }
  if (at >= text.size()) return bad();
  std::chrono::minutes offset{0};
  if (text[at] == '+' || text[at] == '-') {
    const int offset_hour = Digits(text, at + 1, 2), offset_minute = Digits(text, at + 4, 2);
    if (offset_hour < 0 || offset_hour > 23 || offset_minute < 0 || offset_minute > 59 || text[at + 3] != ':') {
      return bad();
    }
    offset = std::chrono::hours(offset_hour) + std::chrono::minutes(offset_minute);
    if (text[at] == '-') offset = -offset;
    at += 6;
  } else if (text[at] == 'Z' || text[at] == 'z') {
    ++at;
  } else {
    return bad();
  }
  if (at != text.size()) return bad();
  return WallTime(std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) - offset +
                  std::chrono::seconds(second) + std::chrono::nanoseconds(nanos));
}

}  // namespace isla
