// From the store to a handler: the watch cache's subscribers beside bare watches on the generated stub. A put is made by the same
// bare call for both; the time is from before that call to the handler, so what etcd takes is in both.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <optional>
#include <thread>

#include "bench/store/bare_etcd.h"
#include "bench/store/bench.h"
#include "bench/store/stopwatch.h"
#include "store/cache/watch_cache.h"

namespace isla::bench {
namespace {

constexpr int kWatches = 500;
constexpr int kTurn = 100;
constexpr int kTurns = 16;  // in a round, of each

/// Makes the handlers of one side, which are all that watches as long as the result lives.
using Attach = std::function<std::shared_ptr<void>(Stopwatch&)>;

class Cached {
 public:
  explicit Cached(store::Store& store) : cache_(store::StartWatchCache(store, Clock::Real(), {})) {
    ISLA_CHECK_OK(cache_->WaitSynced(std::chrono::seconds(10)));
  }

 protected:
  std::unique_ptr<store::Subscription> Subscribe() { return std::move(*cache_->Subscribe(store::Prefix("/isla/default/status/"), 0)); }

 private:
  const std::unique_ptr<store::WatchCache> cache_;
};

/// A subscriber with a thread of its own, which waits in Next.
class ThreadSubscriber : Cached {
 public:
  ThreadSubscriber(store::Store& store, Stopwatch& watch) : Cached(store), subscription_(Subscribe()) {
    thread_ = std::thread([this, &watch] {
      while (!stop_) {
        const auto batch = subscription_->Next(std::chrono::milliseconds(100));
        if (batch.ok() && !batch->events.empty()) watch.Handle();
      }
    });
  }
  ~ThreadSubscriber() {
    stop_ = true;
    thread_.join();
  }

 private:
  const std::unique_ptr<store::Subscription> subscription_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// Subscribers that are called, as the API server's and the informer are.
class CalledSubscribers : Cached {
 public:
  CalledSubscribers(store::Store& store, int count, Stopwatch& watch) : Cached(store) {
    for (int i = 0; i < count; ++i) {
      subscriptions_.push_back(Subscribe());
      subscriptions_.back()->Notify([subscription = subscriptions_.back().get(), &watch] {
        for (auto batch = subscription->Next({}); batch.ok() && !batch->events.empty(); batch = subscription->Next({})) watch.Handle();
      });
    }
  }

 private:
  std::vector<std::unique_ptr<store::Subscription>> subscriptions_;
};

struct Peers {
  Attach ours, theirs;
};

/// Of one side in a round, in microseconds.
struct Times {
  std::vector<double> from_put;    // of each handler of each put
  std::vector<double> from_first;  // since the first handler of that put had it
};

struct Rows {
  Row p50, p99;
  std::optional<Row> spread = std::nullopt;  // p99 from the first handler on

  void Add(const Times& ours, const Times& theirs) {
    p50.Add(Median(ours.from_put), Median(theirs.from_put));
    p99.Add(Quantile(ours.from_put, 0.99), Quantile(theirs.from_put, 0.99));
    if (spread) spread->Add(Quantile(ours.from_first, 0.99), Quantile(theirs.from_first, 0.99));
  }
  void Print() const {
    p50.Print();
    p99.Print();
    if (spread) spread->Print();
  }
};

void Compare(const Settings& settings, BareEtcd& writer, int handlers, int puts, const Peers& peers, Rows& rows) {
  int64_t key = 0;
  const auto turn = [&](const Attach& attach, Times& times) {
    Stopwatch watch(handlers);
    const auto attached = attach(watch);
    for (int i = 0; i < puts + 3; ++i) {
      std::vector<double> of_put;
      watch.Time([&writer, &key] { writer.Put(KeyOf(key++ % 100), std::string(256, 'x')); }, of_put);
      if (i < 3) continue;  // to warm up
      times.from_put.insert(times.from_put.end(), of_put.begin(), of_put.end());
      for (const double time : of_put) times.from_first.push_back(std::max(0.0, time - of_put.front()));
    }
  };
  for (int round = -1; round < settings.rounds; ++round) {
    Times ours, theirs;
    for (int i = 0; i < kTurns; ++i) {
      if (i % 2 == 0) turn(peers.ours, ours);
      turn(peers.theirs, theirs);
      if (i % 2 == 1) turn(peers.ours, ours);
    }
    if (round >= 0) rows.Add(ours, theirs);
  }
}

void One(const Settings& settings, BareEtcd& writer, BareEtcd& watcher, store::Store& store) {
  const Attach bare = [&watcher](Stopwatch& watch) {
    return std::make_shared<BareWatchLoop>(watcher, "/isla/default/", 1, [&watch](int64_t) { watch.Handle(); });
  };
  const auto run = [&](const char* what, const Attach& ours) {
    using enum Row::Aim;
    Rows rows{.p50 = {fmt::format("event to {}, p50", what), "us", "bare watch loop", Row::By::kDifference, kAtMost, 50},
              .p99 = {fmt::format("event to {}, p99", what), "us", "bare watch loop", Row::By::kDifference, kAtMost, 200}};
    Compare(settings, writer, 1, kTurn, {ours, bare}, rows);
    rows.Print();
  };
  run("a subscriber's thread", [&store](Stopwatch& watch) { return std::make_shared<ThreadSubscriber>(store, watch); });
  run("a subscriber that is called", [&store](Stopwatch& watch) { return std::make_shared<CalledSubscribers>(store, 1, watch); });
}

void Many(const Settings& settings, BareEtcd& writer, BareEtcd& watcher, store::Store& store) {
  constexpr int kPuts = 20;
  const auto run = [&](const char* peer, const Attach& theirs) {
    Rows rows{.p50 = {"500 subscribers of one prefix, p50", "us", peer, Row::By::kInverse},
              .p99 = {"500 subscribers of one prefix, p99", "us", peer, Row::By::kInverse, Row::Aim::kAtLeast, 10},
              .spread = Row("  p99 since the first of them had it", "us", peer, Row::By::kInverse)};
    const Attach ours = [&store](Stopwatch& watch) { return std::make_shared<CalledSubscribers>(store, kWatches, watch); };
    Compare(settings, writer, kWatches, kPuts, {ours, theirs}, rows);
    rows.Print();
  };
  run("500 watches, a stream each", [&watcher](Stopwatch& watch) {
    return std::make_shared<BareWatches>(watcher, "/isla/default/", kWatches, [&watch](int64_t) { watch.Handle(); });
  });
  run("500 watches of one stream", [&watcher](Stopwatch& watch) {
    return std::make_shared<BareWatchLoop>(watcher, "/isla/default/", kWatches, [&watch](int64_t) { watch.Handle(); });
  });
}

}  // namespace

void RunEvents(const Settings& settings) {
  std::printf("\nFrom the store to a handler; etcd on %s\n", settings.etcd_on_disk ? "disk" : "tmpfs");
  Row::PrintHeader();
  BenchEtcd etcd(settings.etcd_on_disk);
  const auto store = etcd.Connect();
  BareEtcd writer(etcd.endpoint()), watcher(etcd.endpoint());
  One(settings, writer, watcher, *store);
  Many(settings, writer, watcher, *store);
}

}  // namespace isla::bench
