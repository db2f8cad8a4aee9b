#include "controllers/islad/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <utility>

#include "api/base/metrics.h"
#include "api/base/mutex.h"
#include "api/base/unique_fd.h"
#include "api/registry/registry.h"
#include "api/server/server.h"
#include "controllers/controllers.h"
#include "controllers/gateway/gateway.h"
#include "controllers/islad/config_follower.h"
#include "controllers/islad/session_logs.h"
#include "controllers/islad/store_keeper.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/informer.h"
#include "store/cache/watch_cache.h"
#include "store/embedded/embedded_store.h"
#include "store/etcd/etcd_store.h"

namespace isla::islad {
namespace {

constexpr Duration kRetryFirst = std::chrono::milliseconds(100);
constexpr Duration kRetryLast = std::chrono::seconds(3);

const Logger& Log() {
  static const Logger log("islad");
  return log;
}

/// The run folder is one process's: its sockets are. The lock goes with the process, however it ends.
StatusOr<UniqueFd> LockRunDir(const std::string& run_dir) {
  RETURN_IF_ERROR(Annotate(MakeDirectories(run_dir, 0755), "--run-dir"));
  const std::string path = run_dir + "/lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.valid()) return FromErrno(errno, "--run-dir: open '" + path + "'");
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    const StatusOr<std::string> pid = ReadFile(path, 64);
    return Errorf(Code::kAlreadyExists,
                  "another islad (pid {}) runs on '{}'; stop it, or give this one another --run-dir, --data-dir and --id",
                  pid.ok() ? pid->substr(0, pid->find('\n')) : "unknown", run_dir);
  }
  if (ftruncate(fd.get(), 0) != 0) return FromErrno(errno, "write '" + path + "'");
  RETURN_IF_ERROR(WriteAll(fd.get(), std::to_string(getpid()) + "\n"));
  return fd;
}

StatusOr<std::unique_ptr<store::Store>> OpenEmbedded(const DaemonOptions& options, const std::string& folder,
                                                     const Clock& clock, Metrics& metrics) {
  store::EmbeddedOptions embedded;
  embedded.metrics = &metrics;
  embedded.on_failure = [on_failure = options.on_failure](const Status& error) {
    Log().Error("the store is closed: its disk failed", "error='{}'", ToString(error));
    if (on_failure) on_failure(error);
  };
  StatusOr<std::unique_ptr<store::EmbeddedStore>> opened = store::EmbeddedStore::Open(folder, clock, embedded);
  if (!opened.ok()) return Annotate(opened.status(), "--store");
  return std::unique_ptr<store::Store>(std::move(opened).value());
}

StatusOr<std::unique_ptr<store::Store>> OpenStore(const DaemonOptions& options, const Clock& clock, Metrics& metrics) {
  if (options.store == "memory") {
    Log().Warn("the store is in memory: all is lost when this process ends", "store={}", options.store);
    return std::unique_ptr<store::Store>(store::EmbeddedStore::InMemory(clock));
  }
  constexpr std::string_view kEmbedded = "embedded:", kEtcd = "etcd:";
  if (options.store.starts_with(kEmbedded) && options.store.size() > kEmbedded.size()) {
    return OpenEmbedded(options, options.store.substr(kEmbedded.size()), clock, metrics);
  }
  if (!options.store.starts_with(kEtcd) || options.store.size() == kEtcd.size()) {
    return Errorf(Code::kInvalidArgument,
                  "--store: '{}' is neither embedded:FOLDER nor etcd:ENDPOINT[,ENDPOINT...] nor memory", options.store);
  }
  store::EtcdOptions etcd;
  etcd.metrics = &metrics;
  for (size_t begin = kEtcd.size(); begin <= options.store.size();) {
    const size_t end = std::min(options.store.find(',', begin), options.store.size());
    etcd.endpoints.push_back(options.store.substr(begin, end - begin));
    begin = end + 1;
  }
  if (!options.etcd_ca.empty()) {
    ASSIGN_OR_RETURN(etcd.ca_pem, ReadFile(options.etcd_ca, 1 << 20));
  }
  if (!options.etcd_certificate.empty()) {
    ASSIGN_OR_RETURN(etcd.certificate_pem, ReadFile(options.etcd_certificate, 1 << 20));
  }
  if (!options.etcd_key.empty()) {
    ASSIGN_OR_RETURN(etcd.key_pem, ReadFile(options.etcd_key, 1 << 20));
  }
  StatusOr<std::unique_ptr<store::Store>> opened = store::ConnectEtcd(etcd, clock);
  if (!opened.ok()) return Annotate(opened.status(), "--store");
  return opened;
}

class DaemonImpl final : public Daemon {
 public:
  DaemonImpl(const DaemonOptions& options, const Clock& clock)
      : options_(options),
        clock_(clock),
        keys_(options.prefix),
        why_not_ready_(Errorf(Code::kUnavailable, "starting: reaching the store {}", options.store)) {}
  ~DaemonImpl() override;

  Status Build();
  Status ready() const override;
  Status Responds(Duration timeout) override;

 private:
  Status ServeApi();
  void BringUp();
  Status BringUpOnce();
  Status StartGateway();
  void SetReady(const Status& status);
  bool Sleep(Duration time);
  bool Stopping() const;

  const DaemonOptions options_;
  const Clock& clock_;
  const store::Keys keys_;
  UniqueFd lock_;

  // In the order that they depend on each other.
  Metrics metrics_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<store::WatchCache> cache_;
  std::unique_ptr<registry::Registry> registry_;
  std::unique_ptr<controllers::ClusterState> state_;
  controllers::Listeners listeners_;
  std::unique_ptr<ConfigFollower> config_;
  std::unique_ptr<controllers::Informer> informer_;
  std::unique_ptr<SessionLogs> logs_;
  std::unique_ptr<StoreKeeper> keeper_;
  std::unique_ptr<server::Server> server_;
  // Made by the bring-up thread, which ends before they do.
  bool bootstrapped_ = false;
  std::shared_ptr<controllers::Gateway> gateway_;
  std::unique_ptr<controllers::Controllers> controllers_;

  mutable Mutex mu_;
  CondVar changed_;
  Status why_not_ready_ GUARDED_BY(mu_);
  std::shared_ptr<controllers::Gateway> serving_ GUARDED_BY(mu_);  // gateway_, for ready()
  bool stop_ GUARDED_BY(mu_) = false;
  std::thread bring_up_;
};

Status DaemonImpl::Build() {
  ASSIGN_OR_RETURN(lock_, LockRunDir(options_.run_dir));
  ASSIGN_OR_RETURN(store_, OpenStore(options_, clock_, metrics_));
  store::CacheOptions cache;
  cache.keys = keys_;
  cache.barrier_id = options_.id;
  cache.metrics = &metrics_;
  cache_ = store::StartWatchCache(*store_, clock_, cache);
  registry::RegistryOptions registry;
  registry.keys = keys_;
  registry_ = registry::MakeRegistry(*store_, *cache_, clock_, Random::Real(), registry);
  state_ = std::make_unique<controllers::ClusterState>(keys_, clock_);
  config_ = std::make_unique<ConfigFollower>(*state_, listeners_, options_.log_level);
  informer_ = std::make_unique<controllers::Informer>(*cache_, *state_, listeners_, &metrics_);
  logs_ = std::make_unique<SessionLogs>(*state_, clock_);
  keeper_ = std::make_unique<StoreKeeper>(*store_, *cache_, clock_, keys_, options_.data_dir);
  if (options_.serve) RETURN_IF_ERROR(ServeApi());
  bring_up_ = std::thread([this] { BringUp(); });
  return OkStatus();
}

Status DaemonImpl::ServeApi() {
  server::ServerOptions server;
  server.socket_path = options_.run_dir + "/api.sock";
  server.listen = options_.api_listen;
  server.data_dir = options_.data_dir;
  StatusOr<std::unique_ptr<server::Server>> started =
      server::Server::Start(server, *registry_, *logs_, metrics_, clock_, Random::Real(), [this] { return ready(); },
                             keeper_.get());
  if (!started.ok()) return Annotate(started.status(), "start the API (--run-dir, --api-listen, --data-dir)");
  server_ = std::move(started).value();
  Log().Info("serving the API", "socket={} url={}", server.socket_path, server_->url());
  return OkStatus();
}

// ---- coming up -------------------------------------------------------------------------------------------

bool DaemonImpl::Stopping() const {
  MutexLock lock(mu_);
  return stop_;
}

bool DaemonImpl::Sleep(Duration time) {
  const MonotonicTime until = clock_.Monotonic() + time;
  MutexLock lock(mu_);
  while (!stop_ && clock_.Monotonic() < until) changed_.WaitFor(mu_, until - clock_.Monotonic());
  return !stop_;
}

void DaemonImpl::SetReady(const Status& status) {
  MutexLock lock(mu_);
  why_not_ready_ = status;
  serving_ = gateway_;
}

void DaemonImpl::BringUp() {
  Duration backoff = kRetryFirst;
  while (!Stopping()) {
    const Status status = BringUpOnce();
    if (status.ok()) {
      SetReady(OkStatus());
      Log().Info("ready", "id={} store={} revision={}", options_.id, options_.store, cache_->watermark());
      sd_notify(0, "READY=1\nSTATUS=Serving");
      return;
    }
    if (Stopping()) return;
    SetReady(status);
    Log().Warn("not ready", "error='{}' retry_in_ms={}", ToString(status), backoff / std::chrono::milliseconds(1));
    // systemd waits on while this keeps telling it why.
    sd_notifyf(0, "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=Waiting: %s", Message(status).c_str());
    if (!Sleep(backoff)) return;
    backoff = std::min(backoff * 2, kRetryLast);
  }
}

Status DaemonImpl::BringUpOnce() {
  if (!bootstrapped_) {
    RETURN_IF_ERROR(Annotate(registry::Bootstrap(*store_, keys_, clock_, Random::Real()), "reach the store " + options_.store));
    bootstrapped_ = true;
  }
  RETURN_IF_ERROR(Annotate(cache_->WaitSynced(std::chrono::seconds(2)), "list the store"));
  // The informer follows within a moment; without meta/cluster nothing can be written.
  for (int i = 0; i < 200 && state_->cluster_revision() == 0 && state_->CheckOpen().ok(); ++i) {
    if (!Sleep(std::chrono::milliseconds(5))) return Error(Code::kCancelled, "stopping");
  }
  RETURN_IF_ERROR(state_->CheckOpen());
  if (state_->cluster_revision() == 0) {
    bootstrapped_ = false;
    return Errorf(Code::kUnavailable, "'{}' isn't there yet", keys_.Cluster());
  }
  if (options_.controllers && controllers_ == nullptr) {
    controllers::ControllersOptions controllers;
    controllers.id = options_.id;
    controllers.lease_ttl = options_.lease_ttl;
    controllers_ = controllers::StartControllers(*store_, *state_, listeners_, *registry_, clock_, &metrics_, controllers);
  }
  if (options_.serve && gateway_ == nullptr) RETURN_IF_ERROR(StartGateway());
  return OkStatus();
}

Status DaemonImpl::StartGateway() {
  controllers::GatewayOptions gateway;
  // Another process under the same name (this one's predecessor, killed a moment ago) has a lease that still lives.
  gateway.id = options_.id + "." + RandomHex(3);
  gateway.listen.socket_path = std::filesystem::absolute(options_.run_dir).string() + "/gateway/gateway.sock";
  gateway.listen.address = options_.gateway_listen;
  gateway.listen.ca_file = options_.gateway_ca;
  gateway.listen.certificate_file = options_.gateway_certificate;
  gateway.listen.key_file = options_.gateway_key;
  gateway.api_address = "unix://" + std::filesystem::absolute(options_.run_dir).string() + "/api.sock";
  gateway.lease_ttl = options_.lease_ttl;
  gateway.metrics = &metrics_;
  StatusOr<std::unique_ptr<controllers::Gateway>> started =
      controllers::Gateway::Start(gateway, *store_, *state_, listeners_, clock_);
  if (!started.ok()) return Annotate(started.status(), "start the gateway");
  gateway_ = std::move(started).value();
  logs_->SetGateway(gateway_);
  Log().Info("serving agents", "gateway={} socket={} address={}", gateway.id, gateway.listen.socket_path,
             gateway.listen.address);
  return OkStatus();
}

Status DaemonImpl::ready() const {
  std::shared_ptr<controllers::Gateway> gateway;
  {
    MutexLock lock(mu_);
    if (stop_) return Error(Code::kUnavailable, "shutting down");
    if (!why_not_ready_.ok()) return why_not_ready_;
    gateway = serving_;
  }
  RETURN_IF_ERROR(state_->CheckOpen());
  if (gateway != nullptr && !gateway->fresh()) {
    return Errorf(Code::kUnavailable, "the store '{}' doesn't answer, or this process's lease is gone", options_.store);
  }
  return OkStatus();
}

Status DaemonImpl::Responds(Duration timeout) {
  std::shared_ptr<controllers::Gateway> gateway;
  {
    MutexLock lock(mu_);
    gateway = serving_;
  }
  const auto hangs = [timeout](std::string_view what) {
    return Errorf(Code::kDeadlineExceeded, "{} did not answer within {} ms", what, timeout / std::chrono::milliseconds(1));
  };
  const MonotonicTime until = clock_.Monotonic() + timeout;
  const auto left = [this, until] { return std::max(until - clock_.Monotonic(), Duration::zero()); };
  if (server_ != nullptr && !server_->Responds(left())) return hangs("the API's I/O");
  if (!informer_->Responds(left())) return hangs("the informer");
  if (gateway != nullptr && !gateway->Responds(left())) return hangs("the gateway");
  return OkStatus();
}

// ---- the end ---------------------------------------------------------------------------------------------

DaemonImpl::~DaemonImpl() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    serving_ = nullptr;
    changed_.NotifyAll();
  }
  if (bring_up_.joinable()) bring_up_.join();
  // Leadership first: somebody else may wait for it.
  controllers_.reset();
  if (gateway_ != nullptr) gateway_->Stop();
  if (logs_ != nullptr) logs_->SetGateway(nullptr);
  server_.reset();
  keeper_.reset();
  gateway_.reset();
  informer_.reset();
  config_.reset();
  logs_.reset();
  state_.reset();
  registry_.reset();
  cache_.reset();
  store_.reset();
}

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

/// Until SIGTERM or SIGINT, which it returns; meanwhile systemd's watchdog hears of each time that all loops answer.
int WaitForEnd(Daemon& daemon) {
  uint64_t watchdog_usec = 0;
  const bool watched = sd_watchdog_enabled(0, &watchdog_usec) > 0;
  // A quarter of the time until the next look and at most a quarter for the answers: two pings in each period.
  const Duration quarter = std::chrono::microseconds(watchdog_usec) / 4;
  const timespec pause{static_cast<time_t>(quarter / std::chrono::seconds(1)),
                       static_cast<long>((quarter % std::chrono::seconds(1)).count())};
  const sigset_t set = Signals();
  for (;;) {
    siginfo_t info{};
    const int signal = watched ? sigtimedwait(&set, &info, &pause) : sigwaitinfo(&set, &info);
    if (signal == SIGTERM || signal == SIGINT) return signal;
    if (signal >= 0 || errno != EAGAIN) continue;
    if (const Status status = daemon.Responds(quarter); status.ok()) {
      sd_notify(0, "WATCHDOG=1");
    } else {
      Log().Error("this process hangs", "error='{}'; systemd's watchdog is not told that it lives", Message(status));
    }
  }
}

}  // namespace

void PrepareSignals() {
  const sigset_t set = Signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const DaemonOptions& options, const Clock& clock) {
  DaemonOptions complete = options;
  if (complete.store.empty()) complete.store = "embedded:" + complete.data_dir + "/store";
  auto daemon = std::make_unique<DaemonImpl>(complete, clock);
  RETURN_IF_ERROR(daemon->Build());
  return std::unique_ptr<Daemon>(std::move(daemon));
}

int RunUntilSignal(const DaemonOptions& options) {
  std::atomic<bool> failed{false};
  DaemonOptions complete = options;
  complete.on_failure = [&failed](const Status&) {
    failed = true;
    kill(getpid(), SIGTERM);  // WaitForEnd hears it
  };
  StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(complete);
  if (!daemon.ok()) {
    std::fprintf(stderr, "islad: %s\n", Message(daemon.status()).c_str());
    return 1;
  }
  const int signal = WaitForEnd(**daemon);
  Log().Info("stopping", "signal={}", signal);
  sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
  daemon->reset();
  Log().Info("stopped");
  return failed ? 1 : 0;
}

}  // namespace isla::islad
