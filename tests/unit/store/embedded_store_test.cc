// What the embedded store has beyond the conformance suite: delivery by hand, and leases on a clock of the test's.
#include "store/embedded/embedded_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace isla::store {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Recorder final : public Watcher {
 public:
  void OnBatch(WatchBatch batch) override {
    for (const Event& event : batch.events) seen.push_back(event.kv->key + "=" + event.kv->value);
    ++batches;
    if (on_batch) on_batch();
  }
  void OnEnd(const Status& status) override { end = status; }

  std::vector<std::string> seen;
  int batches = 0;
  Status end;
  std::function<void()> on_batch;
};

class ManualStore : public ::testing::Test {
 protected:
  Revision Put(const std::string& key, const std::string& value, LeaseId lease = 0) {
    Transaction txn;
    txn.success.push_back(Operation::Put(key, value, lease));
    const auto result = store_->Txn(txn);
    ISLA_CHECK_OK(result);
    return result->revision;
  }

  FakeClock clock_;
  std::unique_ptr<EmbeddedStore> store_ = EmbeddedStore::InMemory(clock_, {.manual_delivery = true});
};

TEST_F(ManualStore, NothingIsDeliveredButByHand) {
  Recorder recorder;
  const auto watch = store_->StartWatch({"/", 2, false}, recorder);
  ASSERT_TRUE(watch.ok());
  Put("/a", "1");
  EXPECT_THAT(recorder.seen, IsEmpty());
  EXPECT_EQ(store_->DeliverPending(), 1U);
  EXPECT_THAT(recorder.seen, ElementsAre("/a=1"));
  EXPECT_EQ(store_->DeliverPending(), 0U);
}

TEST_F(ManualStore, WatchesTakeTurnsAndTheCallerSaysHowMany) {
  Recorder one, two;
  const auto first = store_->StartWatch({"/", 2, false}, one);
  const auto second = store_->StartWatch({"/", 2, false}, two);
  Put("/a", "1");
  EXPECT_EQ(store_->DeliverPending(1), 1U);
  EXPECT_EQ(one.batches, 1);
  EXPECT_EQ(two.batches, 0);
  EXPECT_EQ(store_->DeliverPending(), 1U);
  EXPECT_EQ(two.batches, 1);
}

TEST_F(ManualStore, WhatAWatcherWritesIsDeliveredInTheSameCall) {
  Recorder recorder;
  const auto watch = store_->StartWatch({"/", 2, false}, recorder);
  recorder.on_batch = [this, &recorder] {
    if (recorder.batches < 3) Put("/more", std::to_string(recorder.batches));
  };
  Put("/a", "1");
  EXPECT_EQ(store_->DeliverPending(), 3U);
  EXPECT_THAT(recorder.seen, ElementsAre("/a=1", "/more=1", "/more=2"));
}

TEST_F(ManualStore, AWatchOvertakenByCompactionEndsAndTheOthersGoOn) {
  Recorder slow, quick;
  const auto slow_watch = store_->StartWatch({"/", 2, false}, slow);
  Put("/a", "1");
  const Revision last = Put("/a", "2");
  ASSERT_TRUE(store_->Compact(last).ok());
  const auto quick_watch = store_->StartWatch({"/", last + 1, false}, quick);
  Put("/a", "3");
  store_->DeliverPending();
  EXPECT_EQ(slow.end.code(), Code::kOutOfRange);
  EXPECT_THAT(slow.seen, IsEmpty());
  EXPECT_THAT(quick.seen, ElementsAre("/a=3"));
}

TEST_F(ManualStore, CancellingEndsTheWatchAtOnce) {
  Recorder recorder;
  auto watch = store_->StartWatch({"/", 2, false}, recorder);
  Put("/a", "1");
  watch->reset();
  EXPECT_EQ(recorder.end.code(), Code::kCancelled);
  EXPECT_EQ(store_->DeliverPending(), 0U);
  EXPECT_THAT(recorder.seen, IsEmpty());
}

TEST_F(ManualStore, LeasesExpireByTheClockGiven) {
  const auto lease = store_->GrantLease(seconds(10));
  ASSERT_TRUE(lease.ok());
  Put("/leased", "1", *lease);
  clock_.Advance(seconds(9));
  store_->ExpireLeases();
  EXPECT_NE(store_->Get("/leased")->kv, nullptr);
  ASSERT_TRUE(store_->KeepAliveLease(*lease).ok());
  clock_.Advance(seconds(9));
  EXPECT_NE(store_->Get("/leased")->kv, nullptr);
  clock_.Advance(seconds(1));
  EXPECT_EQ(store_->Get("/leased")->kv, nullptr);
  EXPECT_EQ(store_->KeepAliveLease(*lease).status().code(), Code::kNotFound);
}

TEST_F(ManualStore, AnExpiryIsAnEventLikeAnyOther) {
  const auto lease = store_->GrantLease(seconds(10));
  const Revision put = Put("/leased", "1", *lease);
  Recorder recorder;
  const auto watch = store_->StartWatch({"/", put + 1, false}, recorder);
  clock_.Advance(seconds(10));
  store_->DeliverPending();
  EXPECT_THAT(recorder.seen, ElementsAre("/leased="));
}

TEST_F(ManualStore, AWallClockThatJumpsExpiresNothing) {
  const auto lease = store_->GrantLease(seconds(10));
  Put("/leased", "1", *lease);
  clock_.StepWall(std::chrono::hours(24));
  store_->ExpireLeases();
  EXPECT_NE(store_->Get("/leased")->kv, nullptr);
}

TEST_F(ManualStore, TheSameCallsGiveTheSameHistory) {
  const auto run = [] {
    FakeClock clock;
    auto store = EmbeddedStore::InMemory(clock, {.manual_delivery = true});
    Recorder one, two;
    const auto first = store->StartWatch({"/", 2, false}, one);
    const auto second = store->StartWatch({"/b", 2, false}, two);
    for (int i = 0; i < 50; ++i) {
      Transaction txn;
      txn.success.push_back(Operation::Put(i % 3 == 0 ? "/a" : "/b", std::to_string(i)));
      ISLA_CHECK_OK(store->Txn(txn));
      store->DeliverPending(static_cast<size_t>(i % 4));
    }
    store->DeliverPending();
    one.seen.insert(one.seen.end(), two.seen.begin(), two.seen.end());
    return one.seen;
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace isla::store
