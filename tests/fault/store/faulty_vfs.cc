#include "tests/fault/store/faulty_vfs.h"

#include <filesystem>
#include <fstream>
#include <new>

#include "api/base/status.h"
#include "api/base/unique_fd.h"
#include "api/base/uuid.h"

namespace isla::store {
namespace {

constexpr size_t kSector = 512;

}  // namespace

/// SQLite allocates it; the real file system's own part follows.
struct FaultyVfs::OpenFile {
  sqlite3_file base;
  FaultyVfs* vfs;
  std::string* path;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  static OpenFile& Of(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }
};

const sqlite3_io_methods FaultyVfs::kMethods = {
    1,
    &FaultyVfs::CloseFile,
    [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xRead(real, to, n, at);
    },
    &FaultyVfs::WriteFile,
    &FaultyVfs::TruncateFile,
    &FaultyVfs::SyncFile,
    [](sqlite3_file* f, sqlite3_int64* size) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xFileSize(real, size);
    },
    [](sqlite3_file* f, int level) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xLock(real, level);
    },
    [](sqlite3_file* f, int level) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xUnlock(real, level);
    },
    [](sqlite3_file* f, int* out) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xCheckReservedLock(real, out);
    },
    [](sqlite3_file* f, int op, void* argument) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xFileControl(real, op, argument);
    },
    [](sqlite3_file* f) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xSectorSize(real);
    },
    [](sqlite3_file* f) {
      sqlite3_file* real = OpenFile::Of(f).real();
      return real->pMethods->xDeviceCharacteristics(real);
    },
    nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
};

FaultyVfs::FaultyVfs() : name_("faulty-" + RandomHex(4)), real_(sqlite3_vfs_find(nullptr)) {
  vfs_ = *real_;
  vfs_.iVersion = 1;
  vfs_.szOsFile = static_cast<int>(sizeof(OpenFile)) + real_->szOsFile;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.pNext = nullptr;
  vfs_.xOpen = &FaultyVfs::Open;
  vfs_.xDelete = &FaultyVfs::Delete;
  vfs_.xAccess = [](sqlite3_vfs* v, const char* path, int flags, int* out) {
    return Of(v).real_->xAccess(Of(v).real_, path, flags, out);
  };
  vfs_.xFullPathname = [](sqlite3_vfs* v, const char* path, int size, char* out) {
    return Of(v).real_->xFullPathname(Of(v).real_, path, size, out);
  };
  vfs_.xRandomness = [](sqlite3_vfs* v, int n, char* out) { return Of(v).real_->xRandomness(Of(v).real_, n, out); };
  vfs_.xSleep = [](sqlite3_vfs* v, int us) { return Of(v).real_->xSleep(Of(v).real_, us); };
  vfs_.xCurrentTime = [](sqlite3_vfs* v, double* out) { return Of(v).real_->xCurrentTime(Of(v).real_, out); };
  vfs_.xGetLastError = [](sqlite3_vfs* v, int n, char* out) { return Of(v).real_->xGetLastError(Of(v).real_, n, out); };
  ISLA_CHECK(sqlite3_vfs_register(&vfs_, 0) == SQLITE_OK);
}

FaultyVfs::~FaultyVfs() { sqlite3_vfs_unregister(&vfs_); }

void FaultyVfs::FailWrites(int code, int after) {
  MutexLock lock(mu_);
  write_error_ = code;
  writes_until_error_ = after;
}

void FaultyVfs::FailSyncs(int code) {
  MutexLock lock(mu_);
  sync_error_ = code;
}

void FaultyVfs::BlockSyncs(bool blocked) {
  MutexLock lock(mu_);
  blocked_ = blocked;
  changed_.NotifyAll();
}

void FaultyVfs::WaitForSync() {
  MutexLock lock(mu_);
  while (waiting_ == 0) changed_.Wait(mu_);
}

int FaultyVfs::syncs() {
  MutexLock lock(mu_);
  return syncs_;
}

void FaultyVfs::Apply(std::string& content, const Write& write) {
  if (write.truncate) {
    content.resize(write.offset);
    return;
  }
  if (content.size() < write.offset + write.bytes.size()) content.resize(write.offset + write.bytes.size());
  content.replace(write.offset, write.bytes.size(), write.bytes);
}

void FaultyVfs::CutPower(const std::string& folder, std::mt19937_64& random) {
  std::map<std::string, File> files;
  {
    MutexLock lock(mu_);
    files = files_;
  }
  // All kinds of failures: nothing of it was written, all of it, or anything.
  const int kept = std::uniform_int_distribution<int>(0, 4)(random) * 25;
  const auto survives = [&random, kept] { return std::uniform_int_distribution<int>(0, 99)(random) < kept; };
  for (auto& [path, file] : files) {
    for (const Write& write : file.unsynced) {
      if (write.truncate) {
        if (survives()) Apply(file.durable, write);
        continue;
      }
      for (size_t at = 0; at < write.bytes.size();) {
        const size_t sector_end = (write.offset + at) / kSector * kSector + kSector - write.offset;
        const size_t end = std::min(sector_end, write.bytes.size());
        if (survives()) Apply(file.durable, {write.offset + at, write.bytes.substr(at, end - at), false});
        at = end;
      }
    }
    std::ofstream(folder + "/" + std::filesystem::path(path).filename().string(), std::ios::binary) << file.durable;
  }
}

int FaultyVfs::Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  FaultyVfs& self = Of(vfs);
  OpenFile& open = OpenFile::Of(file);
  open.base.pMethods = nullptr;
  open.vfs = &self;
  open.path = nullptr;
  const int code = self.real_->xOpen(self.real_, path, open.real(), flags, out_flags);
  if (code != SQLITE_OK) return code;
  open.path = new std::string(path != nullptr ? path : "");  // given back in CloseFile
  open.base.pMethods = &kMethods;
  MutexLock lock(self.mu_);
  if (path != nullptr && !self.files_.contains(path)) {
    // What is there when it is opened for the first time has been there for long.
    const auto content = ReadFile(path);
    self.files_[path].durable = content.ok() ? *content : "";
  }
  return SQLITE_OK;
}

int FaultyVfs::Delete(sqlite3_vfs* vfs, const char* path, int sync_folder) {
  FaultyVfs& self = Of(vfs);
  {
    MutexLock lock(self.mu_);
    self.files_.erase(path);
  }
  return self.real_->xDelete(self.real_, path, sync_folder);
}

int FaultyVfs::CloseFile(sqlite3_file* file) {
  OpenFile& open = OpenFile::Of(file);
  delete open.path;
  return open.real()->pMethods->xClose(open.real());
}

int FaultyVfs::WriteFile(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
  OpenFile& open = OpenFile::Of(file);
  FaultyVfs& self = *open.vfs;
  int error = SQLITE_OK;
  {
    MutexLock lock(self.mu_);
    if (self.write_error_ != SQLITE_OK && self.writes_until_error_-- <= 0) {
      error = self.write_error_;
      count /= 2;
    }
    self.files_[*open.path].unsynced.push_back(
        {static_cast<size_t>(offset), std::string(static_cast<const char*>(bytes), static_cast<size_t>(count)), false});
  }
  const int code = open.real()->pMethods->xWrite(open.real(), bytes, count, offset);
  return error != SQLITE_OK ? error : code;
}

int FaultyVfs::TruncateFile(sqlite3_file* file, sqlite3_int64 size) {
  OpenFile& open = OpenFile::Of(file);
  {
    MutexLock lock(open.vfs->mu_);
    open.vfs->files_[*open.path].unsynced.push_back({static_cast<size_t>(size), "", true});
  }
  return open.real()->pMethods->xTruncate(open.real(), size);
}

/// Doesn't sync the real file: the tests don't cut the real power.
int FaultyVfs::SyncFile(sqlite3_file* file, int) {
  OpenFile& open = OpenFile::Of(file);
  FaultyVfs& self = *open.vfs;
  MutexLock lock(self.mu_);
  ++self.syncs_;
  File& state = self.files_[*open.path];
  const size_t covered = state.unsynced.size();
  ++self.waiting_;
  self.changed_.NotifyAll();
  while (self.blocked_) self.changed_.Wait(self.mu_);
  --self.waiting_;
  if (self.sync_error_ != SQLITE_OK) return self.sync_error_;
  for (size_t i = 0; i < covered; ++i) Apply(state.durable, state.unsynced[i]);
  state.unsynced.erase(state.unsynced.begin(), state.unsynced.begin() + static_cast<std::ptrdiff_t>(covered));
  return SQLITE_OK;
}

}  // namespace isla::store
