// The data of the embedded store: every key with its versions, and the changes in order. No locks, no threads, no
// clock, no disk: LocalStore adds those.
//
// Two marks: what was applied (head) and what was committed, that is made durable. Between them lie the transactions
// of which a crash may still undo everything: they are evaluated on top of each other, and nobody else sees them. Every
// read says at which revision it reads.
//
// Example. Revisions 2 to 4: put a=1; put a=2 and b=1 in one transaction; delete a. A deletion is a version too, with
// version number 0:
//     a: [2 "1"] [3 "2"] [4 gone]     b: [3 "1"]        changes: 2:a 3:a 3:b 4:a
// Compact(3), then Prune: of each key what a read at 3 or later needs, and the changes from 3 on (a watch may start at
// the compacted revision itself):
//     a: [3 "2"] [4 gone]             b: [3 "1"]        changes: 3:a 3:b 4:a
// Compact(4), Prune:
//                                     b: [3 "1"]        changes: 4:a
// Only keys with changes at or below the compacted revision can have anything to prune, so Prune follows the changes
// and never looks at the others; it may be done in steps, since reads below the mark are refused from Compact on.
//
// Memory: a version is one KeyValue, shared by the index, the changes and whoever reads it.
#pragma once

#include <cstddef>
#include <deque>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/store.h"

namespace isla::store {

class Mvcc {
 public:
  /// A version. A deletion has version 0, its key and mod_revision and nothing else.
  using Version = std::shared_ptr<const KeyValue>;

  static constexpr Revision kHead = std::numeric_limits<Revision>::max();

  Revision head() const { return head_; }
  Revision committed() const { return committed_; }
  Revision compacted() const { return compacted_; }
  size_t keys() const { return index_.size(); }  // with deleted ones that are not pruned yet

  /// The version that a read at `at` sees, or null.
  Version Get(std::string_view key, Revision at) const;
  bool Holds(const std::vector<Compare>& compares, Revision at) const;

  /// OUT_OF_RANGE: compacted, or in the future.
  Status CheckRevision(Revision revision) const;
  /// Appends to `kvs` what is at `at` under `prefix`, looking at `limit` keys from `from` on; moves `from` on. False: that
  /// was all of it. `at` has passed CheckRevision, at each call anew.
  bool List(const Prefix& prefix, std::string& from, Revision at, size_t limit, std::vector<Version>& kvs) const;

  /// Evaluates `txn` (which has passed CheckTransaction and whose leases exist) at the head. If it changes something
  /// the head moves on by one, and the changes are appended to `changes`, with what they replaced.
  TxnResult Apply(const Transaction& txn, std::vector<Event>& changes);
  /// All that was applied is there for all to see.
  void Commit() { committed_ = head_; }
  /// All that was applied since the last Commit has never been.
  void Undo();

  /// Moves the mark. OUT_OF_RANGE: already compacted, or in the future.
  Status CheckCompact(Revision revision) const;
  void Compact(Revision revision);
  /// Forgets what compaction left, looking at `limit` changes; what can be freed goes to `garbage`, for the caller to
  /// free when it holds no lock. False: nothing is left to do.
  bool Prune(size_t limit, std::vector<Version>& garbage);

  /// Adds to `batch` the committed changes from revision `next` (at least compacted()) on: whole transactions, filtered
  /// by `options`, ending after about `limit` changes looked at. The revision to go on from.
  Revision Collect(Revision next, const WatchOptions& options, size_t limit, WatchBatch& batch) const;

  // Loading: Restore once, then Replay of each revision after it, in order.
  /// `live`: all keys at `base`, each once, in any order.
  void Restore(std::vector<Version> live, Revision base);
  /// One transaction's changes (at least one), as applied once. DATA_LOSS: they don't follow from what was loaded before.
  Status Replay(Revision revision, const std::vector<Version>& changes);
  /// All keys that hold a lease, sorted.
  std::vector<std::string> LeasedKeys() const;

 private:
  /// One key: all its versions, ascending. Sorted by key; mutable since the order doesn't depend on the rest.
  struct Entry {
    mutable std::string_view key;  // within newest
    mutable Version newest;
    mutable std::vector<Version> older;
  };
  struct ByKey {
    using is_transparent = void;
    bool operator()(const Entry& a, const Entry& b) const { return a.key < b.key; }
    bool operator()(const Entry& a, std::string_view b) const { return a.key < b; }
    bool operator()(std::string_view a, const Entry& b) const { return a < b.key; }
  };
  using Index = std::set<Entry, ByKey>;

  static const Version& At(const Entry& entry, Revision at);
  void Append(Version version, Version* previous);
  void Put(const Operation& operation, std::vector<Event>& changes);
  void Delete(const Entry& entry, std::vector<Event>& changes);
  Version Previous(const KeyValue& version) const;
  void PruneKey(std::string_view key, std::vector<Version>& garbage);
  size_t FirstChange(Revision revision) const;

  Index index_;
  std::deque<Version> changes_;  // ascending; every revision from the compacted one on has at least one
  Revision head_ = 1;
  Revision committed_ = 1;
  Revision compacted_ = 0;
  size_t pruned_at_mark_ = 0;  // of the changes at compacted_ itself, how many Prune has seen
};

}  // namespace isla::store
