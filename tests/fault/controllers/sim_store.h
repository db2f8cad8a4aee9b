// The store of the simulation: an EmbeddedStore that keeps every transaction's batch, so that each process of the
// simulation can see the history at its own pace, and that fails on command, for each process by itself.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "store/embedded/embedded_store.h"
#include "store/store.h"

namespace isla::controllers {

class SimStore {
 public:
  SimStore(const Clock& clock, store::Prefix prefix)
      : inner_(store::EmbeddedStore::InMemory(clock)), prefix_(std::move(prefix)) {}

  /// Commits, and records what changed. `after` is called with each new revision.
  StatusOr<store::TxnResult> Txn(const store::Transaction& txn) {
    StatusOr<store::TxnResult> result = inner_->Txn(txn);
    if (result.ok() && result->revision > revision_) Record(result->revision);
    return result;
  }
  StatusOr<store::GetResult> Get(const store::Key& key) { return inner_->Get(key); }
  store::ListResult List() { return inner_->List(prefix_).value(); }

  /// All batches, oldest first: batches()[i] is the i-th change of the store.
  const std::vector<store::CacheBatch>& batches() const { return batches_; }
  store::Revision revision() const { return revision_; }
  const std::map<std::string, std::shared_ptr<const store::KeyValue>>& present() const { return present_; }

  std::function<void()> on_change;

 private:
  void Record(store::Revision revision) {
    store::CacheBatch batch;
    batch.revision = revision;
    std::map<std::string, std::shared_ptr<const store::KeyValue>> now;
    for (const auto& kv : List().kvs) now.emplace(kv->key, kv);
    for (const auto& [key, kv] : present_) {
      if (now.contains(key)) continue;
      auto gone = std::make_shared<store::KeyValue>();
      gone->key = key;
      gone->mod_revision = revision;
      batch.events.push_back({store::Event::Type::kDelete, gone, kv});
    }
    for (const auto& [key, kv] : now) {
      const auto before = present_.find(key);
      if (before != present_.end() && before->second->mod_revision == kv->mod_revision) continue;
      batch.events.push_back({store::Event::Type::kPut, kv, before == present_.end() ? nullptr : before->second});
    }
    present_ = std::move(now);
    revision_ = revision;
    batches_.push_back(std::move(batch));
    if (on_change) on_change();
  }

  const std::unique_ptr<store::EmbeddedStore> inner_;
  const store::Prefix prefix_;
  store::Revision revision_ = 0;
  std::map<std::string, std::shared_ptr<const store::KeyValue>> present_;
  std::vector<store::CacheBatch> batches_;
};

/// One process's way to the store, with that process's faults.
class SimClient final : public store::Store {
 public:
  struct Faults {
    double dropped = 0;           // nothing was done: UNAVAILABLE
    double unknown_done = 0;      // it was done, and the answer was lost: DEADLINE_EXCEEDED
    double unknown_not_done = 0;  // it wasn't done, and nobody can tell
    double late = 0;              // DEADLINE_EXCEEDED now, and it is tried at some later time
    double read_fails = 0;
  };

  SimClient(SimStore& store, std::mt19937_64& random) : store_(store), random_(random) {}

  Faults faults;
  /// Called before and after each write that reaches the store: a place to die.
  std::function<void()> before_write, after_write;

  /// The transactions that were delayed on the wire arrive now.
  void DeliverLate() {
    std::deque<store::Transaction> late;
    late.swap(late_);
    for (const store::Transaction& txn : late) ISLA_CHECK_OK(store_.Txn(txn));
  }
  size_t late() const { return late_.size(); }

  StatusOr<store::TxnResult> Txn(const store::Transaction& txn, store::Deadline) override {
    if (before_write) before_write();
    if (Chance(faults.dropped)) return Error(Code::kUnavailable, "dropped");
    if (Chance(faults.unknown_not_done)) return Error(Code::kDeadlineExceeded, "lost on the way there");
    if (Chance(faults.late)) {
      late_.push_back(txn);
      return Error(Code::kDeadlineExceeded, "still on its way");
    }
    StatusOr<store::TxnResult> result = store_.Txn(txn);
    if (after_write) after_write();
    if (Chance(faults.unknown_done)) return Error(Code::kDeadlineExceeded, "lost on the way back");
    return result;
  }
  StatusOr<store::GetResult> Get(const store::Key& key, store::Deadline) override {
    if (Chance(faults.read_fails)) return Error(Code::kUnavailable, "dropped");
    return store_.Get(key);
  }
  StatusOr<store::ListResult> List(const store::Prefix&, const store::ListOptions&, store::Deadline) override {
    return store_.List();
  }
  StatusOr<std::unique_ptr<store::Watch>> StartWatch(const store::WatchOptions&, store::Watcher&) override {
    return Error(Code::kUnimplemented, "the simulation delivers by hand");
  }
  StatusOr<store::LeaseId> GrantLease(std::chrono::seconds, store::Deadline) override {
    return Error(Code::kUnimplemented, "no leases in the simulation");
  }
  StatusOr<std::chrono::seconds> KeepAliveLease(store::LeaseId, store::Deadline) override {
    return Error(Code::kUnimplemented, "no leases in the simulation");
  }
  Status RevokeLease(store::LeaseId, store::Deadline) override { return OkStatus(); }
  Status Compact(store::Revision, store::Deadline) override { return OkStatus(); }

 private:
  bool Chance(double probability) {
    return probability > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < probability;
  }
  SimStore& store_;
  std::mt19937_64& random_;
  std::deque<store::Transaction> late_;
};

}  // namespace isla::controllers
