// etcd stopped, killed, frozen, compacted and restored under a client that writes and watches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "api/base/unique_fd.h"
#include "store/cache/watch_cache.h"
#include "store/etcd/etcd_store.h"
#include "tests/cluster/etcd_process.h"

namespace isla::store {
namespace {

using isla::testing::EtcdProcess;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::IsEmpty;

using Clk = std::chrono::steady_clock;

milliseconds Since(Clk::time_point begin) { return std::chrono::duration_cast<milliseconds>(Clk::now() - begin); }

/// Subscribes, subscribes again when told to, and checks that nothing comes twice or out of order.
class Follower {
 public:
  explicit Follower(WatchCache& cache)
      : cache_(cache), subscription_(cache.Subscribe("/t/", 0)), thread_([this] { Run(); }) {}
  ~Follower() { Stop(); }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int resubscribed() const { return resubscribed_; }
  /// Values of puts seen, by revision.
  std::map<Revision, std::string> puts() {
    const std::lock_guard lock(mu_);
    return puts_;
  }

 private:
  void Run() {
    Revision last = 0;
    while (!stop_) {
      if (!subscription_.ok()) {
        subscription_ = cache_.Subscribe("/t/", 0);
        continue;
      }
      const auto batch = (*subscription_)->Next(milliseconds(20));
      if (batch.status().code() == Code::kOutOfRange) {
        ++resubscribed_;
        subscription_ = cache_.Subscribe("/t/", 0);
        continue;
      }
      if (!batch.ok()) continue;
      ASSERT_GT(batch->revision, last) << "again, or out of order";
      last = batch->revision;
      if (batch->events.empty()) continue;
      const std::lock_guard lock(mu_);
      for (const Event& event : batch->events) {
        ASSERT_EQ(event.kv->mod_revision, batch->revision);
        if (event.type == Event::Type::kPut) puts_[batch->revision] = event.kv->value;
      }
    }
  }

  WatchCache& cache_;
  std::atomic<bool> stop_{false};
  std::atomic<int> resubscribed_{0};
  std::mutex mu_;
  std::map<Revision, std::string> puts_;
  StatusOr<std::unique_ptr<Subscription>> subscription_;
  std::thread thread_;
};

/// Writes numbered values, each at most once; remembers what was acknowledged and what is unknown.
class Writer {
 public:
  Writer(Store& store, int id) : store_(store), id_(id), thread_([this] { Run(); }) {}
  ~Writer() { Stop(); }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  /// Waits until `count` more of its writes have been acknowledged.
  void WaitForMore(size_t count) {
    const size_t target = done_ + count;
    EXPECT_TRUE(isla::testing::Eventually([this, target] { return done_ >= target; }, seconds(60)));
  }

  // To be read once it has stopped.
  std::map<std::string, Revision> acknowledged;
  std::set<std::string> unknown, refused;

 private:
  void Run() {
    for (int i = 0; !stop_; ++i) {
      const std::string value = std::to_string(id_) + "/" + std::to_string(i);
      Transaction txn;
      // Every eighth change is a delete beside the put, so that a lost delete would show.
      txn.success.push_back(Operation::Put("/t/" + std::to_string(id_) + "/" + std::to_string(i % 16), value));
      if (i % 8 == 7) txn.success.push_back(Operation::Delete("/t/" + std::to_string(id_) + "/" + std::to_string((i + 5) % 16)));
      const auto result = store_.Txn(txn, seconds(1));
      if (result.ok()) {
        acknowledged[value] = result->revision;
        ++done_;
      } else if (result.status().code() == Code::kDeadlineExceeded) {
        unknown.insert(value);
      } else {
        ASSERT_EQ(result.status().code(), Code::kUnavailable) << ToString(result.status());
        refused.insert(value);
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

  Store& store_;
  const int id_;
  std::atomic<bool> stop_{false};
  std::atomic<size_t> done_{0};
  std::thread thread_;
};

class EtcdFault : public ::testing::Test {
 protected:
  void SetUp() override {
    etcd_.Start();
    store_ = Connect({etcd_.endpoint()});
  }

  static std::unique_ptr<Store> Connect(const std::vector<std::string>& endpoints) {
    EtcdOptions options;
    options.endpoints = endpoints;
    auto store = ConnectEtcd(options);
    ISLA_CHECK_OK(store);
    return std::move(*store);
  }

  std::unique_ptr<WatchCache> StartCache(Duration compare_every = std::chrono::minutes(10)) {
    CacheOptions options;
    options.keys = Keys("/t/");
    options.barrier_id = "me";
    options.compare_every = compare_every;
    options.metrics = &metrics_;
    auto cache = StartWatchCache(*store_, Clock::Real(), options);
    EXPECT_TRUE(cache->WaitSynced(seconds(10)).ok());
    return cache;
  }

  /// The value of a key, once the store answers.
  std::string Value(const std::string& key) {
    StatusOr<GetResult> result = Error(Code::kUnavailable, "not asked");
    EXPECT_TRUE(isla::testing::Eventually([this, &key, &result] {
      result = store_->Get(key, seconds(1));
      return result.ok();
    }));
    return result.ok() && result->kv != nullptr ? result->kv->value : "";
  }

  Revision Put(const std::string& key, const std::string& value) {
    Transaction txn;
    txn.success.push_back(Operation::Put(key, value));
    const auto result = store_->Txn(txn);
    EXPECT_TRUE(result.ok()) << ToString(result.status());
    return result.ok() ? result->revision : 0;
  }

  /// Waits for quiet, then compares with a linearizable list.
  void ExpectCacheEqualsStore(WatchCache& cache) {
    Status barrier;
    for (int i = 0; i < 20; ++i) {
      barrier = cache.ReadBarrier(seconds(5));
      if (barrier.ok()) break;
    }
    ASSERT_TRUE(barrier.ok()) << ToString(barrier);
    const auto list = store_->List("/t/");
    ASSERT_TRUE(list.ok());
    const auto cached = cache.List("/t/");
    ASSERT_EQ(cached.kvs.size(), list->kvs.size());
    for (size_t i = 0; i < list->kvs.size(); ++i) {
      EXPECT_EQ(cached.kvs[i]->key, list->kvs[i]->key);
      EXPECT_EQ(cached.kvs[i]->mod_revision, list->kvs[i]->mod_revision);
      EXPECT_EQ(cached.kvs[i]->value, list->kvs[i]->value);
    }
    EXPECT_EQ(metrics_.AddCounter("isla_store_cache_divergence_total", "").value(), 0);
  }

  /// Every acknowledged write was seen once at its revision, no refused one was, no value at two revisions.
  static void ExpectSeenExactlyOnce(const std::map<Revision, std::string>& puts, const Writer& writer, int id) {
    std::map<std::string, Revision> seen;
    for (const auto& [revision, value] : puts) {
      if (!value.starts_with(std::to_string(id) + "/")) continue;
      EXPECT_TRUE(seen.emplace(value, revision).second) << value << " was written twice";
      EXPECT_FALSE(writer.refused.contains(value)) << value << " was refused, and happened";
    }
    for (const auto& [value, revision] : writer.acknowledged) {
      ASSERT_TRUE(seen.contains(value)) << value << " was missed";
      EXPECT_EQ(seen[value], revision);
    }
    for (const auto& [value, revision] : seen) {
      EXPECT_TRUE(writer.acknowledged.contains(value) || writer.unknown.contains(value)) << value;
    }
  }

  template <typename Fault>
  void RunWithWritersDuring(const Fault& fault, int times) {
    auto cache = StartCache();
    Follower follower(*cache);  // subscribed before the first write
    Writer one(*store_, 1), two(*store_, 2);
    for (int i = 0; i < times; ++i) {
      one.WaitForMore(40);
      two.WaitForMore(40);
      fault();
    }
    one.WaitForMore(40);
    one.Stop();
    two.Stop();
    ExpectCacheEqualsStore(*cache);
    const Revision last = one.acknowledged.empty() ? 0 : std::max_element(one.acknowledged.begin(), one.acknowledged.end(), [](const auto& a, const auto& b) {
                                                           return a.second < b.second;
                                                         })->second;
    EXPECT_TRUE(isla::testing::Eventually([&follower, last] { return follower.puts().contains(last); }));
    follower.Stop();
    EXPECT_EQ(follower.resubscribed(), 0) << "nothing was compacted: no list was needed";
    EXPECT_GT(one.acknowledged.size(), 50U);
    const auto puts = follower.puts();
    ExpectSeenExactlyOnce(puts, one, 1);
    ExpectSeenExactlyOnce(puts, two, 2);
  }

  EtcdProcess etcd_;
  Metrics metrics_;
  std::unique_ptr<Store> store_;
};

TEST_F(EtcdFault, ARestartInTheMiddleOfAWatchLosesNothing) {
  RunWithWritersDuring([this] { etcd_.Restart(); }, 3);
}

TEST_F(EtcdFault, Kill9InTheMiddleOfAWatchLosesNothing) {
  RunWithWritersDuring(
      [this] {
        etcd_.Kill9();
        etcd_.Start();
      },
      3);
}

TEST_F(EtcdFault, AFrozenEtcdDelaysAndLosesNothing) {
  RunWithWritersDuring(
      [this] {
        etcd_.Freeze();
        std::this_thread::sleep_for(milliseconds(1500));
        etcd_.Thaw();
      },
      2);
}

TEST_F(EtcdFault, TheWatchIsBackSoonAfterEtcd) {
  auto cache = StartCache();
  Put("/t/a", "1");
  etcd_.Stop();
  std::this_thread::sleep_for(seconds(3));  // long enough for the backoffs to have grown
  etcd_.Start();
  const auto up = Clk::now();
  const Revision revision = Put("/t/a", "2");
  EXPECT_TRUE(cache->WaitFor(revision, seconds(10)).ok());
  EXPECT_LT(Since(up), seconds(3));  // about 0.5 s; gRPC's own backoff would take longer
}

TEST_F(EtcdFault, WithEtcdDownCallsFailSoonAndSayThatNothingWasDone) {
  Put("/t/a", "1");
  etcd_.Kill9();
  const auto begin = Clk::now();
  // A write that goes out before the connection's end was read has an unknown outcome, and says so: the read comes first.
  EXPECT_EQ(store_->Get("/t/a", seconds(1)).status().code(), Code::kUnavailable);
  Transaction txn;
  txn.success.push_back(Operation::Put("/t/a", "2"));
  EXPECT_EQ(store_->Txn(txn, seconds(1)).status().code(), Code::kUnavailable);
  EXPECT_EQ(store_->Get("/t/a", seconds(30)).status().code(), Code::kUnavailable);
  EXPECT_LT(Since(begin), seconds(10));
  etcd_.Start();
  EXPECT_EQ(Value("/t/a"), "1");
}

TEST_F(EtcdFault, AWriteToAFrozenEtcdHasAnUnknownOutcomeAndHappensAtMostOnce) {
  Put("/t/a", "1");
  etcd_.Freeze();
  Transaction txn;
  txn.success.push_back(Operation::Put("/t/a", "2"));
  const auto begin = Clk::now();
  EXPECT_EQ(store_->Txn(txn, milliseconds(300)).status().code(), Code::kDeadlineExceeded);
  EXPECT_LT(Since(begin), seconds(3));
  etcd_.Thaw();
  ASSERT_TRUE(isla::testing::Eventually([this] { return store_->Get("/t/a", seconds(1)).ok(); }));
  std::this_thread::sleep_for(milliseconds(300));
  const auto now = store_->Get("/t/a");
  ASSERT_TRUE(now.ok() && now->kv != nullptr);
  EXPECT_LE(now->kv->version, 2);
}

TEST_F(EtcdFault, ADeleteInsideACompactedHoleReachesTheCache) {
  for (int i = 0; i < 20; ++i) Put("/t/k" + std::to_string(i), "1");
  auto cache = StartCache();
  auto subscription = cache->Subscribe("/t/", 0);
  ASSERT_TRUE(subscription.ok());
  // The cache loses etcd; others delete and compact while it is away: etcd comes back on another socket first.
  etcd_.Stop();
  EtcdProcess other;  // a second member of nothing: serves the same data from another place
  ASSERT_EQ(std::system(("cp -a " + etcd_.folder() + "/data " + other.folder() + "/").c_str()), 0);
  other.Start();
  {
    auto aside = Connect({other.endpoint()});
    Transaction txn;
    for (int i = 0; i < 10; ++i) txn.success.push_back(Operation::Delete("/t/k" + std::to_string(i)));
    ASSERT_TRUE(aside->Txn(txn).ok());
    Transaction more;
    more.success.push_back(Operation::Put("/t/k15", "2"));
    const auto last = aside->Txn(more);
    ASSERT_TRUE(last.ok());
    ASSERT_TRUE(aside->Compact(last->revision).ok());
  }
  other.Stop();
  ASSERT_TRUE(RemoveTree(etcd_.folder() + "/data").ok());
  ASSERT_EQ(std::system(("cp -a " + other.folder() + "/data " + etcd_.folder() + "/").c_str()), 0);
  etcd_.Start();
  ASSERT_TRUE(isla::testing::Eventually([&cache] { return cache->List("/t/k").kvs.size() == 10; }));
  EXPECT_EQ(cache->Get("/t/k0"), nullptr);
  EXPECT_EQ(cache->Get("/t/k15")->value, "2");
  EXPECT_EQ(cache->epoch(), 0);
  EXPECT_EQ((*subscription)->Next(seconds(1)).status().code(), Code::kOutOfRange);
  ExpectCacheEqualsStore(*cache);
}

TEST_F(EtcdFault, ARestoredBackupIsNoticedAndEverythingIsListedAgain) {
  Put("/t/a", "saved");
  ASSERT_EQ(etcd_.Etcdctl({"snapshot", "save", etcd_.folder() + "/snapshot"}).exit_code, 0);
  for (int i = 0; i < 20; ++i) Put("/t/a", "lost");
  Put("/t/b", "lost");
  auto cache = StartCache();
  EXPECT_EQ(cache->List("/t/").kvs.size(), 2U);
  etcd_.RestoreFrom(etcd_.folder() + "/snapshot");
  etcd_.Start();
  ASSERT_TRUE(isla::testing::Eventually([&cache] { return cache->epoch() == 1; }));
  EXPECT_EQ(cache->Get("/t/b"), nullptr);
  EXPECT_EQ(cache->Get("/t/a")->value, "saved");
  const Revision revision = Put("/t/c", "new");
  EXPECT_TRUE(cache->WaitFor(revision, seconds(5)).ok());
  ExpectCacheEqualsStore(*cache);
}

TEST_F(EtcdFault, ARestoredBackupThatCaughtUpBeforeWeCameBackIsNoticed) {
  Put("/t/a", "saved");
  ASSERT_EQ(etcd_.Etcdctl({"snapshot", "save", etcd_.folder() + "/snapshot"}).exit_code, 0);
  Put("/t/b", "lost");
  auto cache = StartCache();
  const Revision seen = cache->watermark();
  // Other clients are faster than our cache: the revision is beyond ours when it comes back. Its socket is
  // moved away meanwhile.
  etcd_.RestoreFrom(etcd_.folder() + "/snapshot");
  EtcdProcess other;
  ASSERT_EQ(std::system(("cp -a " + etcd_.folder() + "/data " + other.folder() + "/").c_str()), 0);
  other.Start();
  {
    auto aside = Connect({other.endpoint()});
    for (Revision now = 0; now <= seen + 5;) {
      Transaction txn;
      txn.success.push_back(Operation::Put("/t/other", "theirs"));
      const auto put = aside->Txn(txn);
      ASSERT_TRUE(put.ok());
      now = put->revision;
    }
  }
  other.Stop();
  ASSERT_TRUE(RemoveTree(etcd_.folder() + "/data").ok());
  ASSERT_EQ(std::system(("cp -a " + other.folder() + "/data " + etcd_.folder() + "/").c_str()), 0);
  etcd_.Start();
  ASSERT_TRUE(isla::testing::Eventually([&cache] { return cache->epoch() == 1; }));
  EXPECT_EQ(cache->Get("/t/b"), nullptr);
  EXPECT_EQ(cache->Get("/t/other")->value, "theirs");
  ExpectCacheEqualsStore(*cache);
}

TEST_F(EtcdFault, TheNextEndpointIsUsedWhenOneIsDead) {
  auto store = Connect({"unix:" + etcd_.folder() + "/nobody", "127.0.0.1:1", etcd_.endpoint()});
  const auto begin = Clk::now();
  Transaction txn;
  txn.success.push_back(Operation::Put("/t/a", "1"));
  const auto put = store->Txn(txn);
  ASSERT_TRUE(put.ok()) << ToString(put.status());
  EXPECT_LT(Since(begin), seconds(3));
  CacheOptions options;
  options.keys = Keys("/t/");
  auto cache = StartWatchCache(*store, Clock::Real(), options);
  ASSERT_TRUE(cache->WaitSynced(seconds(5)).ok());
  txn.success[0].value = "2";
  const auto again = store->Txn(txn);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(cache->WaitFor(again->revision, seconds(5)).ok());
}

TEST_F(EtcdFault, ACallToAFrozenEndpointMovesTheNextOneOn) {
  EtcdProcess other;
  other.Start();
  auto store = Connect({other.endpoint(), etcd_.endpoint()});
  ASSERT_TRUE(store->Get("/t/a").ok());
  other.Freeze();
  EXPECT_EQ(store->Get("/t/a", milliseconds(300)).status().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(store->Get("/t/a", seconds(3)).ok());  // far less than the 15 s that the keepalive would take
}

TEST_F(EtcdFault, AFrozenEndpointIsNotGoneBackToWhileAnotherComesUp) {
  EtcdProcess other;
  other.Start();
  etcd_.Freeze();
  auto store = Connect({other.endpoint(), etcd_.endpoint()});
  ASSERT_TRUE(store->Get("/t/a").ok());
  other.Freeze();
  EXPECT_EQ(store->Get("/t/a", milliseconds(300)).status().code(), Code::kDeadlineExceeded);
  // Now the one that failed looks connected, the next one doesn't yet.
  std::jthread later([this] {
    std::this_thread::sleep_for(milliseconds(50));
    etcd_.Thaw();
  });
  const auto got = store->Get("/t/a", seconds(10));
  EXPECT_TRUE(got.ok()) << ToString(got.status());
}

TEST_F(EtcdFault, ALeaseOutlivesARestartOfEtcdIfItIsKeptAlive) {
  const auto lease = store_->GrantLease(seconds(30));
  ASSERT_TRUE(lease.ok());
  Transaction txn;
  txn.success.push_back(Operation::Put("/t/leased", "1", *lease));
  ASSERT_TRUE(store_->Txn(txn).ok());
  etcd_.Kill9();
  etcd_.Start();
  EXPECT_TRUE(isla::testing::Eventually([this, &lease] { return store_->KeepAliveLease(*lease).ok(); }));
  EXPECT_EQ(Value("/t/leased"), "1");
}

TEST_F(EtcdFault, TwoCachesAndManyCompactionsStayEqual) {
  auto one = StartCache(milliseconds(300));
  auto two = StartCache(milliseconds(300));
  std::atomic<bool> stop{false};
  std::thread compactor([this, &stop] {
    while (!stop) {
      const auto now = store_->Get("/t/x");
      if (now.ok()) store_->Compact(now->revision).IgnoreError();
      std::this_thread::sleep_for(milliseconds(20));
    }
  });
  {
    Writer writer(*store_, 1);
    writer.WaitForMore(60);
    etcd_.Kill9();
    etcd_.Start();
    writer.WaitForMore(60);
  }
  stop = true;
  compactor.join();
  ExpectCacheEqualsStore(*one);
  ExpectCacheEqualsStore(*two);
  EXPECT_TRUE(isla::testing::Eventually([this] { return metrics_.AddCounter("isla_store_cache_compares_total", "").value() >= 2; }));
  EXPECT_EQ(metrics_.AddCounter("isla_store_cache_divergence_total", "").value(), 0);
}

TEST_F(EtcdFault, DestroyingACacheAndAStoreWhileEtcdIsDownIsQuick) {
  auto cache = StartCache();
  etcd_.Kill9();
  std::this_thread::sleep_for(milliseconds(300));
  const auto begin = Clk::now();
  cache.reset();
  store_.reset();
  EXPECT_LT(Since(begin), seconds(8));
}

TEST_F(EtcdFault, AuthenticationSurvivesARestart) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"user", "add", "root:secret"}, {"user", "grant-role", "root", "root"}, {"auth", "enable"}}) {
    const auto result = etcd_.Etcdctl(command);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  EtcdOptions options;
  options.endpoints = {etcd_.endpoint()};
  EXPECT_FALSE((*ConnectEtcd(options))->Get("/t/a").ok());
  options.user = "root";
  options.password = "wrong";
  EXPECT_EQ((*ConnectEtcd(options))->Get("/t/a").status().code(), Code::kUnauthenticated);
  options.password = "secret";
  auto store = ConnectEtcd(options);
  ASSERT_TRUE(store.ok());
  Transaction txn;
  txn.success.push_back(Operation::Put("/t/a", "1"));
  ASSERT_TRUE((*store)->Txn(txn).ok());
  CacheOptions cache_options;
  cache_options.keys = Keys("/t/");
  auto cache = StartWatchCache(**store, Clock::Real(), cache_options);
  ASSERT_TRUE(cache->WaitSynced(seconds(5)).ok());
  etcd_.Restart();  // tokens are forgotten
  txn.success[0].value = "2";
  const auto put = (*store)->Txn(txn);
  ASSERT_TRUE(put.ok()) << ToString(put.status());
  EXPECT_TRUE(cache->WaitFor(put->revision, seconds(5)).ok());
}

}  // namespace
}  // namespace isla::store
