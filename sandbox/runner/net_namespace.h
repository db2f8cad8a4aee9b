// A network namespace for the calling process, made while it does other things: the kernel takes as long for one as for all other
// namespaces and the mounts of a container together.
//
//   Begin() -> a helper unshares the namespace, brings its loopback up, opens it, ends      meanwhile the caller mounts
//   Enter() -> waits for the helper, sets the namespace
//
// The helper shares the caller's memory and descriptors, not its thread: it makes system calls and nothing else, so no lock and no
// allocation of the caller's is touched by two. It writes errno only where it fails, and then so does the caller's start. It is in the
// caller's pid namespace: with the first process there it dies, too.
#pragma once

#include <sys/types.h>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::runner {

class NetNamespace {
 public:
  NetNamespace() {}  // leaves the stack as it is
  NetNamespace(const NetNamespace&) = delete;
  NetNamespace& operator=(const NetNamespace&) = delete;
  /// Waits for the helper.
  ~NetNamespace();

  /// The caller must have CAP_SYS_ADMIN in its user namespace, one thread, and a /proc at "/proc" that shows it.
  Status Begin();
  Status Enter();

 private:
  static int Main(void* self);
  void Wait();

  alignas(16) char stack_[16 * 1024];  // in the caller's own: a large allocation would make malloc look at all that was freed, page by page
  UniqueFd proc_;
  pid_t helper_ = -1;
  // What the helper leaves: what it failed at, and errno; or the namespace.
  const char* failed_at_ = nullptr;
  int error_ = 0;
  int namespace_ = -1;
};

}  // namespace isla::runner
