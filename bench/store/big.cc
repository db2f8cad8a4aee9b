// A store of a million keys: how long it takes to open, what memory it takes, how long a get takes while compaction runs.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <random>
#include <thread>

#include "api/base/metrics.h"
#include "api/base/unique_fd.h"
#include "bench/store/bench.h"
#include "store/embedded/embedded_store.h"
#include "tests/cluster/process.h"

namespace isla::bench {
namespace {

constexpr size_t kValue = 512;

/// Times of gets of random keys until `stop`.
std::vector<double> TimeGets(store::Store& store, int64_t keys, const std::atomic<bool>& stop) {
  std::mt19937_64 random(1);
  std::vector<double> times;
  while (!stop) {
    const std::string key = KeyOf(std::uniform_int_distribution<int64_t>(0, keys - 1)(random));
    const auto begin = Clk::now();
    ISLA_CHECK_OK(store.Get(key));
    times.push_back(Since(begin) * 1e6);
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return times;
}

template <typename Body>
void WithGets(const char* what, store::Store& store, int64_t keys, Body body) {
  std::atomic<bool> stop{false};
  std::vector<double> times;
  std::thread reader([&store, keys, &stop, &times] { times = TimeGets(store, keys, stop); });
  const auto begin = Clk::now();
  body();
  const double seconds = Since(begin);
  stop = true;
  reader.join();
  std::printf("get %-34s p50 %7.1f us  p99 %7.1f us  p99.9 %8.1f us  max %8.1f us  (%zu gets in %.1f s)\n", what, Quantile(times, 0.5),
              Quantile(times, 0.99), Quantile(times, 0.999), Quantile(times, 1), times.size(), seconds);
  std::fflush(stdout);
}

void Put(store::Store& store, int64_t begin, int64_t end) {
  for (int64_t key = begin; key < end; key += 100) {
    store::Transaction txn;
    for (int64_t k = key; k < std::min(key + 100, end); ++k) txn.success.push_back(PutOf(k, kValue).success[0]);
    ISLA_CHECK_OK(store.Txn(txn));
  }
}

/// Opens it in new processes: with its file in the page cache, and (as far as the kernel lets go of it) not.
void TimeOpening(const char* what, const std::string& folder, int rounds) {
  for (const bool cold : {false, true}) {
    std::vector<double> seconds, mebibytes;
    for (int i = 0; i < rounds; ++i) {
      if (cold) {
        const UniqueFd fd(open((folder + "/store.db").c_str(), O_RDONLY));
        fsync(fd.get());
        (void)posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
      }
      isla::testing::CommandOptions options;
      options.timeout = std::chrono::minutes(5);
      const auto result = isla::testing::RunCommand({"/proc/self/exe", "--open", folder}, options);
      double time = 0, memory = 0;
      if (std::sscanf(result.out.c_str(), "%lf %lf", &time, &memory) != 2) std::printf("%s%s\n", result.out.c_str(), result.err.c_str());
      seconds.push_back(time);
      mebibytes.push_back(memory);
    }
    std::printf("open, %s, %s page cache: %.2f s, %.0f MiB resident\n", what, cold ? "cold" : "warm", Median(seconds), Median(mebibytes));
    std::fflush(stdout);
  }
}

}  // namespace

int RunOpen(const std::string& folder) {
  const double before = ResidentMebibytes();
  const auto begin = Clk::now();
  auto store = store::EmbeddedStore::Open(folder);
  if (!store.ok()) {
    std::printf("%s\n", ToString(store.status()).c_str());
    return 1;
  }
  std::printf("%.3f %.1f\n", Since(begin), ResidentMebibytes() - before);
  std::fflush(stdout);
  _exit(0);  // as a process that is killed: no write back
}

void RunBig(const Settings& settings) {
  const isla::testing::TemporaryFolder temporary;
  const std::string folder = temporary.path() + "/store";
  const int64_t keys = settings.keys;
  const int rounds = settings.rounds;
  std::printf("\nA large embedded store, on disk\n");
  std::printf("%ld keys of 53 bytes, values of %zu bytes: %.0f MiB\n", static_cast<long>(keys), kValue,
              static_cast<double>(keys) * (53 + kValue) / (1 << 20));
  {
    auto store = store::EmbeddedStore::Open(folder);
    ISLA_CHECK_OK(store);
    Put(**store, 0, keys);
    WithGets("idle", **store, keys, [] { std::this_thread::sleep_for(std::chrono::seconds(3)); });
  }
  TimeOpening("all in the log", folder, rounds);
  {
    Metrics metrics;
    const Gauge to_fold = metrics.AddGauge("isla_store_log_unfolded_revisions", "Compacted revisions still to be folded on disk");
    store::EmbeddedOptions options;
    options.metrics = &metrics;
    auto store = store::EmbeddedStore::Open(folder, Clock::Real(), options);
    ISLA_CHECK_OK(store);
    WithGets("while a fifth is overwritten", **store, keys, [&store, keys] { Put(**store, 0, keys / 5); });
    const auto now = (*store)->Get("/");
    ISLA_CHECK_OK(now);
    // In memory it is done when Compact returns; on disk it goes on.
    WithGets("while Compact runs", **store, keys, [&store, &now] { ISLA_CHECK_OK((*store)->Compact(now->revision)); });
    std::vector<double> puts;
    WithGets("while the disk is folded", **store, keys, [&store, keys, &puts, &to_fold] {
      for (const auto begin = Clk::now(); Since(begin) < 1 || to_fold.value() > 0;) {
        const auto put = Clk::now();
        Put(**store, keys / 2, keys / 2 + 1);
        puts.push_back(Since(put) * 1e3);
      }
    });
    std::printf("put while the disk is folded: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", Quantile(puts, 0.5), Quantile(puts, 0.99), Quantile(puts, 1));
    puts.clear();
    for (int i = 0; i < 500; ++i) {
      const auto put = Clk::now();
      Put(**store, keys / 2, keys / 2 + 1);
      puts.push_back(Since(put) * 1e3);
    }
    std::printf("put afterwards:               p50 %.1f ms, p99 %.1f ms\n", Quantile(puts, 0.5), Quantile(puts, 0.99));
  }
  TimeOpening("after compaction", folder, rounds);
}

}  // namespace isla::bench
