// The little of SQLite's C API that log_file.cc needs: a database that is closed and statements that are finalized by
// their destructors, and errors as what they mean to a log. Included by log_file.cc only.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla::store {

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

/// "disk I/O error (SQLite 778), write: No space left on device".
std::string SqliteError(sqlite3* db, int code);

/// Runs statements that give no rows, one after the other. SQLite's extended result code: SQLITE_OK.
int Execute(sqlite3* db, const char* sql);

/// A prepared statement. Its parameters are numbered from 1, its columns from 0. What is bound as bytes must live until
/// Done or the next Bind of it.
class Statement {
 public:
  Statement(sqlite3* db, const char* sql);

  Statement& Bind(int parameter, int64_t number);
  Statement& Bind(int parameter, std::string_view bytes);
  Statement& BindText(int parameter, std::string_view text);

  /// Steps to the next row: SQLITE_ROW, SQLITE_DONE or an extended error code.
  int Step();
  /// Steps once, to the end, and gets ready to run again: SQLITE_OK or an extended error code.
  int Run();
  /// Ready to run again; ends what it reads.
  void Reset();

  int64_t Number(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  /// Until the next Step or Reset.
  std::string_view Bytes(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  sqlite3* const db_;
  int prepared_ = SQLITE_OK;  // why it couldn't be; every Step says so
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

}  // namespace isla::store
