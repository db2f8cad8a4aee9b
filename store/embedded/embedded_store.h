// The embedded store: in-process MVCC with etcd's meaning. On disk it is the store of a cluster with one islad
// (`islad --store=embedded:FOLDER`); with no file it lives in memory only: the store of unit and simulation tests, and of
// `islad --store=memory`. README.md in this folder says how it is made.
//
// On disk: a transaction is acknowledged, and seen by readers and watchers, only when it can't be lost any more: after
// SQLite's commit with its fsync. Transactions that come in meanwhile share the next one. So kill -9 at any instruction, or a
// power failure, loses nothing that anybody was told of, and leaves nothing half there; revisions never fall.
//   - If the commit couldn't be written (the disk is full), none of its transactions happened: their callers get UNAVAILABLE, and
//     the next ones are tried anew.
//   - If it isn't known whether it was (an fsync failed), its callers get DEADLINE_EXCEEDED, and the store is closed: everything gets
//     UNAVAILABLE, watches end, `on_failure` is called. Opening it again finds out.
//   - A call past its deadline is UNAVAILABLE if it was still waiting (it won't happen), else DEADLINE_EXCEEDED. One that has a
//     second or more, and finds the disk free, writes itself: if the disk hangs, it stays for as long as that.
// Opening ends all leases: one process at a time can have the store, so every holder of a lease is dead.
//
// Threads: with the default options each watch has a thread of its own, which reads the store's changes from where that
// watch stands; so a slow watcher blocks no writer and no other watch, needs no queue, and is ended with OUT_OF_RANGE when
// compaction overtakes it. Leases are expired by one more thread (real clock only), in memory also by every call that comes in. On
// disk one more thread commits what gathers while the disk is busy.
// With `manual_delivery` no thread calls a watcher: they are called in DeliverPending only, by its caller, watches in order of
// their start, one batch each in turn. In memory the same calls then give the same result on every run, which is what the seeded
// simulation needs.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "store/store.h"

namespace isla::store {

struct EmbeddedOptions {
  bool manual_delivery = false;
  Metrics* metrics = nullptr;  // null: not counted; else must outlive the store
  /// On disk: called once, from the thread that wrote, when the store is closed by an error. Must not call the store.
  std::function<void(const Status&)> on_failure = {};
  std::string vfs = {};  // on disk: the SQLite VFS; empty = SQLite's own. Tests break the disk with it
};

class EmbeddedStore : public Store {
 public:
  /// An empty store in memory, at revision 1. `clock` must outlive it; it must outlive its watches.
  static std::unique_ptr<EmbeddedStore> InMemory(const Clock& clock = Clock::Real(), const EmbeddedOptions& options = {});

  /// The store in `folder`, which is made (0700) if it isn't there. Blocks until everything has been read.
  /// FAILED_PRECONDITION: another process has it open (its pid is in the text), it is of a newer version, or no store of
  /// isla's. DATA_LOSS: damaged; the text names the revision or key, and nothing was changed. PERMISSION_DENIED: not ours, or
  /// the disk is mounted read-only. RESOURCE_EXHAUSTED, UNAVAILABLE: the disk is full.
  static StatusOr<std::unique_ptr<EmbeddedStore>> Open(const std::string& folder, const Clock& clock = Clock::Real(),
                                                       const EmbeddedOptions& options = {});

  /// Expires the leases that are past their time by the clock; for tests with a FakeClock.
  virtual void ExpireLeases() = 0;

  /// With manual delivery: hands out at most `max_batches` batches (and ends of watches) that are due, also those that become
  /// due by what the watchers do meanwhile; how many it was. 0: everything is delivered. Not for use inside a Watcher.
  virtual size_t DeliverPending(size_t max_batches = std::numeric_limits<size_t>::max()) = 0;
};

}  // namespace isla::store
