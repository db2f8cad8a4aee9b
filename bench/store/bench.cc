#include "bench/store/bench.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "store/etcd/etcd_store.h"

namespace isla::bench {

BenchEtcd::BenchEtcd(bool on_disk)
    : folder_(on_disk ? "/tmp" : "/dev/shm"),
      process_({"--data-dir=" + folder_.path() + "/data", "--quota-backend-bytes=8589934592"}) {
  process_.Start();
}

std::unique_ptr<store::Store> BenchEtcd::Connect() const {
  store::EtcdOptions options;
  options.endpoints = {endpoint()};
  auto store = store::ConnectEtcd(options);
  ISLA_CHECK_OK(store);
  return std::move(*store);
}

void BenchEtcd::Compact() {
  const auto store = Connect();
  const auto now = store->Get("/");
  ISLA_CHECK_OK(now);
  store->Compact(now->revision).IgnoreError();  // OUT_OF_RANGE: it is already
}

std::string KeyOf(int64_t key) { return fmt::format("/isla/default/status/session/default/bench-{:08}", key); }

store::Transaction PutOf(int64_t key, size_t bytes) {
  store::Transaction txn;
  txn.success.push_back(store::Operation::Put(KeyOf(key), std::string(bytes, static_cast<char>('a' + key % 26))));
  return txn;
}

void Fill(store::Store& store, int64_t count, size_t bytes) {
  for (int64_t key = 0; key < count; key += 100) {
    store::Transaction txn;
    for (int64_t k = key; k < std::min(key + 100, count); ++k) txn.success.push_back(std::move(PutOf(k, bytes).success[0]));
    ISLA_CHECK_OK(store.Txn(txn));
  }
}

double ResidentMebibytes() {
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace isla::bench
