// 100,000 sessions from etcd into the typed cache that the controllers read (watch cache, informer, ClusterState), and into the
// API's view of objects, beside a bare paged Range that drops what it reads. Each time in a process of its own, so that all begin with
// an empty allocator, and the memory is the cache's alone: resident, with all that the process has for it (connections, threads).
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <semaphore>

#include "api/object/object.h"
#include "api/registry/view.h"
#include "bench/store/bare_etcd.h"
#include "bench/store/bench.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/informer.h"
#include "store/etcd/etcd_store.h"
#include "tests/cluster/process.h"

namespace isla::bench {
namespace {

constexpr size_t kBytes = 2048;
constexpr int64_t kPage = 500;  // as the backend's

/// A session as `isla apply` leaves it in the store: defaults, what the server adds, and the manifest in its annotation. The
/// script's length makes it kBytes long.
std::string SessionOf(int64_t number, size_t padding) {
  const std::string name = fmt::format("bench-{:06}", number);
  const std::string script = "set -e; cd \"$WORK\"; ./configure --quiet; make -j2; make check; tar -cf out.tar out # " + std::string(padding, '-');
  json::Value env = json::Value::MakeArray();
  for (const auto& [key, value] : {std::pair{"WORK", "/tmp/work"}, {"LANG", "C.UTF-8"}, {"TZ", "Europe/Berlin"}, {"OMP_NUM_THREADS", "2"}}) {
    env.Append(json::Value::MakeObject({{"name", key}, {"value", value}}));
  }
  json::Value spec = json::Value::MakeObject({
      {"image", "host"},
      {"command", json::Value::MakeArray({"/bin/sh", "-c", script})},
      {"args", json::Value::MakeArray({"build", fmt::format("--seed={}", number), "--verbose"})},
      {"env", env},
      {"resources", json::Value::MakeObject({{"cpu", "500m"}, {"memory", "512Mi"}, {"tasks", 64}})},
      {"mounts", json::Value::MakeArray({json::Value::MakeObject({{"hostPath", "/srv/data"}, {"mountPath", "/data"}})})},
      {"timeout", "30m"}});
  json::Value metadata = json::Value::MakeObject(
      {{"name", name}, {"namespace", "default"},
       {"labels", json::Value::MakeObject({{"app", "build"}, {"team", "compilers"}, {"run", fmt::format("r{}", number / 100)}})}});
  json::Value session = json::Value::MakeObject({{"apiVersion", "isla/v1"}, {"kind", "Session"}, {"metadata", metadata}, {"spec", spec}});
  const std::string applied = json::Serialize(session) + "\n";
  json::Value& meta = session.Member("metadata");
  meta.Set("annotations", json::Value::MakeObject({{"kubectl.kubernetes.io/last-applied-configuration", applied}}));
  meta.Set("uid", fmt::format("6f1c2a52-7d0e-4b7a-9c1e-{:012x}", number));
  meta.Set("generation", 1);
  meta.Set("creationTimestamp", "2026-11-22T15:42:17.123456Z");
  meta.Set("createdBy", "unix:root");
  meta.Set("finalizers", json::Value::MakeArray({"isla/containers"}));
  api::ApplyDefaults(api::SessionKind(), session);
  return json::Serialize(session);
}

/// Puts them; the bytes of their values.
double FillSessions(store::Store& store, int64_t count) {
  const size_t padding = (kBytes - SessionOf(count - 1, 0).size()) / 2;  // it is there twice: as itself and in the annotation
  double bytes = 0;
  for (int64_t begin = 0; begin < count; begin += 100) {
    store::Transaction txn;
    for (int64_t i = begin; i < std::min(begin + 100, count); ++i) {
      std::string value = SessionOf(i, padding);
      bytes += static_cast<double>(value.size());
      txn.success.push_back(store::Operation::Put(store::Keys().Spec("session", "default", fmt::format("bench-{:06}", i)), std::move(value)));
    }
    ISLA_CHECK_OK(store.Txn(txn));
  }
  return bytes;
}

class FirstList final : public controllers::ChangeListener {
 public:
  void OnChanges(const std::vector<controllers::Change>& changes, store::Revision) override {
    if (!changes.empty()) listed_.release();
  }
  void OnReset() override {}
  void Wait() { listed_.acquire(); }

 private:
  std::counting_semaphore<> listed_{0};
};

struct Listed {
  double seconds = 0, mebibytes = 0;
};

Listed ListInChild(const std::string& kind, const BenchEtcd& etcd, int64_t count) {
  isla::testing::CommandOptions options;
  options.timeout = std::chrono::minutes(5);
  const auto result = isla::testing::RunCommand({"/proc/self/exe", "--list", kind, etcd.endpoint()}, options);
  Listed listed;
  double keys = 0;
  if (std::sscanf(result.out.c_str(), "%lf %lf %lf", &listed.seconds, &listed.mebibytes, &keys) != 3 || keys != static_cast<double>(count)) {
    std::printf("%s%s\n", result.out.c_str(), result.err.c_str());
    ISLA_CHECK(false);
  }
  return listed;
}

}  // namespace

namespace {

size_t ListBare(const std::string& endpoint) {
  BareEtcd bare(endpoint);
  size_t keys = 0;
  bare.RangeAll("/isla/default/", kPage, keys);
  return keys;
}

/// A watch cache over etcd, and what reads it; kept until the process ends.
struct Reading {
  explicit Reading(const std::string& endpoint) {
    store::EtcdOptions options;
    options.endpoints = {endpoint};
    store = std::move(*store::ConnectEtcd(options));
    cache = store::StartWatchCache(*store, Clock::Real(), {});
  }
  std::unique_ptr<store::Store> store;
  std::unique_ptr<store::WatchCache> cache;
};

class TypedList : Reading {
 public:
  explicit TypedList(const std::string& endpoint) : Reading(endpoint), state_(store::Keys(), Clock::Real()) {
    listeners_.Add(first_);
    informer_ = std::make_unique<controllers::Informer>(*cache, state_, listeners_);
    first_.Wait();
  }
  /// All are typed, and none is refused.
  size_t keys() const { return state_.Scheduling().pending.size(); }

 private:
  controllers::ClusterState state_;
  controllers::Listeners listeners_;
  FirstList first_;
  std::unique_ptr<controllers::Informer> informer_;
};

class ServedList : Reading {
 public:
  explicit ServedList(const std::string& endpoint) : Reading(endpoint), view_(*cache, store::Keys(), 4096) {
    ISLA_CHECK_OK(view_.WaitFor(1, std::chrono::minutes(1)));
  }
  size_t keys() const { return view_.List(api::SessionKind(), "default", {}).items.size(); }

 private:
  registry::ObjectView view_;
};

template <typename List>
void TimeList(const std::string& endpoint) {
  const double before = ResidentMebibytes();
  const auto begin = Clk::now();
  const List list(endpoint);
  const double seconds = Since(begin), memory = ResidentMebibytes() - before;
  std::printf("%.4f %.1f %zu\n", seconds, memory, list.keys());
  std::fflush(stdout);
  _exit(0);
}

}  // namespace

int RunList(const std::string& kind, const std::string& endpoint) {
  if (kind == "typed") TimeList<TypedList>(endpoint);
  if (kind == "served") TimeList<ServedList>(endpoint);
  const auto begin = Clk::now();
  const size_t keys = ListBare(endpoint);
  std::printf("%.4f 0 %zu\n", Since(begin), keys);
  return 0;
}

void RunTyped(const Settings& settings) {
  BenchEtcd etcd(settings.etcd_on_disk);
  const double mebibytes = FillSessions(*etcd.Connect(), settings.objects) / (1 << 20);
  const std::string what = fmt::format("{} sessions of {:.0f} B", settings.objects, mebibytes * (1 << 20) / static_cast<double>(settings.objects));
  Row time(what + ", typed: until all are there", "ms", "bare paged Range", Row::By::kRatio, Row::Aim::kAtMost, 2);
  Row memory("  memory of that process", "MiB", "the JSON's bytes", Row::By::kRatio, Row::Aim::kAtMost, 2);
  Row served_time(what + ", as the API's objects", "ms", "bare paged Range");
  Row served_memory("  memory of that process", "MiB", "the JSON's bytes");
  for (int round = -1; round < settings.rounds; ++round) {
    std::map<std::string, Listed> listed;
    std::vector<std::string> kinds = {"typed", "bare", "served"};
    if (round % 2 != 0) std::reverse(kinds.begin(), kinds.end());
    for (const std::string& kind : kinds) listed[kind] = ListInChild(kind, etcd, settings.objects);
    if (round < 0) continue;
    time.Add(listed["typed"].seconds * 1e3, listed["bare"].seconds * 1e3);
    memory.Add(listed["typed"].mebibytes, mebibytes);
    served_time.Add(listed["served"].seconds * 1e3, listed["bare"].seconds * 1e3);
    served_memory.Add(listed["served"].mebibytes, mebibytes);
  }
  std::printf("\nMany objects in memory; etcd on %s\n", settings.etcd_on_disk ? "disk" : "tmpfs");
  Row::PrintHeader();
  for (const Row* row : {&time, &memory, &served_time, &served_memory}) row->Print();
}

}  // namespace isla::bench
