// How long from apply to Running, where it goes, and how that compares with the floor. Run by bench/run, in a
// cell; prints a table. A row is of `count` sessions in five rounds: back to back, and with 100 ms between, which
// costs the floor more: after a pause a write to cgroup.procs waits for an RCU grace period (agentd/migration_warmup.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <thread>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "bench/start/floor.h"
#include "bench/start/watch.h"
#include "store/etcd/etcd_store.h"
#include "tests/cluster/mini_cluster.h"

namespace isla::bench {
namespace {

using testing::MiniCluster;
constexpr size_t kBatch = 10;  // of sessions of 150m each
constexpr int kRounds = 5;    // all rows in turn, so that a noisy minute is in each
constexpr const char* kFloor = "floor: 4 etcd txns, bare scope, exec";
constexpr const char* kPost = "POST on a socket";
constexpr const char* kToScope = "  of it: accepted to scope";
constexpr const char* kToExec = "  of it: scope to execve";
constexpr const char* kSessions = "/apis/isla/v1/namespaces/default/sessions";

struct Figures {
  std::vector<double> ms;
  double At(double quantile) {
    if (ms.empty()) return 0;
    std::sort(ms.begin(), ms.end());
    return ms[std::min(ms.size() - 1, static_cast<size_t>(quantile * static_cast<double>(ms.size())))];
  }
};

/// How long after one start the next begins.
struct Pace {
  const char* name;
  std::chrono::milliseconds gap;
  int share;  // one in so many of the sessions of a row is started at this pace
};
constexpr Pace kPaces[] = {{"back to back", std::chrono::milliseconds(0), 1},
                           {"100 ms gaps", std::chrono::milliseconds(100), 1},
                           // After a second agentd doesn't keep the cgroup lock ready any more: a cold start.
                           {"2 s gaps", std::chrono::milliseconds(2000), 10}};

/// One row of the table: the median of the rounds' medians, and the 99th percentile of all.
struct RowFigures {
  std::vector<double> medians;
  Figures all;
  void Add(Figures round) {
    if (round.ms.empty()) return;
    medians.push_back(round.At(0.5));
    all.ms.insert(all.ms.end(), round.ms.begin(), round.ms.end());
  }
  double Median() const { return Figures{medians}.At(0.5); }
};

class Bench {
 public:
  Bench(int count) : count_(count) { cluster_.Start(); }

  void Run() {
    watch_ = std::make_unique<SessionWatch>(cluster_.ApiSocket());
    const bool kubectl = testing::RunCommand({"kubectl", "version", "--client"}).exit_code == 0;
    for (int round = 1; round <= kRounds; ++round) {
      std::fprintf(stderr, "round %d of %d\n", round, kRounds);
      for (const Pace& pace : kPaces) {
        rows_[{kFloor, pace.name}].Add(Floor(pace));
        Measure(kPost, pace, [this](const std::string& name) { Request(cluster_.ApiSocket(), "POST", kSessions, Manifest(name)); });
        if (pace.share > 1) continue;
        Measure("isla apply", pace, [this](const std::string& name) {
          const auto result = cluster_.Isla({"apply", "-f", "-"}, Manifest(name));
          if (result.exit_code != 0) Fail(result.err);
        });
        if (kubectl) Measure("kubectl apply", pace, [this](const std::string& name) { KubectlApply(name); });
      }
    }
    Print();
    AllAtOnce();
  }

 private:
  [[noreturn]] static void Fail(const std::string& what) {
    std::fprintf(stderr, "bench: %s\n", what.c_str());
    std::exit(1);
  }

  static std::string Manifest(const std::string& name, const std::string& cpu = "150m") {
    return R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":")" + name +
           R"("},"spec":{"command":["/bin/sleep","600"],"resources":{"cpu":")" + cpu + R"(","memory":"8Mi","tasks":8},"terminationGracePeriod":"1s"}})";
  }

  void KubectlApply(const std::string& name) {
    testing::CommandOptions options;
    options.input = Manifest(name);
    const auto result = testing::RunCommand(
        {"kubectl", "--kubeconfig", cluster_.KubeConfig(), "apply", "--validate=false", "-f", "-"}, options);
    if (result.exit_code != 0) Fail(result.err);
  }

  int CountAt(const Pace& pace) const { return std::max(1, count_ / kRounds / pace.share); }

  /// The durable writes of a start (create, bind, run, status) and the agent's journal, then scope and exec.
  Figures Floor(const Pace& pace) {
    EtcdStoreOnce();
    Figures figures;
    for (int i = 0; i < CountAt(pace); ++i) {
      std::this_thread::sleep_for(pace.gap);
      const double writes = RawTransactions(*etcd_, 4, 1500);
      figures.ms.push_back(writes + BareScope("floor-" + std::to_string(serial_++) + ".scope"));
    }
    return figures;
  }

  void EtcdStoreOnce() {
    if (etcd_ != nullptr) return;
    auto connected = store::ConnectEtcd({.endpoints = {"unix://" + cluster_.EtcdSocket()}, .ca_pem = {},
                                         .certificate_pem = {}, .key_pem = {}, .user = {}, .password = {}});
    if (!connected.ok()) Fail(ToString(connected.status()));
    etcd_ = std::move(*connected);
  }

  void Measure(const char* what, const Pace& pace, const std::function<void(const std::string&)>& apply) {
    Figures figures;
    to_scope_ = to_exec_ = {};
    for (int i = 0; i < CountAt(pace); ++i) {
      const std::string name = "s" + std::to_string(serial_++);
      std::this_thread::sleep_for(pace.gap);
      const auto begin = Clock::now();
      apply(name);
      figures.ms.push_back(std::chrono::duration<double, std::milli>(watch_->Seen(name, "Running") - begin).count());
      last_.push_back(name);
      // In batches that the node holds at once, so that what is removed is on no start's way.
      if (last_.size() == kBatch) EndBatch();
    }
    EndBatch();
    rows_[{what, pace.name}].Add(figures);
    if (what != kPost) return;
    rows_[{kToScope, pace.name}].Add(to_scope_);
    rows_[{kToExec, pace.name}].Add(to_exec_);
  }

  void EndBatch() {
    CollectSteps();
    for (const std::string& name : last_) Request(cluster_.ApiSocket(), "DELETE", std::string(kSessions) + "/" + name);
    for (const std::string& name : last_) watch_->Seen(name, "gone");
    last_.clear();
  }

  /// The steps of the newest starts, by the records' own times.
  void CollectSteps() {
    const auto value = testing::RunCommand({"etcdctl", "--endpoints=unix://" + cluster_.EtcdSocket(), "get", "--print-value-only",
                                            "--prefix", "/isla/default/run/"},
                                           {.input = {}, .timeout = std::chrono::seconds(10), .environment = {"ETCDCTL_API=3"}, .uid = 0});
    const auto records = json::ParseAll(value.out, {.max_bytes = 16 << 20, .max_depth = 32});
    if (!records.ok()) return;
    for (const json::Value& record : *records) {
      const auto at = [&record](const char* name) { return ParseRfc3339(record.StringAt({name})); };
      const auto accepted = at("acceptedAt"), created = at("createdAt"), started = at("startedAt");
      if (!accepted.ok() || !created.ok() || !started.ok()) continue;
      to_scope_.ms.push_back(std::chrono::duration<double, std::milli>(*created - *accepted).count());
      to_exec_.ms.push_back(std::chrono::duration<double, std::milli>(*started - *created).count());
    }
  }

  void Print() {
    std::printf("| from apply to Running                  | how          | p50 ms  | p99 ms  | floor  |\n|---|---|---|---|---|\n");
    for (const char* what : {kFloor, kPost, kToScope, kToExec, "isla apply", "kubectl apply"}) {
      for (const Pace& pace : kPaces) {
        const auto row = rows_.find({what, pace.name});
        if (row == rows_.end()) continue;
        const double p50 = row->second.Median();
        std::printf("| %-38s | %-12s | %7.2f | %7.2f | %5.2fx |\n", what, pace.name, p50, row->second.all.At(0.99),
                    p50 / rows_[{kFloor, pace.name}].Median());
      }
    }
    std::fflush(stdout);
  }

  void AllAtOnce() {
    constexpr int kCount = 200;
    std::string all;
    for (int i = 0; i < kCount; ++i) all += Manifest("all" + std::to_string(i), "10m") + "\n";
    auto begin = Clock::now();
    const auto applied = cluster_.Isla({"apply", "-f", "-"}, all);
    if (applied.exit_code != 0) Fail(applied.err);
    auto last = begin;
    for (int i = 0; i < kCount; ++i) last = std::max(last, watch_->Seen("all" + std::to_string(i), "Running"));
    const double up = std::chrono::duration<double>(last - begin).count();
    begin = Clock::now();
    const auto deleted = cluster_.Isla({"delete", "sessions", "--all"}, {}, std::chrono::seconds(120));
    if (deleted.exit_code != 0) Fail(deleted.err);
    last = begin;
    for (int i = 0; i < kCount; ++i) last = std::max(last, watch_->Seen("all" + std::to_string(i), "gone"));
    const double down = std::chrono::duration<double>(last - begin).count();
    std::printf("\n200 sessions applied at once: %.0f sessions/s to Running (%.2f s), %.0f sessions/s to gone (%.2f s)\n",
                kCount / up, up, kCount / down, down);
  }

  int count_;
  int serial_ = 0;
  MiniCluster cluster_{{.islads = 1, .agents = 1, .node_config = "", .islad_flags = {"--api-listen=127.0.0.1:26443"}}};
  std::unique_ptr<SessionWatch> watch_;
  std::unique_ptr<store::Store> etcd_;
  std::vector<std::string> last_;
  Figures to_scope_, to_exec_;  // of the row under way
  std::map<std::pair<std::string, std::string>, RowFigures> rows_;  // by what and pace
};

}  // namespace
}  // namespace isla::bench

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  isla::bench::Bench bench(argc > 1 ? std::atoi(argv[1]) : 100);
  bench.Run();
  return 0;
}
