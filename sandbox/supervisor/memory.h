// The memory of a process that waits in a notified call.
//
// Through process_vm_readv and _writev only: a write through /proc/<pid>/mem goes into read-only pages, too, where
// the kernel itself would have said EFAULT. What is read is what some thread of the caller had there at that moment:
// it may change at once, so it is read once, and only the copy is used afterwards. Each read is followed by the
// question whether the call still waits: if not, the tid may be another process's by now.
//
// All return 0 or an errno: EFAULT for the caller's mistake, ESRCH if the caller is gone, EPERM if the kernel denies
// us the look (it must not be possible; then a call is refused).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "sandbox/supervisor/listener.h"

namespace isla::supervisor {

class CallerMemory {
 public:
  /// Of the process with the thread `tid` (as this process sees it), while call `id` of `listener` waits.
  CallerMemory(const Listener& listener, uint64_t id, pid_t tid) : listener_(listener), id_(id), tid_(tid) {}

  /// All of it.
  int Read(uint64_t address, void* into, size_t bytes) const;
  /// Up to the first NUL, which isn't in `out`. ENAMETOOLONG if there is none in `limit` bytes (PATH_MAX counts it).
  /// Never looks at a page after the one that holds the NUL.
  int ReadString(uint64_t address, size_t limit, std::string& out) const;
  /// All of it; on EFAULT a part may have been written, as by the kernel.
  int Write(uint64_t address, const void* from, size_t bytes) const;

 private:
  const Listener& listener_;
  uint64_t id_;
  pid_t tid_;
};

}  // namespace isla::supervisor
