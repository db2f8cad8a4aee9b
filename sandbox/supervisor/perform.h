// What is done for the caller instead of letting the kernel do it: opening, connecting, binding, making harmless device nodes.
//
// Always on our own copy of what pointers pointed to, on a pinned inode or a duplicate of the socket, and with the caller's
// rights (rights.h). So what was decided about is what happens.
//
// Known differences to the kernel's own: a unix socket's peer sees the supervisor's pid in SO_PEERCRED, and getsockname() of a
// bound one a path under /proc/self/fd; O_PATH works on folders only, which must be readable (EOPNOTSUPP; the kernel hands
// over no such descriptors); /dev/tty can't be opened (it would be the supervisor's terminal); a link that
// dangles is not created through if somebody makes it meanwhile (ELOOP).
//
// Thread-safe. All but Contents::Open on worker threads only: opening a fifo or connecting blocks until interrupted (SIGURG).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "api/base/mutex.h"
#include "sandbox/supervisor/received_call.h"

namespace isla::supervisor {

/// Whether a call of this number can be performed at all.
bool CanPerform(int number);

/// Reads and resolves the call's paths, and the path of a unix socket's address, into call.resolved and call.facts. What the
/// file system says about them is for later (Resolved::error); 0, or an errno that the caller gets: EFAULT, ENAMETOOLONG...
int ResolvePaths(ReceivedCall& call);

/// As the call says, on what ResolvePaths found. The address and fields must be in call.facts.
Outcome Perform(ReceivedCall& call);

/// As if the path were `path`. Opening calls only, others get EPERM.
Outcome PerformOn(ReceivedCall& call, const std::string& path);

/// As if the address were this internet one. EAFNOSUPPORT for a socket of another kind.
Outcome PerformAt(ReceivedCall& call, const SocketAddress& address);

/// Files with given bytes for calls that open: each content is a sealed memfd, made once; each open has its own offset.
class Contents {
 public:
  Contents();
  ~Contents();
  /// Writing gets EACCES. Doesn't block. Without `keep` the file is made for this call alone.
  Outcome Open(ReceivedCall& call, std::string_view content, bool keep);

 private:
  struct Content;
  /// Null, with errno, if none could be made.
  static std::shared_ptr<const Content> Make(std::string_view content);
  std::shared_ptr<const Content> Find(std::string_view content);

  Mutex mu_;
  std::map<std::string, std::shared_ptr<const Content>, std::less<>> contents_ GUARDED_BY(mu_);
};

// For perform*.cc -------------------------------------------------------------------------------------

/// How a call wants to open.
struct OpenRequest {
  uint64_t flags = 0, mode = 0, resolve = 0;
};
OpenRequest OpenRequestOf(const ReceivedCall& call);
/// To `instead`, or if it is null to the call's own address.
Outcome PerformConnect(ReceivedCall& call, const SocketAddress* instead);
Outcome PerformBind(ReceivedCall& call, const SocketAddress* instead);
Outcome PerformMakeNode(ReceivedCall& call);

}  // namespace isla::supervisor
