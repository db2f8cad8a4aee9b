#include "agentd/container_manager.h"

#include <cerrno>
#include <csignal>
#include <utility>

#include "agentd/policy_versions.h"
#include "api/base/log.h"

namespace isla::agent {
namespace {

using isla::v1::ContainerState;
using isla::v1::DesiredContainer;
using isla::v1::ExitInfo;

const Logger kLog("agentd");

int64_t NowNs(const Clock& clock) { return clock.Wall().time_since_epoch().count(); }

bool IsStarting(Phase phase) { return phase == Phase::kStarting || phase == Phase::kCreated; }

}  // namespace

ContainerManager::ContainerManager(ContainerManagerOptions options, Journal& journal, SystemdManager& systemd,
                                   Launcher& launcher, Timers& timers, const Clock& clock,
                                   std::function<void(const ContainerKey&)> changed)
    : options_(std::move(options)),
      journal_(journal),
      systemd_(systemd),
      launcher_(launcher),
      timers_(timers),
      clock_(clock),
      changed_(std::move(changed)),
      policies_(options_.policies, launcher, timers, [this](const ContainerKey& key) { return PolicySubject(key); },
                [this](const ContainerKey& key) { changed_(key); }),
      max_starting_(options_.max_starting) {
  launcher_.SetObserver(this);
}

ContainerManager::~ContainerManager() {
  launcher_.SetObserver(nullptr);
  timers_.Cancel(restore_retry_);
  for (auto& [key, c] : containers_) CancelTimers(c);
}

ContainerManager::Container* ContainerManager::Find(const ContainerKey& key) {
  const auto it = containers_.find(key);
  return it == containers_.end() ? nullptr : &it->second;
}

const journal::Entry& ContainerManager::EntryOf(const ContainerKey& key) const {
  const journal::Entry* entry = journal_.Find(key);
  ISLA_CHECK(entry != nullptr);
  return *entry;
}

// A stop that was told once stands, even if the control plane then forgets the container.
Desired ContainerManager::DesiredOf(const ContainerKey& key) const {
  const journal::Entry& entry = EntryOf(key);
  if (entry.desired().desired() == DesiredContainer::STOP) return Desired::kStop;
  return entry.orphan() ? Desired::kOrphan : Desired::kRun;
}

/// What runs, and is to run on, can get another version of its policy.
std::optional<PolicyUpdates::Subject> ContainerManager::PolicySubject(const ContainerKey& key) const {
  const auto it = containers_.find(key);
  if (it == containers_.end() || it->second.phase != Phase::kRunning || !it->second.durable || DesiredOf(key) != Desired::kRun) return std::nullopt;
  const journal::Entry& entry = EntryOf(key);
  PolicyText wanted = WantedPolicy(entry);
  if (wanted.built_in()) return std::nullopt;
  return PolicyUpdates::Subject{std::move(wanted), PolicyVersion(entry, policies_.AtStart(key)), entry.id_base()};
}

void ContainerManager::SetPhase(const ContainerKey& key, Container& c, Phase phase) {
  if (c.phase == phase) return;
  kLog.Debug("phase", "container={} from={} to={}", Name(key), PhaseName(c.phase), PhaseName(phase));
  const ContainerState before = StateOf(key);
  const bool was_starting = IsStarting(c.phase);
  const bool held = HoldsResources(c.phase);
  c.phase = phase;
  if (was_starting != IsStarting(phase)) starting_ = was_starting ? starting_ - 1 : starting_ + 1;
  if (StateOf(key) != before) changed_(key);
  // A place among those that start, or the previous incarnation's end, is what others wait for.
  if ((was_starting && !IsStarting(phase)) || (held && !HoldsResources(phase))) {
    if (!waiting_.empty()) timers_.After(Duration::zero(), [this] { DriveWaiting(); });
  }
}

template <typename T>
std::function<void(T)> ContainerManager::Then(const ContainerKey& key, Container& c,
                                              void (ContainerManager::*next)(const ContainerKey&, Container&, T)) {
  const uint64_t op = ++c.op;
  return [this, key, op, next](T result) {
    Container* current = Find(key);
    if (current == nullptr || current->op != op) return;
    (this->*next)(key, *current, std::move(result));
  };
}

void ContainerManager::Retry(const ContainerKey& key, Container& c, Step step) {
  c.retry_delay = c.retry_delay == Duration::zero() ? options_.retry_first
                                                    : std::min(c.retry_delay * 2, options_.retry_last);
  timers_.Cancel(c.retry);
  const uint64_t op = ++c.op;
  c.retry = timers_.After(c.retry_delay, [this, key, op, step] {
    Container* current = Find(key);
    if (current == nullptr || current->op != op) return;
    current->retry = 0;
    (this->*step)(key, *current);
  });
}

void ContainerManager::CancelTimers(Container& c) {
  timers_.Cancel(std::exchange(c.deadline, 0));
  timers_.Cancel(std::exchange(c.retry, 0));
}

void ContainerManager::OnEntryChanged(const ContainerKey& key) {
  const auto [it, is_new] = containers_.try_emplace(key);
  Container& c = it->second;
  c.durable = false;
  if (is_new) {
    const journal::Entry& entry = EntryOf(key);
    c.phase = entry.gone() ? Phase::kGone : entry.has_nack() ? Phase::kRefused : Phase::kAccepted;
  }
  // The start may overlap the journal's sync: nothing of the payload runs before both are done.
  if (NextAction(DesiredOf(key), c.phase) == Action::kStart) Drive(key);
}

void ContainerManager::OnEntryDurable(const ContainerKey& key) {
  Container* c = Find(key);
  if (c == nullptr) return;
  kLog.Debug("durable", "container={}", Name(key));
  c->durable = true;
  if (!std::exchange(c->announced, true)) changed_(key);
  MaybeGo(key, *c);
  Drive(key);
}

void ContainerManager::Forget(const ContainerKey& key) {
  const auto it = containers_.find(key);
  if (it == containers_.end()) return;
  CancelTimers(it->second);
  policies_.Forget(key);
  containers_.erase(it);
}

bool ContainerManager::IsGone(const ContainerKey& key) const {
  const Phase phase = PhaseOf(key);
  return phase == Phase::kGone || phase == Phase::kRefused;
}

void ContainerManager::Drive(const ContainerKey& key) {
  Container* c = Find(key);
  if (c == nullptr) return;
  const Action action = NextAction(DesiredOf(key), c->phase);
  if (action != Action::kStart && !c->durable) return;
  switch (action) {
    case Action::kNone: policies_.Drive(key); break;
    case Action::kStart: Start(key, *c); break;
    case Action::kAbort: Abort(key, *c); break;
    case Action::kStop: Stop(key, *c); break;
    case Action::kClean: Clean(key, *c); break;
  }
}

void ContainerManager::SetMaxStarting(std::optional<size_t> most) {
  max_starting_ = most.value_or(options_.max_starting);
  if (!waiting_.empty()) timers_.After(Duration::zero(), [this] { DriveWaiting(); });
}

void ContainerManager::DriveWaiting() {
  std::deque<ContainerKey> waiting;
  waiting.swap(waiting_);
  for (const ContainerKey& key : waiting) {
    if (Container* c = Find(key); c != nullptr) c->waiting = false;
    Drive(key);
  }
}

Phase ContainerManager::PhaseOf(const ContainerKey& key) const {
  const auto it = containers_.find(key);
  return it == containers_.end() ? Phase::kGone : it->second.phase;
}

ContainerState ContainerManager::StateOf(const ContainerKey& key) const {
  const auto it = containers_.find(key);
  if (it == containers_.end()) return isla::v1::GONE;
  const Container& c = it->second;
  const auto live = [&c] {
    return c.started_at_ns != 0 ? isla::v1::RUNNING : c.created_at_ns != 0 ? isla::v1::CREATED : isla::v1::ACCEPTED;
  };
  switch (c.phase) {
    case Phase::kAccepted:
    case Phase::kStarting: return isla::v1::ACCEPTED;
    case Phase::kCreated: return isla::v1::CREATED;
    case Phase::kRunning: return isla::v1::RUNNING;
    case Phase::kAdopting:
    case Phase::kEnding: return live();
    case Phase::kExited: return isla::v1::EXITED;
    // Of what was stopped before it started there is no exit.
    case Phase::kCleaning: return EntryOf(key).has_exit() ? isla::v1::EXITED : isla::v1::ACCEPTED;
    case Phase::kGone:
    case Phase::kRefused: return isla::v1::GONE;
  }
  return isla::v1::CONTAINER_STATE_UNSPECIFIED;
}

isla::v1::Report ContainerManager::MakeReport(const ContainerKey& key) const {
  const journal::Entry& entry = EntryOf(key);
  const auto it = containers_.find(key);
  isla::v1::Report report;
  report.set_uid(key.uid);
  report.set_incarnation(key.incarnation);
  report.set_session_namespace(entry.desired().launch().namespace_());
  report.set_session(entry.desired().launch().session());
  report.set_session_uid(entry.desired().launch().session_uid());
  report.set_state(StateOf(key));
  report.set_accepted_at_ns(entry.accepted_at_ns());
  if (entry.has_nack()) *report.mutable_nack() = entry.nack();
  if (!WantedPolicy(entry).built_in()) policies_.AddTo(key, report);
  if (entry.has_exit()) {
    report.set_scope(entry.scope());
    report.set_invocation_id(entry.invocation_id());
    report.set_created_at_ns(entry.created_at_ns());
    report.set_started_at_ns(entry.started_at_ns());
    *report.mutable_exit() = entry.exit();
  } else if (it != containers_.end()) {
    const Container& c = it->second;
    report.set_scope(c.created_at_ns != 0 ? ScopeName(key) : "");
    report.set_invocation_id(c.unit.invocation_id);
    report.set_created_at_ns(c.created_at_ns);
    report.set_started_at_ns(c.started_at_ns);
  }
  return report;
}

Resources ContainerManager::Used() const {
  Resources used;
  for (const auto& [key, c] : containers_) {
    if (!HoldsResources(c.phase)) continue;
    const auto& launch = EntryOf(key).desired().launch();
    used = Add(used, {launch.cpu_millis(), launch.memory_bytes(), launch.tasks()});
  }
  return used;
}

size_t ContainerManager::CountIn(Phase phase) const {
  size_t count = 0;
  for (const auto& [key, c] : containers_) count += c.phase == phase ? 1 : 0;
  return count;
}

// ---- The end of a container ------------------------------------------------------------------------------

void ContainerManager::Stop(const ContainerKey& key, Container& c) {
  const Duration grace = std::chrono::milliseconds(std::max<int64_t>(0, EntryOf(key).desired().grace_period_msec()));
  if (c.told_grace.has_value() && *c.told_grace <= grace) return;
  c.told_grace = grace;
  kLog.Debug("stop", "container={} grace_ms={}", Name(key), grace / std::chrono::milliseconds(1));
  const Status told = launcher_.Stop(key, grace);
  if (!told.ok()) {
    kLog.Warn("can't tell the shim to stop", "container={} error='{}'; asking systemd", Name(key), Message(told));
    systemd_.StopUnit(ScopeName(key), [](const Status&) {});
  }
  timers_.Cancel(c.deadline);
  c.deadline = timers_.After(grace + options_.stop_margin, [this, key] {
    Container* current = Find(key);
    if (current == nullptr) return;
    current->deadline = 0;
    if (current->phase != Phase::kCreated && current->phase != Phase::kRunning) return;
    kLog.Warn("not stopped in time", "container={}; killing its scope", Name(key));
    current->killed = true;
    End(key, *current);
  });
}

void ContainerManager::Abort(const ContainerKey& key, Container& c) {
  ExitInfo exit;
  exit.set_cause("stopped");
  exit.set_reason("Stopped");
  exit.set_message("stopped before it started");
  exit.set_exit_code(128 + SIGTERM);
  c.failure = exit;
  if (c.shim_alive) launcher_.Abandon(key);
  End(key, c);
}

/// Its end has no record: everything that may be left of it is killed before an end is claimed.
void ContainerManager::End(const ContainerKey& key, Container& c) {
  CancelTimers(c);
  SetPhase(key, c, Phase::kEnding);
  EndScope(key, c);
}

void ContainerManager::EndByRecord(const ContainerKey& key, Container& c, const shim::ExitRecord& record) {
  CancelTimers(c);
  if (c.started_at_ns == 0) c.started_at_ns = record.started_at_ns;
  SetPhase(key, c, Phase::kEnding);
  WriteExit(key, c, ToExitInfo(record));
}

void ContainerManager::MaybeFinishEnding(const ContainerKey& key, Container& c) {
  if (c.phase != Phase::kEnding || !c.scope_ended || c.shim_alive) return;
  const RunRecords records = launcher_.Read(key);
  if (records.exit.has_value() && !c.failure.has_value()) {
    EndByRecord(key, c, *records.exit);
    return;
  }
  ExitInfo exit;
  if (c.failure.has_value()) {
    exit = *c.failure;
    // The shim knows better which step failed.
    if (records.exit.has_value() && exit.cause() == "start-error") exit = ToExitInfo(*records.exit);
  } else {
    exit.set_exit_code(128 + SIGKILL);
    exit.set_signal(SIGKILL);
    exit.set_cause(c.killed ? "stopped" : "lost");
    exit.set_reason(c.killed ? "Stopped" : "ShimLost");
    exit.set_message(c.killed ? "killed: it did not end within its grace period"
                              : "its shim was lost, so what was left of it was killed; how it would have ended isn't known");
  }
  exit.set_finished_at_ns(NowNs(clock_));
  WriteExit(key, c, std::move(exit));
}

void ContainerManager::WriteExit(const ContainerKey& key, Container& c, ExitInfo exit) {
  ++c.op;
  journal::Record record;
  journal::Entry& entry = *record.add_puts();
  entry = EntryOf(key);
  *entry.mutable_exit() = std::move(exit);
  entry.set_created_at_ns(c.created_at_ns);
  entry.set_started_at_ns(c.started_at_ns);
  entry.set_invocation_id(c.unit.invocation_id);
  if (c.created_at_ns != 0) entry.set_scope(ScopeName(key));
  journal_.Append(std::move(record), [this, key] {
    Container* current = Find(key);
    if (current == nullptr || current->phase != Phase::kEnding) return;
    SetPhase(key, *current, Phase::kExited);
    Drive(key);
  });
}

// ---- The scope and every process in it must go -----------------------------------------------------------

void ContainerManager::EndScope(const ContainerKey& key, Container& c) {
  c.ending_scope = true;
  c.scope_ended = false;
  systemd_.GetUnit(ScopeName(key), Then<StatusOr<UnitInfo>>(key, c, &ContainerManager::OnScopeSeen));
}

void ContainerManager::OnScopeSeen(const ContainerKey& key, Container& c, StatusOr<UnitInfo> unit) {
  if (unit.ok()) {
    c.unit = *unit;
    if (unit->active_state == "failed") {
      systemd_.ResetFailed(ScopeName(key), Then<Status>(key, c, &ContainerManager::OnScopeStopped));
      return;
    }
    systemd_.KillUnit(ScopeName(key), SIGKILL, Then<Status>(key, c, &ContainerManager::OnScopeKilled));
    return;
  }
  const bool gone = c.unit.control_group.empty() || launcher_.CgroupGone(c.unit.control_group);
  if (unit.status().code() == Code::kNotFound && gone) {
    c.ending_scope = false;
    c.scope_ended = true;
    c.retry_delay = Duration::zero();
    OnScopeEnded(key, c);
    return;
  }
  Retry(key, c, &ContainerManager::EndScope);
}

// Whatever the answer: what counts is what is seen afterwards.
void ContainerManager::OnScopeKilled(const ContainerKey& key, Container& c, Status status) {
  if (!status.ok()) kLog.Debug("kill scope", "container={} error='{}'", Name(key), Message(status));
  systemd_.StopUnit(ScopeName(key), Then<Status>(key, c, &ContainerManager::OnScopeStopped));
}

void ContainerManager::OnScopeStopped(const ContainerKey& key, Container& c, Status status) {
  if (!status.ok() && status.code() != Code::kNotFound) {
    kLog.Warn("scope not stopped", "container={} error='{}'; trying again", Name(key), Message(status));
    Retry(key, c, &ContainerManager::EndScope);
    return;
  }
  systemd_.GetUnit(ScopeName(key), Then<StatusOr<UnitInfo>>(key, c, &ContainerManager::OnScopeSeen));
}

void ContainerManager::OnScopeEnded(const ContainerKey& key, Container& c) {
  switch (c.phase) {
    case Phase::kEnding: MaybeFinishEnding(key, c); break;
    case Phase::kCleaning: CleanFolders(key, c); break;
    case Phase::kAdopting:
      if (c.restart && !c.shim_alive) {
        c.restart = false;
        SetPhase(key, c, Phase::kAccepted);
        Drive(key);
      }
      break;
    default: break;
  }
}

// ---- Removal ---------------------------------------------------------------------------------------------

void ContainerManager::Clean(const ContainerKey& key, Container& c) {
  CancelTimers(c);
  SetPhase(key, c, Phase::kCleaning);
  if (!c.shim_alive) {
    EndScope(key, c);
    return;
  }
  // The shim is about to exit by itself: give it the time to unmount, not more.
  const uint64_t op = ++c.op;
  c.deadline = timers_.After(options_.stop_margin, [this, key, op] {
    Container* current = Find(key);
    if (current == nullptr || current->op != op) return;
    current->deadline = 0;
    kLog.Warn("shim did not exit", "container={}; killing its scope", Name(key));
    EndScope(key, *current);
  });
}

void ContainerManager::CleanFolders(const ContainerKey& key, Container& c) {
  if (c.shim_alive) {  // alive though its scope is empty: it can't be, unless its scope never had it
    launcher_.Abandon(key);
    return;  // OnShimGone goes on
  }
  launcher_.Cleanup(key, Then<Status>(key, c, &ContainerManager::OnCleaned));
}

void ContainerManager::OnCleaned(const ContainerKey& key, Container& c, Status status) {
  if (!status.ok()) {
    kLog.Warn("folders not removed", "container={} error='{}'; trying again", Name(key), Message(status));
    Retry(key, c, &ContainerManager::CleanFolders);
    return;
  }
  journal::Record record;
  journal::Entry& entry = *record.add_puts();
  entry = EntryOf(key);
  entry.set_gone(true);
  entry.set_id_base(0);
  entry.set_log_max_bytes(0);
  // Not waited for: forgotten by a power loss, it is cleaned once more.
  journal_.Append(std::move(record), nullptr);
  SetPhase(key, c, Phase::kGone);
}

namespace {

/// What is the user's command's own fault is told apart: `isla run` exits with 127 or 126 for it, as a shell does.
const char* StartErrorReason(const shim::ExitRecord& record) {
  if (!record.at_command) return "StartError";
  switch (record.error) {
    case ENOENT:
    case ENOTDIR: return "CommandNotFound";
    case EAGAIN:
    case ENOMEM: return "StartError";
    default: return "CommandNotExecutable";
  }
}

}  // namespace

ExitInfo ToExitInfo(const shim::ExitRecord& record) {
  ExitInfo exit;
  exit.set_exit_code(record.exit_code);
  exit.set_signal(record.signal);
  exit.set_cause(record.cause);
  exit.set_oom_kills(record.oom_kills);
  exit.set_finished_at_ns(record.finished_at_ns);
  exit.set_peak_memory_bytes(record.peak_memory_bytes);
  exit.set_cpu_time_usec(record.cpu_time_usec);
  exit.set_message(record.message);
  if (record.cause == "exited") {
    exit.set_reason(record.exit_code == 0 ? "Completed" : "Error");
  } else if (record.cause == "signal") {
    exit.set_reason("Error");
  } else if (record.cause == "oom") {
    exit.set_reason("OOMKilled");
  } else if (record.cause == "stopped") {
    exit.set_reason("Stopped");
  } else if (record.cause == "timeout") {
    exit.set_reason("Timeout");
  } else if (record.cause == "start-error") {
    exit.set_reason(StartErrorReason(record));
    if (record.message.empty()) exit.set_message(fmt::format("{}: errno {}", record.step, record.error));
  } else {
    exit.set_reason("Error");
  }
  return exit;
}

}  // namespace isla::agent
