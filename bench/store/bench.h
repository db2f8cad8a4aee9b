// What the store's benchmarks share: the etcd under measurement, keys, their parts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/common/row.h"
#include "store/store.h"
#include "tests/cluster/etcd_process.h"
#include "tests/conformance/temporary_folder.h"

namespace isla::bench {

struct Settings {
  int rounds = 5;
  int64_t keys = 200'000;       // of the large embedded store; 0 = without
  int64_t most_keys = 100'000;  // up to which cost is followed as keys grow
  int64_t most_watchers = 10'000;
  int64_t objects = 100'000;    // of the typed cache
  bool etcd_on_disk = false;    // else in /dev/shm
  std::string out;              // the folder for plots; none: no plots
};

/// A real etcd, fresh, whose data lies on tmpfs or on the disk of /tmp.
class BenchEtcd {
 public:
  explicit BenchEtcd(bool on_disk);

  std::string endpoint() const { return process_.endpoint(); }
  isla::testing::EtcdProcess& process() { return process_; }
  /// A store of isla's on it.
  std::unique_ptr<store::Store> Connect() const;
  /// Removes what rounds left behind: history, and the file's free pages stay.
  void Compact();

 private:
  const isla::testing::TemporaryFolder folder_;
  isla::testing::EtcdProcess process_;
};

/// The key of the `key`th object, as isla's keys are.
std::string KeyOf(int64_t key);
/// A put of `bytes` at KeyOf(key).
store::Transaction PutOf(int64_t key, size_t bytes);
/// `count` keys from 0 on, `bytes` each, 100 a transaction.
void Fill(store::Store& store, int64_t count, size_t bytes);

double ResidentMebibytes();

// ---- the parts; each prints what it measured ----

/// The embedded store: a durable transaction of one writer, 64 writers; beside fdatasync and etcd on the same disk.
void RunEmbedded(const Settings& settings);
/// With many keys: time to open, memory, and a get's time while compaction runs.
void RunBig(const Settings& settings);
/// In a process of its own (bench_store --open FOLDER): opens the store once and prints its time and memory.
int RunOpen(const std::string& folder);
/// The etcd backend beside the bare generated stub.
void RunEtcd(const Settings& settings);
/// From the store to a handler, beside a bare watch; and 500 of them.
void RunEvents(const Settings& settings);
/// What it costs as keys and watchers become more: tables, and plots in `settings.out`.
void RunGrowth(const Settings& settings);
/// Many objects into the typed cache, beside a bare paged Range.
void RunTyped(const Settings& settings);
/// In a process of its own (bench_store --list bare|typed ENDPOINT): prints the time, memory, and how many there were.
int RunList(const std::string& kind, const std::string& endpoint);

}  // namespace isla::bench
