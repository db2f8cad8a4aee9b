#include "store/embedded/local_store.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "store/transaction.h"

namespace isla::store {
namespace {

constexpr int kOvertakenLists = 2;                // then everything in one page
constexpr size_t kPruneStep = 128;                // changes looked at with the lock held
constexpr int kCourtesy = 1000;                   // times that pruning yields to who waits for the lock, between two steps
constexpr Duration kExpiryRetry = std::chrono::seconds(1);  // after the disk refused

bool Writes(const Transaction& txn) {
  return std::any_of(txn.success.begin(), txn.success.end(),
                     [](const Operation& operation) { return operation.kind != Operation::Kind::kGet; });
}

}  // namespace

// ---- life ------------------------------------------------------------------------------------------------

LocalStore::LocalStore(const Clock& clock, const EmbeddedOptions& options, std::unique_ptr<LogFile> log)
    : clock_(clock), options_(options), log_(std::move(log)) {
  if (options_.metrics == nullptr || log_ == nullptr) return;
  commit_seconds_ = options_.metrics->AddHistogram("isla_store_commit_seconds", "Time of one commit to disk, of many transactions");
  commit_rows_ = options_.metrics->AddHistogram("isla_store_commit_revisions", "Revisions that one commit made durable", {},
                                                {1, 2, 4, 8, 16, 32, 64, 128, 256, 512});
  revisions_to_fold_ = options_.metrics->AddGauge("isla_store_log_unfolded_revisions", "Compacted revisions still to be folded on disk");
}

LocalStore::~LocalStore() {
  {
    MutexLock lock(state_.mu);
    stopping_ = true;
    leases_changed_.NotifyAll();
    work_.NotifyAll();
  }
  if (expiry_.joinable()) expiry_.join();
  if (committer_.joinable()) committer_.join();
}

Status LocalStore::Start() {
  if (log_ != nullptr) {
    MutexLock lock(state_.mu);
    RETURN_IF_ERROR(log_->Load(state_.mvcc));
    // Never given before, so that a put with a lease of an earlier life can't meet a living one.
    leases_ = Leases(log_->openings() << 32);
    Transaction end_leases;
    for (std::string& key : state_.mvcc.LeasedKeys()) end_leases.success.push_back(Operation::Delete(std::move(key)));
    Batch batch;
    state_.mvcc.Apply(end_leases, batch.changes);
    RETURN_IF_ERROR(Annotate(Write(batch), "end the leases of the process before"));
    state_.mvcc.Commit();
    committer_ = std::thread(&LocalStore::RunCommitter, this);
  }
  if (!options_.manual_delivery && &clock_ == &Clock::Real()) expiry_ = std::thread(&LocalStore::RunExpiry, this);
  return OkStatus();
}

// ---- reading ---------------------------------------------------------------------------------------------

StatusOr<GetResult> LocalStore::Get(const Key& key, Deadline) {
  if (key.empty()) return Error(Code::kInvalidArgument, "a key is empty");
  const UrgentLock lock(state_);
  RETURN_IF_ERROR(Usable());
  ExpireInMemory();
  return GetResult{state_.mvcc.Get(key.text(), state_.mvcc.committed()), state_.mvcc.committed()};
}

StatusOr<ListResult> LocalStore::List(const Prefix& prefix, const ListOptions& options, Deadline) {
  // In pages: a writer or another reader waits for one of them at most. Compaction may overtake them: then the newest is listed
  // anew, at last in one page.
  ListResult result;
  for (int overtaken = 0;; ++overtaken) {
    const bool whole = overtaken == kOvertakenLists;
    auto list = ListPages(prefix, options, whole ? SIZE_MAX : std::clamp<size_t>(options.page_size, 1, 1000));
    if (list.status().code() == Code::kOutOfRange && options.revision == 0 && !whole) continue;
    ASSIGN_OR_RETURN(result, std::move(list));
    break;
  }
  if (!options.keys_only) return result;
  for (auto& kv : result.kvs) {
    kv = std::make_shared<KeyValue>(
        KeyValue{kv->key, "", kv->create_revision, kv->mod_revision, kv->version, kv->lease});
  }
  return result;
}

StatusOr<ListResult> LocalStore::ListPages(const Prefix& prefix, const ListOptions& options, size_t page_size) {
  ListResult result;
  result.revision = options.revision;
  result.more = true;
  std::string from = options.from;
  while (result.more && (options.limit == 0 || result.kvs.size() < options.limit)) {
    const size_t size = options.limit == 0 ? page_size : std::min(page_size, options.limit - result.kvs.size());
    const UrgentLock lock(state_);
    RETURN_IF_ERROR(Usable());
    ExpireInMemory();
    if (result.revision == 0) result.revision = state_.mvcc.committed();
    RETURN_IF_ERROR(state_.mvcc.CheckRevision(result.revision));
    result.more = state_.mvcc.List(prefix, from, result.revision, size, result.kvs);
  }
  return result;
}

std::optional<TxnResult> LocalStore::AnswerNow(const Transaction& txn) {
  TxnResult result;
  result.revision = state_.mvcc.committed();
  result.succeeded = state_.mvcc.Holds(txn.compares, result.revision);
  if (result.succeeded && Writes(txn)) return std::nullopt;
  for (const Operation& operation : result.succeeded ? txn.success : txn.failure) {
    result.gets.push_back(state_.mvcc.Get(operation.key, result.revision));
  }
  return result;
}

StatusOr<std::unique_ptr<Watch>> LocalStore::StartWatch(const WatchOptions& options, Watcher& watcher) {
  if (options.start_revision < 0) return Error(Code::kInvalidArgument, "a watch can't start at a negative revision");
  const UrgentLock lock(state_);
  RETURN_IF_ERROR(Usable());
  ExpireInMemory();
  const Revision now = state_.mvcc.committed();
  const bool from_now = options.start_revision == 0;
  auto watch = std::make_unique<LocalWatch>(state_, options, from_now ? now + 1 : options.start_revision, from_now ? now : 0,
                                            watcher);
  if (options_.manual_delivery) {
    state_.watches.push_back(watch.get());
  } else {
    watch->StartThread();
  }
  return std::unique_ptr<Watch>(std::move(watch));
}

size_t LocalStore::DeliverPending(size_t max_batches) {
  ISLA_CHECK(options_.manual_delivery);
  if (log_ == nullptr) ExpireLeases();
  size_t delivered = 0;
  for (bool any = true; any && delivered < max_batches;) {
    any = false;
    for (size_t i = 0; delivered < max_batches; ++i) {
      LocalWatch* watch = nullptr;
      LocalWatch::Due due;
      {
        MutexLock lock(state_.mu);
        if (i >= state_.watches.size()) break;  // watchers may start and stop watches while we go
        watch = state_.watches[i];
        due = watch->TakeNext();
      }
      if (!due.batch && !due.end) continue;
      watch->Deliver(std::move(due));
      any = true;
      ++delivered;
    }
  }
  return delivered;
}

// ---- writing ---------------------------------------------------------------------------------------------

StatusOr<TxnResult> LocalStore::Txn(const Transaction& txn, Deadline deadline) {
  RETURN_IF_ERROR(CheckTransaction(txn));
  {
    const UrgentLock lock(state_);
    RETURN_IF_ERROR(Usable());
    ExpireInMemory();
    if (auto answer = AnswerNow(txn)) return std::move(*answer);
  }
  const auto call = std::make_shared<Call>();
  call->txn = &txn;
  return Run(call, deadline);
}

Status LocalStore::Compact(Revision revision, Deadline deadline) {
  const auto call = std::make_shared<Call>();
  call->kind = Call::Kind::kCompact;
  call->revision = revision;
  RETURN_IF_ERROR(Run(call, deadline));
  PruneAll();
  return OkStatus();
}

/// In steps, and the memory is given back between them. A mutex isn't fair: who waits for it would sleep through many steps, if
/// it weren't let in.
void LocalStore::PruneAll() {
  std::vector<Mvcc::Version> garbage;
  for (bool more = true; more; garbage.clear()) {
    for (int i = 0; i < kCourtesy && state_.urgent > 0; ++i) std::this_thread::yield();
    MutexLock lock(state_.mu);
    more = state_.mvcc.Prune(kPruneStep, garbage);
  }
}

// ---- leases ----------------------------------------------------------------------------------------------

StatusOr<LeaseId> LocalStore::GrantLease(std::chrono::seconds ttl, Deadline) {
  if (ttl < std::chrono::seconds(1)) return Error(Code::kInvalidArgument, "a lease lives for at least one second");
  const UrgentLock lock(state_);
  RETURN_IF_ERROR(Usable());
  ExpireInMemory();
  leases_changed_.NotifyAll();
  return leases_.Grant(ttl, clock_.Monotonic());
}

StatusOr<std::chrono::seconds> LocalStore::KeepAliveLease(LeaseId lease, Deadline) {
  const UrgentLock lock(state_);
  RETURN_IF_ERROR(Usable());
  ExpireInMemory();
  const auto left = leases_.KeepAlive(lease, clock_.Monotonic());
  if (!left) return Errorf(Code::kNotFound, "no lease {}", lease);
  return *left;
}

Status LocalStore::RevokeLease(LeaseId lease, Deadline deadline) {
  const auto call = std::make_shared<Call>();
  call->kind = Call::Kind::kEndLease;
  call->lease = lease;
  return Run(call, deadline).status();
}

/// In memory an expiry is done by whoever comes first: the simulation has no other thread.
void LocalStore::ExpireInMemory() {
  if (log_ != nullptr) return;
  const MonotonicTime now = clock_.Monotonic();
  const auto next = leases_.NextExpiry();
  if (!next || *next > now) return;
  for (const LeaseId lease : leases_.Expired(now)) {
    const auto call = std::make_shared<Call>();
    call->kind = Call::Kind::kEndLease;
    call->lease = lease;
    Batch batch;
    Evaluate(call, batch);
    Publish(batch);
  }
}

void LocalStore::ExpireLeases() { EndExpired().IgnoreError(); }

Status LocalStore::EndExpired() {
  std::vector<LeaseId> expired;
  {
    MutexLock lock(state_.mu);
    ExpireInMemory();
    expired = leases_.Expired(clock_.Monotonic());
  }
  Status status;
  for (const LeaseId lease : expired) {
    const Status ended = RevokeLease(lease, kDefaultDeadline);
    if (!ended.ok()) status = ended;
  }
  return status;
}

void LocalStore::RunExpiry() {
  for (;;) {
    const Status ended = EndExpired();
    MutexLock lock(state_.mu);
    if (stopping_) return;
    const auto next = leases_.NextExpiry();
    if (!next || !Usable().ok()) {
      leases_changed_.Wait(state_.mu);
    } else if (!ended.ok()) {
      leases_changed_.WaitFor(state_.mu, kExpiryRetry);
    } else if (const Duration left = *next - clock_.Monotonic(); left > Duration(0)) {
      leases_changed_.WaitFor(state_.mu, left);
    }
  }
}

}  // namespace isla::store
