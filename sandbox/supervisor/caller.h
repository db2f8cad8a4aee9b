// The process that waits in a notified call: who it is, and what is its own (root, working directory, descriptors).
//
// notif.pid is the id of a thread, and ids are used again. So every look goes: open by id, then ask the listener whether
// the call still waits; if it does, the id has meant the caller all the time. What is opened once is used from
// then on, never looked up a second time: another thread of the caller may chdir or dup2 in between.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/base/unique_fd.h"
#include "sandbox/supervisor/listener.h"
#include "sandbox/supervisor/memory.h"

namespace isla::supervisor {

/// Of /proc/<tid>/status. Ids are as this process's namespaces have them.
struct CallerStatus {
  pid_t process = 0;                 // thread group
  pid_t own_tid = 0, own_process = 0;  // in the caller's own pid namespace
  uid_t uid = 0, effective_uid = 0, fs_uid = 0;
  gid_t effective_gid = 0, fs_gid = 0;
  std::vector<gid_t> groups;
  uint64_t capabilities = 0;  // effective, in its user namespace
  mode_t umask = 022;
};

class Caller {
 public:
  Caller(const Listener& listener, uint64_t id, pid_t tid) : listener_(listener), id_(id), tid_(tid) {}

  pid_t tid() const { return tid_; }
  bool StillWaits() const { return listener_.IsValid(id_); }
  CallerMemory memory() const { return {listener_, id_, tid_}; }

  // Each returns 0 or an errno; ESRCH if the caller is gone.
  /// Read once: while the call waits, its thread can't change its ids and capabilities.
  int Status(CallerStatus& out) const;
  /// A pidfd of its thread group.
  int Process(UniqueFd& out) const;
  /// O_PATH.
  int Root(UniqueFd& out) const { return OpenOwn("root", out); }
  int WorkingFolder(UniqueFd& out) const { return OpenOwn("cwd", out); }
  /// A duplicate of its descriptor `fd`. EBADF if it has none such.
  int Descriptor(int fd, UniqueFd& out) const;
  /// The first of its descriptors for which `is` holds: its number, with a duplicate in `out`. -1 if there is none.
  int FindDescriptor(const std::function<bool(int)>& is, UniqueFd& out) const;
  /// The path of its program, as PathOf(); "" if unknown.
  std::string Executable() const;
  /// Whether it is in this process's user namespace. Looked up once.
  bool SharesUserNamespace() const;
  bool SharesPidNamespace() const;

 private:
  int ReadStatus(CallerStatus& out) const;
  int OpenOwn(const char* link, UniqueFd& out) const;
  bool SharesNamespace(const char* name) const;

  const Listener& listener_;
  uint64_t id_;
  pid_t tid_;
  // Looked up by the one thread that works on the call.
  mutable std::optional<CallerStatus> status_;
  mutable std::optional<bool> shares_user_namespace_;
};

/// What /proc tells of one of our descriptors: its path seen from our root, or from the root of its mount namespace if that is another. It is where the thing
/// is for the whole sandbox: a caller that changed its root since can't give a file another name.
std::string PathOf(int fd);

}  // namespace isla::supervisor
