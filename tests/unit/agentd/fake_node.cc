#include "tests/unit/agentd/fake_node.h"

#include <gtest/gtest.h>

#include <csignal>
#include <utility>

#include "api/base/log.h"

namespace isla::agent {

using isla::v1::AgentMessage;
using isla::v1::Delta;
using isla::v1::DesiredContainer;
using isla::v1::GatewayMessage;

isla::v1::LaunchSpec SmallLaunch() {
  isla::v1::LaunchSpec launch;
  launch.set_namespace_("default");
  launch.set_session("s");
  launch.set_session_uid("6ba7b810-9dad-41d1-80b4-00c04fd430c8");
  launch.set_name("main");
  launch.set_image("host");
  launch.add_argv("/bin/true");
  launch.set_cpu_millis(100);
  launch.set_memory_bytes(1 << 20);
  launch.set_tasks(10);
  launch.set_grace_period_msec(1000);
  launch.set_network("none");
  return launch;
}

ContainerKey TestKey(int number, int64_t incarnation) {
  return {fmt::format("00000000-0000-4000-8000-{:012}", number), incarnation};
}

// ---- The seams --------------------------------------------------------------------------------------------

class FakeTimers final : public Timers {
 public:
  explicit FakeTimers(FakeNode& node) : node_(node) {}
  TimerId After(Duration delay, std::function<void()> fn) override {
    const TimerId id = ++node_.last_timer_;
    node_.timers_[id] = {node_.clock.Monotonic() + std::max(delay, Duration::zero()), std::move(fn)};
    return id;
  }
  void Cancel(TimerId id) override { node_.timers_.erase(id); }

 private:
  FakeNode& node_;
};

class FakeJournal final : public Journal {
 public:
  explicit FakeJournal(FakeNode& node) : node_(node) {
    auto replay = ReplayJournal(node.journal_bytes);
    EXPECT_TRUE(replay.ok());
    state_ = replay->state;
    node.journal_bytes.resize(replay->good_bytes);
    node.synced_bytes = std::min(node.synced_bytes, replay->good_bytes);
  }
  const JournalState& state() const override { return state_; }
  void Append(journal::Record record, std::function<void()> done) override {
    state_.Apply(record);
    node_.journal_bytes += EncodeFrame(record);
    if (done) {
      waiting_.push_back({node_.journal_bytes.size(), std::move(done)});
      node_.Disk([this] { Sync(); });
    }
  }
  void Sync() {
    node_.synced_bytes = node_.journal_bytes.size();
    auto waiting = std::move(waiting_);
    waiting_.clear();
    for (auto& [end, done] : waiting) node_.Tell(std::move(done));
  }

 private:
  FakeNode& node_;
  JournalState state_;
  std::vector<std::pair<size_t, std::function<void()>>> waiting_;
};

class FakeSystemd final : public SystemdManager {
 public:
  FakeSystemd(FakeNode& node, int agent) : node_(node), agent_(agent) {}

  void StartScope(const ScopeSpec& spec, Callback<StatusOr<UnitInfo>> done) override {
    node_.Systemd([&node = node_, agent = agent_, spec, done = std::move(done)] {
      Status error;
      if (!node.start_scope_errors.empty()) {
        error = node.start_scope_errors.front();
        node.start_scope_errors.pop_front();
      }
      const auto key = KeyFromScopeName(spec.unit);
      const bool makes = error.ok() || (error.code() == Code::kDeadlineExceeded && node.start_scope_works_unheard);
      if (makes && node.scopes.contains(spec.unit)) {
        error = Error(Code::kAlreadyExists, "unit exists");
      } else if (makes && (!node.shims[*key].alive || node.shims[*key].pid != spec.pids.at(0))) {
        error = Error(Code::kFailedPrecondition, "no such process");
      } else if (makes) {
        node.scopes[spec.unit] = {fmt::format("invocation-{}", ++node.last_invocation_), *key, spec.pids.at(0), false, spec.memory_bytes};
      }
      if (error.ok()) {
        Answer(node, agent, done, Info(node, spec.unit));
      } else {
        Answer<StatusOr<UnitInfo>>(node, agent, done, error);
      }
    });
  }
  void StopUnit(const std::string& unit, Callback<Status> done) override {
    node_.Systemd([&node = node_, agent = agent_, unit, done = std::move(done)] {
      if (!node.scopes.contains(unit)) {
        Answer<Status>(node, agent, done, Error(Code::kNotFound, "no such unit"));
        return;
      }
      const FakeNode::Scope scope = node.scopes[unit];
      node.scopes.erase(unit);
      node.KillPid(scope.key, scope.pid);
      Answer<Status>(node, agent, done, OkStatus());
    });
  }
  void KillUnit(const std::string& unit, int, Callback<Status> done) override {
    node_.Systemd([&node = node_, agent = agent_, unit, done = std::move(done)] {
      const auto it = node.scopes.find(unit);
      if (it == node.scopes.end()) {
        Answer<Status>(node, agent, done, Error(Code::kNotFound, "no such unit"));
        return;
      }
      node.KillPid(it->second.key, it->second.pid);
      Answer<Status>(node, agent, done, OkStatus());
    });
  }
  void ResetFailed(const std::string& unit, Callback<Status> done) override {
    node_.Systemd([&node = node_, agent = agent_, unit, done = std::move(done)] {
      node.scopes.erase(unit);
      Answer<Status>(node, agent, done, OkStatus());
    });
  }
  void GetUnit(const std::string& unit, Callback<StatusOr<UnitInfo>> done) override {
    node_.Systemd([&node = node_, agent = agent_, unit, done = std::move(done)] {
      if (!node.get_unit_errors.empty()) {
        const Status error = node.get_unit_errors.front();
        node.get_unit_errors.pop_front();
        if (!error.ok()) {
          Answer<StatusOr<UnitInfo>>(node, agent, done, error);
          return;
        }
      }
      if (node.scopes.contains(unit)) {
        Answer(node, agent, done, Info(node, unit));
      } else {
        Answer<StatusOr<UnitInfo>>(node, agent, done, Error(Code::kNotFound, "no such unit"));
      }
    });
  }
  void ListScopes(Callback<StatusOr<std::vector<UnitInfo>>> done) override {
    node_.Systemd([&node = node_, agent = agent_, done = std::move(done)] {
      if (!node.list_errors.empty()) {
        const Status error = node.list_errors.front();
        node.list_errors.pop_front();
        Answer<StatusOr<std::vector<UnitInfo>>>(node, agent, done, error);
        return;
      }
      std::vector<UnitInfo> units;
      for (const auto& [unit, scope] : node.scopes) units.push_back({unit, "active", "", ""});
      Answer<StatusOr<std::vector<UnitInfo>>>(node, agent, done, units);
    });
  }

 private:
  // The answer goes to the agent that asked; if it is dead by then, to nobody.
  template <typename T>
  static void Answer(FakeNode& node, int agent, const Callback<T>& done, T result) {
    if (node.agent_ == nullptr || node.agent_number_ != agent) return;
    node.Tell([done, result] { done(result); });
  }
  static StatusOr<UnitInfo> Info(FakeNode& node, const std::string& unit) {
    const auto& scope = node.scopes[unit];
    return UnitInfo{unit, scope.failed ? "failed" : "active", scope.invocation_id, "/isla.slice/" + unit};
  }
  FakeNode& node_;
  const int agent_;
};

class FakeLauncher final : public Launcher {
 public:
  FakeLauncher(FakeNode& node, int agent) : node_(node), agent_(agent) {}

  void SetObserver(ShimObserver* observer) override { observer_ = observer; }
  bool IsReady(const PolicyText& policy) override { return policy.built_in(); }
  void Prepare(const PolicyText& policy, uint32_t, std::function<void(Status)> done) override {
    EXPECT_FALSE(policy.text.empty());
    node_.prepared.push_back(policy.name);
    Status status;
    if (!node_.prepare_errors.empty()) {
      status = node_.prepare_errors.front();
      node_.prepare_errors.pop_front();
    }
    node_.Tell([done = std::move(done), status] { done(status); });
  }
  StatusOr<pid_t> Spawn(const LaunchPlan& plan) override {
    const ContainerKey key = plan.key;
    if (!node_.spawn_errors.empty()) {
      const Status error = node_.spawn_errors.front();
      node_.spawn_errors.pop_front();
      if (!error.ok()) return error;
    }
    EXPECT_FALSE(node_.shims[key].alive) << "two shims of " << Name(key);
    EXPECT_FALSE(node_.run[key].created) << "spawned again after it may have run: " << Name(key);
    node_.run[key] = {};
    node_.run[key].folder = true;
    node_.folders.insert(key);
    node_.shims[key] = {};
    node_.shims[key].pid = ++node_.last_pid_;
    node_.shims[key].alive = node_.shims[key].watched = true;
    node_.shims[key].agent = agent_;
    node_.shims[key].policy = node_.shims[key].policy_at_start = plan.policy.hash;
    node_.OfShim(key, [&node = node_, key, pid = node_.last_pid_] {
      const auto& shim = node.shims[key];
      if (shim.pid != pid || !shim.alive) return;
      if (node.shim_refusal.empty()) return node.Say(key, [key](ShimObserver& o) { o.OnReady(key); });
      node.Say(key, [key, why = node.shim_refusal](ShimObserver& o) { o.OnRefused(key, why); });
      node.KillPid(key, pid);
    });
    return node_.last_pid_;
  }
  Status Adopt(const ContainerKey& key) override {
    const auto it = node_.shims.find(key);
    if (it == node_.shims.end() || !it->second.alive) return Error(Code::kNotFound, "no shim");
    it->second.watched = true;
    if (it->second.deaf) {
      it->second.agent = -1;
      return OkStatus();
    }
    it->second.agent = agent_;
    const bool payload = it->second.payload;
    const int64_t started = node_.run[key].started_at_ns;
    const ShimPolicy policy{it->second.policy, it->second.policy_at_start, "", "", false};
    Hear([key, payload, started, policy](ShimObserver& o) {
      o.OnPolicy(key, policy);
      if (payload) o.OnRunning(key, started);
    });
    return OkStatus();
  }
  int64_t ProgramRoom(const PolicyText&) override { return node_.program_room; }
  void Compare(const PolicyText& started, const PolicyText& wanted, uint32_t, std::function<void(StatusOr<PolicyChange>)> done) override {
    EXPECT_FALSE(started.text.empty() || wanted.text.empty());
    node_.compared.push_back(started.hash + " " + wanted.hash);
    StatusOr<PolicyChange> change = Error(Code::kInternal, "no comparison");
    if (const auto found = node_.changes.find(wanted.hash); found != node_.changes.end()) change = found->second;
    node_.Tell([done = std::move(done), change] { done(change); });
  }
  Status SwapPolicy(const ContainerKey& key, const PolicyText& policy, const std::string& compared_with) override {
    node_.swapped.push_back(policy.hash + (compared_with.empty() ? "" : " after " + compared_with));
    if (!node_.shims[key].alive || node_.shims[key].agent != agent_) return Error(Code::kUnavailable, "no connection");
    EXPECT_TRUE(node_.shims[key].payload) << "what doesn't run is started with the right one";
    node_.OfShim(key, [&node = node_, key, version = policy.hash, compared = !compared_with.empty()] { node.Swap(key, version, compared); });
    return OkStatus();
  }
  Status Go(const ContainerKey& key, const std::string&, const std::string& invocation_id, int64_t now_ns) override {
    RunRecords& records = node_.run[key];
    records.created = true;
    records.invocation_id = invocation_id;
    records.created_at_ns = now_ns;
    EXPECT_TRUE(node_.scopes.contains(ScopeName(key))) << "go without a scope";
    if (!node_.shims[key].alive) return Error(Code::kUnavailable, "broken pipe");
    node_.OfShim(key, [&node = node_, key] { node.Exec(key); });
    return OkStatus();
  }
  void Abandon(const ContainerKey& key) override {
    EXPECT_FALSE(node_.shims[key].payload) << "abandoned a running payload";
    if (node_.shims[key].alive) node_.OfShim(key, [&node = node_, key, pid = node_.shims[key].pid] { node.KillPid(key, pid); });
  }
  Status Stop(const ContainerKey& key, Duration) override {
    const auto& shim = node_.shims[key];
    if (!shim.alive || shim.agent != agent_) return Error(Code::kUnavailable, "no connection");
    node_.OfShim(key, [&node = node_, key] {
      if (node.shims[key].hung || !node.shims[key].alive) return;
      if (!node.shims[key].payload) node.run[key].exit.reset();
      node.WriteExit(key, "stopped", 143, SIGTERM);
    });
    return OkStatus();
  }
  RunRecords Read(const ContainerKey& key) override {
    const auto it = node_.run.find(key);
    RunRecords records = it == node_.run.end() ? RunRecords{} : it->second;
    records.has_log = node_.payload_starts[key] > 0 && node_.folders.contains(key);
    return records;
  }
  std::vector<ContainerKey> List() override {
    std::set<ContainerKey> keys = node_.folders;
    for (const auto& [key, records] : node_.run) keys.insert(key);
    return {keys.begin(), keys.end()};
  }
  void Cleanup(const ContainerKey& key, std::function<void(Status)> done) override {
    node_.Tell([this, key, done = std::move(done)] {
      if (!node_.cleanup_errors.empty()) {
        const Status error = node_.cleanup_errors.front();
        node_.cleanup_errors.pop_front();
        done(error);
        return;
      }
      node_.run.erase(key);
      node_.folders.erase(key);
      done(OkStatus());
    });
  }
  bool CgroupGone(const std::string& group) override { return !node_.scopes.contains(group.substr(12)); }

  void Hear(std::function<void(ShimObserver&)> fn) {
    node_.Tell([this, fn = std::move(fn)] {
      if (observer_ != nullptr) fn(*observer_);
    });
  }

 private:
  FakeNode& node_;
  const int agent_;
  ShimObserver* observer_ = nullptr;
};

class FakeLink final : public GatewayLink {
 public:
  explicit FakeLink(FakeNode& node) : node_(node) {}
  void Send(AgentMessage message) override {
    if (!node_.connected_) return;
    node_.sent.push_back(message);
    if (message.has_ping() && node_.answer_pings) {
      GatewayMessage pong;
      pong.mutable_pong()->set_sequence(message.ping().sequence());
      node_.Tell([this, pong] {
        if (node_.connected_) node_.SendMessage(pong);
      });
    }
    if (!message.has_report()) return;
    const auto& report = message.report();
    node_.reports[{report.uid(), report.incarnation()}] = report;
    if (!node_.ack_reports) return;
    GatewayMessage ack;
    ack.mutable_report_ack()->set_sequence(report.sequence());
    node_.Tell([this, ack] {
      if (node_.connected_) node_.SendMessage(ack);
    });
  }
  void Close(const std::string& why) override {
    node_.closed.push_back(why);
    node_.Tell([this] { node_.Disconnect(); });
  }

 private:
  FakeNode& node_;
};

struct FakeNode::Agent {
  Agent(FakeNode& node, NodeConfig config, ContainerManagerOptions options)
      : timers(node),
        journal(node),
        systemd(node, node.agent_number_),
        launcher(node, node.agent_number_),
        link(node),
        new_boot(!journal.state().boot_id.empty() && journal.state().boot_id != node.boot_id),
        containers(options, journal, systemd, launcher, timers, node.clock,
                   [this](const ContainerKey& key) { reporter.OnChanged(key); }),
        reporter(journal, containers),
        control_plane({}, Identity(node), {4000, int64_t{1} << 30, 4000}, std::move(config), journal, containers, reporter,
                      link, timers, node.clock, [](const isla::v1::OpenStream&) {}) {}

  static NodeIdentity Identity(const FakeNode& node) {
    NodeIdentity identity;
    identity.name = "n1";
    identity.uid = "11111111-1111-4111-8111-111111111111";
    identity.boot_id = node.boot_id;
    return identity;
  }

  FakeTimers timers;
  FakeJournal journal;
  FakeSystemd systemd;
  FakeLauncher launcher;
  FakeLink link;
  const bool new_boot;
  bool restored = false;
  ContainerManager containers;
  Reporter reporter;
  ControlPlane control_plane;
};

// ---- The machine ------------------------------------------------------------------------------------------

// A life logs a dozen lines, and these tests live tens of thousands.
FakeNode::FakeNode(uint32_t seed) : random_(seed) { SetLogLevel(LogLevel::kError); }
FakeNode::~FakeNode() = default;

void FakeNode::Say(const ContainerKey& key, std::function<void(ShimObserver&)> what) {
  if (agent_ != nullptr && shims[key].agent == agent_number_) agent_->launcher.Hear(std::move(what));
}

void FakeNode::Exec(const ContainerKey& key) {
  Shim& shim = shims[key];
  if (!shim.alive || shim.payload) return;
  if (payload_fails_to_start) {
    WriteExit(key, "start-error", 0, 0);
    return;
  }
  ++payload_starts[key];
  shim.payload = true;
  run[key].started_at_ns = clock.Wall().time_since_epoch().count();
  const int64_t started = run[key].started_at_ns;
  Say(key, [key, started](ShimObserver& o) { o.OnRunning(key, started); });
  if (payload_exit_code.has_value()) OfShim(key, [this, key] { EndPayload(key, *payload_exit_code); });
}

void FakeNode::Swap(const ContainerKey& key, const std::string& version, bool was_compared) {
  Shim& shim = shims[key];
  if (!shim.alive || shim.hung || !shim.payload) return;
  auto refusal = swap_refusals.find(version);
  if (refusal != swap_refusals.end() && was_compared && changes.contains(version)) refusal = swap_refusals.end();
  if (refusal == swap_refusals.end()) shim.policy = version;
  ShimPolicy told = refusal == swap_refusals.end() ? ShimPolicy{} : refusal->second;
  told.in_force = shim.policy;
  told.started_with = shim.policy_at_start;
  if (swaps_unanswered > 0) {
    --swaps_unanswered;
    return;
  }
  Say(key, [key, told](ShimObserver& o) { o.OnPolicy(key, told); });
}

void FakeNode::EndPayload(const ContainerKey& key, int exit_code) {
  if (shims[key].alive && shims[key].payload) WriteExit(key, "exited", exit_code, 0);
}

void FakeNode::WriteExit(const ContainerKey& key, const std::string& cause, int exit_code, int signal) {
  Shim& shim = shims[key];
  if (run[key].exit.has_value()) return;
  shim::ExitRecord record;
  record.cause = cause;
  record.exit_code = exit_code;
  record.signal = signal;
  record.step = cause == "start-error" ? "exec" : "";
  record.started_at_ns = run[key].started_at_ns;
  record.finished_at_ns = clock.Wall().time_since_epoch().count();
  run[key].exit = record;
  shim.payload = false;
  Say(key, [key](ShimObserver& o) { o.OnExited(key); });
  OfShim(key, [this, key, pid = shim.pid] { KillPid(key, pid); });
}

void FakeNode::KillPid(const ContainerKey& key, pid_t pid) {
  if (shims[key].alive && shims[key].pid == pid) KillShim(key);
}

void FakeNode::KillShim(const ContainerKey& key) {
  Shim& shim = shims[key];
  const bool watched = std::exchange(shim.watched, false);
  shim.alive = shim.payload = false;
  shim.agent = 0;
  Systemd([this, key, pid = shim.pid] {  // it sees an empty scope, and collects it
    const auto scope = scopes.find(ScopeName(key));
    if (scope != scopes.end() && scope->second.pid == pid) scopes.erase(scope);
  });
  if (watched && agent_ != nullptr) {
    agent_->launcher.Hear([key](ShimObserver& o) { o.OnShimGone(key); });
  }
}

// ---- The agent --------------------------------------------------------------------------------------------

void FakeNode::StartAgent(NodeConfig config, ContainerManagerOptions options) {
  ASSERT_EQ(agent_, nullptr);
  ++agent_number_;
  options.boot_id = boot_id;
  agent_ = std::make_unique<Agent>(*this, std::move(config), options);
  agent_->containers.Restore([this] {
    agent_->restored = true;
    agent_->reporter.Start(agent_->new_boot);
    journal::Record record;
    record.set_boot_id(boot_id);
    agent_->journal.Append(std::move(record), nullptr);
  });
}

void FakeNode::KillAgent() {
  connected_ = false;
  agent_.reset();
  queues_.erase("agent");
  queues_.erase("disk");
  timers_.clear();
  for (auto& [key, shim] : shims) {
    shim.watched = false;
    const bool waits = shim.alive && !run[key].created;
    shim.agent = 0;
    // The end of its socket before go.
    if (waits) {
      OfShim(key, [this, key = key, pid = shim.pid] {
        if (shims[key].agent == 0) KillPid(key, pid);
      });
    }
  }
}

void FakeNode::LosePower(size_t kept) {
  KillAgent();
  queues_.clear();
  shims.clear();
  scopes.clear();
  run.clear();
  journal_bytes.resize(std::min(journal_bytes.size(), synced_bytes + kept));
  boot_id = fmt::format("boot-{}", agent_number_ + 1);
}

ContainerManager& FakeNode::containers() { return agent_->containers; }
ControlPlane& FakeNode::control_plane() { return agent_->control_plane; }
Reporter& FakeNode::reporter() { return agent_->reporter; }
Journal& FakeNode::journal() { return agent_->journal; }
bool FakeNode::restored() const { return agent_ != nullptr && agent_->restored; }

bool FakeNode::FireTimer(Duration horizon) {
  auto first = timers_.end();
  for (auto it = timers_.begin(); it != timers_.end(); ++it) {
    if (first == timers_.end() || it->second.first < first->second.first) first = it;
  }
  if (first == timers_.end()) return false;
  const Duration wait = std::max(first->second.first - clock.Monotonic(), Duration::zero());
  if (wait > horizon) return false;
  clock.Advance(wait);
  const Work work = std::move(first->second.second);
  timers_.erase(first);
  work();
  return true;
}

bool FakeNode::Step() {
  std::vector<std::string> ready;
  for (const auto& [name, queue] : queues_) {
    if (!queue.empty() && !(disk_stuck && name == "disk")) ready.push_back(name);
  }
  if (ready.empty()) return FireTimer(Duration::zero());
  auto& queue = queues_[ready[random_() % ready.size()]];
  const Work work = std::move(queue.front());
  queue.pop_front();
  work();
  return true;
}

void FakeNode::Run(Duration horizon) {
  const MonotonicTime until = clock.Monotonic() + horizon;
  for (int i = 0; i < 100000; ++i) {
    if (Step()) continue;
    if (!FireTimer(until - clock.Monotonic())) {
      if (until > clock.Monotonic()) clock.Advance(until - clock.Monotonic());
      return;
    }
  }
  ADD_FAILURE() << "it never comes to rest";
}

// ---- The gateway ------------------------------------------------------------------------------------------

void FakeNode::Connect(int64_t term) {
  connected_ = true;
  agent_->control_plane.OnConnected();
  term_ = term != 0 ? term : agent_->journal.state().term + 1;
  GatewayMessage welcome;
  welcome.mutable_welcome()->set_protocol(1);
  welcome.mutable_welcome()->set_term(term_);
  welcome.mutable_welcome()->set_cluster_epoch(cluster_epoch);
  SendMessage(welcome);
}

void FakeNode::Disconnect() {
  if (!std::exchange(connected_, false)) return;
  if (agent_ != nullptr) agent_->control_plane.OnDisconnected();
}

void FakeNode::SendMessage(const GatewayMessage& message) { agent_->control_plane.OnMessage(message); }

uint64_t FakeNode::PostDelta(Delta delta) {
  delta.set_nonce(++nonce_);
  if (delta.term() == 0) delta.set_term(term_);
  GatewayMessage message;
  *message.mutable_delta() = delta;
  SendMessage(message);
  return delta.nonce();
}

std::optional<isla::v1::DeltaAck> FakeNode::SendDelta(Delta delta) {
  const uint64_t nonce = PostDelta(std::move(delta));
  for (int i = 0; i < 1000 && !AckOf(nonce).has_value(); ++i) {
    if (!Step()) break;
  }
  return AckOf(nonce);
}

std::optional<isla::v1::DeltaAck> FakeNode::AckOf(uint64_t nonce) const {
  for (const auto& message : sent) {
    if (message.has_ack() && message.ack().nonce() == nonce) return message.ack();
  }
  return std::nullopt;
}

Delta FakeNode::RunDelta(const ContainerKey& key, const isla::v1::LaunchSpec& launch) {
  Delta delta;
  auto& desired = *delta.add_upserts();
  desired.set_uid(key.uid);
  desired.set_incarnation(key.incarnation);
  desired.set_hash("h");
  desired.set_desired(DesiredContainer::RUN);
  *desired.mutable_launch() = launch;
  return delta;
}

Delta FakeNode::StopDelta(const ContainerKey& key, int64_t grace_msec) {
  Delta delta;
  auto& desired = *delta.add_upserts();
  desired.set_uid(key.uid);
  desired.set_incarnation(key.incarnation);
  desired.set_hash("s");
  desired.set_desired(DesiredContainer::STOP);
  desired.set_grace_period_msec(grace_msec);
  return delta;
}

isla::v1::ContainerState FakeNode::ReportedState(const ContainerKey& key) const {
  const auto it = reports.find(key);
  return it == reports.end() ? isla::v1::CONTAINER_STATE_UNSPECIFIED : it->second.state();
}

bool FakeNode::HasTrace(const ContainerKey& key) const {
  const auto shim = shims.find(key);
  return (shim != shims.end() && shim->second.alive) || scopes.contains(ScopeName(key)) || run.contains(key) ||
         folders.contains(key);
}

}  // namespace isla::agent
