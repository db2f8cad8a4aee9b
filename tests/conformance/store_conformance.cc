#include "tests/conformance/store_conformance.h"

#include "api/base/uuid.h"

namespace isla::store {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);  // for a machine that does much else

}  // namespace

void RecordingWatcher::OnBatch(WatchBatch batch) {
  MutexLock lock(mu_);
  while (blocked_) changed_.Wait(mu_);
  EXPECT_FALSE(ended_) << "a batch after the end";
  Revision last = events_.empty() ? 0 : events_.back().kv->mod_revision;
  EXPECT_TRUE(batch.events.empty() || batch.events.front().kv->mod_revision > last) << "a transaction in two batches, or again";
  for (const Event& event : batch.events) {
    EXPECT_GE(event.kv->mod_revision, last) << "out of order";
    last = event.kv->mod_revision;
    events_.push_back(event);
  }
  EXPECT_GE(batch.revision, last);
  batches_.push_back(std::move(batch));
  changed_.NotifyAll();
}

void RecordingWatcher::OnEnd(const Status& status) {
  MutexLock lock(mu_);
  EXPECT_FALSE(ended_) << "ended twice";
  EXPECT_FALSE(status.ok());
  ended_ = true;
  end_ = status;
  changed_.NotifyAll();
}

std::vector<Event> RecordingWatcher::WaitForEvents(size_t count) {
  MutexLock lock(mu_);
  while (events_.size() < count && !ended_ && changed_.WaitFor(mu_, kPatience)) {
  }
  EXPECT_GE(events_.size(), count) << (ended_ ? "the watch ended: " + ToString(end_) : "they did not come");
  return events_;
}

Status RecordingWatcher::WaitForEnd() {
  MutexLock lock(mu_);
  while (!ended_ && changed_.WaitFor(mu_, kPatience)) {
  }
  return end_;
}

bool RecordingWatcher::WaitForRevision(Revision revision) {
  MutexLock lock(mu_);
  while (!ended_ && (batches_.empty() || batches_.back().revision < revision)) {
    if (!changed_.WaitFor(mu_, kPatience)) break;
  }
  return !batches_.empty() && batches_.back().revision >= revision;
}

std::vector<Event> RecordingWatcher::events() {
  MutexLock lock(mu_);
  return events_;
}

std::vector<WatchBatch> RecordingWatcher::batches() {
  MutexLock lock(mu_);
  return batches_;
}

bool RecordingWatcher::ended() {
  MutexLock lock(mu_);
  return ended_;
}

void RecordingWatcher::Block(bool blocked) {
  MutexLock lock(mu_);
  blocked_ = blocked;
  changed_.NotifyAll();
}

LeaseRevokingStore::~LeaseRevokingStore() {
  for (const LeaseId lease : granted_) {
    const Status revoked = RevokeLease(lease, kPatience);
    EXPECT_TRUE(revoked.ok()) << "it would end in the middle of another case: " << ToString(revoked);
  }
}

StatusOr<LeaseId> LeaseRevokingStore::GrantLease(std::chrono::seconds ttl, Deadline deadline) {
  auto lease = ForwardingStore::GrantLease(ttl, deadline);
  if (lease.ok()) {
    MutexLock lock(mu_);
    granted_.push_back(*lease);
  }
  return lease;
}

void StoreConformance::SetUp() {
  under_test_ = GetParam().make();
  store_ = std::make_unique<LeaseRevokingStore>(under_test_->store());
  prefix_ = "/conformance/" + RandomHex(8) + "/";
}

void StoreConformance::TearDown() {
  store_.reset();
  under_test_.reset();
}

TxnResult StoreConformance::Do(Transaction txn) {
  auto result = store().Txn(txn);
  EXPECT_TRUE(result.ok()) << ToString(result.status());
  return result.ok() ? *result : TxnResult();
}

Revision StoreConformance::Put(const std::string& name, const std::string& value, LeaseId lease) {
  Transaction txn;
  txn.success.push_back(Operation::Put(Key(name), value, lease));
  return Do(txn).revision;
}

Revision StoreConformance::Delete(const std::string& name) {
  Transaction txn;
  txn.success.push_back(Operation::Delete(Key(name)));
  return Do(txn).revision;
}

std::shared_ptr<const KeyValue> StoreConformance::Get(const std::string& name) {
  auto result = store().Get(Key(name));
  EXPECT_TRUE(result.ok()) << ToString(result.status());
  return result.ok() ? result->kv : nullptr;
}

KeyValue StoreConformance::There(const std::string& name) {
  const auto kv = Get(name);
  EXPECT_NE(kv, nullptr) << "nothing is under " << name;
  return kv != nullptr ? *kv : KeyValue();
}

ListResult StoreConformance::List(const std::string& name_prefix, const ListOptions& options) {
  auto result = store().List(Prefix(Key(name_prefix)), options);
  EXPECT_TRUE(result.ok()) << ToString(result.status());
  return result.ok() ? *result : ListResult();
}

Revision StoreConformance::Now() {
  auto result = store().Get(Key("any"));
  EXPECT_TRUE(result.ok()) << ToString(result.status());
  return result.ok() ? result->revision : 0;
}

std::unique_ptr<Watch> StoreConformance::StartWatch(RecordingWatcher& watcher, Revision start_revision, bool previous_values,
                                                    const std::string& name_prefix) {
  auto watch = store().StartWatch({Prefix(Key(name_prefix)), start_revision, previous_values}, watcher);
  EXPECT_TRUE(watch.ok()) << ToString(watch.status());
  return watch.ok() ? std::move(*watch) : nullptr;
}

std::vector<std::string> StoreConformance::Texts(const std::vector<Event>& events) const {
  std::vector<std::string> texts;
  for (const Event& event : events) {
    const std::string name = event.kv->key.substr(prefix_.size());
    texts.push_back(event.type == Event::Type::kPut ? name + "=" + event.kv->value : name);
  }
  return texts;
}

std::vector<std::string> StoreConformance::Texts(const ListResult& list) const {
  std::vector<std::string> texts;
  for (const auto& kv : list.kvs) texts.push_back(kv->key.substr(prefix_.size()) + "=" + kv->value);
  return texts;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreConformance);

}  // namespace isla::store
