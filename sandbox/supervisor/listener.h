// A seccomp listener: the four operations of seccomp_unotify(2) with their errors told apart.
//
// All operations may be used from many threads at a time. "Gone" (ENOENT) is never an error of ours: the caller
// was killed or, where the listener isn't wait-killable, interrupted by a signal.
#pragma once

#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::supervisor {

class Listener {
 public:
  /// Asks for synchronous wake-ups, which kernels before 6.6 don't have. `wait_killable`: as it was loaded.
  Listener(UniqueFd fd, bool wait_killable);

  /// The kernel's structure of an answer may grow up to here.
  static constexpr size_t kMaxResponseBytes = 64;

  enum class Received {
    kCall,     // *into is filled
    kNothing,  // interrupted, or the call was gone before it could be handed over: try again
    kEnd,      // no process carries the filter any more
    kFailed,   // errno says why
  };
  /// Blocks. `into` must be zeroed and have the kernel's size (KernelFeatures::notification_bytes). Before Linux 6.11
  /// it doesn't return when the last process ends: watch fd() for POLLHUP and interrupt it by a signal.
  Received Receive(seccomp_notif* into) const;

  // Each returns 0, ENOENT if the call is gone or has its answer, or another errno.
  int Reply(uint64_t id, int64_t value) const { return Send(id, 0, value, 0); }
  int Fail(uint64_t id, int error) const { return Send(id, error, 0, 0); }
  /// Lets the kernel do the call. Never after something behind a pointer was read in order to allow it: the kernel
  /// reads it again, and another thread may have changed it.
  int Continue(uint64_t id) const { return Send(id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE); }

  /// False once the call is gone or answered: then nothing that was read of its caller since means anything, nor does its tid.
  bool IsValid(uint64_t id) const;

  /// Puts a duplicate of `fd` into the caller's table, lowest free number. Returns the number, or minus an errno (EMFILE,
  /// ENOENT...). If the answer fails then, the descriptor stays in the caller: only for wait-killable listeners.
  int AddFd(uint64_t id, int fd, bool close_on_exec) const { return AddFd(id, fd, close_on_exec, 0); }
  /// Both in one step; the number is the call's result. For listeners that aren't wait-killable: a signal to the caller can't
  /// come between. Not for others: the kernel counts the call as answered before the caller has looked, so if whoever waits
  /// here is interrupted or killed then, the caller's result is 0 and there is no descriptor (seen on 6.18: 383 of 20,000 calls
  /// under a storm of signals). All signals are blocked meanwhile; being killed can't be.
  int AddFdAndReply(uint64_t id, int fd, bool close_on_exec) const;

  int fd() const { return fd_.get(); }
  bool wait_killable() const { return wait_killable_; }

 private:
  int Send(uint64_t id, int error, int64_t value, uint32_t flags) const;
  int AddFd(uint64_t id, int fd, bool close_on_exec, uint32_t flags) const;

  UniqueFd fd_;
  bool wait_killable_;
};

}  // namespace isla::supervisor
