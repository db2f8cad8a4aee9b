// The watch cache over the embedded store with manual delivery: no thread, no waiting, every step is the test's.
#include "store/cache/watch_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/embedded/embedded_store.h"
#include "tests/unit/store/faulty_store.h"

namespace isla::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class WatchCacheTest : public ::testing::Test {
 protected:
  void Start(CacheOptions options = {}) {
    options.keys = keys_;
    options.manual = true;
    options.metrics = &metrics_;
    cache_ = StartWatchCache(faulty_, clock_, options);
    Settle();
  }

  /// Lets everything happen that can without time passing, then with it until the backoff is over.
  void Settle() {
    for (int i = 0; i < 10; ++i) {
      while (cache_->Pump() + store_->DeliverPending() + other_->DeliverPending() > 0) {
      }
      clock_.Advance(seconds(5));
    }
  }

  Revision Put(Store& store, const std::string& key, const std::string& value) {
    Transaction txn;
    txn.success.push_back(Operation::Put("/t/" + key, value));
    const auto result = store.Txn(txn);
    ISLA_CHECK_OK(result);
    return result->revision;
  }
  Revision Put(const std::string& key, const std::string& value) { return Put(*store_, key, value); }
  Revision Delete(const std::string& key) {
    Transaction txn;
    txn.success.push_back(Operation::Delete("/t/" + key));
    const auto result = store_->Txn(txn);
    ISLA_CHECK_OK(result);
    return result->revision;
  }

  std::vector<std::string> Content() const {
    std::vector<std::string> content;
    for (const auto& kv : cache_->List("").kvs) content.push_back(kv->key.substr(3) + "=" + kv->value);
    return content;
  }
  void ExpectCacheEqualsStore(Store& store) {
    const auto list = store.List("/t/");
    ASSERT_TRUE(list.ok());
    const auto cached = cache_->List("");
    ASSERT_EQ(cached.kvs.size(), list->kvs.size());
    for (size_t i = 0; i < list->kvs.size(); ++i) {
      EXPECT_EQ(cached.kvs[i]->key, list->kvs[i]->key);
      EXPECT_EQ(cached.kvs[i]->value, list->kvs[i]->value);
      EXPECT_EQ(cached.kvs[i]->mod_revision, list->kvs[i]->mod_revision);
    }
  }
  double Divergence() {
    return metrics_.AddCounter("isla_store_cache_divergence_total", "").value();
  }
  double Relists(const std::string& reason) {
    return metrics_.AddCounter("isla_store_cache_relists_total", "", {{"reason", reason}}).value();
  }

  FakeClock clock_;
  Metrics metrics_;
  const Keys keys_{"/t/"};
  std::unique_ptr<EmbeddedStore> store_ = EmbeddedStore::InMemory(clock_, {.manual_delivery = true});
  std::unique_ptr<EmbeddedStore> other_ = EmbeddedStore::InMemory(clock_, {.manual_delivery = true});
  FaultyStore faulty_{*store_};
  std::unique_ptr<WatchCache> cache_;
};

TEST_F(WatchCacheTest, ListsThenFollows) {
  Put("a", "1");
  Start();
  EXPECT_TRUE(cache_->synced());
  EXPECT_THAT(Content(), ElementsAre("a=1"));
  Put("b", "2");
  const Revision last = Delete("a");
  store_->DeliverPending();
  EXPECT_THAT(Content(), ElementsAre("b=2"));
  EXPECT_EQ(cache_->watermark(), last);
  EXPECT_EQ(cache_->Get("/t/a"), nullptr);
  ASSERT_NE(cache_->Get("/t/b"), nullptr);
  EXPECT_EQ(cache_->Get("/t/b")->value, "2");
}

TEST_F(WatchCacheTest, IsNotSyncedBeforeTheFirstListSucceeds) {
  faulty_.FailCalls(Error(Code::kUnavailable, "down"));
  Start();
  EXPECT_FALSE(cache_->synced());
  EXPECT_EQ(cache_->WaitSynced(seconds(1)).code(), Code::kDeadlineExceeded);
  faulty_.FailCalls(OkStatus());
  Settle();
  EXPECT_TRUE(cache_->synced());
  EXPECT_TRUE(cache_->WaitSynced(seconds(0)).ok());
}

TEST_F(WatchCacheTest, KeysOutsideThePrefixStayOut) {
  Start();
  Transaction txn;
  txn.success = {Operation::Put("/u/x", "1"), Operation::Put("/t0", "1"), Operation::Put("/t/in", "1")};
  ASSERT_TRUE(store_->Txn(txn).ok());
  Settle();
  EXPECT_THAT(Content(), ElementsAre("in=1"));
}

TEST_F(WatchCacheTest, ASubscriberGetsWholeTransactionsInOrderWithPrevious) {
  Put("spec/a", "0");
  Start();
  auto subscription = cache_->Subscribe("/t/spec/", 0);
  ASSERT_TRUE(subscription.ok());
  Transaction txn;
  txn.success = {Operation::Put("/t/spec/a", "1"), Operation::Put("/t/status/a", "x"), Operation::Put("/t/spec/b", "2")};
  const Revision first = store_->Txn(txn)->revision;
  const Revision second = Delete("spec/a");
  store_->DeliverPending();
  auto batch = (*subscription)->Next({});
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->revision, first);
  ASSERT_EQ(batch->events.size(), 2U);
  EXPECT_EQ(batch->events[0].kv->key, "/t/spec/a");
  ASSERT_NE(batch->events[0].previous, nullptr);
  EXPECT_EQ(batch->events[0].previous->value, "0");
  EXPECT_EQ(batch->events[1].kv->key, "/t/spec/b");
  EXPECT_EQ(batch->events[1].previous, nullptr);
  batch = (*subscription)->Next({});
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->revision, second);
  EXPECT_EQ(batch->events[0].type, Event::Type::kDelete);
  EXPECT_EQ(batch->events[0].previous->value, "1");
  EXPECT_EQ((*subscription)->Next({}).status().code(), Code::kDeadlineExceeded);
}

TEST_F(WatchCacheTest, ASubscriberWithoutEventsLearnsThatTimeWentOn) {
  Start();
  auto subscription = cache_->Subscribe("/t/spec/", 0);
  ASSERT_TRUE(subscription.ok());
  const Revision last = Put("status/a", "1");
  Settle();
  auto batch = (*subscription)->Next({});
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->revision, last);
  EXPECT_THAT(batch->events, IsEmpty());
  EXPECT_EQ((*subscription)->Next({}).status().code(), Code::kDeadlineExceeded);
}

TEST_F(WatchCacheTest, SubscribeReplaysKeptHistory) {
  Start();
  const Revision first = Put("a", "1");
  Put("a", "2");
  Put("a", "3");
  Settle();
  auto subscription = cache_->Subscribe("/t/", first);
  ASSERT_TRUE(subscription.ok());
  EXPECT_EQ((*subscription)->Next({})->events[0].kv->value, "2");
  EXPECT_EQ((*subscription)->Next({})->events[0].kv->value, "3");
  Put("a", "4");
  Settle();
  EXPECT_EQ((*subscription)->Next({})->events[0].kv->value, "4");
}

TEST_F(WatchCacheTest, SubscribeBeforeKeptHistoryIsRefused) {
  CacheOptions options;
  options.history = 2;
  Start(options);
  const Revision first = Put("a", "1");
  for (int i = 0; i < 5; ++i) Put("a", "x");
  Settle();
  EXPECT_EQ(cache_->Subscribe("/t/", first).status().code(), Code::kOutOfRange);
  EXPECT_EQ(cache_->Subscribe("/t/", 1).status().code(), Code::kOutOfRange);
  EXPECT_TRUE(cache_->Subscribe("/t/", cache_->watermark() - 2).ok());
}

TEST_F(WatchCacheTest, SubscribeInTheFutureIsRefused) {
  Start();
  EXPECT_EQ(cache_->Subscribe("/t/", cache_->watermark() + 100).status().code(), Code::kOutOfRange);
}

TEST_F(WatchCacheTest, EverySubscriberGetsItsOwnPartWhoeverElseThereIs) {
  Start();
  const std::vector<std::string> prefixes = {"/t/", "/t/spec/", "/t/", "/t/spec/a", "/t/status/", "/t/spec/"};
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  for (const std::string& prefix : prefixes) subscriptions.push_back(std::move(*cache_->Subscribe(Prefix(prefix), 0)));
  Transaction txn;
  txn.success = {Operation::Put("/t/spec/a", "1"), Operation::Put("/t/spec/b", "2"), Operation::Put("/t/node/n", "3")};
  const Revision revision = store_->Txn(txn)->revision;
  Settle();
  // What is shared must not be used up by the first to take it.
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const auto batch = subscriptions[i]->Next({});
    ASSERT_TRUE(batch.ok());
    EXPECT_EQ(batch->revision, revision);
    std::vector<std::string> keys;
    for (const Event& event : batch->events) keys.push_back(event.kv->key);
    std::vector<std::string> expected;
    for (const char* const key : {"/t/node/n", "/t/spec/a", "/t/spec/b"}) {
      if (std::string(key).starts_with(prefixes[i])) expected.emplace_back(key);
    }
    EXPECT_THAT(keys, ::testing::UnorderedElementsAreArray(expected)) << prefixes[i];
  }
  EXPECT_EQ(metrics_.AddGauge("isla_store_cache_subscribers", "").value(), 6);
  subscriptions.erase(subscriptions.begin() + 1, subscriptions.begin() + 4);
  Put("spec/c", "4");
  Settle();
  EXPECT_EQ(subscriptions[0]->Next({})->events.size(), 1U);
  EXPECT_EQ(subscriptions[2]->Next({})->events.size(), 1U);
  EXPECT_TRUE(subscriptions[1]->Next({})->events.empty());
  EXPECT_EQ(metrics_.AddGauge("isla_store_cache_subscribers", "").value(), 3);
}

TEST_F(WatchCacheTest, ASlowSubscriberIsDroppedAndTheOthersAreNot) {
  CacheOptions options;
  options.subscriber_queue = 3;
  Start(options);
  auto slow = cache_->Subscribe("/t/", 0);
  auto quick = cache_->Subscribe("/t/", 0);
  ASSERT_TRUE(slow.ok() && quick.ok());
  for (int i = 0; i < 5; ++i) {
    Put("a", std::to_string(i));
    Settle();
    EXPECT_EQ((*quick)->Next({})->events[0].kv->value, std::to_string(i));
  }
  EXPECT_EQ((*slow)->Next({}).status().code(), Code::kOutOfRange);
  EXPECT_EQ((*slow)->Next({}).status().code(), Code::kOutOfRange);
  EXPECT_TRUE(cache_->Subscribe("/t/", 0).ok());
}

TEST_F(WatchCacheTest, ReplayIsNotCountedAgainstTheQueue) {
  CacheOptions options;
  options.subscriber_queue = 2;
  Start(options);
  const Revision from = cache_->watermark();
  for (int i = 0; i < 10; ++i) Put("a", std::to_string(i));
  Settle();
  auto subscription = cache_->Subscribe("/t/", from);
  ASSERT_TRUE(subscription.ok());
  for (int i = 0; i < 10; ++i) EXPECT_EQ((*subscription)->Next({})->events[0].kv->value, std::to_string(i));
}

TEST_F(WatchCacheTest, NotifyIsCalledWhenABatchComesAndAtOnceIfThereIsOne) {
  Start();
  auto subscription = cache_->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  int calls = 0;
  (*subscription)->Notify([&calls] { ++calls; });
  EXPECT_EQ(calls, 0);
  Put("a", "1");
  Put("a", "2");
  store_->DeliverPending();
  EXPECT_EQ(calls, 1);
  int other = 0;
  (*subscription)->Notify([&other] { ++other; });
  EXPECT_EQ(other, 1);
  while ((*subscription)->Next({}).ok()) {
  }
  Put("a", "3");
  store_->DeliverPending();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(other, 2);
}

TEST_F(WatchCacheTest, NotifyIsCalledForTheEnd) {
  Start();
  auto subscription = cache_->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  int calls = 0;
  (*subscription)->Notify([&calls] { ++calls; });
  cache_.reset();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ((*subscription)->Next({}).status().code(), Code::kCancelled);
}

TEST_F(WatchCacheTest, ALostConnectionLosesNothingAndEndsNoSubscription) {
  Start();
  auto subscription = cache_->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  Put("a", "1");
  Settle();
  faulty_.EndWatches(Error(Code::kUnavailable, "connection lost"));
  Put("a", "2");
  Put("b", "1");
  Delete("a");
  Settle();
  std::vector<std::string> seen;
  for (auto batch = (*subscription)->Next({}); batch.ok(); batch = (*subscription)->Next({})) {
    for (const Event& event : batch->events) seen.push_back(event.kv->key + event.kv->value);
  }
  EXPECT_THAT(seen, ElementsAre("/t/a1", "/t/a2", "/t/b1", "/t/a"));
  EXPECT_EQ((*subscription)->Next({}).status().code(), Code::kDeadlineExceeded);
  ExpectCacheEqualsStore(*store_);
}

TEST_F(WatchCacheTest, ADeleteInsideACompactedHoleIsFound) {
  Put("a", "1");
  Put("b", "1");
  Start();
  auto subscription = cache_->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  faulty_.EndWatches(Error(Code::kUnavailable, "connection lost"));
  Delete("a");
  Put("b", "2");
  ASSERT_TRUE(store_->Compact(Put("c", "1")).ok());
  Settle();
  EXPECT_THAT(Content(), ElementsAre("b=2", "c=1"));
  EXPECT_EQ((*subscription)->Next({}).status().code(), Code::kOutOfRange);
  EXPECT_EQ(Relists("compacted"), 1);
  EXPECT_EQ(cache_->epoch(), 0);
  ExpectCacheEqualsStore(*store_);
  EXPECT_EQ(Divergence(), 0);
}

TEST_F(WatchCacheTest, AMissedPutIsNoticedAtTheKeysNextEventAndHealed) {
  Put("a", "1");
  Start();
  faulty_.SetFilter([](WatchBatch& batch) { batch.events.clear(); });
  Put("a", "2");
  store_->DeliverPending();
  faulty_.SetFilter({});
  Put("a", "3");
  Settle();
  EXPECT_EQ(Divergence(), 1);
  EXPECT_EQ(Relists("an event was missed"), 1);
  ExpectCacheEqualsStore(*store_);
}

TEST_F(WatchCacheTest, AMissedDeleteIsNoticedWhenTheKeyComesBack) {
  Put("a", "1");
  Start();
  faulty_.SetFilter([](WatchBatch& batch) { batch.events.clear(); });
  Delete("a");
  store_->DeliverPending();
  faulty_.SetFilter({});
  Put("a", "3");
  Settle();
  EXPECT_EQ(Divergence(), 1);
  ExpectCacheEqualsStore(*store_);
}

TEST_F(WatchCacheTest, ComparisonFindsASilentlyMissedDelete) {
  Put("a", "1");
  Put("b", "1");
  CacheOptions options;
  options.compare_every = minutes(10);
  Start(options);
  faulty_.SetFilter([](WatchBatch& batch) { batch.events.clear(); });
  Delete("a");
  store_->DeliverPending();
  faulty_.SetFilter({});
  Put("b", "2");
  Settle();
  EXPECT_THAT(Content(), ElementsAre("a=1", "b=2"));
  clock_.Advance(minutes(11));
  Settle();
  EXPECT_THAT(Content(), ElementsAre("b=2"));
  EXPECT_EQ(Divergence(), 1);
  EXPECT_EQ(Relists("diverged"), 1);
}

TEST_F(WatchCacheTest, ComparisonOfAHealthyCacheFindsNothing) {
  for (int i = 0; i < 50; ++i) Put("k" + std::to_string(i), "v");
  Start();
  for (int i = 0; i < 50; i += 3) Delete("k" + std::to_string(i));
  Settle();
  clock_.Advance(minutes(11));
  Settle();
  EXPECT_EQ(Divergence(), 0);
  EXPECT_GE(metrics_.AddCounter("isla_store_cache_compares_total", "").value(), 1);
}

TEST_F(WatchCacheTest, AComparisonThatWaitsDoesNotLeaveALostWatchAlone) {
  CacheOptions options;
  options.compare_every = minutes(10);
  Start(options);
  Transaction elsewhere;  // no barrier key: the watermark can't reach the list's revision
  elsewhere.success.push_back(Operation::Put("/u/x", "1"));
  ASSERT_TRUE(store_->Txn(elsewhere).ok());
  clock_.Advance(minutes(11));
  cache_->Pump();
  faulty_.EndWatches(Error(Code::kUnavailable, "connection lost"));
  Put("a", "1");
  cache_->Pump();
  clock_.Advance(milliseconds(100));  // the backoff, but not the time that a comparison may wait
  cache_->Pump();
  store_->DeliverPending();
  EXPECT_THAT(Content(), ElementsAre("a=1"));
}

TEST_F(WatchCacheTest, DuplicatedAndBackDatedBatchesAreIgnored) {
  Start();
  auto subscription = cache_->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  WatchBatch first;
  faulty_.SetFilter([&first](WatchBatch& batch) {
    if (first.events.empty()) {
      first = batch;
    } else {
      batch.events.insert(batch.events.begin(), first.events.begin(), first.events.end());
    }
  });
  Put("a", "1");
  store_->DeliverPending();
  Put("a", "2");
  store_->DeliverPending();
  EXPECT_THAT(Content(), ElementsAre("a=2"));
  EXPECT_EQ((*subscription)->Next({})->events[0].kv->value, "1");
  EXPECT_EQ((*subscription)->Next({})->events[0].kv->value, "2");
  EXPECT_FALSE((*subscription)->Next({}).ok());
  EXPECT_EQ(Divergence(), 0);
}

TEST_F(WatchCacheTest, ARevisionThatGoesBackBringsANewEpochAndAWholeList) {
  for (int i = 0; i < 10; ++i) Put("a", std::to_string(i));
  Put("gone", "1");
  Start();
  auto subscription = cache_->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  Put(*other_, "a", "old");
  faulty_.SwitchTo(*other_);
  faulty_.EndWatches(Error(Code::kUnavailable, "restarted"));
  Settle();
  EXPECT_EQ(cache_->epoch(), 1);
  EXPECT_THAT(Content(), ElementsAre("a=old"));
  EXPECT_EQ(cache_->watermark(), 2);
  EXPECT_EQ((*subscription)->Next({}).status().code(), Code::kOutOfRange);
  Put(*other_, "b", "new");
  Settle();
  EXPECT_THAT(Content(), ElementsAre("a=old", "b=new"));
}

TEST_F(WatchCacheTest, ARestoredHistoryThatHasCaughtUpIsFoundToo) {
  Put("a", "1");
  Put("b", "mine");
  Start();
  Put(*other_, "a", "1");
  for (int i = 0; i < 10; ++i) Put(*other_, "b", "theirs");
  faulty_.SwitchTo(*other_);
  faulty_.EndWatches(Error(Code::kUnavailable, "restarted"));
  Settle();
  EXPECT_EQ(cache_->epoch(), 1);
  EXPECT_THAT(Content(), ElementsAre("a=1", "b=theirs"));
}

TEST_F(WatchCacheTest, AnotherClusterIdBringsANewEpoch) {
  faulty_.SetIdentity(7);
  Put("a", "1");
  Start();
  faulty_.SetIdentity(8);
  faulty_.EndWatches(Error(Code::kUnavailable, "restarted"));
  Settle();
  EXPECT_EQ(cache_->epoch(), 1);
  EXPECT_EQ(Relists("another store"), 1);
}

TEST_F(WatchCacheTest, AReadBarrierNoticesThatTheRevisionWentBack) {
  for (int i = 0; i < 10; ++i) Put("a", std::to_string(i));
  Start();
  faulty_.SwitchTo(*other_);
  EXPECT_EQ(cache_->ReadBarrier(seconds(1)).code(), Code::kUnavailable);
  Settle();
  EXPECT_EQ(cache_->epoch(), 1);
  EXPECT_THAT(Content(), IsEmpty());
}

TEST_F(WatchCacheTest, AReadBarrierWritesNothingIfTheCacheIsThere) {
  Put("a", "1");
  CacheOptions options;
  options.barrier_id = "me";
  Start(options);
  EXPECT_TRUE(cache_->ReadBarrier(seconds(1)).ok());
  EXPECT_EQ(faulty_.txns(), 0);
}

TEST_F(WatchCacheTest, AReadBarrierPutsItsKeyIfOthersRaisedTheRevision) {
  CacheOptions options;
  options.barrier_id = "me";
  Start(options);
  Transaction elsewhere;
  elsewhere.success.push_back(Operation::Put("/u/x", "1"));
  ASSERT_TRUE(store_->Txn(elsewhere).ok());
  EXPECT_EQ(cache_->ReadBarrier(seconds(1)).code(), Code::kDeadlineExceeded);
  EXPECT_EQ(faulty_.txns(), 1);
  store_->DeliverPending();
  EXPECT_TRUE(cache_->ReadBarrier(seconds(1)).ok());
  ASSERT_NE(cache_->Get("/t/barrier/me"), nullptr);
  EXPECT_EQ(cache_->Get("/t/barrier/me")->value, "{\"n\":1}");
}

TEST_F(WatchCacheTest, BackoffGrowsWhileNothingWorksAndEndsWithTheFault) {
  Start();
  faulty_.FailCalls(Error(Code::kUnavailable, "down"));
  faulty_.EndWatches(Error(Code::kUnavailable, "down"));
  const int before = faulty_.calls();
  for (int i = 0; i < 600; ++i) {
    cache_->Pump();
    clock_.Advance(milliseconds(100));
  }
  EXPECT_GE(faulty_.calls() - before, 5);
  EXPECT_LE(faulty_.calls() - before, 150);  // a minute; without backoff it would be 600
  faulty_.FailCalls(OkStatus());
  Put("a", "1");
  Settle();
  EXPECT_THAT(Content(), ElementsAre("a=1"));
}

TEST(WatchCacheThreads, ReadersSeeTheirOwnWritesThroughTheBarrier) {
  auto store = EmbeddedStore::InMemory();
  CacheOptions options;
  options.keys = Keys("/t/");
  options.barrier_id = "me";
  auto cache = StartWatchCache(*store, Clock::Real(), options);
  ASSERT_TRUE(cache->WaitSynced(seconds(5)).ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&store, &cache, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string key = (i % 5 == 0 ? "/u/" : "/t/") + std::to_string(t);
        Transaction txn;
        txn.success.push_back(Operation::Put(key, std::to_string(i)));
        const auto put = store->Txn(txn);
        ASSERT_TRUE(put.ok());
        ASSERT_TRUE(cache->ReadBarrier(seconds(5)).ok());
        ASSERT_GE(cache->watermark(), put->revision);
        if (i % 5 != 0) {
          ASSERT_EQ(cache->Get(key)->value, std::to_string(i));
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(WatchCacheThreads, WaitForWakesWhenTheRevisionComes) {
  auto store = EmbeddedStore::InMemory();
  CacheOptions options;
  options.keys = Keys("/t/");
  auto cache = StartWatchCache(*store, Clock::Real(), options);
  ASSERT_TRUE(cache->WaitSynced(seconds(5)).ok());
  EXPECT_EQ(cache->WaitFor(2, milliseconds(1)).code(), Code::kDeadlineExceeded);
  Status waited;
  std::thread waiter([&cache, &waited] { waited = cache->WaitFor(2, seconds(10)); });
  Transaction txn;
  txn.success.push_back(Operation::Put("/t/a", "1"));
  ASSERT_TRUE(store->Txn(txn).ok());
  waiter.join();
  EXPECT_TRUE(waited.ok());
}

TEST(WatchCacheThreads, ASubscriberThatComesAndGoesNeverHoldsUpTheCache) {
  auto store = EmbeddedStore::InMemory();
  CacheOptions options;
  options.keys = Keys("/t/");
  auto cache = StartWatchCache(*store, Clock::Real(), options);
  ASSERT_TRUE(cache->WaitSynced(seconds(5)).ok());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&cache, &stop] {
      while (!stop) {
        std::atomic<int> calls{0};
        auto subscription = cache->Subscribe("/t/", 0);
        ASSERT_TRUE(subscription.ok());
        (*subscription)->Notify([&calls] { ++calls; });
        Revision last = 0;
        for (int i = 0; i < 20; ++i) {
          const auto batch = (*subscription)->Next(milliseconds(1));
          if (!batch.ok()) continue;
          ASSERT_GE(batch->revision, last);
          last = batch->revision;
        }
      }
    });
  }
  Revision last = 0;
  for (int i = 0; i < 2000; ++i) {
    Transaction txn;
    txn.success.push_back(Operation::Put("/t/k" + std::to_string(i % 7), std::to_string(i)));
    last = store->Txn(txn)->revision;
  }
  EXPECT_TRUE(cache->WaitFor(last, seconds(10)).ok());
  stop = true;
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace isla::store
