// The folder of an embedded store, and the lock that makes it one process's.
//
// The lock is an open-file-description lock (fcntl(2), F_OFD_SETLK) on `lock`: it goes with the process, however that ends,
// holds against a second opener in the same process too, and isn't lost when some other descriptor of the file is closed.
// The file says which process holds it; a reader may find the pid of one that has just ended.
#pragma once

#include <string>

#include "api/base/unique_fd.h"

namespace isla::store {

/// Makes the folder (0700, with those above it) if need be, and takes its lock. The lock is held while the descriptor is open.
/// FAILED_PRECONDITION: another process has it (the text names folder and pid), or `folder` is no folder.
/// PERMISSION_DENIED: not ours to write, or on a disk that is mounted read-only. RESOURCE_EXHAUSTED: the disk is full.
StatusOr<UniqueFd> LockFolder(const std::string& folder);

/// fsync of the folder and of those above it as far as they can be opened, so that files made in it are there after
/// a power failure.
Status SyncFolder(const std::string& folder);

}  // namespace isla::store
