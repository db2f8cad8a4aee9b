// The embedded store with everything in it: data, leases, watches, and, if it is on disk, the thread that commits.
//
// How a call that changes something runs, in memory: evaluated, committed and answered under one lock, by its caller. On disk
// one thread at a time has the log (disk_taken_). If nobody has, the caller takes it, and does for its own call what
// the committer does for all that gather while it is taken:
//
//   caller:     queue_ <- Call, wait                                                      (Run, Wait)
//   committer:  takes calls one by one, each evaluated at the head                        (Evaluate; the lock is held for one
//               until the queue is empty or the batch is full                              call at a time: readers get in between)
//               writes the batch's rows, one SQLite transaction                           (Write, LogFile::Append; no lock)
//               done:      commits the head, wakes watches, answers the callers           (Publish)
//               not done:  undoes everything above the committed revision                 (Undo)
//               folds a little, writes back, if nobody waits                              (Maintain)
//
// So a writer alone pays for the disk and for no change of threads, and many writers share the disk's syncs.
// A call that turns out to change nothing is answered with its batch too: what it saw may have been undone. But one whose
// compares fail already on what is committed, or that only reads, needs no batch.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/base/clock.h"
#include "api/base/mutex.h"
#include "store/embedded/embedded_store.h"
#include "store/embedded/leases.h"
#include "store/embedded/local_watch.h"
#include "store/embedded/log_file.h"
#include "store/embedded/mvcc.h"

namespace isla::store {

class LocalStore final : public EmbeddedStore {
 public:
  /// `log`: null = in memory. Start must follow.
  LocalStore(const Clock& clock, const EmbeddedOptions& options, std::unique_ptr<LogFile> log);
  ~LocalStore() override;

  /// Loads the log, ends all leases, starts the threads.
  Status Start();

  StatusOr<GetResult> Get(const Key& key, Deadline deadline) override;
  StatusOr<ListResult> List(const Prefix& prefix, const ListOptions& options, Deadline deadline) override;
  StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline) override;
  StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) override;
  StatusOr<LeaseId> GrantLease(std::chrono::seconds ttl, Deadline deadline) override;
  StatusOr<std::chrono::seconds> KeepAliveLease(LeaseId lease, Deadline deadline) override;
  Status RevokeLease(LeaseId lease, Deadline deadline) override;
  Status Compact(Revision revision, Deadline deadline) override;
  uint64_t Identity() const override { return log_ != nullptr ? log_->identity() : 0; }
  void ExpireLeases() override;
  size_t DeliverPending(size_t max_batches) override;

 private:
  /// All pages at one revision; OUT_OF_RANGE if that is compacted meanwhile.
  StatusOr<ListResult> ListPages(const Prefix& prefix, const ListOptions& options, size_t page_size);
  /// One thing to do, and what came of it.
  struct Call {
    enum class Kind { kTxn, kEndLease, kCompact };
    Kind kind = Kind::kTxn;
    const Transaction* txn = nullptr;  // the caller's; read only while the call is queued, under the lock
    LeaseId lease = 0;
    Revision revision = 0;
    StatusOr<TxnResult> result = TxnResult();

    Mutex mu;
    CondVar answered;
    bool done GUARDED_BY(mu) = false;
  };
  using CallPtr = std::shared_ptr<Call>;

  /// What was evaluated together and is committed or undone together.
  struct Batch {
    std::vector<CallPtr> calls;
    std::vector<Event> changes;
    std::vector<LeaseId> ended;
    Revision compacted = 0;
    size_t bytes = 0;  // about
  };

  // local_store.cc
  Status Usable() const REQUIRES(state_.mu) { return state_.failure; }
  /// What needs no batch: nothing if `txn` changes something as far as can be told from what is committed.
  std::optional<TxnResult> AnswerNow(const Transaction& txn) REQUIRES(state_.mu);
  void PruneAll();
  void ExpireInMemory() REQUIRES(state_.mu);
  /// Ends the leases whose time is over; an error if the disk refused one of them.
  Status EndExpired();
  void RunExpiry();

  // commit.cc
  StatusOr<TxnResult> Run(const CallPtr& call, Deadline deadline);
  StatusOr<TxnResult> Wait(const CallPtr& call, Deadline deadline);
  void Evaluate(const CallPtr& call, Batch& batch) REQUIRES(state_.mu);
  StatusOr<TxnResult> EvaluateTxn(const Transaction& txn, Batch& batch) REQUIRES(state_.mu);
  void Publish(Batch& batch) REQUIRES(state_.mu);
  void Undo(Batch& batch) REQUIRES(state_.mu);
  void RunCommitter();
  // With the disk taken:
  void CommitQueue();
  void Finish(Batch& batch);
  Status Write(const Batch& batch);
  void Fail(const Status& error);
  void Maintain();
  void ReleaseDisk();
  /// There is something to fold or to write back, and the disk hasn't just refused. Nobody else has the disk.
  bool MaintenanceDue() const REQUIRES(state_.mu);

  const Clock& clock_;
  const EmbeddedOptions options_;
  const std::unique_ptr<LogFile> log_;  // for who has taken the disk
  Histogram commit_seconds_, commit_rows_;
  Gauge revisions_to_fold_;

  LocalState state_;
  Leases leases_ GUARDED_BY(state_.mu);
  CondVar leases_changed_;
  std::deque<CallPtr> queue_ GUARDED_BY(state_.mu);
  CondVar work_;  // for the committer: a call was queued, the disk was let go, or it is to stop
  bool disk_taken_ GUARDED_BY(state_.mu) = false;
  bool stopping_ GUARDED_BY(state_.mu) = false;

  // For who has taken the disk, as log_.
  int64_t fold_credit_ = 0;       // changes to fold before the next batch
  MonotonicTime maintain_after_;  // the disk refused: not before
  std::thread committer_;
  std::thread expiry_;
};

}  // namespace isla::store
