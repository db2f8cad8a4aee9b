// Two things of one process at once, without threads: a helper does the one, in the caller's memory, while the caller does the other.
//
//   Begin() -> the helper runs a function and ends      meanwhile the caller makes system calls, nothing else
//   Wait()  -> the helper has ended, this is what its function returned
//
// The helper shares the caller's memory, descriptors, root, working folder and umask, and its namespaces as they are at Begin(); not its
// capabilities. Both are one thread to the C library. So until Wait() the caller must not allocate, nor touch anything but its own stack;
// and a call of its that fails writes the errno that the helper reads, so the caller's start must fail with it. It is in the caller's pid
// namespace: with the first process there it dies, too.
#pragma once

#include <sys/types.h>

#include <optional>

#include "api/base/status.h"
#include "sandbox/runner/clone_stack.h"

namespace isla::runner {

class Meanwhile {
 public:
  using Function = Status (*)(const void* argument);

  /// `argument` must last until Wait().
  Meanwhile(Function function, const void* argument) : function_(function), argument_(argument) {}
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;
  /// Waits.
  ~Meanwhile();

  /// The caller must have one thread. In builds with sanitizers, to which the two would be one, it waits here.
  Status Begin();
  /// INTERNAL if the helper was killed.
  Status Wait();

 private:
  static int Main(void* self);
  void Reap();

  const Function function_;
  const void* const argument_;
  std::optional<CloneStack> stack_;
  pid_t helper_ = -1;
  bool returned_ = false;
  Status status_;
};

}  // namespace isla::runner
