// Timers of the loop thread: what the agent's logic sees of time passing. The real one is Loop; tests use
// FakeTimers (tests/unit/agentd), which moves only when told to.
#pragma once

#include <cstdint>
#include <functional>

#include "api/base/clock.h"

namespace isla::agent {

using TimerId = uint64_t;  // 0 = no timer

class Timers {
 public:
  virtual ~Timers() = default;
  /// Calls `fn` once on the loop thread, `delay` from now (at once if it isn't positive), never within After.
  virtual TimerId After(Duration delay, std::function<void()> fn) = 0;
  /// After this the timer doesn't fire. An id that fired, was cancelled or is 0 is ignored.
  virtual void Cancel(TimerId id) = 0;
};

}  // namespace isla::agent
