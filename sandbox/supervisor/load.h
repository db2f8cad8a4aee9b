// Loading a filter with a listener, and handing the listener to the process that will answer.
//
// The process that loads is filtered from that call on: a call of the handover that the filter notified would wait
// for an answer that nobody can give yet. So the handover is two calls only, write and read on one socket, and
// CheckHandover() proves beforehand that the filter lets exactly these, and the execve that follows, pass unnotified.
// The other side takes the descriptor itself (pidfd_getfd), so no sendmsg is needed: policies like to notify that.
//
//   child                                              parent
//   filter loaded, the listener is its descriptor N
//   write {N, flags}  ------------------------------>  pidfd_getfd(child, N)
//   read  <------------------------------------------  write 1 byte
//   execve (closes N: listeners are close-on-exec)
#pragma once

#include "api/base/status.h"
#include "api/base/unique_fd.h"
#include "sandbox/bpf/bpf.h"

namespace isla::supervisor {

/// Loads `program` for the calling thread, which must have no_new_privs; returns 0 or errno. One raw call: usable between clone and exec.
int LoadFilter(const sandbox::Program& program);

struct Loaded {
  int listener = -1;
  int error = 0;               // errno, if there is none
  bool wait_killable = false;  // else any handled signal aborts a waiting call
};

/// Loads `program` for the calling thread, which must have no_new_privs. Raw calls only: usable between clone and
/// exec. EBUSY: there is a filter with a listener already, the kernel allows one. Without `ask_wait_killable` it is as on
/// kernels before 5.19.
Loaded LoadWithListener(const sandbox::Program& program, bool ask_wait_killable = true);

/// Loads, and hands the listener over by `socket` (a stream or seqpacket pair, blocking); returns 0 or errno, also if
/// the other side is gone. As LoadWithListener; the listener stays open here until exec.
int LoadAndHandOver(const sandbox::Program& program, int socket, bool ask_wait_killable = true);

struct Handover {
  UniqueFd listener;
  bool wait_killable = false;
};

/// The other side: blocks until the child of `pidfd` has loaded its filter; then lets it go on. The caller needs the rights
/// of a tracer over it. UNAVAILABLE if the child ended; else the child's errno.
StatusOr<Handover> TakeListener(int socket, int pidfd);

/// FAILED_PRECONDITION names the call that `program` would notify during the handover or before the exec is over.
Status CheckHandover(const sandbox::Program& program, int socket);

}  // namespace isla::supervisor
