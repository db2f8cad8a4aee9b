// A file to import, on a descriptor: read from its beginning as often as needed, never changed. First Check, which reads all of
// it and remembers what the order of writing needs; then ForEach and Read.
// Threads: one. Blocks for the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "api/archive/format.h"
#include "api/archive/lines.h"
#include "api/base/status.h"
#include "store/keys.h"

namespace isla::transfer {

/// What a whole file says, without its values. Takes some memory a session, manifest and node.
struct FileFacts {
  archive::Header header;
  std::string sha256;
  uint64_t keys = 0;
  std::map<std::string, uint64_t> classes;      // how many keys of each
  std::vector<std::string> invalid;             // "line N: key '...': why": values that make no sense; the first few
  uint64_t invalid_keys = 0;                    // how many there are
  int64_t epoch = 1;                            // the greatest: of the header, of any placement in bind/
  std::map<std::string, std::string> node_uids;
  /// Of manifest/ keys, by "namespace/name": the revision that they had. A verdict that speaks of it holds.
  std::map<std::string, int64_t> manifests;
};

class ImportFile {
 public:
  /// `fd`: readable at any offset; must stay open. `keys`: where it will be imported.
  ImportFile(int fd, store::Keys keys) : fd_(fd), keys_(std::move(keys)) {}

  /// Called now and then with how many keys have been read; an error ends the reading.
  using Progress = std::function<Status(uint64_t keys)>;

  /// INVALID_ARGUMENT: the file isn't whole, or has what no export has ("line N: ..."). Values that make no sense are counted
  /// in the facts and are no error here.
  StatusOr<FileFacts> Check(const Progress& progress) const;

  struct Item {
    archive::Entry entry;
    store::ParsedKey parsed;
    uint64_t offset = 0;  // of its line
  };
  /// Every key in order; reads and verifies the whole file again.
  Status ForEach(const std::function<Status(Item item)>& each) const;
  /// The key whose line begins at `offset`.
  StatusOr<archive::Entry> Read(uint64_t offset) const;

 private:
  using Line = std::function<Status(archive::Reader::Item item, uint64_t line, uint64_t offset)>;
  Status ReadLines(const Line& each) const;
  Status CheckEntry(const Item& item, uint64_t line, FileFacts& facts) const;

  const int fd_;
  const store::Keys keys_;
};

}  // namespace isla::transfer
