// An islad without its controllers: the API over a store in memory, and a stand-in for the leader that moves
// sessions through their phases through the store, as the real one does. For the tests with stock kubectl.
//
//   kubectl_test_server DATA_DIR [PARENT]
//
// Serves on DATA_DIR/api.sock and on 127.0.0.1, any port; DATA_DIR/kubeconfig says which. Prints "ready" and ends on
// SIGTERM, when its standard input ends, or with the process that started it, however that ends: it never outlives
// its test. PARENT is that process, for the case that it is gone before this one begins. A session with the label "hold" stays Pending; the rest run for as many milliseconds as the label
// "run-ms" says (default: for ever). Deleted ones pass Terminating for "stop-ms" (default 0).
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/metrics.h"
#include "api/base/unique_fd.h"
#include "api/registry/registry.h"
#include "api/server/server.h"
#include "store/cache/watch_cache.h"
#include "store/embedded/embedded_store.h"

namespace isla {
namespace {

using json::Value;

/// A log of three lines, then, if it is followed, one more a moment later.
class ThreeLines final : public server::LogSource {
 public:
  class Stream final : public server::LogStream {
   public:
    explicit Stream(const server::LogRequest& request) {
      for (int64_t i = 3 - std::min<int64_t>(3, request.tail_lines.value_or(3)); i < 3; ++i) {
        if (request.timestamps) text_ += "2026-01-01T00:00:00.000000000Z ";
        text_ += "line " + std::to_string(i + 1) + "\n";
      }
      if (request.follow) later_ = "the last line\n";
    }
    ~Stream() override {
      if (timer_.joinable()) timer_.join();
    }
    void Notify(std::function<void()> ready) override { ready_ = std::move(ready); }
    StatusOr<std::string> Next() override {
      if (!text_.empty()) return std::exchange(text_, {});
      if (later_.empty() || timer_done_) {
        if (!later_.empty()) return std::exchange(later_, {});
        return Error(Code::kOutOfRange, "end");
      }
      if (!timer_.joinable()) {
        timer_ = std::jthread([this] {
          std::this_thread::sleep_for(std::chrono::milliseconds(200));
          timer_done_ = true;
          ready_();
        });
      }
      return Error(Code::kDeadlineExceeded, "nothing yet");
    }

   private:
    std::string text_, later_;
    std::function<void()> ready_;
    std::atomic<bool> timer_done_ = false;
    std::jthread timer_;
  };
  StatusOr<std::unique_ptr<server::LogStream>> Open(const server::LogRequest& request) override {
    if (request.object->StringAt({"status", "phase"}) == "Pending") {
      return Errorf(Code::kFailedPrecondition, "session '{}' has not been started yet", request.session);
    }
    return std::unique_ptr<server::LogStream>(std::make_unique<Stream>(request));
  }
};

/// Moves sessions on, one step each time that their time has come.
class Leader {
 public:
  Leader(store::Store& store, store::WatchCache& cache) : store_(store), cache_(cache) {}

  void Step() {
    const MonotonicTime now = Clock::Real().Monotonic();
    for (const auto& kv : cache_.List(keys_.SpecPrefix("session")).kvs) {
      const auto spec = json::Parse(kv->value);
      if (spec.ok() && !spec->StringAt({"metadata", "uid"}).empty()) StepSession(*kv, *spec, now);
    }
    for (const auto& kv : cache_.List(keys_.SpecPrefix("project")).kvs) {
      const auto spec = json::Parse(kv->value);
      if (!spec.ok() || spec->FindPath({"metadata", "deletionTimestamp"}) == nullptr) continue;
      if (!cache_.List(keys_.SpecPrefix("session", spec->StringAt({"metadata", "name"}))).kvs.empty()) continue;
      store::Transaction txn;
      txn.compares.push_back(store::Compare::ModRevision(kv->key, kv->mod_revision));
      txn.success.push_back(store::Operation::Delete(kv->key));
      (void)store_.Txn(txn);
    }
  }

 private:
  static Value Condition(const char* type, bool status, const char* reason, int64_t generation) {
    return Value::MakeObject({{"type", type},
                              {"status", status ? "True" : "False"},
                              {"reason", reason},
                              {"message", ""},
                              {"lastTransitionTime", FormatRfc3339(Clock::Real().Wall())},
                              {"observedGeneration", generation}});
  }

  void StepSession(const store::KeyValue& kv, const Value& spec, MonotonicTime now) {
    const std::string ns = spec.StringAt({"metadata", "namespace"});
    const std::string name = spec.StringAt({"metadata", "name"});
    const std::string uid = spec.StringAt({"metadata", "uid"});
    const auto label = [&spec](const char* which, int64_t fallback) {
      const std::string text = spec.StringAt({"metadata", "labels", which});
      return text.empty() ? fallback : std::stoll(text);
    };
    std::string phase = "Pending";
    int64_t observed = 0;
    if (const auto old = cache_.Get(keys_.Status("session", ns, name))) {
      const auto status = json::Parse(old->value);
      if (status.ok() && status->StringAt({"uid"}) == uid) {
        phase = status->StringAt({"status", "phase"});
        observed = status->Int64At({"observedGeneration"}).value_or(0);
      }
    }
    const int64_t generation = spec.Int64At({"metadata", "generation"}).value_or(0);
    const bool deleted = spec.FindPath({"metadata", "deletionTimestamp"}) != nullptr;
    std::string next = phase;
    int64_t after_ms = 0;
    if (deleted && phase == "Terminating") {
      next.clear();
      after_ms = label("stop-ms", 0);
    } else if (deleted) {
      next = "Terminating";
    } else if (phase == "Pending" && label("hold", 0) == 0) {
      next = "Scheduled";
    } else if (phase == "Scheduled") {
      next = "Preparing";
    } else if (phase == "Preparing") {
      next = "Running";
    } else if (phase == "Running" && label("run-ms", -1) >= 0) {
      next = "Succeeded";
      after_ms = label("run-ms", 0);
    }
    if (next == phase && observed == generation) return;
    const auto [since, fresh] = since_.try_emplace(uid + phase + next, now);
    if (now < since->second + std::chrono::milliseconds(after_ms)) return;
    since_.erase(since);
    Write(kv, spec, next, generation);
  }

  void Write(const store::KeyValue& kv, const Value& spec, const std::string& phase, int64_t generation) {
    const std::string ns = spec.StringAt({"metadata", "namespace"});
    const std::string name = spec.StringAt({"metadata", "name"});
    const std::string key = keys_.Status("session", ns, name);
    const bool ended = phase == "Succeeded";
    store::Transaction txn;
    txn.compares.push_back(store::Compare::ModRevision(kv.key, kv.mod_revision));
    if (phase.empty()) {
      txn.success.push_back(store::Operation::Delete(kv.key));
      txn.success.push_back(store::Operation::Delete(key));
    } else {
      Value status = Value::MakeObject({{"phase", phase}, {"observedGeneration", generation}});
      status.Set("conditions", Value::MakeArray({Condition("Scheduled", phase != "Pending", "Placed", generation),
                                                 Condition("Ready", phase == "Running", "Started", generation),
                                                 Condition("Finished", ended, "Completed", generation)}));
      if (ended) status.Set("result", "Succeeded");
      const Value value = Value::MakeObject({{"uid", spec.StringAt({"metadata", "uid"})},
                                             {"observedGeneration", generation},
                                             {"status", status}});
      txn.success.push_back(store::Operation::Put(key, json::Serialize(value)));
    }
    (void)store_.Txn(txn);
  }

  store::Store& store_;
  store::WatchCache& cache_;
  const store::Keys keys_;
  std::map<std::string, MonotonicTime> since_;  // when a step first became possible
};

/// SIGTERM when the parent ends, unless the test's own helper has asked for a harder signal. False: it has ended already.
bool DieWithParent(pid_t parent) {
  int before = 0;
  if (prctl(PR_GET_PDEATHSIG, &before) != 0 || before == 0) prctl(PR_SET_PDEATHSIG, SIGTERM);
  // From here on the signal comes; what happened before shows in who the parent is now.
  return getppid() == parent;
}

int Main(const std::string& dir) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const UniqueFd ends(signalfd(-1, &signals, SFD_CLOEXEC));

  const auto store = store::EmbeddedStore::InMemory();
  const store::Keys keys;
  ISLA_CHECK_OK(registry::Bootstrap(*store, keys, Clock::Real(), Random::Real()));
  const auto cache = store::StartWatchCache(*store, Clock::Real(), {.keys = keys, .barrier_id = "test"});
  ISLA_CHECK_OK(cache->WaitSynced(std::chrono::seconds(10)));
  const auto registry = registry::MakeRegistry(*store, *cache, Clock::Real(), Random::Real(), {.keys = keys});
  ThreeLines logs;
  Metrics metrics;
  server::ServerOptions options;
  options.socket_path = dir + "/api.sock";
  options.listen = "127.0.0.1:0";
  options.data_dir = dir;
  const auto server = server::Server::Start(options, *registry, logs, metrics, Clock::Real(), Random::Real(), nullptr);
  ISLA_CHECK_OK(server);
  // Bytes that nobody's API made: must be served as what they are, and disturb nothing.
  store::Transaction garbage;
  garbage.success.push_back(store::Operation::Put(keys.Spec("session", "broken", "garbage"), "{not json"));
  garbage.success.push_back(store::Operation::Put(
      keys.Node("n1"),
      R"({"uid":"5f0c6a54-8a5c-4b1e-9d0e-1f2f3f4f5f6f","connected":true,"createdAt":"2026-01-01T00:00:00.000000Z",)"
      R"("lastChange":"2026-01-01T00:00:00.000000Z","capacity":{"cpuMillis":4000,"memoryBytes":8589934592,"tasks":4096}})"));
  ISLA_CHECK_OK(store->Txn(garbage));
  std::printf("ready %s\n", (*server)->url().c_str());
  std::fflush(stdout);

  Leader leader(*store, *cache);
  for (;;) {
    pollfd fds[2] = {{ends.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (poll(fds, 2, 20) > 0) return 0;  // a signal, or the end of the test that started it
    leader.Step();
  }
}

}  // namespace
}  // namespace isla

int main(int argc, char** argv) {
  const pid_t started_by = getppid();
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: kubectl_test_server DATA_DIR [PARENT]\n");
    return 2;
  }
  if (!isla::DieWithParent(argc == 3 ? static_cast<pid_t>(std::atoi(argv[2])) : started_by)) {
    std::fprintf(stderr, "kubectl_test_server: the test that started this is gone\n");
    return 3;
  }
  return isla::Main(argv[1]);
}
