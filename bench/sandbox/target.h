// A process that makes one call over and over and says how long each took, under whatever was put upon it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "api/base/unique_fd.h"
#include "sandbox/bpf/bpf.h"

namespace isla::bench {

struct TargetOptions {
  long calls = 100'000;
  long work_usec = 0;        // busy between the calls
  bool linger = false;       // stays after it has told, until it is killed
  bool traced = false;       // stops for a tracer, which must be the calling thread, before it begins
};

class Target {
 public:
  /// Starts it; under `filter`, if there is one, with a listener if `listens`.
  Target(const TargetOptions& options, const std::optional<sandbox::Program>& filter, bool listens);
  ~Target();

  UniqueFd listener;
  bool wait_killable = false;
  pid_t pid() const { return pid_; }
  /// Waits for its end: nanoseconds a call, without the work.
  double Nanoseconds();

 private:
  pid_t pid_ = -1;
  UniqueFd result_;
};

/// getppid is answered so (SECCOMP_RET_USER_NOTIF...), all else allowed.
sandbox::Program AnsweringGetppid(uint32_t answer);

}  // namespace isla::bench
