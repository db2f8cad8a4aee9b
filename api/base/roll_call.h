// Have several threads come by? Each is given something to run that answers the call; the one who asks waits for all
// of them. What a watchdog's ping must rest on: a thread that hangs doesn't answer.
//
// It is shared with the answers that are on their way, which may come after the asker has given up.
#pragma once

#include <chrono>
#include <memory>

#include "api/base/clock.h"
#include "api/base/mutex.h"

namespace isla {

class RollCall {
 public:
  explicit RollCall(size_t expected) : missing_(expected) {}

  /// From any thread, as often as was expected.
  void Answer() {
    MutexLock lock(mu_);
    if (missing_ > 0) --missing_;
    answered_.NotifyAll();
  }
  /// True once all have answered; false if `timeout` passed first.
  bool Wait(Duration timeout) {
    const MonotonicTime until = Clock::Real().Monotonic() + timeout;
    MutexLock lock(mu_);
    while (missing_ > 0) {
      const Duration left = until - Clock::Real().Monotonic();
      if (left <= Duration::zero()) return false;
      answered_.WaitFor(mu_, left);
    }
    return true;
  }

 private:
  Mutex mu_;
  CondVar answered_;
  size_t missing_ GUARDED_BY(mu_);
};

}  // namespace isla
