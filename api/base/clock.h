// Time, passed in. Wall time is for display and startsAt; intervals are measured on the monotonic clock
// only. steady_clock::now() and system_clock::now() appear in clock.cc and nowhere else.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "api/base/mutex.h"
#include "api/base/status.h"

namespace isla {

using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
using Duration = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Wall() const = 0;
  virtual MonotonicTime Monotonic() const = 0;

  /// The machine's clocks; lives as long as the process; safe from any thread.
  static const Clock& Real();
};

/// A clock that moves only when told to. Safe from any thread.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(WallTime start = WallTime(std::chrono::seconds(1'700'000'000)));
  WallTime Wall() const override;
  MonotonicTime Monotonic() const override;
  /// Moves both clocks. `by` must not be negative.
  void Advance(Duration by);
  /// Moves the wall clock alone, as an administrator or NTP does; may be negative.
  void StepWall(Duration by);

 private:
  mutable Mutex mu_;
  WallTime wall_ GUARDED_BY(mu_);
  MonotonicTime monotonic_ GUARDED_BY(mu_);
};

/// "2026-11-22T15:42:17Z" (seconds, as metadata.creationTimestamp) or with "precision" 3, 6 or 9 digits
/// of a second ("2026-11-22T15:42:17.123456Z", as Kubernetes' MicroTime).
std::string FormatRfc3339(WallTime time, int precision = 0);

/// Reads RFC 3339 with 'Z' or an offset, and up to 9 digits of a second, of the years 1678 to 2261.
/// INVALID_ARGUMENT otherwise.
StatusOr<WallTime> ParseRfc3339(std::string_view text);

}  // namespace isla
