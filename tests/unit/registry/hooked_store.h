// A store that lets a test act between a caller's decision and its transaction, lose answers, and count calls.
#pragma once

#include <atomic>
#include <functional>
#include <utility>

#include "api/base/mutex.h"
#include "tests/unit/store/forwarding_store.h"

namespace isla::store {

class HookedStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  /// Called once, before the next transaction that writes (not one that only reads, nor a barrier).
  void BeforeWrite(std::function<void()> hook) {
    MutexLock lock(mu_);
    hook_ = std::move(hook);
  }
  /// The next writing transaction is done, but its caller gets DEADLINE_EXCEEDED.
  void LoseAnswer() { lose_ = true; }
  /// The next writing transaction isn't done, and its caller gets DEADLINE_EXCEEDED.
  void LoseRequest() { drop_ = true; }
  int gets() const { return gets_; }
  int txns() const { return txns_; }
  int writes() const { return writes_; }
  void ResetCounts() { gets_ = txns_ = writes_ = 0; }

  StatusOr<GetResult> Get(const Key& key, Deadline deadline) override {
    ++gets_;
    return ForwardingStore::Get(key, deadline);
  }
  StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline) override {
    ++txns_;
    bool writes = false;
    for (const Operation& operation : txn.success) writes = writes || operation.kind != Operation::Kind::kGet;
    if (writes && !txn.compares.empty()) {
      ++writes_;
      std::function<void()> hook;
      {
        MutexLock lock(mu_);
        hook = std::exchange(hook_, nullptr);
      }
      if (hook) hook();
      if (drop_.exchange(false)) return Error(Code::kDeadlineExceeded, "request lost");
      if (lose_.exchange(false)) {
        (void)ForwardingStore::Txn(txn, deadline);
        return Error(Code::kDeadlineExceeded, "answer lost");
      }
    }
    return ForwardingStore::Txn(txn, deadline);
  }

 private:
  std::atomic<bool> lose_ = false;
  std::atomic<bool> drop_ = false;
  std::atomic<int> gets_ = 0;
  std::atomic<int> txns_ = 0;
  std::atomic<int> writes_ = 0;
  Mutex mu_;
  std::function<void()> hook_ GUARDED_BY(mu_);
};

}  // namespace isla::store
