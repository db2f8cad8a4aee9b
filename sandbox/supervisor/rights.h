// The rights with which something is done for a caller: never more than the caller has, never more than we have.
#pragma once

#include <sys/types.h>

#include <vector>

#include "sandbox/supervisor/caller.h"

namespace isla::supervisor {

struct Ids {
  uid_t uid = 0, fs_uid = 0;  // effective, and of the file system
  gid_t gid = 0, fs_gid = 0;
  friend bool operator==(const Ids&, const Ids&) = default;
};

/// Gives the calling thread the caller's effective and file system ids and its groups, and of its own capabilities those that
/// the caller has, too (none if the caller is in another user namespace, where its own mean less), and `also`. Undone by the
/// destructor. The effective ids matter: they are what a unix socket's peer is told. Real and saved ones stay ours, so the
/// caller may neither signal nor trace the thread. Ids that aren't ours need CAP_SETUID and CAP_SETGID.
///
/// Landlock rules of the caller don't come with it: whoever lets calls be performed must restrict the supervisor likewise.
class CallerRights {
 public:
  explicit CallerRights(const Caller& caller, uint64_t also = 0);
  ~CallerRights();
  CallerRights(const CallerRights&) = delete;
  CallerRights& operator=(const CallerRights&) = delete;

  /// 0, ESRCH if the caller is gone, EACCES if we can't take its ids.
  int error() const { return error_; }
  const CallerStatus& status() const { return status_; }

 private:
  int Take(const Caller& caller, uint64_t also);

  CallerStatus status_;
  int error_ = 0;
  bool taken_ = false;  // at least a part
  Ids own_;
  std::vector<gid_t> own_groups_;
  uint64_t own_effective_ = 0;
};

}  // namespace isla::supervisor
