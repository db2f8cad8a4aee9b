// The etcd backend beside the bare generated stub: what checking, metadata, deadlines, endpoints and errors cost.
#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>

#include "bench/store/bare_etcd.h"
#include "bench/store/bench.h"

namespace isla::bench {
namespace {

constexpr int kTurn = 100;  // transactions of one, then of the other
constexpr int kTurns = 16;  // in a round

void Take(std::vector<double>& times, int count, const std::function<void(int64_t)>& txn) {
  static int64_t key = 0;
  for (int i = 0; i < count; ++i) {
    const auto begin = Clk::now();
    txn(key++ % 1000);
    times.push_back(Since(begin) * 1e6);
  }
}

void OneClient(const Settings& settings, size_t bytes) {
  BenchEtcd etcd(settings.etcd_on_disk);
  const auto store = etcd.Connect();
  BareEtcd bare(etcd.endpoint());
  Row p50(fmt::format("txn of {} B, one client, p50", bytes), "us", "bare stub", Row::By::kRatio, Row::Aim::kAtMost, 1.10);
  Row p99(fmt::format("txn of {} B, one client, p99", bytes), "us", "bare stub");
  const auto ours = [&store, bytes](int64_t key) { ISLA_CHECK_OK(store->Txn(PutOf(key, bytes))); };
  const auto theirs = [&bare, bytes](int64_t key) { bare.Put(KeyOf(key), std::string(bytes, 'x')); };
  for (int round = -1; round < settings.rounds; ++round) {
    std::vector<double> mine, peers;
    for (int turn = 0; turn < kTurns; ++turn) {
      if (turn % 2 == 0) Take(mine, kTurn, ours);
      Take(peers, kTurn, theirs);
      if (turn % 2 == 1) Take(mine, kTurn, ours);
    }
    if (round < 0) continue;  // to warm up
    p50.Add(Median(mine), Median(peers));
    p99.Add(Quantile(mine, 0.99), Quantile(peers, 0.99));
  }
  p50.Print();
  p99.Print();
}

/// Transactions a second of 64 threads.
double Throughput(double seconds, const std::function<void(int64_t)>& txn) {
  constexpr int kWriters = 64;
  std::atomic<bool> stop{false};
  std::atomic<int64_t> done{0};
  std::vector<std::thread> threads;
  const auto begin = Clk::now();
  for (int t = 0; t < kWriters; ++t) {
    threads.emplace_back([&stop, &done, &txn, t] {
      for (int64_t i = 0; !stop; ++i) {
        txn(t * 100 + i % 100);
        ++done;
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (auto& thread : threads) thread.join();
  return static_cast<double>(done) / Since(begin);
}

void ManyClients(const Settings& settings, size_t bytes) {
  BenchEtcd etcd(settings.etcd_on_disk);
  const auto store = etcd.Connect();
  BareEtcd bare(etcd.endpoint());
  Row row(fmt::format("64 writers of {} B", bytes), "txn/s", "bare stub, 64 threads", Row::By::kRatio, Row::Aim::kAtLeast, 0.95);
  const auto ours = [&store, bytes](int64_t key) { ISLA_CHECK_OK(store->Txn(PutOf(key, bytes))); };
  const auto theirs = [&bare, bytes](int64_t key) { bare.Put(KeyOf(key), std::string(bytes, 'x')); };
  for (int round = -1; round < settings.rounds; ++round) {
    double mine = 0, peers = 0;
    constexpr double kSeconds = 0.4;
    constexpr int kPairs = 4;
    for (int turn = 0; turn < kPairs; ++turn) {
      if (turn % 2 == 0) mine += Throughput(kSeconds, ours);
      peers += Throughput(kSeconds, theirs);
      if (turn % 2 == 1) mine += Throughput(kSeconds, ours);
    }
    etcd.Compact();
    if (round >= 0) row.Add(mine / kPairs, peers / kPairs);
  }
  row.Print();
}

}  // namespace

void RunEtcd(const Settings& settings) {
  std::printf("\nThe etcd backend; etcd on %s\n", settings.etcd_on_disk ? "disk" : "tmpfs");
  Row::PrintHeader();
  OneClient(settings, 4096);
  OneClient(settings, 256);
  ManyClients(settings, 256);
  ManyClients(settings, 4096);
}

}  // namespace isla::bench
