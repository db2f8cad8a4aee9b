// The conformance suite of the store: what every backend must do, and what all code above relies on (store/store.h;
// etcd's "KV API guarantees" and "Watch API guarantees"). A backend joins by INSTANTIATE_TEST_SUITE_P with a
// Backend in its own .cc, linked with the cases (isla_store_conformance).
//
// A backend's store may be shared by all cases and hold other keys: each case works under a prefix of its own, and
// supposes nothing about the revision that it begins at. Nobody else writes while a case runs, nor does a lease of a case
// before it end: each case's leases are revoked with it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "api/base/mutex.h"
#include "store/store.h"
#include "tests/unit/store/forwarding_store.h"

namespace isla::store {

/// What a backend's cases run on. Destroyed after each case.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual Store& store() = 0;
};

struct Backend {
  std::string name;
  std::function<std::unique_ptr<StoreUnderTest>()> make;

  friend void PrintTo(const Backend& backend, std::ostream* out) { *out << backend.name; }
};

/// Keeps what a watch delivers, and checks what holds for every watch: order, whole transactions, one end.
class RecordingWatcher final : public Watcher {
 public:
  void OnBatch(WatchBatch batch) override;
  void OnEnd(const Status& status) override;

  /// The first `count` events, once there are as many; fewer if they don't come within 10 s.
  std::vector<Event> WaitForEvents(size_t count);
  /// Once the watch has ended; OK if it doesn't within 10 s.
  Status WaitForEnd();
  /// True once a batch has reached `revision`; false if none does within 10 s or before the watch has ended.
  bool WaitForRevision(Revision revision);
  std::vector<Event> events();
  std::vector<WatchBatch> batches();
  bool ended();

  /// OnBatch waits while it is blocked.
  void Block(bool blocked);

 private:
  Mutex mu_;
  CondVar changed_;
  std::vector<WatchBatch> batches_ GUARDED_BY(mu_);
  std::vector<Event> events_ GUARDED_BY(mu_);
  bool ended_ GUARDED_BY(mu_) = false;
  bool blocked_ GUARDED_BY(mu_) = false;
  Status end_ GUARDED_BY(mu_);
};

/// Revokes what was granted through it when it goes.
class LeaseRevokingStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  ~LeaseRevokingStore() override;

  StatusOr<LeaseId> GrantLease(std::chrono::seconds ttl, Deadline deadline) override;

 private:
  Mutex mu_;
  std::vector<LeaseId> granted_ GUARDED_BY(mu_);
};

class StoreConformance : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override;
  void TearDown() override;

  Store& store() { return *store_; }
  /// A key of this case.
  std::string Key(const std::string& name) const { return prefix_ + name; }
  Prefix prefix() const { return Prefix(prefix_); }

  // Fail the test unless they succeed.
  TxnResult Do(Transaction txn);
  Revision Put(const std::string& name, const std::string& value, LeaseId lease = 0);
  Revision Delete(const std::string& name);
  std::shared_ptr<const KeyValue> Get(const std::string& name);
  /** What is under `name`; a failure, and a KeyValue of nothing, when there is none: a test goes on to its end. */
  KeyValue There(const std::string& name);
  ListResult List(const std::string& name_prefix = "", const ListOptions& options = {});
  Revision Now();
  std::unique_ptr<Watch> StartWatch(RecordingWatcher& watcher, Revision start_revision, bool previous_values = false,
                                    const std::string& name_prefix = "");

  /// "name=value" for puts, "name" for deletes.
  std::vector<std::string> Texts(const std::vector<Event>& events) const;
  std::vector<std::string> Texts(const ListResult& list) const;

 private:
  std::unique_ptr<StoreUnderTest> under_test_;
  std::unique_ptr<LeaseRevokingStore> store_;
  std::string prefix_;
};

/// A history with everything in it: puts, overwrites, deletes, keys that come back, transactions of several keys. A backend
/// joins by another INSTANTIATE_TEST_SUITE_P.
class StoreHistory : public StoreConformance {
 protected:
  void SetUp() override;

  Revision first_ = 0, last_ = 0;
  /// What was there at each of its revisions: values by key.
  std::map<Revision, std::map<std::string, std::string>> content_;
};

}  // namespace isla::store
