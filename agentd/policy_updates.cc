#include "agentd/policy_updates.h"

#include <algorithm>
#include <utility>

#include "api/base/log.h"

namespace isla::agent {
namespace {

const Logger kLog("agentd");

}  // namespace

PolicyUpdates::PolicyUpdates(PolicyUpdateOptions options, Launcher& launcher, Timers& timers, SubjectOf subject_of,
                             std::function<void(const ContainerKey&)> changed)
    : options_(options), launcher_(launcher), timers_(timers), subject_of_(std::move(subject_of)), changed_(std::move(changed)) {}

PolicyUpdates::~PolicyUpdates() {
  for (auto& [key, update] : updates_) timers_.Cancel(update.timer);
}

void PolicyUpdates::Started(const ContainerKey& key, const PolicyText& policy) {
  Update& update = updates_[key];
  update.in_force = update.at_start = policy.hash;
  // The report that it runs has it.
  isla::v1::Report report;
  AddTo(key, report);
  update.reported = report.SerializeAsString();
}

std::string PolicyUpdates::AtStart(const ContainerKey& key) const {
  const auto at = updates_.find(key);
  return at == updates_.end() ? std::string() : at->second.at_start;
}

void PolicyUpdates::Forget(const ContainerKey& key) {
  const auto at = updates_.find(key);
  if (at == updates_.end()) return;
  timers_.Cancel(at->second.timer);
  updates_.erase(at);
}

void PolicyUpdates::Arm(const ContainerKey& key, Update& update, Duration delay, void (PolicyUpdates::*fn)(const ContainerKey&)) {
  timers_.Cancel(update.timer);
  update.timer = timers_.After(delay, [this, key, fn] {
    const auto at = updates_.find(key);
    if (at == updates_.end()) return;
    at->second.timer = 0;
    (this->*fn)(key);
  });
}

void PolicyUpdates::Drive(const ContainerKey& key) {
  const std::optional<Subject> subject = subject_of_(key);
  if (!subject) return;
  Update& update = updates_[key];
  if (update.step != Step::kIdle) return;  // which ends here
  const std::string& wanted = subject->wanted.hash;
  if (update.in_force == wanted) return Rest(key, update);
  if (update.in_force.empty()) {
    // It is the first that a shim says. One that can't be asked is told of what is wanted all the same, later.
    if (!std::exchange(update.word_awaited, true)) return Arm(key, update, options_.word_within, &PolicyUpdates::Drive);
    if (update.timer != 0) return;
  }
  const bool failed = update.failure && update.failure->version == wanted;
  const bool lacking = subject->wanted.text.empty();
  if (failed && (update.failure->final || update.timer != 0) && (lacking || update.failure->reason != "PolicyChanged")) return;
  if (lacking) return Fail(key, {wanted, "PolicyChanged", "it was changed again, or removed, before its node had it", true});
  if (!failed) update.retry_delay = Duration::zero();
  timers_.Cancel(std::exchange(update.timer, 0));
  update.step = Step::kCompiling;
  update.trying = wanted;
  kLog.Debug("another version of the policy", "container={} version={}", Name(key), wanted);
  launcher_.Prepare(subject->wanted, subject->id_base, [this, key, op = ++update.op](const Status& status) {
    const auto at = updates_.find(key);
    if (at != updates_.end() && at->second.op == op) OnCompiled(key, status);
  });
}

void PolicyUpdates::OnCompiled(const ContainerKey& key, const Status& status) {
  Update& update = updates_.at(key);
  update.step = Step::kIdle;
  const std::optional<Subject> subject = subject_of_(key);
  if (!subject) return;
  if (subject->wanted.hash != update.trying) return Drive(key);  // another one by now
  if (!status.ok()) {
    const bool final = status.code() == Code::kInvalidArgument || status.code() == Code::kUnimplemented;
    return Fail(key, {update.trying, "PolicyNotCompiled", Message(status), final});
  }
  Swap(key, subject->wanted, "");
}

void PolicyUpdates::Swap(const ContainerKey& key, const PolicyText& policy, const std::string& compared_with) {
  Update& update = updates_.at(key);
  update.compared = !compared_with.empty();
  const Status told = launcher_.SwapPolicy(key, policy, compared_with);
  if (!told.ok()) return Fail(key, {update.trying, "PolicyNotApplied", Message(told), false});
  update.step = Step::kSwapping;
  Arm(key, update, options_.answer_within, &PolicyUpdates::OnSilence);
}

void PolicyUpdates::OnRefused(const ContainerKey& key, const ShimPolicy& told) {
  Update& update = updates_.at(key);
  if (!told.takes_restart) return Fail(key, {update.trying, "PolicyNotApplied", told.error, false});
  const std::optional<Subject> subject = subject_of_(key);
  if (!subject || subject->wanted.hash != update.trying) return Drive(key);
  if (update.compared || subject->started.text.empty()) return Fail(key, {update.trying, "PolicyRestartRequired", told.error, true});
  update.step = Step::kComparing;
  launcher_.Compare(subject->started, subject->wanted, subject->id_base, [this, key, refusal = told.error, op = ++update.op](const StatusOr<PolicyChange>& change) {
    const auto at = updates_.find(key);
    if (at != updates_.end() && at->second.op == op) OnCompared(key, refusal, change);
  });
}

void PolicyUpdates::OnCompared(const ContainerKey& key, const std::string& refusal, const StatusOr<PolicyChange>& change) {
  Update& update = updates_.at(key);
  update.step = Step::kIdle;
  const std::optional<Subject> subject = subject_of_(key);
  if (!subject || subject->wanted.hash != update.trying) return Drive(key);
  if (change.ok() && change->live) return Swap(key, subject->wanted, change->started_filter);
  // What a comparison adds is which calls; without one the shim's word is enough.
  const bool more = change.ok() && !change->obstacles.empty();
  Fail(key, {update.trying, "PolicyRestartRequired", more ? refusal + ": " + change->obstacles : refusal, true});
}

void PolicyUpdates::OnSilence(const ContainerKey& key) {
  Update& update = updates_.at(key);
  update.step = Step::kIdle;
  Fail(key, {update.trying, "PolicyNotApplied", "its shim does not answer", false});
}

void PolicyUpdates::OnTold(const ContainerKey& key, const ShimPolicy& told) {
  Update& update = updates_[key];
  if (!told.in_force.empty()) update.in_force = told.in_force;
  if (!told.started_with.empty()) update.at_start = told.started_with;
  const bool refused = !told.error.empty();
  // What was told to nobody in particular answers the question only by its version.
  if (update.step == Step::kSwapping && (refused || told.in_force == update.trying)) {
    update.step = Step::kIdle;
    timers_.Cancel(std::exchange(update.timer, 0));
    // A refusal without a version is of what wasn't even understood.
    if (refused && (told.refused == update.trying || told.refused.empty())) return OnRefused(key, told);
    if (!refused) kLog.Info("another version of the policy is in force", "container={} version={}", Name(key), told.in_force);
  }
  if (update.word_awaited && update.step == Step::kIdle && !update.failure) timers_.Cancel(std::exchange(update.timer, 0));
  if (subject_of_(key)) Report(key, update);
  Drive(key);
}

void PolicyUpdates::Fail(const ContainerKey& key, Failure failure) {
  Update& update = updates_.at(key);
  if (failure.final) {
    timers_.Cancel(std::exchange(update.timer, 0));
  } else {
    update.retry_delay = std::clamp(update.retry_delay * 2, options_.retry_first, options_.retry_last);
    Arm(key, update, update.retry_delay, &PolicyUpdates::Drive);
  }
  const bool again = update.failure && update.failure->version == failure.version && update.failure->message == failure.message;
  if (!again) {
    kLog.Warn("another version of the policy is not in force", "container={} version={} reason={} error='{}'; {}", Name(key), failure.version, failure.reason,
              failure.message, failure.final ? "the one before stays" : "the one before stays, trying again");
  }
  update.failure = std::move(failure);
  Report(key, update);
}

/// What is wanted is in force.
void PolicyUpdates::Rest(const ContainerKey& key, Update& update) {
  timers_.Cancel(std::exchange(update.timer, 0));
  update.failure.reset();
  Report(key, update);
}

void PolicyUpdates::Report(const ContainerKey& key, Update& update) {
  if (update.in_force.empty()) return;
  isla::v1::Report report;
  AddTo(key, report);
  std::string said = report.SerializeAsString();
  if (said == update.reported) return;
  update.reported = std::move(said);
  changed_(key);
}

void PolicyUpdates::AddTo(const ContainerKey& key, isla::v1::Report& report) const {
  const auto at = updates_.find(key);
  if (at == updates_.end() || at->second.in_force.empty()) return;
  isla::v1::PolicyReport& out = *report.mutable_sandbox_policy();
  out.set_in_force(at->second.in_force);
  if (!at->second.failure) return;
  out.set_refused(at->second.failure->version);
  out.set_reason(at->second.failure->reason);
  out.set_message(at->second.failure->message);
}

}  // namespace isla::agent
