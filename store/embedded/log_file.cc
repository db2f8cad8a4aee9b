#include "store/embedded/log_file.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include "api/base/unique_fd.h"
#include "api/base/uuid.h"
#include "store/embedded/folder_lock.h"
#include "store/embedded/log_row.h"
#include "store/embedded/sqlite.h"

namespace isla::store {
namespace {

constexpr int64_t kFormat = 1;                  // PRAGMA user_version
constexpr int64_t kApplicationId = 0x69736c61;  // PRAGMA application_id: "isla"
// Of one step of folding; it does at least one revision.
constexpr int64_t kFoldRevisions = 256;
constexpr size_t kFoldKeys = 256;
constexpr size_t kFoldBytes = size_t{1} << 20;

// Debian's SQLite overwrites what is deleted with zeros unless told not to (secure_delete): folding would write every page twice.
// Memory for the wal-index, and no other process on the file: locking_mode must come before the first use of the WAL.
constexpr const char* kSetup =
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
    "PRAGMA secure_delete=OFF; PRAGMA cache_size=-8192; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON;";

constexpr const char* kSchema =
    "CREATE TABLE meta(name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE log(revision INTEGER PRIMARY KEY, row BLOB NOT NULL);"
    "CREATE TABLE live(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, row BLOB NOT NULL);"
    "INSERT INTO meta VALUES('base',1),('keys',0),('compacted',0),('openings',0),('identity',0);";

class SqliteLog final : public LogFile {
 public:
  SqliteLog(UniqueFd lock, Database db, std::string path)
      : lock_(std::move(lock)), db_(std::move(db)), path_(std::move(path)) {}
  ~SqliteLog() override;

  Status Prepare(const std::string& folder);

  Status Load(Mvcc& mvcc) override;
  Status Append(Revision first, const std::vector<std::string>& rows, Revision compacted) override;
  Status FoldSome() override;
  Revision to_fold() const override { return std::max<Revision>(compacted_ - 1 - base_, 0); }
  int pages_to_write_back() const override { return pages_; }
  Status WriteBack() override;
  uint64_t identity() const override { return identity_; }
  int64_t openings() const override { return openings_; }

 private:
  /// The statements, made once the tables are there.
  struct Statements {
    explicit Statements(sqlite3* db)
        : begin(db, "BEGIN IMMEDIATE"),
          commit(db, "COMMIT"),
          append(db, "INSERT INTO log(revision,row) VALUES(?1,?2)"),
          set(db, "UPDATE meta SET number=?2 WHERE name=?1"),
          oldest(db, "SELECT revision,row FROM log WHERE revision<?1 ORDER BY revision LIMIT ?2"),
          replace(db, "UPDATE live SET row=?2 WHERE key=?1"),
          insert(db, "INSERT INTO live(key,row) VALUES(?1,?2)"),
          erase(db, "DELETE FROM live WHERE key=?1"),
          drop(db, "DELETE FROM log WHERE revision<=?1") {}
    Statement begin, commit, append, set, oldest, replace, insert, erase, drop;
  };

  Status CheckFormat();
  Status Create(const std::string& folder);
  Status ReadMeta();
  Status LoadLive(Mvcc& mvcc);
  Status LoadLog(Mvcc& mvcc);
  /// Runs `body` (SQLITE_OK or an error) in a transaction; undone if it or the commit fails.
  template <typename Body>
  Status Transact(Body body);
  Status WriteError(int code, bool committing) const;
  Status ReadError(int code) const;
  int Set(std::string_view name, int64_t number);
  StatusOr<std::map<std::string, Mvcc::Version>> ReadOldest(Revision& last);
  int Fold(const KeyValue& kv, int64_t& keys);

  const UniqueFd lock_;  // let go of after the database is closed
  const Database db_;
  const std::string path_;
  std::unique_ptr<Statements> statements_;
  uint64_t identity_ = 0;
  int64_t openings_ = 0;
  Revision base_ = 1;
  int64_t keys_ = 0;  // rows of `live`
  Revision compacted_ = 0;
  int pages_ = 0;
};

SqliteLog::~SqliteLog() { statements_.reset(); }

// ---- errors ----------------------------------------------------------------------------------------------

Status SqliteLog::WriteError(int code, bool committing) const {
  const std::string text = fmt::format("write '{}': {}", path_, SqliteError(db_.get(), code));
  const bool sync = code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC || code == SQLITE_IOERR_TRUNCATE;
  // A commit is there once its last frame is. If writing the frames failed that one wasn't written, and the next
  // transaction begins where they began; if anything else failed (the fsync, memory after it) it may have been.
  const bool not_written = code == SQLITE_FULL || code == SQLITE_IOERR_WRITE || code == SQLITE_BUSY;
  if (sync || (committing && !not_written)) {
    return Errorf(Code::kDeadlineExceeded, "{}: whether it is on the disk is not known", text);
  }
  return Errorf(Code::kUnavailable, "{}: nothing was written", text);
}

Status SqliteLog::ReadError(int code) const {
  const std::string text = fmt::format("read '{}': {}", path_, SqliteError(db_.get(), code));
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Errorf(Code::kFailedPrecondition, "{}: some program has the file open", text);
    case SQLITE_FULL:
      return Error(Code::kResourceExhausted, text);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      return Error(Code::kPermissionDenied, text);
    case SQLITE_IOERR:
      return Error(Code::kUnavailable, text);
    case SQLITE_NOMEM:
      return Error(Code::kResourceExhausted, text);
    default:
      return Error(Code::kDataLoss, text);
  }
}

// ---- opening ---------------------------------------------------------------------------------------------

Status SqliteLog::Prepare(const std::string& folder) {
  if (const int code = Execute(db_.get(), kSetup); code != SQLITE_OK) return ReadError(code);
  // Closing leaves the write-ahead log as long as it is: overwriting is a cheaper fsync than growing.
  int persist = 1;
  sqlite3_file_control(db_.get(), nullptr, SQLITE_FCNTL_PERSIST_WAL, &persist);
  sqlite3_wal_hook(
      db_.get(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<SqliteLog*>(self)->pages_ = pages;
        return SQLITE_OK;
      },
      this);
  RETURN_IF_ERROR(CheckFormat());
  RETURN_IF_ERROR(Create(folder));
  statements_ = std::make_unique<Statements>(db_.get());
  RETURN_IF_ERROR(WriteBack());
  RETURN_IF_ERROR(ReadMeta());
  ++openings_;
  return Transact([this] { return Set("openings", openings_); });
}

Status SqliteLog::CheckFormat() {
  const auto number = [this](const char* sql) -> StatusOr<int64_t> {
    Statement statement(db_.get(), sql);
    const int code = statement.Step();
    if (code != SQLITE_ROW) return ReadError(code);
    return statement.Number(0);
  };
  ASSIGN_OR_RETURN(const int64_t format, number("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const int64_t application, number("PRAGMA application_id"));
  ASSIGN_OR_RETURN(const int64_t tables, number("SELECT count(*) FROM sqlite_schema"));
  if (format == 0 && application == 0 && tables == 0) return OkStatus();  // new, or its making was cut short
  if (application != kApplicationId) {
    return Errorf(Code::kFailedPrecondition, "'{}' is a database, but not a store of isla's", path_);
  }
  if (format != kFormat) {
    return Errorf(Code::kFailedPrecondition, "'{}' is of format {}, this isla knows format {} only", path_, format, kFormat);
  }
  return OkStatus();
}

Status SqliteLog::Create(const std::string& folder) {
  Statement tables(db_.get(), "SELECT count(*) FROM sqlite_schema");
  if (const int code = tables.Step(); code != SQLITE_ROW) return ReadError(code);
  const bool there = tables.Number(0) != 0;
  tables.Reset();
  if (there) return OkStatus();
  const std::string random = RandomHex(8);
  const auto identity = static_cast<int64_t>(std::stoull(random, nullptr, 16) >> 1) | 1;  // not 0, not negative
  const std::string sql =
      fmt::format("BEGIN IMMEDIATE; {} UPDATE meta SET number={} WHERE name='identity';"
                  "PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
                  kSchema, identity, kApplicationId, kFormat);
  if (const int code = Execute(db_.get(), sql.c_str()); code != SQLITE_OK) return ReadError(code);
  return SyncFolder(folder);
}

Status SqliteLog::ReadMeta() {
  std::map<std::string, int64_t, std::less<>> numbers;
  Statement meta(db_.get(), "SELECT name,number FROM meta");
  int code = meta.Step();
  for (; code == SQLITE_ROW; code = meta.Step()) numbers[std::string(meta.Bytes(0))] = meta.Number(1);
  if (code != SQLITE_DONE) return ReadError(code);
  for (const char* name : {"base", "keys", "compacted", "openings", "identity"}) {
    if (!numbers.contains(name)) return Errorf(Code::kDataLoss, "'{}' has lost its '{}'", path_, name);
  }
  base_ = numbers["base"];
  keys_ = numbers["keys"];
  compacted_ = numbers["compacted"];
  openings_ = numbers["openings"];
  identity_ = static_cast<uint64_t>(numbers["identity"]);
  // Only what is compacted is folded.
  const bool folded = base_ != 1;
  if (base_ < 1 || openings_ < 0 || compacted_ < (folded ? base_ + 1 : 0) || keys_ < 0 || (!folded && keys_ != 0)) return Errorf(Code::kDataLoss, "the numbers in '{}' make no sense", path_);
  return OkStatus();
}

// ---- loading ---------------------------------------------------------------------------------------------

Status SqliteLog::Load(Mvcc& mvcc) {
  RETURN_IF_ERROR(LoadLive(mvcc));
  RETURN_IF_ERROR(LoadLog(mvcc));
  if (compacted_ == 0) return OkStatus();
  if (compacted_ > mvcc.head()) {
    return Errorf(Code::kDataLoss, "'{}' ends at revision {}, but was compacted up to {}", path_, mvcc.head(), compacted_);
  }
  mvcc.Compact(compacted_);
  for (std::vector<Mvcc::Version> garbage; mvcc.Prune(4096, garbage);) garbage.clear();
  return OkStatus();
}

Status SqliteLog::LoadLive(Mvcc& mvcc) {
  std::vector<Mvcc::Version> live;
  Statement rows(db_.get(), "SELECT key,row FROM live");
  int code = rows.Step();
  for (; code == SQLITE_ROW; code = rows.Step()) {
    ASSIGN_OR_RETURN(Mvcc::Version version, DecodeLiveRow(rows.Bytes(0), rows.Bytes(1)));
    if (version->mod_revision > base_) {
      return Errorf(Code::kDataLoss, "the row of key '{}' is of revision {}, above the base {}", version->key,
                    version->mod_revision, base_);
    }
    live.push_back(std::move(version));
  }
  if (code != SQLITE_DONE) return Annotate(ReadError(code), fmt::format("the keys at revision {}", base_));
  if (static_cast<int64_t>(live.size()) != keys_) {
    return Errorf(Code::kDataLoss, "at revision {} there were {} keys, and {} are left", base_, keys_, live.size());
  }
  mvcc.Restore(std::move(live), base_);
  return OkStatus();
}

Status SqliteLog::LoadLog(Mvcc& mvcc) {
  Statement rows(db_.get(), "SELECT revision,row FROM log ORDER BY revision");
  int code = rows.Step();
  for (; code == SQLITE_ROW; code = rows.Step()) {
    ASSIGN_OR_RETURN(const RowChanges changes, DecodeLogRow(rows.Number(0), rows.Bytes(1)));
    RETURN_IF_ERROR(mvcc.Replay(rows.Number(0), changes));
  }
  if (code != SQLITE_DONE) return Annotate(ReadError(code), fmt::format("the row after revision {}", mvcc.head()));
  return OkStatus();
}

// ---- writing ---------------------------------------------------------------------------------------------

template <typename Body>
Status SqliteLog::Transact(Body body) {
  int code = statements_->begin.Run();
  if (code == SQLITE_OK) code = body();
  const bool committing = code == SQLITE_OK;
  if (committing) code = statements_->commit.Run();
  if (code == SQLITE_OK) return OkStatus();
  const Status error = WriteError(code, committing);  // before the rollback: it is about the last call
  if (sqlite3_get_autocommit(db_.get()) == 0) Execute(db_.get(), "ROLLBACK");
  return error;
}

int SqliteLog::Set(std::string_view name, int64_t number) {
  return statements_->set.BindText(1, name).Bind(2, number).Run();
}

Status SqliteLog::Append(Revision first, const std::vector<std::string>& rows, Revision compacted) {
  const Status status = Transact([this, first, &rows, compacted] {
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < rows.size(); ++i) {
      code = statements_->append.Bind(1, first + static_cast<Revision>(i)).Bind(2, rows[i]).Run();
    }
    if (code == SQLITE_OK && compacted != 0) code = Set("compacted", compacted);
    return code;
  });
  if (status.ok() && compacted != 0) compacted_ = compacted;
  return status;
}

/// The newest change of each key in the oldest revisions below the compacted one; `last` is the last of them.
StatusOr<std::map<std::string, Mvcc::Version>> SqliteLog::ReadOldest(Revision& last) {
  std::map<std::string, Mvcc::Version> newest;
  last = base_;
  size_t bytes = 0;
  Statement& rows = statements_->oldest;
  rows.Bind(1, compacted_).Bind(2, kFoldRevisions);
  int code = rows.Step();
  for (; code == SQLITE_ROW && bytes < kFoldBytes && newest.size() < kFoldKeys; code = rows.Step()) {
    StatusOr<RowChanges> changes = DecodeLogRow(rows.Number(0), rows.Bytes(1));
    if (changes.ok() && rows.Number(0) != last + 1) changes = Errorf(Code::kDataLoss, "revision {} is missing", last + 1);
    if (!changes.ok()) {
      rows.Reset();
      return changes.status();
    }
    last = rows.Number(0);
    bytes += rows.Bytes(1).size();
    for (const auto& kv : *changes) newest[kv->key] = kv;
  }
  rows.Reset();
  if (code != SQLITE_ROW && code != SQLITE_DONE) return ReadError(code);
  return newest;
}

Status SqliteLog::FoldSome() {
  Revision last = base_;
  ASSIGN_OR_RETURN(const auto newest, ReadOldest(last));
  if (last == base_) return Errorf(Code::kDataLoss, "revision {} is missing", base_ + 1);
  int64_t keys = keys_;
  const Status status = Transact([this, last, &newest, &keys] {
    int code = SQLITE_OK;
    for (auto it = newest.begin(); code == SQLITE_OK && it != newest.end(); ++it) code = Fold(*it->second, keys);
    if (code == SQLITE_OK) code = statements_->drop.Bind(1, last).Run();
    if (code == SQLITE_OK) code = Set("keys", keys);
    if (code == SQLITE_OK) code = Set("base", last);
    return code;
  });
  if (!status.ok()) return status;
  base_ = last;
  keys_ = keys;
  return OkStatus();
}

/// Brings the row of one key to its newest version, and counts.
int SqliteLog::Fold(const KeyValue& kv, int64_t& keys) {
  if (kv.version == 0) {
    const int code = statements_->erase.Bind(1, kv.key).Run();
    if (code == SQLITE_OK) keys -= sqlite3_changes64(db_.get());
    return code;
  }
  const std::string row = EncodeLiveRow(kv);
  const int code = statements_->replace.Bind(1, kv.key).Bind(2, row).Run();
  if (code != SQLITE_OK || sqlite3_changes64(db_.get()) != 0) return code;
  ++keys;
  return statements_->insert.Bind(1, kv.key).Bind(2, row).Run();
}

Status SqliteLog::WriteBack() {
  int total = 0, done = 0;
  if (sqlite3_wal_checkpoint_v2(db_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &total, &done) != SQLITE_OK) {
    return WriteError(sqlite3_extended_errcode(db_.get()), false);
  }
  pages_ = 0;
  return OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<LogFile>> LogFile::Open(const std::string& relative, const LogFileOptions& options) {
  // Absolute: SQLite reads "file:..." as a URI.
  std::error_code error;
  const std::string folder = std::filesystem::absolute(relative, error).string();
  if (error) return FromErrno(error.value(), "the current folder");
  ASSIGN_OR_RETURN(UniqueFd lock, LockFolder(folder));
  const std::string path = folder + "/store.db";
  {
    // Made here for its mode: SQLite gives the write-ahead log the same. Read ahead: it will be read whole.
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd.valid()) return FromErrno(errno, fmt::format("open '{}'", path));
    (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_WILLNEED);
  }
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                   options.vfs.empty() ? nullptr : options.vfs.c_str());
  Database db(raw);
  if (code != SQLITE_OK) return Errorf(Code::kPermissionDenied, "open '{}': {}", path, SqliteError(raw, code));
  auto log = std::make_unique<SqliteLog>(std::move(lock), std::move(db), path);
  RETURN_IF_ERROR(log->Prepare(folder));
  return std::unique_ptr<LogFile>(std::move(log));
}

}  // namespace isla::store
