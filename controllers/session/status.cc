#include "controllers/session/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "controllers/session/policy_status.h"

namespace isla::controllers {
namespace {

using json::Value;

/// The members of a status that are written here; any other is a newer islad's and is kept.
constexpr std::array kOwn = {"phase",  "observedGeneration", "conditions", "containers", "result",    "exitCode",
                             "reason", "message",            "startedAt",  "finishedAt", "history"};

const BindContainer* ContainerOf(const StatusInput& input) {
  return input.bind == nullptr || input.bind->containers.empty() ? nullptr : &input.bind->containers.front();
}

/// The history, with what has to be added.
class History {
 public:
  explicit History(const Value* previous) {
    const Value* list = previous == nullptr ? nullptr : previous->Find("history");
    if (list != nullptr && list->is_array()) entries_ = list->items();
  }

  bool empty() const { return entries_.empty(); }
  /// `now`, or the last entry's time if that is later: it may be of another islad, whose clock is ahead of this one's.
  std::string AtOrAfterLast(const std::string& now) const {
    if (entries_.empty()) return now;
    const std::string last = entries_.back().StringAt({"at"});
    const StatusOr<WallTime> before = ParseRfc3339(last);
    const StatusOr<WallTime> after = ParseRfc3339(now);
    return before.ok() && after.ok() && *after < *before ? last : now;
  }
  std::string last() const { return entries_.empty() ? std::string() : entries_.back().StringAt({"phase"}); }

  /// Appends the phase unless it is there already since the session was Pending the last time.
  void Reach(Phase phase, const std::string& at, const std::string& reason = {}, const std::string& message = {}) {
    for (auto it = entries_.rbegin(); it != entries_.rend(); ++it) {
      const std::string name = it->StringAt({"phase"});
      if (name == PhaseName(phase)) return;
      if (name == PhaseName(Phase::kPending)) break;
    }
    Append(phase, at, reason, message);
  }

  /// Something that happened within a phase.
  void Note(Phase phase, const std::string& at, const std::string& reason, const std::string& message) {
    const auto is_note = [](const Value& entry) { return entry.StringAt({"reason"}).starts_with("Policy"); };
    if (static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(), is_note)) >= kMaxPolicyHistory) {
      entries_.erase(std::find_if(entries_.begin(), entries_.end(), is_note));
    }
    Append(phase, at, reason, message);
  }

  void Append(Phase phase, const std::string& at, const std::string& reason, const std::string& message) {
    Value entry = Value::MakeObject({{"phase", PhaseName(phase)}, {"at", at}});
    if (!reason.empty()) entry.Set("reason", reason);
    if (!message.empty()) entry.Set("message", message);
    entries_.push_back(std::move(entry));
    // The first entry says when it began; of the rest the oldest go.
    while (entries_.size() > kMaxHistory) entries_.erase(entries_.begin() + 1);
  }

  json::Array Take() { return std::move(entries_); }

 private:
  json::Array entries_;
};

struct Condition {
  std::string_view type;
  std::string_view status;
  std::string reason;
  std::string message;
  std::string at;
};

Value MakeCondition(const Condition& condition, const Value* previous, int64_t generation) {
  std::string at = condition.at;
  const Value* list = previous == nullptr ? nullptr : previous->Find("conditions");
  if (list != nullptr && list->is_array()) {
    for (const Value& old : list->items()) {
      if (old.StringAt({"type"}) != condition.type || old.StringAt({"status"}) != condition.status) continue;
      at = old.StringAt({"lastTransitionTime"}, at);
    }
  }
  Value out = Value::MakeObject({{"type", condition.type}, {"status", condition.status}, {"reason", condition.reason}});
  if (!condition.message.empty()) out.Set("message", condition.message);
  out.Set("lastTransitionTime", at);
  out.Set("observedGeneration", generation);
  return out;
}

Condition ScheduledCondition(const StatusInput& input, const std::string& now) {
  if (const BindContainer* container = ContainerOf(input)) {
    return {"Scheduled", "True", "Bound", fmt::format("on node {}", container->node), now};
  }
  if (input.bind != nullptr && input.bind->verdict) {
    return {"Scheduled", "False", input.bind->verdict->reason, input.bind->verdict->message, now};
  }
  return {"Scheduled", "Unknown", std::string(RowOf(Phase::kPending).overdue_reason),
          std::string(RowOf(Phase::kPending).overdue_message), now};
}

Condition ReadyCondition(const StatusInput& input, Phase phase, const std::string& now) {
  const PhaseRow& row = RowOf(phase);
  const BindContainer* container = ContainerOf(input);
  if (row.final) return {"Ready", "False", "Finished", "", now};
  if (container != nullptr && !input.node_reachable) {
    return {"Ready", phase == Phase::kRunning ? "Unknown" : "False", "NodeDisconnected",
            fmt::format("node {} isn't connected", container->node), now};
  }
  if (input.overdue) return {"Ready", "False", std::string(row.overdue_reason), std::string(row.overdue_message), now};
  switch (phase) {
    case Phase::kRunning:
      return {"Ready", "True", "Running", "", input.run == nullptr ? now : input.run->started_at};
    case Phase::kPending: return {"Ready", "False", "NotScheduled", "", now};
    case Phase::kScheduled: return {"Ready", "False", "WaitingForNode", "", now};
    case Phase::kTerminating: return {"Ready", "False", "Terminating", "", now};
    default: return {"Ready", "False", "Starting", "", now};
  }
}

/// Only a command that was started has one: what a node reports of one that wasn't is 0, or a signal's that nobody was sent.
std::optional<int64_t> ExitCodeOf(const Run& run) {
  if (!run.exit || run.started_at.empty()) return std::nullopt;
  return run.exit->exit_code;
}

Value ContainerStatus(const BindContainer& container, const Run* run, const std::optional<PolicyFacts>& policy) {
  Value out = Value::MakeObject({{"name", container.name},
                                 {"uid", container.uid},
                                 {"incarnation", container.incarnation},
                                 {"node", container.node}});
  if (run == nullptr) return out;
  out.Set("state", RunStateName(run->state));
  if (!run->scope.empty()) out.Set("scope", run->scope);
  if (!run->started_at.empty()) out.Set("startedAt", run->started_at);
  if (policy && !policy->in_force.empty()) out.Set("policyVersion", policy->in_force);
  if (policy && !policy->refused.empty()) out.Set("policyRefused", policy->refused);
  if (!run->exit) return out;
  if (const std::optional<int64_t> code = ExitCodeOf(*run)) out.Set("exitCode", *code);
  if (run->exit->signal != 0) out.Set("signal", run->exit->signal);
  if (!run->exit->cause.empty()) out.Set("cause", run->exit->cause);
  if (!run->exit->message.empty()) out.Set("message", run->exit->message);
  if (!run->exit->finished_at.empty()) out.Set("finishedAt", run->exit->finished_at);
  if (run->exit->peak_memory_bytes != 0) out.Set("peakMemoryBytes", run->exit->peak_memory_bytes);
  if (run->exit->cpu_time_usec != 0) out.Set("cpuTimeUsec", run->exit->cpu_time_usec);
  return out;
}

void RecordHistory(const StatusInput& input, Phase phase, const std::optional<Ending>& ending, const std::string& now,
                   History& history) {
  const auto name = [](Phase p) { return PhaseName(p); };
  if (history.empty()) {
    history.Append(Phase::kPending, input.spec->meta.created_at.empty() ? now : input.spec->meta.created_at, {}, {});
  }
  if (phase == Phase::kPending) {
    if (history.last() == name(Phase::kPending)) return;
    const Verdict verdict = input.bind != nullptr && input.bind->verdict ? *input.bind->verdict : Verdict{};
    history.Append(Phase::kPending, now, verdict.reason, verdict.message);
    return;
  }
  if (const BindContainer* container = ContainerOf(input)) {
    history.Reach(Phase::kScheduled, history.AtOrAfterLast(now), {}, fmt::format("on node {}", container->node));
  }
  if (input.run != nullptr && !input.run->accepted_at.empty()) history.Reach(Phase::kPreparing, input.run->accepted_at);
  if (input.run != nullptr && !input.run->started_at.empty()) history.Reach(Phase::kRunning, input.run->started_at);
  // An end that isn't the work of the deletion comes before it, even if both are seen at once.
  if (ending && ending->phase != Phase::kCancelled) {
    history.Reach(ending->phase, ending->finished_at, ending->reason, ending->message);
  }
  if (phase == Phase::kTerminating) history.Reach(Phase::kTerminating, now);
}

void SetEnding(const StatusInput& input, const std::optional<Ending>& ending, Value& status) {
  if (ending) {
    status.Set("result", PhaseName(ending->phase));
    if (ending->exit_code) status.Set("exitCode", *ending->exit_code);
    status.Set("reason", ending->reason);
    if (!ending->message.empty()) status.Set("message", ending->message);
  } else if (input.bind != nullptr && input.bind->containers.empty() && input.bind->verdict) {
    status.Set("reason", input.bind->verdict->reason);
    status.Set("message", input.bind->verdict->message);
  }
  if (input.run != nullptr && !input.run->started_at.empty()) status.Set("startedAt", input.run->started_at);
  if (ending) status.Set("finishedAt", ending->finished_at);
}

}  // namespace

Duration GracePeriodOf(const SessionSpec& spec) {
  if (spec.meta.deletion_grace_seconds >= 0) {
    // A year is more than any container needs, and keeps the arithmetic from overflowing.
    return std::chrono::seconds(std::min<int64_t>(spec.meta.deletion_grace_seconds, 365 * 86400));
  }
  return spec.termination_grace_period;
}

std::optional<Duration> DeadlineOf(Phase phase, const SessionSpec& spec) {
  const PhaseRow& row = RowOf(phase);
  if (row.final) return std::nullopt;
  switch (row.plus) {
    case DeadlinePlus::kNothing: return row.deadline;
    case DeadlinePlus::kGracePeriod: return row.deadline + GracePeriodOf(spec);
    case DeadlinePlus::kTimeout: {
      if (spec.timeout == Duration::zero()) return std::nullopt;
      return row.deadline + spec.timeout + GracePeriodOf(spec);
    }
  }
  return std::nullopt;
}

std::optional<Ending> EndingOf(const Run* run, bool deleting, WallTime now) {
  if (run == nullptr || (run->state != RunState::kExited && run->state != RunState::kGone)) return std::nullopt;
  Ending ending;
  if (!run->exit) {
    // Gone without a word of how: the node lost it (a reboot, a cleaned state folder).
    ending.finished_at = RecordTime(now);
    ending.phase = deleting ? Phase::kCancelled : Phase::kFailed;
    ending.reason = deleting ? "Stopped" : "Lost";
    if (!deleting) ending.message = "its node has no record of how it ended";
    return ending;
  }
  const RunExit& exit = *run->exit;
  ending.exit_code = ExitCodeOf(*run);
  ending.reason = exit.reason;
  ending.message = exit.message;
  ending.finished_at = exit.finished_at.empty() ? RecordTime(now) : exit.finished_at;
  if (deleting && exit.cause == "stopped") {
    ending.phase = Phase::kCancelled;
  } else if (exit.exit_code == 0 && exit.signal == 0 && (exit.cause == "exited" || exit.cause.empty())) {
    ending.phase = Phase::kSucceeded;
  }
  if (ending.reason.empty()) ending.reason = ending.phase == Phase::kSucceeded ? "Completed" : "Error";
  return ending;
}

Phase DerivePhase(const StatusInput& input) {
  const BindContainer* container = ContainerOf(input);
  if (input.spec->meta.deleting()) return Phase::kTerminating;
  if (container == nullptr) return Phase::kPending;
  // What has ended stays ended, whatever becomes of the node's record.
  const std::optional<Phase> before =
      input.previous == nullptr ? std::nullopt : ParsePhase(input.previous->StringAt({"phase"}));
  if (before && RowOf(*before).final) return *before;
  if (const std::optional<Ending> ending = EndingOf(input.run, false, input.now)) return ending->phase;
  if (input.run == nullptr || input.run->nack) return Phase::kScheduled;
  return input.run->state == RunState::kRunning ? Phase::kRunning : Phase::kPreparing;
}

Value NextStatus(const StatusInput& input) {
  const std::string now = RecordTime(input.now);
  const Phase phase = DerivePhase(input);
  const bool deleting = input.spec->meta.deleting();
  const int64_t generation = input.spec->meta.generation;
  const std::optional<Phase> before =
      input.previous == nullptr ? std::nullopt : ParsePhase(input.previous->StringAt({"phase"}));
  const std::string result = input.previous == nullptr ? "" : input.previous->StringAt({"result"});

  Value status = Value::MakeObject({{"phase", PhaseName(phase)}, {"observedGeneration", generation}});
  std::optional<Ending> ending = EndingOf(input.run, deleting, input.now);
  // Written once: a later report (Gone after Exited) may say less, never something else.
  const bool settled = !result.empty() && phase != Phase::kPending;

  const std::optional<PolicyFacts> policy = PolicyFactsOf(input, phase);
  Value& conditions = status.Set("conditions", json::Array());
  conditions.Append(MakeCondition(ScheduledCondition(input, now), input.previous, generation));
  conditions.Append(MakeCondition(ReadyCondition(input, phase, now), input.previous, generation));
  if (policy && !policy->reason.empty()) {
    conditions.Append(MakeCondition({"PolicyCurrent", policy->status, policy->reason, policy->message, now}, input.previous, generation));
  }
  if (ending || settled) {
    const std::string reason = settled ? input.previous->StringAt({"reason"}) : ending->reason;
    const std::string at = settled ? input.previous->StringAt({"finishedAt"}, now) : ending->finished_at;
    conditions.Append(MakeCondition({"Finished", "True", reason, "", at}, input.previous, generation));
  } else {
    conditions.Append(
        MakeCondition({"Finished", "False", std::string(PhaseName(phase)), "", now}, input.previous, generation));
  }
  json::Array containers;
  if (input.bind != nullptr) {
    for (const BindContainer& container : input.bind->containers) {
      containers.push_back(ContainerStatus(container, input.run, policy));
    }
  }
  status.Set("containers", std::move(containers));
  if (settled) {
    for (const char* name : {"result", "exitCode", "reason", "message", "startedAt", "finishedAt"}) {
      if (const Value* value = input.previous->Find(name)) status.Set(name, *value);
    }
    // The node's record of an ended container may be gone already.
    if (input.run == nullptr) {
      if (const Value* value = input.previous->Find("containers")) status.Set("containers", *value);
    }
  } else {
    SetEnding(input, ending, status);
  }
  History history(input.previous);
  RecordHistory(input, phase, settled && before && RowOf(*before).final ? std::nullopt : ending, now, history);
  if (policy && phase == Phase::kRunning) {
    if (const auto event = PolicyEvent(*policy, input.previous)) history.Note(phase, history.AtOrAfterLast(now), event->first, event->second);
  }
  status.Set("history", history.Take());
  if (input.previous != nullptr && input.previous->is_object()) {
    for (const json::Member& member : input.previous->members()) {
      if (std::find(kOwn.begin(), kOwn.end(), member.name) == kOwn.end()) status.Set(member.name, member.value);
    }
  }
  return status;
}

std::string EncodeStatus(const ObjectMeta& meta, const Value& status, const Value* stored) {
  Value tree = stored == nullptr ? Value::MakeObject() : *stored;
  tree.Set("uid", meta.uid);
  tree.Set("observedGeneration", meta.generation);
  tree.Set("status", status);
  return json::Serialize(tree);
}

}  // namespace isla::controllers
