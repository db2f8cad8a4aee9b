// A store that passes everything on to another one, and breaks what a test says.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "api/base/mutex.h"
#include "store/store.h"

namespace isla::store {

/// Thread-safe. `EndWatches` ends the running watches as a lost connection does; a `filter` sees every batch before
/// its watcher and may change it.
class FaultyStore final : public Store {
 public:
  explicit FaultyStore(Store& store) : store_(&store) {}

  /// From now on all calls go to `store` (a backup was restored). End the watches too.
  void SwitchTo(Store& store) { store_ = &store; }
  /// Calls other than StartWatch give this while it isn't OK.
  void FailCalls(Status status) {
    MutexLock lock(mu_);
    fail_ = std::move(status);
  }
  void SetIdentity(uint64_t identity) { identity_ = identity; }
  void SetFilter(std::function<void(WatchBatch&)> filter) {
    MutexLock lock(mu_);
    filter_ = std::move(filter);
  }
  void EndWatches(const Status& status) {
    std::map<void*, std::shared_ptr<Shim>> shims;
    {
      MutexLock lock(mu_);
      shims = shims_;
    }
    for (auto& [key, shim] : shims) shim->End(status);
  }
  int calls() const { return calls_; }
  int txns() const { return txns_; }
  int watches() const { return watches_; }
  int lists() const { return lists_; }

  StatusOr<GetResult> Get(const Key& key, Deadline deadline) override {
    RETURN_IF_ERROR(Fail());
    return store_.load()->Get(key, deadline);
  }
  StatusOr<ListResult> List(const Prefix& prefix, const ListOptions& options, Deadline deadline) override {
    RETURN_IF_ERROR(Fail());
    ++lists_;
    return store_.load()->List(prefix, options, deadline);
  }
  StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline) override {
    RETURN_IF_ERROR(Fail());
    ++txns_;
    return store_.load()->Txn(txn, deadline);
  }
  StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) override {
    ++watches_;
    auto shim = std::make_shared<Shim>(*this, watcher);
    ASSIGN_OR_RETURN(auto watch, store_.load()->StartWatch(options, *shim));
    MutexLock lock(mu_);
    shims_[shim.get()] = shim;
    return std::unique_ptr<Watch>(std::make_unique<FaultyWatch>(*this, std::move(shim), std::move(watch)));
  }
  StatusOr<LeaseId> GrantLease(std::chrono::seconds ttl, Deadline deadline) override {
    RETURN_IF_ERROR(Fail());
    return store_.load()->GrantLease(ttl, deadline);
  }
  StatusOr<std::chrono::seconds> KeepAliveLease(LeaseId lease, Deadline deadline) override {
    RETURN_IF_ERROR(Fail());
    return store_.load()->KeepAliveLease(lease, deadline);
  }
  Status RevokeLease(LeaseId lease, Deadline deadline) override {
    RETURN_IF_ERROR(Fail());
    return store_.load()->RevokeLease(lease, deadline);
  }
  Status Compact(Revision revision, Deadline deadline) override {
    RETURN_IF_ERROR(Fail());
    return store_.load()->Compact(revision, deadline);
  }
  uint64_t Identity() const override { return identity_; }

 private:
  /// Stands between the store's watch and its watcher; after the end that a test makes, it swallows the rest.
  struct Shim final : Watcher {
    Shim(FaultyStore& faulty_store, Watcher& inner) : faulty(faulty_store), watcher(inner) {}
    void OnBatch(WatchBatch batch) override {
      std::function<void(WatchBatch&)> filter;
      {
        MutexLock lock(faulty.mu_);
        filter = faulty.filter_;
      }
      const bool progress = batch.events.empty();
      if (filter) filter(batch);
      MutexLock lock(mu);
      if (!ended && (progress || !batch.events.empty())) watcher.OnBatch(std::move(batch));
    }
    void OnEnd(const Status& status) override { End(status); }
    void End(const Status& status) {
      MutexLock lock(mu);
      if (!std::exchange(ended, true)) watcher.OnEnd(status);
    }
    FaultyStore& faulty;
    Watcher& watcher;
    Mutex mu;  // held while calling out: OnEnd must be the last call
    bool ended = false;
  };
  struct FaultyWatch final : Watch {
    FaultyWatch(FaultyStore& faulty_store, std::shared_ptr<Shim> inner_shim, std::unique_ptr<Watch> inner)
        : faulty(faulty_store), shim(std::move(inner_shim)), watch(std::move(inner)) {}
    ~FaultyWatch() override {
      watch.reset();
      MutexLock lock(faulty.mu_);
      faulty.shims_.erase(shim.get());
    }
    FaultyStore& faulty;
    std::shared_ptr<Shim> shim;
    std::unique_ptr<Watch> watch;
  };

  Status Fail() {
    ++calls_;
    MutexLock lock(mu_);
    return fail_;
  }

  std::atomic<Store*> store_;
  std::atomic<uint64_t> identity_{0};
  std::atomic<int> calls_{0}, txns_{0}, watches_{0}, lists_{0};
  Mutex mu_;
  Status fail_ GUARDED_BY(mu_);
  std::function<void(WatchBatch&)> filter_ GUARDED_BY(mu_);
  std::map<void*, std::shared_ptr<Shim>> shims_ GUARDED_BY(mu_);
};

}  // namespace isla::store
