// The log of the embedded store on disk: an SQLite database in a folder, in WAL mode with synchronous=FULL. README.md in this
// folder has the tables, and why they are so.
//
//   log   a row for each revision that isn't folded yet: what its transaction changed
//   live  a row for each key that is there at the revision `base`; `log` goes on from base + 1
//   meta  base, compacted, how often it was opened, the store's identity
//
// Folding moves the oldest revisions from `log` into `live`, some at a time, each step one SQLite transaction; whatever the
// moment of a crash, live at base and the rows after it are the whole store.
//
// What an error of a write means, and nothing else: UNAVAILABLE: it isn't there and never will be (the disk is full or can't
// be written; try again). DEADLINE_EXCEEDED: it may be there after the next opening (an fsync failed: the kernel may have
// dropped what was written, and another fsync that succeeds proves nothing); don't use this object any more.
//
// Not thread-safe: one thread at a time. Every call but the constructor's blocks on the disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api/base/status.h"
#include "store/embedded/mvcc.h"

namespace isla::store {

struct LogFileOptions {
  std::string vfs;  // the SQLite VFS to use; empty = SQLite's own. Tests break the disk with it
};

class LogFile {
 public:
  virtual ~LogFile() = default;

  /// Takes the folder's lock (folder_lock.h), makes the database if there is none, recovers what was committed, writes it to
  /// its place and syncs that: what is read afterwards is on the disk, also if an fsync failed before. Counts the opening.
  /// FAILED_PRECONDITION: in use by another process, of a newer version, or no store of isla's. DATA_LOSS: damaged.
  /// PERMISSION_DENIED, RESOURCE_EXHAUSTED: the disk can't be written, is full.
  static StatusOr<std::unique_ptr<LogFile>> Open(const std::string& folder, const LogFileOptions& options = {});

  /// Reads everything into `mvcc`, which is new, and compacts it as it was. DATA_LOSS names the revision or key that is damaged
  /// or missing.
  virtual Status Load(Mvcc& mvcc) = 0;

  /// Makes these durable, all or nothing: `rows[i]` is that of revision `first` + i; `compacted` is the new mark, 0 = as it is.
  virtual Status Append(Revision first, const std::vector<std::string>& rows, Revision compacted) = 0;

  /// One step of folding the revisions below the compacted one: a few hundred changes or a mebibyte. An error as Append's, or
  /// DATA_LOSS.
  virtual Status FoldSome() = 0;
  /// Revisions that are left to fold.
  virtual Revision to_fold() const = 0;

  /// Pages in SQLite's write-ahead log that aren't in their place in the database yet.
  virtual int pages_to_write_back() const = 0;
  /// Writes them there; the write-ahead log then begins again at its front.
  virtual Status WriteBack() = 0;

  virtual uint64_t identity() const = 0;  // random, made with the store
  virtual int64_t openings() const = 0;   // this one included
};

}  // namespace isla::store
