#include "store/embedded/sqlite.h"

#include <cstring>

namespace isla::store {

std::string SqliteError(sqlite3* db, int code) {
  std::string text = fmt::format("{} (SQLite {})", sqlite3_errstr(code), code);
  const int error = db != nullptr ? sqlite3_system_errno(db) : 0;
  if (error != 0 && ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_FULL || (code & 0xff) == SQLITE_CANTOPEN)) {
    char buffer[128];
    text += fmt::format(": {}", strerror_r(error, buffer, sizeof buffer));
  }
  return text;
}

int Execute(sqlite3* db, const char* sql) {
  const int code = sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? SQLITE_OK : sqlite3_extended_errcode(db);
}

Statement::Statement(sqlite3* db, const char* sql) : db_(db) {
  sqlite3_stmt* statement = nullptr;
  prepared_ = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  statement_.reset(statement);
}

Statement& Statement::Bind(int parameter, int64_t number) {
  sqlite3_bind_int64(statement_.get(), parameter, number);
  return *this;
}

Statement& Statement::Bind(int parameter, std::string_view bytes) {
  // A null pointer would bind NULL: an empty blob still needs an address.
  sqlite3_bind_blob64(statement_.get(), parameter, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}

Statement& Statement::BindText(int parameter, std::string_view text) {
  sqlite3_bind_text64(statement_.get(), parameter, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

int Statement::Step() {
  if (prepared_ != SQLITE_OK) return prepared_;
  const int code = sqlite3_step(statement_.get());
  return code == SQLITE_ROW || code == SQLITE_DONE ? code : sqlite3_extended_errcode(db_);
}

int Statement::Run() {
  const int code = Step();
  Reset();
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

void Statement::Reset() {
  if (statement_ != nullptr) sqlite3_reset(statement_.get());
}

std::string_view Statement::Bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  return {static_cast<const char*>(data), static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

}  // namespace isla::store
