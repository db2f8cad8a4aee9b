// A store that passes every call on to another one: what tests that break single calls derive from.
#pragma once

#include "store/store.h"

namespace isla::store {

class ForwardingStore : public Store {
 public:
  /// `store` must outlive it.
  explicit ForwardingStore(Store& store) : inner_(store) {}

  StatusOr<GetResult> Get(const Key& key, Deadline deadline) override { return inner_.Get(key, deadline); }
  StatusOr<ListResult> List(const Prefix& prefix, const ListOptions& options, Deadline deadline) override {
    return inner_.List(prefix, options, deadline);
  }
  StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline) override { return inner_.Txn(txn, deadline); }
  StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) override {
    return inner_.StartWatch(options, watcher);
  }
  StatusOr<LeaseId> GrantLease(std::chrono::seconds ttl, Deadline deadline) override {
    return inner_.GrantLease(ttl, deadline);
  }
  StatusOr<std::chrono::seconds> KeepAliveLease(LeaseId lease, Deadline deadline) override {
    return inner_.KeepAliveLease(lease, deadline);
  }
  Status RevokeLease(LeaseId lease, Deadline deadline) override { return inner_.RevokeLease(lease, deadline); }
  Status Compact(Revision revision, Deadline deadline) override { return inner_.Compact(revision, deadline); }

 private:
  Store& inner_;
};

}  // namespace isla::store
