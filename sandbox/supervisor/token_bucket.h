// A bound on how often something happens, which never waits and takes no lock.
#pragma once

#include <atomic>
#include <cstdint>

namespace isla::supervisor {

/// Holds up to one second's worth. Thread-safe.
class TokenBucket {
 public:
  /// 0: no bound.
  explicit TokenBucket(uint32_t per_second) : step_ns_(StepOf(per_second)) {}
  /// From now on.
  void SetBound(uint32_t per_second) { step_ns_.store(StepOf(per_second), std::memory_order_relaxed); }

  /// False if there were more than the bound lately. `now_ns` is CLOCK_MONOTONIC; an earlier one than before is fine.
  bool Take(uint64_t now_ns) {
    const uint64_t step_ns = step_ns_.load(std::memory_order_relaxed);
    if (step_ns == 0) return true;
    uint64_t empty_at = empty_at_.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t from = empty_at > now_ns ? empty_at : now_ns;
      if (from + step_ns > now_ns + kSecondNs) return false;
      if (empty_at_.compare_exchange_weak(empty_at, from + step_ns, std::memory_order_relaxed)) return true;
    }
  }

 private:
  static constexpr uint64_t kSecondNs = 1'000'000'000;
  static uint64_t StepOf(uint32_t per_second) { return per_second == 0 ? 0 : kSecondNs / per_second; }

  std::atomic<uint64_t> step_ns_;
  std::atomic<uint64_t> empty_at_{0};
};

}  // namespace isla::supervisor
