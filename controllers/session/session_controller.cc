#include "controllers/session/session_controller.h"

#include <algorithm>
#include <set>

#include "controllers/session/policy_status.h"

namespace isla::controllers {

using store::Compare;
using store::KeyClass;
using store::Operation;

namespace {

/// Preparing is often over before anyone could read it; it is written only if it lasts this long. History
/// has it all the same.
constexpr Duration kPreparingPatience = std::chrono::milliseconds(25);

int64_t Milliseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

/// Nothing of the container is left on its node, or ever was.
bool IsGone(const SessionView& view, const BindContainer& container) {
  const Run* run = view.RunOf(container);
  return run != nullptr && (run->state == RunState::kGone || run->nack);
}

/// Sets Stop; true if that changed something. A shorter grace period wins, as on the node.
bool SetStop(BindContainer& container, Duration grace) {
  const int64_t msec = Milliseconds(grace);
  if (container.desired == Desired::kStop && container.grace_period_msec <= msec) return false;
  container.desired = Desired::kStop;
  container.grace_period_msec = msec;
  return true;
}

bool FollowsPolicies(const Node& node) {
  return std::find(node.features.begin(), node.features.end(), kPolicyUpdates) != node.features.end();
}

/// The SandboxPolicy is another version than the container should have. Only the present one counts: what came and went between two looks is nobody's
/// business any more; and without one the last stays.
bool HasNewerPolicy(const SessionView& view, const BindContainer& container) {
  if (container.desired != Desired::kRun || view.policy == nullptr || !view.policy->ok()) return false;
  const std::string wanted = container.WantedPolicy();
  return !wanted.empty() && wanted != view.policy->value.hash;
}

Decision Write(const SessionView& view, std::string what, std::vector<Compare> compares,
               std::vector<Operation> operations) {
  Decision decision;
  decision.what = std::move(what);
  decision.cluster_revision = view.cluster_revision;
  decision.txn = store::Transaction{std::move(compares), std::move(operations), {}};
  return decision;
}

}  // namespace

std::vector<std::string> SessionController::AllKeys(const ClusterState& state) const { return state.SessionKeys(); }

void SessionController::KeysFor(const Change& change, const ClusterState& state,
                                std::vector<std::string>& keys) const {
  if (!change.session.empty()) keys.push_back(change.session);
  if (change.key.key_class == KeyClass::kSpec && change.key.kind == "sandboxpolicy") {
    for (std::string& session : state.SessionsWithPolicy(change.key.ns + "/" + change.key.name)) keys.push_back(std::move(session));
  }
  std::vector<std::string> nodes;
  if (change.key.key_class == KeyClass::kNode) nodes.push_back(change.key.name);
  if (change.key.key_class == KeyClass::kGateway) nodes = state.NodesOfGateway(change.key.name);
  for (const std::string& node : nodes) {
    for (std::string& session : state.SessionsOnNode(node)) keys.push_back(std::move(session));
  }
}

Decision SessionController::Reconcile(const std::string& key, const ClusterState& state) const {
  return Decide(state.Session(key), clock_.Wall());
}

Decision SessionController::Decide(const SessionView& view, WallTime now) const {
  if (view.spec == nullptr) return WithoutSpec(view);
  if (!view.spec->ok()) return {};
  if (view.bind != nullptr && !view.bind->ok()) return {};
  if (view.bind != nullptr && !view.BindIsOurs() && !view.bind->value.containers.empty()) return OlderBind(view);
  if (view.spec->value.meta.deleting()) return Deleting(view, now);
  if (!view.BindIsOurs() || view.bind->value.containers.empty()) {
    // The scheduler's; but if it never says a word, somebody has to.
    const Duration deadline = *DeadlineOf(Phase::kPending, view.spec->value);
    if (view.StatusIsOurs() || view.bind != nullptr) return {};
    if (view.status_age >= deadline) return Observe(view, nullptr, now);
    Decision later;
    later.look_again = deadline - view.status_age;
    return later;
  }
  return Placed(view, now);
}

Decision SessionController::WithoutSpec(const SessionView& view) const {
  if (view.bind != nullptr || view.status == nullptr) return {};
  const std::string status = keys_.Status("session", view.ns, view.name);
  return Write(view, "leftover",
               {Compare::Missing(keys_.Spec("session", view.ns, view.name)),
                Compare::ModRevision(status, ModRevision(view.status))},
               {Operation::Delete(status)});
}

Decision SessionController::OlderBind(const SessionView& view) const {
  Bind bind = view.bind->value;
  bool changed = false;
  bool gone = true;
  for (BindContainer& container : bind.containers) {
    changed = SetStop(container, std::chrono::milliseconds(container.launch.Int64At({"gracePeriodMsec"}).value_or(30'000))) ||
              changed;
    gone = gone && IsGone(view, container);
  }
  std::vector<Operation> operations;
  if (changed) {
    operations.push_back(Operation::Put(view.bind->key(), Encode(bind)));
  } else if (gone) {
    operations.push_back(Operation::Delete(view.bind->key()));
    DeleteRuns(view, operations);
  } else {
    return {};
  }
  return Write(view, "replace", Compares(view), std::move(operations));
}

std::vector<Compare> SessionController::Compares(const SessionView& view) const {
  std::vector<Compare> compares = {Compare::ModRevision(keys_.Spec("session", view.ns, view.name), ModRevision(view.spec)),
                                   Compare::ModRevision(keys_.Bind(view.ns, view.name), ModRevision(view.bind)),
                                   Compare::ModRevision(keys_.Status("session", view.ns, view.name), ModRevision(view.status))};
  if (view.spec != nullptr && view.spec->ok() && view.spec->value.policy != "default") {
    compares.push_back(Compare::ModRevision(keys_.Spec("sandboxpolicy", view.ns, view.spec->value.policy), ModRevision(view.policy)));
  }
  return compares;
}

void SessionController::DeleteRuns(const SessionView& view, std::vector<Operation>& operations) const {
  std::set<std::string> run_keys;
  for (const auto& [key, run] : view.runs) run_keys.insert(run->key());
  // The cache may not have them yet; deleting what isn't there does nothing.
  if (view.bind != nullptr && view.bind->ok()) {
    for (const BindContainer& container : view.bind->value.containers) {
      run_keys.insert(keys_.Run(container.node, container.uid, container.incarnation));
    }
  }
  for (const std::string& key : run_keys) {
    // What doesn't fit a transaction was left by a hundred refusals, and hurts nobody.
    if (operations.size() < 100) operations.push_back(Operation::Delete(key));
  }
}

Decision SessionController::Remove(const SessionView& view) const {
  std::vector<Operation> operations = {Operation::Delete(view.spec->key())};
  if (view.status != nullptr) operations.push_back(Operation::Delete(view.status->key()));
  if (view.bind != nullptr) operations.push_back(Operation::Delete(view.bind->key()));
  DeleteRuns(view, operations);
  return Write(view, "remove", Compares(view), std::move(operations));
}

Decision SessionController::Deleting(const SessionView& view, WallTime now) const {
  if (!view.BindIsOurs() || view.bind->value.containers.empty()) return Remove(view);
  const std::vector<BindContainer>& containers = view.bind->value.containers;
  const bool all_gone = std::all_of(containers.begin(), containers.end(),
                                    [&view](const BindContainer& c) { return IsGone(view, c); });
  Bind bind = view.bind->value;
  bool changed = false;
  for (BindContainer& container : bind.containers) {
    if (!container.released || !all_gone) {
      changed = SetStop(container, GracePeriodOf(view.spec->value)) || changed;
    }
  }
  // A container that was told Run and is gone all the same (a reboot): Stop first, so that no agent is left
  // with a Run in its journal.
  if (changed) return Observe(view, &bind, now);
  if (all_gone) return Remove(view);
  return Observe(view, nullptr, now);
}

Decision SessionController::Placed(const SessionView& view, WallTime now) const {
  const BindContainer& container = view.bind->value.containers.front();
  const Run* run = view.RunOf(container);
  if (run != nullptr && run->nack) return Refused(view, *run->nack, now);
  const bool ended = run != nullptr && (run->state == RunState::kExited || run->state == RunState::kGone);
  if (ended && container.released) return Observe(view, nullptr, now);
  if (!ended && !HasNewerPolicy(view, container)) return Observe(view, nullptr, now);
  Bind bind = view.bind->value;
  for (BindContainer& entry : bind.containers) {
    if (ended) {
      entry.released = true;
    } else {
      entry.WantPolicy(view.policy->value.hash);
      // One that hasn't started may start with this version. What runs never gets one whose program takes more than that of its start.
      if (run == nullptr || run->state == RunState::kAccepted) entry.resources.memory_bytes = std::max(entry.resources.memory_bytes, view.spec->value.asked.memory_bytes + view.policy->value.program_room);
    }
  }
  return Observe(view, &bind, now);
}

Decision SessionController::Refused(const SessionView& view, const RunNack& nack, WallTime now) const {
  Bind bind = view.bind->value;
  const std::string node = bind.containers.front().node;
  bind.containers.clear();
  bind.verdict = Verdict{nack.reason.empty() ? "Refused" : nack.reason,
                         "node " + node + " refused it: " + nack.message, RecordTime(now)};
  // That is no fault of the node's: it may have the next incarnation at once.
  if (nack.reason == kStoreRestored) return WithoutContainer(view, bind, now);
  const auto found = std::find_if(bind.avoid.begin(), bind.avoid.end(),
                                  [&node](const Avoid& avoid) { return avoid.node == node; });
  if (found != bind.avoid.end()) {
    ++found->count;
    found->at = RecordTime(now);
  } else {
    if (bind.avoid.size() >= 32) bind.avoid.erase(bind.avoid.begin());
    bind.avoid.push_back({node, 1, RecordTime(now)});
  }
  return WithoutContainer(view, bind, now);
}

Decision SessionController::WithoutContainer(const SessionView& view, const Bind& bind, WallTime now) const {
  Decision decision = Observe(view, &bind, now);
  decision.what = "refused";
  DeleteRuns(view, decision.txn->success);
  return decision;
}

Decision SessionController::Observe(const SessionView& view, const Bind* bind, WallTime now) const {
  const SessionSpec& spec = view.spec->value;
  StatusInput input;
  input.ns = view.ns;
  input.name = view.name;
  input.spec = &spec;
  input.previous = view.StatusIsOurs() ? &view.status->value.status : nullptr;
  input.bind = bind != nullptr ? bind : (view.BindIsOurs() ? &view.bind->value : nullptr);
  if (input.bind != nullptr && !input.bind->containers.empty()) {
    const BindContainer& container = input.bind->containers.front();
    input.run = view.RunOf(container);
    input.node_reachable = view.nodes_reachable.contains(container.node);
    const auto node = view.nodes.find(container.node);
    input.follows_policies = node == view.nodes.end() || !node->second->ok() || FollowsPolicies(node->second->value);
  }
  input.policy = view.policy.get();
  input.now = now;
  const Phase phase = DerivePhase(input);
  const std::optional<Phase> before =
      input.previous == nullptr ? std::nullopt : ParsePhase(input.previous->StringAt({"phase"}));
  const std::optional<Duration> deadline = DeadlineOf(phase, spec);
  input.overdue = before == phase && deadline && view.status_age >= *deadline;
  // The status was written anew when its conditions told of the delay, which made it young again: they go on
  // telling until the phase changes.
  if (before == phase && !input.overdue && input.previous != nullptr) {
    const json::Value* conditions = input.previous->Find("conditions");
    for (size_t i = 0; conditions != nullptr && conditions->is_array() && i < conditions->items().size(); ++i) {
      input.overdue = input.overdue || conditions->items()[i].StringAt({"reason"}) == RowOf(phase).overdue_reason;
    }
  }
  const json::Value status = NextStatus(input);
  Decision later;
  if (input.previous != nullptr && status == *input.previous && bind == nullptr &&
      view.status->value.observed_generation == spec.meta.generation) {
    if (deadline && !input.overdue) later.look_again = *deadline - view.status_age;
    return later;
  }
  if (bind == nullptr && phase == Phase::kPreparing && before == Phase::kScheduled &&
      view.status_age < kPreparingPatience) {
    later.look_again = kPreparingPatience - view.status_age;
    return later;
  }
  std::vector<Operation> operations = {
      Operation::Put(keys_.Status("session", view.ns, view.name), EncodeStatus(spec.meta, status, nullptr))};
  if (bind != nullptr) operations.push_back(Operation::Put(view.bind->key(), Encode(*bind)));
  return Write(view, bind != nullptr ? "status+bind" : "status", Compares(view), std::move(operations));
}

}  // namespace isla::controllers
