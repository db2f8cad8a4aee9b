// An export of a store: the file that 'isla store export' writes and 'isla store import' reads. Pure: text to records and back.
// README.md beside this has the format for people.
//
// A text of lines, each one JSON object that ends in its checksum: a header, one line for each key, in bytewise order, and an
// end. A file without its end, with a line changed, lost, added or moved is refused, with the number of the first
// line that doesn't fit. The checksums find damage and edits; they prove nothing about who wrote the file.
//
// The store's own keys and values are bytes. What is UTF-8 is text in the file; a value that is JSON as isla prints it
// stands there as JSON, for people and tools; all else is base64. What is read back is the same bytes, always.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "api/base/json.h"
#include "api/base/sha256.h"
#include "api/base/status.h"

namespace isla::archive {

inline constexpr int64_t kVersion = 1;
/// Of keys and values; what a store takes is less.
inline constexpr size_t kMaxKeyBytes = size_t{64} << 10;
inline constexpr size_t kMaxValueBytes = size_t{2} << 20;
inline constexpr size_t kMaxLineBytes = size_t{8} << 20;

struct Header {
  std::string cluster_id;
  int64_t epoch = 1;
  int64_t level = 1;
  int64_t revision = 0;  // of the store that every key was read at
  std::string at;        // RFC 3339
  std::string by;        // who asked for it
  bool sealed = false;   // the store was closed when it was read: nothing of that cluster happened after
};

struct Entry {
  std::string key;        // without the store's prefix
  std::string key_class;  // "spec", "status", ...; "other"
  int64_t created = 0;    // create_revision and mod_revision
  int64_t modified = 0;
  std::string value;
};

struct End {
  uint64_t keys = 0;
  std::string sha256;  // of all bytes before the line of the end
};

/// Makes the lines of one file, in order: Begin, Add for each key, Finish or Fail.
class Writer {
 public:
  std::string Begin(const Header& header);
  /// INVALID_ARGUMENT: larger than the bounds above, or out of order. Nothing was added then.
  StatusOr<std::string> Add(const Entry& entry);
  std::string Finish();
  /// In place of Finish: why there is no end. `again`: it may go well if it is begun anew.
  std::string Fail(const std::string& why, bool again);

  uint64_t keys() const { return keys_; }

 private:
  std::string Line(std::string body);

  uint32_t crc_ = 0;
  Sha256 sha_;
  uint64_t keys_ = 0;
  std::string last_key_;
};

/// A line of a key by itself, of a file that was read as a whole before.
StatusOr<Entry> ParseEntry(std::string_view line);

/// Reads the lines of one file, in order. After an error nothing more may be taken.
class Reader {
 public:
  using Item = std::variant<Header, Entry, End>;

  /// `line` without its '\n'. INVALID_ARGUMENT, "line N: what is wrong", for all that a Writer would not have written. If it is
  /// a line of Fail: ABORTED, "begin anew", or UNAVAILABLE, with its text.
  StatusOr<Item> Take(std::string_view line);
  /// The text is over; `rest` is what came after the last '\n'. INVALID_ARGUMENT unless the end was taken.
  Status Close(std::string_view rest) const;

  uint64_t line() const { return line_; }  // the number of the last one taken
  uint64_t keys() const { return keys_; }

 private:
  StatusOr<Item> Parse(std::string_view line);
  Status CheckOrder(const Entry& entry);
  StatusOr<End> ParseEnd(const json::Value& tree) const;

  uint64_t line_ = 0;
  bool ended_ = false;
  uint32_t crc_ = 0;
  Sha256 sha_;
  uint64_t keys_ = 0;
  std::string last_key_;
};

}  // namespace isla::archive
