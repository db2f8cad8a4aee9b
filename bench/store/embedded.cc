// The embedded store beside what it can't beat (an fdatasync of the same bytes on the same disk) and what it replaces (etcd on the same disk).
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "api/base/unique_fd.h"
#include "bench/store/bench.h"
#include "store/embedded/embedded_store.h"

namespace isla::bench {
namespace {

constexpr size_t kValue = 256;
constexpr int kOperations = 200;  // of one writer in a round

/// The median time of `kOperations` writes of as many bytes, each with its fdatasync; at the end of the file, or over what is there.
double Floor(int fd, bool append, int64_t& at) {
  const std::string bytes(kValue + 64, 'x');
  std::vector<double> times;
  for (int i = 0; i < kOperations; ++i) {
    const auto begin = Clk::now();
    const off_t offset = append ? at : static_cast<off_t>(i) * static_cast<off_t>(bytes.size());
    if (pwrite(fd, bytes.data(), bytes.size(), offset) < 0 || fdatasync(fd) != 0) std::abort();
    at += append ? static_cast<int64_t>(bytes.size()) : 0;
    times.push_back(Since(begin));
  }
  return Median(times);
}

double OneWriter(store::Store& store, int64_t& key) {
  std::vector<double> times;
  for (int i = 0; i < kOperations; ++i) {
    const store::Transaction txn = PutOf(key++, kValue);
    const auto begin = Clk::now();
    ISLA_CHECK_OK(store.Txn(txn));
    times.push_back(Since(begin));
  }
  return Median(times);
}

/// Transactions a second of `writers` threads.
double Throughput(store::Store& store, int writers, double seconds) {
  std::atomic<bool> stop{false};
  std::atomic<int64_t> done{0};
  std::vector<std::thread> threads;
  const auto begin = Clk::now();
  for (int t = 0; t < writers; ++t) {
    threads.emplace_back([&store, &stop, &done, t] {
      for (int64_t i = 0; !stop; ++i) {
        if (store.Txn(PutOf(t * 1000 + i % 1000, kValue)).ok()) ++done;
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (auto& thread : threads) thread.join();
  return static_cast<double>(done) / Since(begin);
}

}  // namespace

void RunEmbedded(const Settings& settings) {
  const isla::testing::TemporaryFolder folder;
  auto opened = store::EmbeddedStore::Open(folder.path() + "/store");
  ISLA_CHECK_OK(opened);
  store::Store& embedded = **opened;
  BenchEtcd process(/*on_disk=*/true);
  const auto etcd = process.Connect();
  const UniqueFd append(open((folder.path() + "/append").c_str(), O_RDWR | O_CREAT, 0600));
  const UniqueFd over(open((folder.path() + "/over").c_str(), O_RDWR | O_CREAT, 0600));
  ISLA_CHECK_OK(WriteAll(over.get(), std::string(1 << 20, 'x')));
  fsync(over.get());

  using enum Row::Aim;
  Row beside_append("durable txn of 256 B, one writer, p50", "us", "append + fdatasync", Row::By::kRatio, kAtMost, 1.5);
  Row beside_over("durable txn of 256 B, one writer, p50", "us", "overwrite + fdatasync", Row::By::kRatio, kAtMost, 1.5);
  Row beside_etcd("durable txn of 256 B, one writer, p50", "us", "etcd");
  Row many("64 writers of 256 B", "txn/s", "etcd", Row::By::kRatio, kAtLeast, 3);
  int64_t at = 0, key = 0;
  for (int round = -1; round < settings.rounds; ++round) {
    const double floor_append = Floor(append.get(), true, at), one = OneWriter(embedded, key);
    const double floor_over = Floor(over.get(), false, at), one_etcd = OneWriter(*etcd, key);
    const double all = Throughput(embedded, 64, 1), all_etcd = Throughput(*etcd, 64, 1);
    if (round < 0) continue;  // to warm up
    beside_append.Add(one * 1e6, floor_append * 1e6);
    beside_over.Add(one * 1e6, floor_over * 1e6);
    beside_etcd.Add(one * 1e6, one_etcd * 1e6);
    many.Add(all, all_etcd);
  }
  std::printf("\nThe embedded store on disk; etcd on the same disk\n");
  Row::PrintHeader();
  for (const Row* row : {&beside_append, &beside_over, &beside_etcd, &many}) row->Print();
}

}  // namespace isla::bench
