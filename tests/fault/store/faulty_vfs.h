// A disk for SQLite that a test breaks: writes and fsyncs that fail or hang, and power failures. It stands before SQLite's own
// file system, so everything goes to real files too.
//
// A power failure keeps of each file what was synced, and of what was written since any of its 512-byte sectors or none: a disk may write
// them in any order. CutPower makes files as a disk might have them afterwards; nothing stops meanwhile, so one run
// can be cut at hundreds of moments.
#pragma once

#include <sqlite3.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "api/base/mutex.h"

namespace isla::store {

class FaultyVfs {
 public:
  /// Registered with SQLite under a name of its own; no file may be open when it is destroyed.
  FaultyVfs();
  ~FaultyVfs();
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;

  const std::string& name() const { return name_; }

  /// From now on, after `after` more of them, writes do half of what they should and give `code` (SQLITE_FULL,
  /// SQLITE_IOERR_WRITE); SQLITE_OK: they are fine again.
  void FailWrites(int code, int after = 0);
  void FailSyncs(int code);
  /// Syncs wait while they are blocked.
  void BlockSyncs(bool blocked);
  /// Once a sync waits.
  void WaitForSync();
  int syncs();

  /// Writes to `folder` what a disk might have had of the open files if the power had failed now.
  void CutPower(const std::string& folder, std::mt19937_64& random);

 private:
  struct Write {
    size_t offset = 0;
    std::string bytes;
    bool truncate = false;  // to `offset`
  };
  struct File {
    std::string durable;
    std::vector<Write> unsynced;
  };
  struct OpenFile;  // what SQLite holds
  static FaultyVfs& Of(sqlite3_vfs* vfs) { return *static_cast<FaultyVfs*>(vfs->pAppData); }
  static void Apply(std::string& content, const Write& write);

  static int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags);
  static int Delete(sqlite3_vfs* vfs, const char* path, int sync_folder);
  static int CloseFile(sqlite3_file* file);
  static int WriteFile(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset);
  static int TruncateFile(sqlite3_file* file, sqlite3_int64 size);
  static int SyncFile(sqlite3_file* file, int flags);
  static const sqlite3_io_methods kMethods;

  std::string name_;
  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_{};

  Mutex mu_;
  CondVar changed_;
  std::map<std::string, File> files_ GUARDED_BY(mu_);
  int write_error_ GUARDED_BY(mu_) = SQLITE_OK;
  int writes_until_error_ GUARDED_BY(mu_) = 0;
  int sync_error_ GUARDED_BY(mu_) = SQLITE_OK;
  bool blocked_ GUARDED_BY(mu_) = false;
  int waiting_ GUARDED_BY(mu_) = 0;
  int syncs_ GUARDED_BY(mu_) = 0;
};

}  // namespace isla::store
