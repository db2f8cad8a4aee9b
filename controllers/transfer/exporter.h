// Makes the text of an export (api/archive/format.h) from a store: every key of content at one revision, read in pieces, so
// that it takes the memory of two pieces whatever the store's size.
//
// A reader who takes longer than history is kept (the leader's compaction, docs/architecture.md) gets a last line that says
// so in place of the end: the export is begun anew or given up, and never a mixture of revisions. The same if the store's
// history turns out to be another one by the end: a backup was restored meanwhile.
// Threads: one at a time. Calls block for a call of the store each.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/archive/format.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/status.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::transfer {

struct ExporterOptions {
  store::Keys keys = store::Keys();
  std::string by;                          // who asked
  size_t piece_bytes = size_t{512} << 10;  // about; at least 16 keys
  size_t first_piece_keys = 64;
  /// Which history the store has, told by who watches it: another number at the end than at the beginning, and the pieces may be
  /// of two. May block; an error counts as another. Empty: not asked.
  std::function<StatusOr<int64_t>()> history;
};

class Exporter {
 public:
  /// `store` and `clock` must outlive it.
  Exporter(store::Store& store, const Clock& clock, ExporterOptions options);

  /// Reads the first piece. UNAVAILABLE: the store is half of an import. Next may be called only after OK.
  Status Begin();
  /// The next piece of text; "" = over. What goes wrong is the text's last line.
  std::string Next();

 private:
  Status ReadPiece();
  std::string Encode();
  std::string Broken(const Status& status);
  Status CheckHistory();

  store::Store& store_;
  const Clock& clock_;
  const ExporterOptions options_;
  const Logger log_{"export"};
  archive::Writer writer_;
  archive::Header header_;
  uint64_t identity_ = 0;
  int64_t history_ = 0;
  size_t piece_keys_;
  store::ListResult piece_;
  std::shared_ptr<const store::KeyValue> newest_;  // of those that were read
  bool begun_ = false;
  bool over_ = false;
};

}  // namespace isla::transfer
