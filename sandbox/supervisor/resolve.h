// From the path in a call to the file that it means, pinned: what is decided about is what is opened then.
//
// Resolution is the caller's: from its root, its working directory or the folder that it named, its links, and with its
// rights (see rights.h), but never through magic links (/proc/<pid>/fd/3 and the like), which lead anywhere. /proc/self
// is the caller's, not ours. The result is an O_PATH descriptor: renaming and relinking afterwards doesn't change what it is.
#pragma once

#include <string>

#include "api/base/unique_fd.h"
#include "sandbox/supervisor/caller.h"

namespace isla::supervisor {

struct Resolved {
  UniqueFd inode;    // O_PATH; not valid: there is no such file, yet
  UniqueFd folder;   // without inode: O_PATH, where it would be
  std::string name;  // without inode: its name there
  std::string path;  // absolute as the sandbox began, whatever root the caller has since; without links if it could be resolved
  bool held = false; // it is one of the caller's own open files, found through /proc/self/fd: may have been removed
  int error = 0;     // errno, if neither could be found; `path` is the caller's text then, made absolute
};

struct ResolveOptions {
  bool follow_last = true;
  uint64_t resolve_flags = 0;  // openat2's RESOLVE_ flags, as the caller gave them
};

/// Looks with the caller's rights (takes them for the time). `folder_fd`: as the caller gave it (AT_FDCWD or a descriptor of its). Fills `out`; what the file system says is out.error. Returns
/// ESRCH if the caller is gone, else 0. May block (the file system's own).
int Resolve(const Caller& caller, int folder_fd, const std::string& path, const ResolveOptions& options, Resolved& out);

/// "/a/../b//c/." -> "/b/c", relative ones under `base`.
std::string LexicalPath(const std::string& base, const std::string& path);

}  // namespace isla::supervisor
