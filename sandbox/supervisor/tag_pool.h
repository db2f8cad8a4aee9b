// Numbers that mark the descriptors on their way into a caller's table, one for each at a time.
//
// If the supervisor is killed in between, the caller may have got the descriptor and waits still. The mark tells a successor
// which of the caller's descriptors it is: it is the signal number of the open file (F_SETSIG), which means nothing unless
// its owner asks for signals (O_ASYNC), is shared by all duplicates, and is set back to 0 before the caller goes on.
#pragma once

#include <fcntl.h>

#include <atomic>
#include <bit>
#include <cstdint>

namespace isla::supervisor {

class TagPool {
 public:
  /// 0 if none is free. Thread-safe, as all here.
  uint32_t Take() {
    uint32_t free = free_.load(std::memory_order_relaxed);
    while (free != 0) {
      const uint32_t bit = free & -free;
      if (free_.compare_exchange_weak(free, free & ~bit)) return kFirst + static_cast<uint32_t>(std::countr_zero(bit));
    }
    return 0;
  }
  /// This one isn't given out until it is returned. False: it is no tag, or taken already.
  bool Reserve(uint32_t tag) {
    if (tag < kFirst || tag >= kFirst + kCount) return false;
    const uint32_t bit = uint32_t{1} << (tag - kFirst);
    return (free_.fetch_and(~bit) & bit) != 0;
  }
  void Return(uint32_t tag) {
    if (tag != 0) free_.fetch_or(uint32_t{1} << (tag - kFirst));
  }
  static void Mark(int fd, uint32_t tag) { fcntl(fd, F_SETSIG, tag); }
  static bool IsMarked(int fd, uint32_t tag) { return fcntl(fd, F_GETSIG) == static_cast<int>(tag); }

 private:
  static constexpr uint32_t kFirst = 35;  // up to 64: real-time signals that the C library doesn't keep for itself
  static constexpr uint32_t kCount = 30;
  std::atomic<uint32_t> free_{(uint32_t{1} << kCount) - 1};
};

}  // namespace isla::supervisor
