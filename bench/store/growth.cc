// What it costs as work grows: keys from 1,000 on in each backend, watchers from 1 to 10,000. Tables, and the same as plots.
#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <semaphore>

#include "bench/store/bare_etcd.h"
#include "bench/store/bench.h"
#include "bench/common/plot.h"
#include "bench/store/stopwatch.h"
#include "store/cache/watch_cache.h"
#include "store/embedded/embedded_store.h"

namespace isla::bench {
namespace {

constexpr size_t kValue = 256;
constexpr int64_t kPage = 500;  // keys under one namespace: what a list of one page reads

std::string Namespace(int64_t key) { return fmt::format("/isla/default/status/session/ns-{:05}/", key / kPage); }
std::string KeyIn(int64_t key) { return fmt::format("{}bench-{:03}", Namespace(key), key % kPage); }

/// A store that can be left and opened again.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual store::Store& store() = 0;
  /// Microseconds until it answers; nothing if there is nothing to open.
  virtual std::optional<double> Reopen() = 0;
};

class InMemory final : public Backend {
 public:
  store::Store& store() override { return *store_; }
  std::optional<double> Reopen() override { return std::nullopt; }

 private:
  const std::unique_ptr<store::Store> store_ = store::EmbeddedStore::InMemory();
};

class OnDisk final : public Backend {
 public:
  OnDisk() { Open(); }
  store::Store& store() override { return *store_; }
  std::optional<double> Reopen() override {
    store_.reset();
    return Open();
  }

 private:
  double Open() {
    const auto begin = Clk::now();
    auto opened = store::EmbeddedStore::Open(folder_.path() + "/store");
    ISLA_CHECK_OK(opened);
    store_ = std::move(*opened);
    return Since(begin) * 1e6;
  }

  const isla::testing::TemporaryFolder folder_;
  std::unique_ptr<store::Store> store_;
};

class InEtcd final : public Backend {
 public:
  explicit InEtcd(bool on_disk) : etcd_(on_disk), store_(etcd_.Connect()) {}
  store::Store& store() override { return *store_; }
  std::optional<double> Reopen() override {
    etcd_.process().Stop();
    const auto begin = Clk::now();
    etcd_.process().Start();
    ISLA_CHECK_OK(store_->Get("/", std::chrono::minutes(1)));
    return Since(begin) * 1e6;
  }

 private:
  BenchEtcd etcd_;
  const std::unique_ptr<store::Store> store_;
};

void FillNamespaces(store::Store& store, int64_t begin, int64_t end) {
  for (int64_t key = begin; key < end; key += 100) {
    store::Transaction txn;
    for (int64_t k = key; k < key + 100; ++k) txn.success.push_back(store::Operation::Put(KeyIn(k), std::string(kValue, 'x')));
    ISLA_CHECK_OK(store.Txn(txn));
  }
}

/// Stamps events, and lets the writer go on.
class Stamp final : public store::Watcher {
 public:
  void OnBatch(store::WatchBatch batch) override {
    if (batch.events.empty()) return;
    at_ = Clk::now();
    come_.release();
  }
  void OnEnd(const Status&) override {}
  Clk::time_point Wait() {
    come_.acquire();
    return at_;
  }

 private:
  Clk::time_point at_;
  std::binary_semaphore come_{0};
};

using Samples = std::map<std::string, std::vector<double>>;  // by what is measured, microseconds

template <typename Call>
void Time(std::vector<double>& times, int count, Call call) {
  for (int i = 0; i < count; ++i) {
    const auto begin = Clk::now();
    call();
    times.push_back(Since(begin) * 1e6);
  }
}

void Measure(store::Store& store, int64_t keys, std::mt19937_64& random, Samples& samples) {
  const auto any = [&] { return std::uniform_int_distribution<int64_t>(0, keys - 1)(random); };
  Time(samples["get"], 100, [&] { ISLA_CHECK_OK(store.Get(KeyIn(any()))); });
  Time(samples["txn of one put"], 50, [&] {
    store::Transaction txn;
    txn.success.push_back(store::Operation::Put(KeyIn(any()), std::string(kValue, 'y')));
    ISLA_CHECK_OK(store.Txn(txn));
  });
  Time(samples["list of 500 keys"], 10, [&] {
    const auto list = store.List(store::Prefix(Namespace(any())));
    ISLA_CHECK(list.ok() && list->kvs.size() == kPage);
  });
  Stamp stamp;
  const auto watch = store.StartWatch({.prefix = "/isla/default/"}, stamp);
  ISLA_CHECK_OK(watch);
  for (int i = 0; i < 25; ++i) {
    store::Transaction txn;
    txn.success.push_back(store::Operation::Put(KeyIn(any()), std::string(kValue, 'z')));
    const auto begin = Clk::now();
    ISLA_CHECK_OK(store.Txn(txn));
    const double took = std::chrono::duration<double>(stamp.Wait() - begin).count() * 1e6;
    if (i >= 5) samples["put to event"].push_back(took);
  }
}

/// Curves by (what, whose), printed as a table with a column for each x.
class Curves {
 public:
  void Add(const std::string& what, const std::string& whose, double x, double y) { curves_[what][whose].emplace_back(x, y); }

  void Print(const char* corner, const std::vector<int64_t>& columns) const {
    std::printf("%-46s", corner);
    for (const int64_t column : columns) std::printf(" %12ld", static_cast<long>(column));
    std::printf("   p50, us\n");
    for (const auto& [what, by_whose] : curves_) {
      for (const auto& [whose, points] : by_whose) {
        std::printf("%-20s %-25s", what.c_str(), whose.c_str());
        for (const auto& [x, y] : points) std::printf(" %12.1f", y);
        std::printf("\n");
      }
    }
    std::fflush(stdout);
  }
  std::vector<Panel> Panels(const std::string& x_label) const {
    std::vector<Panel> panels;
    for (const auto& [what, by_whose] : curves_) {
      Panel panel{what, x_label, {}};
      for (const auto& [whose, points] : by_whose) panel.series.push_back({whose, points});
      panels.push_back(std::move(panel));
    }
    return panels;
  }

 private:
  std::map<std::string, std::map<std::string, std::vector<std::pair<double, double>>>> curves_;
};

void Write(const Settings& settings, const std::string& name, const std::string& plot) {
  if (settings.out.empty()) return;
  const std::string path = settings.out + "/" + name;
  const Status written = WriteFile(path, plot);
  std::printf("%s\n", written.ok() ? path.c_str() : ToString(written).c_str());
}

void GrowKeys(const Settings& settings) {
  std::vector<std::pair<std::string, std::unique_ptr<Backend>>> backends;
  backends.emplace_back("memory", std::make_unique<InMemory>());
  backends.emplace_back("disk", std::make_unique<OnDisk>());
  backends.emplace_back(settings.etcd_on_disk ? "etcd on disk" : "etcd on tmpfs", std::make_unique<InEtcd>(settings.etcd_on_disk));
  std::mt19937_64 random(1);
  Curves curves;
  std::vector<int64_t> columns;
  int64_t before = 0;
  for (int64_t keys = 1000; keys <= settings.most_keys; before = keys, keys *= 10) {
    columns.push_back(keys);
    for (const auto& [name, backend] : backends) FillNamespaces(backend->store(), before, keys);
    std::map<std::string, Samples> samples;
    for (int round = -1; round < settings.rounds; ++round) {
      for (const auto& [name, backend] : backends) {
        Samples warm_up;
        Measure(backend->store(), keys, random, round < 0 ? warm_up : samples[name]);
      }
    }
    for (int round = 0; round < std::min(settings.rounds, 5); ++round) {
      for (const auto& [name, backend] : backends) {
        if (const auto took = backend->Reopen()) samples[name]["open"].push_back(*took);
      }
    }
    for (const auto& [name, of_backend] : samples) {
      for (const auto& [what, times] : of_backend) curves.Add(what, name, static_cast<double>(keys), Median(times));
    }
  }
  std::printf("\nAs keys become more; values of %zu bytes\n", kValue);
  curves.Print("keys", columns);
  Write(settings, "keys.svg", Plot("What it costs as keys become more", curves.Panels("keys"), 3));
}

// ---- watchers ----

/// Until the last of `count` handlers has a put's event.
class Watchers {
 public:
  virtual ~Watchers() = default;
};

class Subscribers final : public Watchers {
 public:
  Subscribers(store::Store& store, int64_t count, Stopwatch& watch) : cache_(store::StartWatchCache(store, Clock::Real(), {})) {
    ISLA_CHECK_OK(cache_->WaitSynced(std::chrono::seconds(10)));
    for (int64_t i = 0; i < count; ++i) {
      subscriptions_.push_back(std::move(*cache_->Subscribe("/isla/default/status/", 0)));
      subscriptions_.back()->Notify([subscription = subscriptions_.back().get(), &watch] {
        for (auto batch = subscription->Next({}); batch.ok() && !batch->events.empty(); batch = subscription->Next({})) watch.Handle();
      });
    }
  }

 private:
  const std::unique_ptr<store::WatchCache> cache_;
  std::vector<std::unique_ptr<store::Subscription>> subscriptions_;
};

class EtcdWatches final : public Watchers {
 public:
  EtcdWatches(BareEtcd& etcd, int64_t count, Stopwatch& watch)
      : loop_(etcd, "/isla/default/status/", static_cast<int>(count), [&watch](int64_t) { watch.Handle(); }) {}

 private:
  BareWatchLoop loop_;
};

class StoreWatches final : public Watchers {
 public:
  StoreWatches(store::Store& store, int64_t count, Stopwatch& watch) {
    for (int64_t i = 0; i < count; ++i) {
      handlers_.push_back(std::make_unique<Handler>(watch));
      watches_.push_back(std::move(*store.StartWatch({.prefix = "/isla/default/status/"}, *handlers_.back())));
    }
  }

 private:
  struct Handler final : store::Watcher {
    explicit Handler(Stopwatch& w) : watch(w) {}
    void OnBatch(store::WatchBatch batch) override {
      if (!batch.events.empty()) watch.Handle();
    }
    void OnEnd(const Status&) override {}
    Stopwatch& watch;
  };
  std::vector<std::unique_ptr<Handler>> handlers_;
  std::vector<std::unique_ptr<store::Watch>> watches_;
};

void GrowWatchers(const Settings& settings) {
  const auto memory = store::EmbeddedStore::InMemory();
  const isla::testing::TemporaryFolder folder;
  auto disk = store::EmbeddedStore::Open(folder.path() + "/store");
  ISLA_CHECK_OK(disk);
  BenchEtcd etcd(settings.etcd_on_disk);
  const auto store = etcd.Connect();
  BareEtcd bare(etcd.endpoint());
  using Make = std::function<std::unique_ptr<Watchers>(int64_t, Stopwatch&)>;
  struct Kind {
    std::string name;
    store::Store& store;
    int64_t most;
    Make make;
  };
  const auto cached = [](store::Store& s) -> Make {
    return [&s](int64_t count, Stopwatch& watch) { return std::make_unique<Subscribers>(s, count, watch); };
  };
  const std::vector<Kind> kinds = {
      {"one watch cache, memory", *memory, settings.most_watchers, cached(*memory)},
      {"one watch cache, disk", **disk, settings.most_watchers, cached(**disk)},
      {"one watch cache, etcd", *store, settings.most_watchers, cached(*store)},
      {"etcd watches, one stream", *store, settings.most_watchers,
       [&bare](int64_t count, Stopwatch& watch) { return std::make_unique<EtcdWatches>(bare, count, watch); }},
      // A thread each: that is why there is one for a process, with a cache behind it.
      {"embedded watches, memory", *memory, 1000,
       [&memory](int64_t count, Stopwatch& watch) { return std::make_unique<StoreWatches>(*memory, count, watch); }},
  };
  Curves curves;
  std::vector<int64_t> columns;
  for (int64_t count = 1; count <= settings.most_watchers; count *= 10) {
    columns.push_back(count);
    for (const Kind& kind : kinds) {
      if (count > kind.most) continue;
      Stopwatch watch(static_cast<int>(count));
      const auto watchers = kind.make(count, watch);
      std::vector<double> last;
      for (int i = 0; i < 3 + 5 * settings.rounds; ++i) {
        std::vector<double> times;
        watch.Time([&kind, i] { ISLA_CHECK_OK(kind.store.Txn(PutOf(i % 10, kValue))); }, times);
        if (i >= 3) last.push_back(*std::max_element(times.begin(), times.end()));
      }
      curves.Add("put to last watcher", kind.name, static_cast<double>(count), Median(last));
    }
  }
  std::printf("\nAs watchers become more: from a put until the last of them has its event\n");
  curves.Print("watchers", columns);
  Write(settings, "watchers.svg", Plot("From a put until the last watcher has its event", curves.Panels("watchers"), 1));
}

}  // namespace

void RunGrowth(const Settings& settings) {
  GrowKeys(settings);
  GrowWatchers(settings);
}

}  // namespace isla::bench
