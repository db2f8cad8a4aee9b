#include "agentd/agent.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <utility>

#include "agentd/capacity.h"
#include "agentd/container_manager.h"
#include "agentd/control_plane.h"
#include "agentd/file_journal.h"
#include "agentd/gateway_client.h"
#include "agentd/log_streams.h"
#include "agentd/loop.h"
#include "agentd/node_config.h"
#include "agentd/posix_launcher.h"
#include "agentd/reporter.h"
#include "agentd/sdbus_systemd.h"
#include "api/base/log.h"
#include "api/base/uuid.h"

namespace isla::agent {
namespace {

const Logger kLog("agentd");
constexpr auto kStatusEvery = std::chrono::seconds(10);

/// The unit that agentd runs as, "" if none.
std::string OwnUnit() {
  char* unit = nullptr;
  if (sd_pid_get_unit(0, &unit) < 0 || unit == nullptr) return "";
  const std::string out = unit;
  free(unit);
  return out.ends_with(".service") ? out : "";
}

Status CheckExecutable(const std::string& path, const std::string& flag) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || access(path.c_str(), X_OK) != 0) {
    return Errorf(Code::kFailedPrecondition, "'{}' is no program; say where it is with {}", path, flag);
  }
  return OkStatus();
}

/// Descriptors for a thousand shims (a socket and a pidfd each), as far as the machine allows.
void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

StatusOr<NodeIdentity> MakeIdentity(const AgentOptions& options) {
  NodeIdentity identity;
  identity.name = options.node;
  ASSIGN_OR_RETURN(identity.uid, NodeUid(options.state_dir));
  ASSIGN_OR_RETURN(identity.boot_id, ReadBootId());
  identity.epoch = NewUuid();
  identity.version = options.version;
  identity.kernel = KernelRelease();
  identity.features = FindFeatures();
  return identity;
}

}  // namespace

/// The objects, in the order of their construction.
class Agent {
 public:
  static StatusOr<std::unique_ptr<Agent>> Create(const AgentOptions& options);
  StatusOr<int> Run();

 private:
  explicit Agent(AgentOptions options) : options_(std::move(options)) {}
  Status Build();
  Status BuildNode(const NodeIdentity& identity);
  Status BuildStream(NodeIdentity identity);
  Status WatchSignals();
  void Apply(const Settings& settings);
  void OnChanged(const ContainerKey& key);
  void OnRestored();
  void ReloadConfig();
  void Stop(const char* signal);
  void NotifyStatus();
  LogStreams::Source FindLog(const ContainerKey& key) const;

  const AgentOptions options_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<FileJournal> journal_;
  std::unique_ptr<SdbusSystemd> systemd_;
  std::unique_ptr<PosixLauncher> launcher_;
  std::unique_ptr<ContainerManager> containers_;
  std::unique_ptr<Reporter> reporter_;
  std::unique_ptr<GatewayClient> gateway_;
  std::unique_ptr<ControlPlane> control_plane_;
  std::unique_ptr<LogStreams> logs_;
  std::vector<std::unique_ptr<Watch>> signals_;
  std::string boot_id_;
  bool new_boot_ = false;
  bool stopping_ = false;
};

StatusOr<std::unique_ptr<Agent>> Agent::Create(const AgentOptions& options) {
  std::unique_ptr<Agent> agent(new Agent(options));
  RETURN_IF_ERROR(agent->Build());
  return agent;
}

Status Agent::Build() {
  RaiseFileLimit();
  RETURN_IF_ERROR(CheckExecutable(options_.shim, "--shim"));
  RETURN_IF_ERROR(CheckExecutable(options_.init, "--init"));
  RETURN_IF_ERROR(CheckExecutable(options_.supervisor, "--supervisor"));
  RETURN_IF_ERROR(CheckExecutable(options_.policyc, "--policyc"));
  RETURN_IF_ERROR(MakeDirectories(options_.state_dir, 0700));
  ASSIGN_OR_RETURN(loop_, Loop::Create());
  RETURN_IF_ERROR(WatchSignals());
  // The journal first: its lock keeps a second agentd of this state away from everything else.
  ASSIGN_OR_RETURN(journal_, FileJournal::Open({.folder = options_.state_dir}, *loop_, *loop_));
  if (journal_->torn_bytes() > 0) {
    kLog.Warn("journal had a torn end", "bytes={}; kept as journal.torn", journal_->torn_bytes());
  }
  ASSIGN_OR_RETURN(NodeIdentity identity, MakeIdentity(options_));
  RETURN_IF_ERROR(BuildNode(identity));
  return BuildStream(std::move(identity));
}

Status Agent::BuildNode(const NodeIdentity& identity) {
  boot_id_ = identity.boot_id;
  new_boot_ = !journal_->state().boot_id.empty() && journal_->state().boot_id != identity.boot_id;
  SdbusOptions bus;
  // Only as a service of its own (Type=notify). Run by hand, the unit is somebody else's: one that is still activating,
  // such as a oneshot's, would hold back every scope that is ordered after it.
  if (getenv("NOTIFY_SOCKET") != nullptr) bus.after_unit = OwnUnit();
  bus.swap_limit = HasCgroupV2();
  ASSIGN_OR_RETURN(systemd_, SdbusSystemd::Connect(bus, *loop_));
  PosixLauncherOptions launcher;
  launcher.run_dir = options_.run_dir;
  launcher.state_dir = options_.state_dir;
  launcher.shim_path = options_.shim;
  launcher.init_path = options_.init;
  launcher.supervisor_path = options_.supervisor;
  launcher.policyc_path = options_.policyc;
  ASSIGN_OR_RETURN(launcher_, PosixLauncher::Create(launcher, *loop_));
  ContainerManagerOptions manager;
  manager.boot_id = identity.boot_id;
  containers_ = std::make_unique<ContainerManager>(manager, *journal_, *systemd_, *launcher_, *loop_, Clock::Real(),
                                                   [this](const ContainerKey& key) { OnChanged(key); });
  reporter_ = std::make_unique<Reporter>(*journal_, *containers_);
  return OkStatus();
}

Status Agent::BuildStream(NodeIdentity identity) {
  ASSIGN_OR_RETURN(const NodeConfig config, ReadNodeConfig(options_.node_config));
  ASSIGN_OR_RETURN(const Resources found, FindCapacity());
  GatewayClientOptions client;
  client.gateways = options_.gateways;
  client.tls_ca = options_.tls_ca;
  client.tls_cert = options_.tls_cert;
  client.tls_key = options_.tls_key;
  GatewayEvents events;
  events.connected = [this] { control_plane_->OnConnected(); };
  events.message = [this](const isla::v1::GatewayMessage& message) { control_plane_->OnMessage(message); };
  events.disconnected = [this] {
    control_plane_->OnDisconnected();
    NotifyStatus();
  };
  ASSIGN_OR_RETURN(gateway_, GatewayClient::Create(client, events, *loop_));
  logs_ = std::make_unique<LogStreams>(
      *loop_, [this](const ContainerKey& key) { return FindLog(key); }, [this] { return gateway_->OpenData(); });
  control_plane_ = std::make_unique<ControlPlane>(
      ControlPlaneOptions{}, std::move(identity), found, config, *journal_, *containers_, *reporter_, *gateway_, *loop_,
      Clock::Real(), [this](const isla::v1::OpenStream& request) { logs_->Open(request); });
  control_plane_->OnSettingsChanged([this](const Settings& settings) { Apply(settings); });
  return OkStatus();
}

void Agent::Apply(const Settings& settings) {
  SetLogLevel(settings.log_level.value_or(options_.log_level));
  containers_->SetMaxStarting(settings.max_starting);
  kLog.Announce("settings applied", "{}", SettingsText(settings));
}

Status Agent::WatchSignals() {
  const auto watch = [this](int signal, std::function<void()> fn) {
    ASSIGN_OR_RETURN(signals_.emplace_back(), loop_->WatchSignal(signal, std::move(fn)));
    return OkStatus();
  };
  RETURN_IF_ERROR(watch(SIGTERM, [this] { Stop("SIGTERM"); }));
  RETURN_IF_ERROR(watch(SIGINT, [this] { Stop("SIGINT"); }));
  return watch(SIGHUP, [this] { ReloadConfig(); });
}

void Agent::OnChanged(const ContainerKey& key) {
  reporter_->OnChanged(key);
  if (logs_ != nullptr) logs_->OnChanged(key);
}

LogStreams::Source Agent::FindLog(const ContainerKey& key) const {
  LogStreams::Source source;
  const Phase phase = containers_->PhaseOf(key);
  source.known = journal_->Find(key) != nullptr && phase != Phase::kGone && phase != Phase::kRefused;
  source.ended = phase == Phase::kExited || phase == Phase::kCleaning || !source.known;
  source.folder = launcher_->LogFolder(key);
  return source;
}

void Agent::OnRestored() {
  reporter_->Start(new_boot_);
  // Last: a crash before this leaps once more, which is harmless.
  journal::Record record;
  record.set_boot_id(boot_id_);
  journal_->Append(std::move(record), nullptr);
  kLog.Info("ready", "node={} containers={} running={}", options_.node, containers_->Count(),
            containers_->CountIn(Phase::kRunning));
  sd_notify(0, "READY=1");
  NotifyStatus();
  gateway_->Start();
}

void Agent::ReloadConfig() {
  sd_notify(0, "RELOADING=1");
  auto config = ReadNodeConfig(options_.node_config);
  if (config.ok()) {
    kLog.Info("node config read again", "path={}", options_.node_config);
    control_plane_->SetConfig(*std::move(config));
  } else {
    kLog.Error("node config not read", "error='{}'; keeping the old one", Message(config.status()));
  }
  sd_notify(0, "READY=1");
}

void Agent::Stop(const char* signal) {
  if (std::exchange(stopping_, true)) return;
  kLog.Info("ending", "signal={} containers={}; they run on", signal, containers_->Count());
  sd_notify(0, "STOPPING=1");
  logs_.reset();
  gateway_->Shutdown([this] { loop_->Exit(0); });
}

void Agent::NotifyStatus() {
  const std::string gateway = control_plane_->is_served() ? "served by " + gateway_->target() : "no gateway";
  const std::string journal = journal_->health().ok() ? "" : "; journal: " + Message(journal_->health());
  sd_notifyf(0, "STATUS=%s, %zu containers, %zu running%s", gateway.c_str(), containers_->Count(),
             containers_->CountIn(Phase::kRunning), journal.c_str());
}

StatusOr<int> Agent::Run() {
  containers_->Restore([this] { OnRestored(); });
  std::function<void()> status = [this, &status] {
    NotifyStatus();
    loop_->After(kStatusEvery, status);
  };
  loop_->After(kStatusEvery, status);
  return loop_->Run();
}

void PrepareSignals() {
  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&mask, signal);
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

StatusOr<int> RunAgent(const AgentOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Agent> agent, Agent::Create(options));
  return agent->Run();
}

}  // namespace isla::agent
