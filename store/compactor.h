// Compaction: the leader lets the store forget history that is older than `keep` (10 minutes, unless a setting says otherwise), every
// 5 minutes.
//
// meta/compacted holds the mark {"revision": N, "at": T}; it is moved by compare-and-set together with the leader's own
// compares, before the store is told, so an old leader compacts nothing. If the process dies in between, the store
// keeps more history than the mark says, until the next time.
// It compacts only to revisions at which it moved the mark itself: they hold one put and no delete, which etcd before 3.4.36
// might lose at the very revision that is compacted to.
// The age of a revision is what this process has seen itself, on the monotonic clock: a new leader waits for
// `keep` before its first compaction. Not thread-safe: one thread calls Tick.
#pragma once

#include <chrono>
#include <deque>
#include <vector>

#include "api/base/clock.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::store {

struct CompactorOptions {
  Duration every = std::chrono::minutes(5);
  Duration keep = std::chrono::minutes(10);
};

class Compactor {
 public:
  /// `store` and `clock` must outlive it.
  Compactor(Store& store, Keys keys, const Clock& clock, const CompactorOptions& options = {});

  /// How long history is kept, from the next Tick on.
  void SetKeep(Duration keep) { options_.keep = keep; }

  /// Compacts if it is due; call it as often as you like, nothing is sent before. `fence`: compares that make the write
  /// the leader's. `not_above`: history from this revision on is still needed (an exporter reads it); 0 = no one does.
  /// Returns the revision that was compacted to, 0 if nothing was due. ABORTED: a compare failed, we lead no more.
  /// Other errors are the store's; it is tried again after `every`. Blocks for at most three calls, one of which writes.
  StatusOr<Revision> Tick(const std::vector<Compare>& fence, Revision not_above = 0);

 private:
  struct Sample {
    MonotonicTime at;
    Revision revision = 0;
  };

  /// The newest sample that is old enough and not above what is still read; 0 if none.
  Revision Target(MonotonicTime now, Revision not_above) const;

  Store& store_;
  const Keys keys_;
  const Clock& clock_;
  CompactorOptions options_;
  std::deque<Sample> samples_;  // where the mark was written, ascending in both; at most one older than `keep`, but for `not_above`
};

}  // namespace isla::store
