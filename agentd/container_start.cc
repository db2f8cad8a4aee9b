// ContainerManager: start, the shim's events, and what is found after a restart of agentd.
#include <csignal>
#include <memory>
#include <utility>

#include "agentd/container_manager.h"
#include "agentd/policy_versions.h"
#include "api/base/log.h"

namespace isla::agent {
namespace {

using isla::v1::DesiredContainer;
using isla::v1::ExitInfo;

const Logger kLog("agentd");

LaunchPlan MakePlan(const ContainerKey& key, const journal::Entry& entry) {
  const isla::v1::LaunchSpec& launch = entry.desired().launch();
  LaunchPlan plan;
  plan.key = key;
  plan.policy = PolicyToStart(entry);
  shim::LaunchRequest& request = plan.request;
  request.uid = key.uid;
  request.incarnation = key.incarnation;
  request.scope = ScopeName(key);
  request.hostname = launch.session().substr(0, 63);
  request.log_max_bytes = entry.log_max_bytes();
  request.image = launch.image().empty() ? "host" : launch.image();
  request.argv.assign(launch.argv().begin(), launch.argv().end());
  request.env.assign(launch.env().begin(), launch.env().end());
  request.working_dir = launch.working_dir();
  request.cpu_millis = launch.cpu_millis();
  request.memory_bytes = launch.memory_bytes();
  request.tasks = launch.tasks();
  request.tmpfs_bytes = launch.memory_bytes();
  request.timeout_msec = launch.timeout_msec();
  request.grace_period_msec = launch.grace_period_msec();
  request.host_network = launch.network() == "host";
  for (const auto& mount : launch.mounts()) {
    request.mounts.push_back({mount.host_path(), mount.mount_path(), mount.read_only()});
  }
  request.id_base = entry.id_base();
  return plan;
}

}  // namespace

bool ContainerManager::MayStartNow(const ContainerKey& key) {
  if (starting_ >= max_starting_) return false;
  // Two incarnations of one container never live at once.
  const auto older = containers_.lower_bound({key.uid, 0});
  for (auto it = older; it != containers_.end() && it->first < key; ++it) {
    if (HoldsResources(it->second.phase)) return false;
  }
  return true;
}

void ContainerManager::Start(const ContainerKey& key, Container& c) {
  if (!MayStartNow(key)) {
    if (!std::exchange(c.waiting, true)) waiting_.push_back(key);
    return;
  }
  SetPhase(key, c, Phase::kStarting);
  c.ready = c.scope_started = c.scope_unheard = c.scope_ended = false;
  c.retry_delay = Duration::zero();
  const LaunchPlan plan = MakePlan(key, EntryOf(key));
  if (launcher_.IsReady(plan.policy)) return SpawnShim(key, c, plan);
  launcher_.Prepare(plan.policy, plan.request.id_base, Then<Status>(key, c, &ContainerManager::OnPolicyReady));
}

void ContainerManager::OnPolicyReady(const ContainerKey& key, Container& c, Status status) {
  if (status.ok()) return SpawnShim(key, c, MakePlan(key, EntryOf(key)));
  FailStart(key, c, "compile the sandbox policy", status);
}

void ContainerManager::SpawnShim(const ContainerKey& key, Container& c, const LaunchPlan& plan) {
  const auto pid = launcher_.Spawn(plan);
  if (!pid.ok()) {
    FailStart(key, c, "spawn the shim", pid.status());
    return;
  }
  kLog.Debug("shim spawned", "container={} pid={}", Name(key), *pid);
  c.shim_alive = true;
  policies_.Started(key, plan.policy);
  c.deadline = timers_.After(options_.start_timeout, [this, key] {
    Container* current = Find(key);
    if (current == nullptr || current->phase != Phase::kStarting) return;
    current->deadline = 0;
    // A disk that doesn't take the journal is no fault of the container: it waits.
    if (!current->durable && current->scope_started && current->ready) return;
    FailStart(key, *current, current->scope_started ? "wait for the shim" : "make the scope",
              Error(Code::kDeadlineExceeded, "not done in time"));
  });
  c.unit.unit = ScopeName(key);
  c.shim_pid = *pid;
  c.program_room = launcher_.ProgramRoom(plan.policy);
  StartScope(key, c);
}

void ContainerManager::StartScope(const ContainerKey& key, Container& c) {
  const isla::v1::LaunchSpec& launch = EntryOf(key).desired().launch();
  const Resources limit =
      Add(Add({launch.cpu_millis(), launch.memory_bytes(), launch.tasks()}, options_.margin), {0, c.program_room, 0});
  ScopeSpec spec;
  spec.unit = ScopeName(key);
  spec.slice = SliceName(launch.namespace_());
  spec.description = fmt::format("isla session {}/{} ({})", launch.namespace_(), launch.session(), launch.name());
  spec.pids = {c.shim_pid};
  spec.cpu_millis = limit.cpu_millis;
  spec.memory_bytes = limit.memory_bytes;
  spec.tasks = limit.tasks;
  spec.stop_timeout = std::chrono::milliseconds(launch.grace_period_msec()) + options_.stop_margin;
  systemd_.StartScope(spec, Then<StatusOr<UnitInfo>>(key, c, &ContainerManager::OnScopeStarted));
}

void ContainerManager::OnScopeStarted(const ContainerKey& key, Container& c, StatusOr<UnitInfo> unit) {
  if (unit.ok()) {
    kLog.Debug("scope started", "container={} invocation={}", Name(key), unit->invocation_id);
    c.unit = *std::move(unit);
    c.scope_started = true;
    MaybeGo(key, c);
    return;
  }
  kLog.Debug("start scope", "container={} error='{}'", Name(key), ToString(unit.status()));
  switch (unit.status().code()) {
    case Code::kDeadlineExceeded:
      c.scope_unheard = true;
      ReadBackScope(key, c);
      break;
    case Code::kUnavailable: Retry(key, c, &ContainerManager::StartScope); break;
    case Code::kAlreadyExists:
      // Ours, made late; or of an earlier attempt that never got to go, with nothing of a payload in it.
      Retry(key, c, c.scope_unheard ? &ContainerManager::ReadBackScope : &ContainerManager::ReplaceScope);
      break;
    default: FailStart(key, c, "make the scope", unit.status());
  }
}

void ContainerManager::ReadBackScope(const ContainerKey& key, Container& c) {
  systemd_.GetUnit(ScopeName(key), Then<StatusOr<UnitInfo>>(key, c, &ContainerManager::OnScopeReadBack));
}

void ContainerManager::OnScopeReadBack(const ContainerKey& key, Container& c, StatusOr<UnitInfo> unit) {
  if (unit.ok() && unit->active_state == "active") {
    OnScopeStarted(key, c, std::move(unit));
  } else if (unit.status().code() == Code::kNotFound) {
    Retry(key, c, &ContainerManager::StartScope);
  } else {
    Retry(key, c, &ContainerManager::ReadBackScope);  // not yet active, or no answer: until the deadline
  }
}

void ContainerManager::ReplaceScope(const ContainerKey& key, Container& c) {
  systemd_.StopUnit(ScopeName(key), Then<Status>(key, c, &ContainerManager::OnScopeReplaced));
}

void ContainerManager::OnScopeReplaced(const ContainerKey& key, Container& c, Status status) {
  if (!status.ok()) kLog.Debug("stop old scope", "container={} error='{}'", Name(key), Message(status));
  Retry(key, c, &ContainerManager::StartScope);
}

void ContainerManager::MaybeGo(const ContainerKey& key, Container& c) {
  if (c.phase != Phase::kStarting || !c.durable || !c.ready || !c.scope_started) return;
  if (DesiredOf(key) == Desired::kStop) return;  // Drive aborts it
  timers_.Cancel(std::exchange(c.deadline, 0));
  const int64_t now = clock_.Wall().time_since_epoch().count();
  const Status went = launcher_.Go(key, ScopeName(key), c.unit.invocation_id, now);
  if (!went.ok()) {
    FailStart(key, c, "send go", went);
    return;
  }
  c.created_at_ns = now;
  SetPhase(key, c, Phase::kCreated);
}

void ContainerManager::FailStart(const ContainerKey& key, Container& c, const std::string& step,
                                 const Status& status) {
  kLog.Debug("start failed", "container={} step='{}' error='{}'", Name(key), step, Message(status));
  ExitInfo exit;
  exit.set_cause("start-error");
  exit.set_reason("StartError");
  exit.set_message(fmt::format("{}: {}", step, Message(status)));
  c.failure = exit;
  if (c.shim_alive) launcher_.Abandon(key);
  End(key, c);
}

// ---- What the shim says ----------------------------------------------------------------------------------

void ContainerManager::OnReady(const ContainerKey& key) {
  Container* c = Find(key);
  if (c == nullptr) return;
  kLog.Debug("shim ready", "container={}", Name(key));
  c->ready = true;
  MaybeGo(key, *c);
}

void ContainerManager::OnRefused(const ContainerKey& key, const std::string& why) {
  Container* c = Find(key);
  if (c == nullptr || c->phase != Phase::kStarting) return;
  FailStart(key, *c, "start the shim", Error(Code::kInvalidArgument, why));
}

void ContainerManager::OnRunning(const ContainerKey& key, int64_t started_at_ns) {
  Container* c = Find(key);
  if (c == nullptr || (c->phase != Phase::kCreated && c->phase != Phase::kRunning)) return;
  c->started_at_ns = started_at_ns;
  SetPhase(key, *c, Phase::kRunning);
  Drive(key);
}

void ContainerManager::OnExited(const ContainerKey& key) {
  Container* c = Find(key);
  if (c == nullptr || (c->phase != Phase::kCreated && c->phase != Phase::kRunning)) return;
  const RunRecords records = launcher_.Read(key);
  if (records.exit.has_value()) EndByRecord(key, *c, *records.exit);
  // Without a record this is a lie; the shim's death will tell.
}

void ContainerManager::OnShimGone(const ContainerKey& key) {
  Container* c = Find(key);
  if (c == nullptr) return;
  c->shim_alive = false;
  switch (c->phase) {
    case Phase::kStarting:
      FailStart(key, *c, "wait for the shim", Error(Code::kUnavailable, "it died before it was told to go"));
      break;
    case Phase::kCreated:
    case Phase::kRunning: {
      const RunRecords records = launcher_.Read(key);
      if (records.exit.has_value()) {
        EndByRecord(key, *c, *records.exit);
      } else {
        kLog.Warn("shim lost", "container={}; killing what is left of it", Name(key));
        End(key, *c);
      }
      break;
    }
    case Phase::kEnding: MaybeFinishEnding(key, *c); break;
    case Phase::kCleaning:
      if (!c->ending_scope) {
        timers_.Cancel(std::exchange(c->deadline, 0));
        EndScope(key, *c);
      }
      break;
    case Phase::kAdopting:
      if (!c->ending_scope) EndScope(key, *c);
      break;
    default: break;
  }
}

// ---- After a start of agentd -----------------------------------------------------------------------------

void ContainerManager::Restore(std::function<void()> done) {
  restored_ = std::move(done);
  for (const auto& [key, entry] : journal_.state().entries) {
    Container& c = containers_[key];
    c.phase = Phase::kAdopting;
    c.durable = c.announced = true;
  }
  systemd_.ListScopes([this](StatusOr<std::vector<UnitInfo>> scopes) {
    if (scopes.ok()) {
      RestoreFrom(*scopes);
      return;
    }
    kLog.Warn("can't list the scopes", "error='{}'; trying again", Message(scopes.status()));
    restore_delay_ = std::min(std::max(restore_delay_ * 2, options_.retry_first), options_.retry_last);
    restore_retry_ = timers_.After(restore_delay_, [this] { Restore(std::move(restored_)); });
  });
}

void ContainerManager::RestoreFrom(const std::vector<UnitInfo>& scopes) {
  std::set<ContainerKey> with_scope;
  for (const UnitInfo& unit : scopes) {
    if (const auto key = KeyFromScopeName(unit.unit)) with_scope.insert(*key);
  }
  std::set<ContainerKey> found = with_scope;
  for (const ContainerKey& key : launcher_.List()) found.insert(key);
  for (const ContainerKey& key : found) {
    if (journal_.Find(key) != nullptr) continue;
    const RunRecords records = launcher_.Read(key);
    const bool ran = records.created || records.started_at_ns != 0 || records.exit.has_value() || records.has_log;
    if (ran || with_scope.contains(key)) {
      AddOrphan(key);
    } else {
      RemoveRemnant(key);
    }
  }
  for (auto& [key, c] : containers_) Settle(key, c, with_scope.contains(key));
  const auto restored = std::exchange(restored_, nullptr);
  if (restored) restored();
  std::vector<ContainerKey> keys;
  for (const auto& [key, c] : containers_) keys.push_back(key);
  for (const ContainerKey& key : keys) Drive(key);
}

void ContainerManager::AddOrphan(const ContainerKey& key) {
  kLog.Warn("container that nobody knows", "container={}; keeping it as an orphan", Name(key));
  journal::Record record;
  journal::Entry& entry = *record.add_puts();
  entry.mutable_desired()->set_uid(key.uid);
  entry.mutable_desired()->set_incarnation(key.incarnation);
  entry.mutable_desired()->set_desired(DesiredContainer::RUN);
  entry.set_boot_id(options_.boot_id);
  entry.set_orphan(true);
  journal_.Append(std::move(record), nullptr);
  Container& c = containers_[key];
  c.phase = Phase::kAdopting;
  c.durable = c.announced = true;
}

/// Of a start that a crash cut off before its delta was durable: folders, and maybe a shim that is about to
/// exit because its socket ended. No payload ran.
void ContainerManager::RemoveRemnant(const ContainerKey& key) {
  launcher_.Cleanup(key, [key](const Status& status) {
    if (!status.ok()) kLog.Warn("remnant not removed", "container={} error='{}'; left for the next start", Name(key),
                                Message(status));
  });
}

void ContainerManager::Settle(const ContainerKey& key, Container& c, bool has_scope) {
  const journal::Entry& entry = EntryOf(key);
  if (entry.gone() || entry.has_nack()) {
    SetPhase(key, c, entry.gone() ? Phase::kGone : Phase::kRefused);
    return;
  }
  const bool this_boot = entry.boot_id() == options_.boot_id;
  // Asked before the records are read: a shim that ends in between has written its record first.
  c.shim_alive = this_boot && launcher_.Adopt(key).ok();
  if (entry.has_exit()) {
    SetPhase(key, c, Phase::kExited);
    return;
  }
  if (!this_boot) {
    EndAsLost(key, c, "NodeRebooted", "the node was started anew; an incarnation is never started twice");
    return;
  }
  const RunRecords records = launcher_.Read(key);
  c.unit.unit = ScopeName(key);
  c.unit.invocation_id = records.invocation_id;
  c.created_at_ns = records.created_at_ns;
  c.started_at_ns = records.started_at_ns;
  const bool ran = records.created || records.started_at_ns != 0;
  if (records.exit.has_value()) {
    EndByRecord(key, c, *records.exit);
  } else if (entry.orphan() && !entry.desired().has_launch()) {
    SettleOrphan(key, c, records, has_scope);
  } else if (ran && c.shim_alive) {
    SetPhase(key, c, records.started_at_ns != 0 ? Phase::kRunning : Phase::kCreated);
  } else if (ran) {
    kLog.Warn("shim lost", "container={}; killing what is left of it", Name(key));
    End(key, c);
  } else {
    c.restart = true;
    if (c.shim_alive) launcher_.Abandon(key);
    EndScope(key, c);
  }
}

/// Nothing but its name is known. As long as something of it is there it is held, whatever it is.
void ContainerManager::SettleOrphan(const ContainerKey& key, Container& c, const RunRecords& records, bool has_scope) {
  if (c.shim_alive || has_scope) {
    SetPhase(key, c, records.started_at_ns == 0 && records.created ? Phase::kCreated : Phase::kRunning);
  } else {
    EndAsLost(key, c, "ShimLost", "found on the node without a process");
  }
}

void ContainerManager::EndAsLost(const ContainerKey& key, Container& c, const std::string& reason,
                                 const std::string& message) {
  ExitInfo exit;
  exit.set_exit_code(128 + SIGKILL);
  exit.set_signal(SIGKILL);
  exit.set_cause("lost");
  exit.set_reason(reason);
  exit.set_message(message);
  exit.set_finished_at_ns(clock_.Wall().time_since_epoch().count());
  SetPhase(key, c, Phase::kEnding);
  WriteExit(key, c, std::move(exit));
}

}  // namespace isla::agent
