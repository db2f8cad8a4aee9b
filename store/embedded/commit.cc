// How the embedded store evaluates, commits and undoes: local_store.h has the picture.
#include <algorithm>
#include <utility>

#include "store/embedded/local_store.h"
#include "store/embedded/log_row.h"

namespace isla::store {
namespace {

// A batch's bounds: what one fsync may carry, and what a crash in it may cost those who wait.
constexpr size_t kBatchCalls = 1024;
constexpr size_t kBatchBytes = size_t{4} << 20;
// When SQLite's write-ahead log is written to its place: when nobody waits, or when it has grown too long.
constexpr int kIdlePages = 250;
constexpr int kMostPages = 1000;
constexpr int64_t kFoldStep = 256;                         // changes, as LogFile::FoldSome
// Who has at least this long may write for itself: a disk that hangs keeps it for as long as it hangs.
constexpr Deadline kPatient = std::chrono::seconds(1);
constexpr Duration kMaintainRetry = std::chrono::seconds(5);  // after the disk refused

}  // namespace

// ---- the caller's side -----------------------------------------------------------------------------------

StatusOr<TxnResult> LocalStore::Run(const CallPtr& call, Deadline deadline) {
  deadline = std::min<Deadline>(deadline, std::chrono::hours(24));  // no overflow below
  Batch batch;
  {
    const UrgentLock lock(state_);
    RETURN_IF_ERROR(Usable());
    ExpireInMemory();
    if (log_ == nullptr) {
      Evaluate(call, batch);
      Publish(batch);
      return std::move(call->result);
    }
    if (disk_taken_ || !queue_.empty() || deadline < kPatient) {
      queue_.push_back(call);
      if (!disk_taken_) work_.NotifyOne();
    } else {
      disk_taken_ = true;
      Evaluate(call, batch);
    }
  }
  if (batch.calls.empty()) return Wait(call, deadline);
  Finish(batch);
  ReleaseDisk();
  return std::move(call->result);
}

StatusOr<TxnResult> LocalStore::Wait(const CallPtr& call, Deadline deadline) {
  const MonotonicTime until = clock_.Monotonic() + deadline;
  {
    MutexLock lock(call->mu);
    for (Duration left = deadline; !call->done && left > Duration(0); left = until - clock_.Monotonic()) {
      call->answered.WaitFor(call->mu, left);
    }
    if (call->done) return std::move(call->result);
  }
  {
    MutexLock lock(state_.mu);
    if (std::erase(queue_, call) > 0) {
      return Error(Code::kUnavailable, "the store's disk is too slow: still waiting at the deadline; nothing was done");
    }
  }
  MutexLock lock(call->mu);
  if (call->done) return std::move(call->result);
  return Error(Code::kDeadlineExceeded, "the store's disk is too slow: being written at the deadline; the outcome is unknown");
}

void LocalStore::ReleaseDisk() {
  MutexLock lock(state_.mu);
  disk_taken_ = false;
  if (!queue_.empty() || MaintenanceDue()) work_.NotifyOne();
}

// ---- evaluation ------------------------------------------------------------------------------------------

void LocalStore::Evaluate(const CallPtr& call, Batch& batch) {
  const size_t before = batch.changes.size();
  switch (call->kind) {
    case Call::Kind::kTxn:
      call->result = EvaluateTxn(*call->txn, batch);
      break;
    case Call::Kind::kEndLease: {
      if (!leases_.Lives(call->lease)) break;
      Transaction txn;
      for (std::string& key : leases_.KeysOf(call->lease)) txn.success.push_back(Operation::Delete(std::move(key)));
      call->result = state_.mvcc.Apply(txn, batch.changes);
      leases_.SetEnding(call->lease, true);
      batch.ended.push_back(call->lease);
      break;
    }
    case Call::Kind::kCompact: {
      Status status = state_.mvcc.CheckCompact(call->revision);
      if (status.ok() && call->revision <= batch.compacted) {
        status = Errorf(Code::kOutOfRange, "revision {} is just being compacted (up to {})", call->revision, batch.compacted);
      }
      if (status.ok()) {
        batch.compacted = call->revision;
      } else {
        call->result = status;
      }
      break;
    }
  }
  for (size_t i = before; i < batch.changes.size(); ++i) {
    leases_.Follow(batch.changes[i]);
    batch.bytes += batch.changes[i].kv->key.size() + batch.changes[i].kv->value.size();
  }
  batch.calls.push_back(call);
}

StatusOr<TxnResult> LocalStore::EvaluateTxn(const Transaction& txn, Batch& batch) {
  for (const Operation& operation : txn.success) {
    // Of puts that won't be done the lease doesn't matter, as in etcd.
    if (operation.lease != 0 && !leases_.Lives(operation.lease) && state_.mvcc.Holds(txn.compares, Mvcc::kHead)) {
      return Errorf(Code::kNotFound, "no lease {}", operation.lease);
    }
  }
  return state_.mvcc.Apply(txn, batch.changes);
}

void LocalStore::Publish(Batch& batch) {
  for (const LeaseId lease : batch.ended) leases_.Forget(lease);
  if (batch.compacted != 0) state_.mvcc.Compact(batch.compacted);
  state_.mvcc.Commit();
  if (!batch.changes.empty() || batch.compacted != 0) state_.changed.NotifyAll();
}

void LocalStore::Undo(Batch& batch) {
  state_.mvcc.Undo();
  for (auto event = batch.changes.rbegin(); event != batch.changes.rend(); ++event) leases_.Unfollow(*event);
  for (const LeaseId lease : batch.ended) leases_.SetEnding(lease, false);
  if (!batch.ended.empty()) leases_changed_.NotifyAll();
}

// ---- the committer's side --------------------------------------------------------------------------------

void LocalStore::RunCommitter() {
  for (;;) {
    {
      MutexLock lock(state_.mu);
      while (disk_taken_ || (queue_.empty() && !stopping_ && !MaintenanceDue())) {
        if (!disk_taken_ && maintain_after_ > clock_.Monotonic()) {
          work_.WaitFor(state_.mu, maintain_after_ - clock_.Monotonic());
        } else {
          work_.Wait(state_.mu);
        }
      }
      if (queue_.empty() && stopping_) return;
      disk_taken_ = true;
    }
    CommitQueue();
    Maintain();
    MutexLock lock(state_.mu);
    disk_taken_ = false;
  }
}

void LocalStore::CommitQueue() {
  Batch batch;
  while (batch.calls.size() < kBatchCalls && batch.bytes < kBatchBytes) {
    const UrgentLock lock(state_);
    if (queue_.empty()) break;
    const CallPtr call = std::move(queue_.front());
    queue_.pop_front();
    if (state_.failure.ok()) {
      Evaluate(call, batch);
    } else {
      call->result = state_.failure;
      batch.calls.push_back(call);
    }
  }
  if (batch.calls.empty()) return;
  Finish(batch);
  for (const CallPtr& call : batch.calls) {
    MutexLock lock(call->mu);
    call->done = true;
    call->answered.NotifyOne();
  }
}

/// Writes a batch, and makes it either visible or undone. Its calls' results are then final.
void LocalStore::Finish(Batch& batch) {
  const Status written = Write(batch);
  // Folding keeps up: at twice the pace of writing.
  if (written.ok()) fold_credit_ += 2 * static_cast<int64_t>(batch.changes.size());
  {
    MutexLock lock(state_.mu);
    if (written.ok()) {
      Publish(batch);
    } else {
      Undo(batch);
      for (const CallPtr& call : batch.calls) call->result = written;
    }
  }
  if (written.code() == Code::kDeadlineExceeded) Fail(written);
}

Status LocalStore::Write(const Batch& batch) {
  if (batch.changes.empty() && batch.compacted == 0) return OkStatus();
  std::vector<std::string> rows;
  Revision first = 0;
  for (size_t i = 0; i < batch.changes.size();) {
    const Revision revision = batch.changes[i].kv->mod_revision;
    if (first == 0) first = revision;
    RowChanges changes;
    for (; i < batch.changes.size() && batch.changes[i].kv->mod_revision == revision; ++i) {
      changes.push_back(batch.changes[i].kv);
    }
    rows.push_back(EncodeLogRow(revision, changes));
  }
  const MonotonicTime begin = clock_.Monotonic();
  const Status status = log_->Append(first, rows, batch.compacted);
  commit_seconds_.Observe(std::chrono::duration<double>(clock_.Monotonic() - begin).count());
  commit_rows_.Observe(static_cast<double>(rows.size()));
  return status;
}

void LocalStore::Fail(const Status& error) {
  {
    MutexLock lock(state_.mu);
    if (!state_.failure.ok()) return;
    state_.failure = Errorf(Code::kUnavailable, "the store is closed until it is opened again: {}", Message(error));
    state_.changed.NotifyAll();
  }
  if (options_.on_failure) options_.on_failure(error);
}

bool LocalStore::MaintenanceDue() const {
  return state_.failure.ok() && maintain_after_ <= clock_.Monotonic() &&
         (log_->to_fold() > 0 || log_->pages_to_write_back() > kIdlePages);
}

/// One step of what isn't urgent: folding and writing back. With calls waiting, folding goes at twice the pace of writing: it
/// is done some day whatever comes, and nobody waits for more than a step.
void LocalStore::Maintain() {
  bool idle = false;
  {
    MutexLock lock(state_.mu);
    if (!MaintenanceDue()) return;
    idle = queue_.empty() && !stopping_;
  }
  Status status;
  if (log_->to_fold() > 0 && (idle || fold_credit_ >= kFoldStep)) {
    status = log_->FoldSome();
    fold_credit_ = 0;
    revisions_to_fold_.Set(static_cast<double>(log_->to_fold()));
  }
  if (status.ok() && log_->pages_to_write_back() > (idle ? kIdlePages : kMostPages)) status = log_->WriteBack();
  if (status.code() == Code::kDeadlineExceeded) Fail(status);
  if (!status.ok()) maintain_after_ = clock_.Monotonic() + kMaintainRetry;
}

}  // namespace isla::store
