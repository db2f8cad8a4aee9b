#include "controllers/scheduler/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "controllers/session/status.h"

namespace isla::controllers {

using store::Compare;
using store::KeyClass;
using store::Operation;

namespace {

bool SelectorMatches(const SessionSpec& spec, const Node& node) {
  for (const auto& [label, value] : spec.node_selector) {
    const auto found = node.labels.find(label);
    if (found == node.labels.end() || found->second != value) return false;
  }
  return true;
}

/// Time until the node may be tried again; zero: now. A clock that was set back ends the wait.
Duration AvoidedFor(const Bind* bind, const std::string& node, WallTime now) {
  if (bind == nullptr) return Duration::zero();
  for (const Avoid& avoid : bind->avoid) {
    if (avoid.node != node) continue;
    const StatusOr<WallTime> at = ParseRfc3339(avoid.at);
    if (!at.ok() || *at > now) return Duration::zero();
    return std::max(Duration::zero(), AvoidFor(avoid.count) - Duration(now - *at));
  }
  return Duration::zero();
}

std::string_view Word(Fit fit) {
  switch (fit) {
    case Fit::kOutOfCpu: return "out of cpu";
    case Fit::kOutOfMemory: return "out of memory";
    case Fit::kOutOfTasks: return "out of tasks";
    case Fit::kFits: return "";
  }
  return "";
}

/// Why the policy that it names keeps it from being placed; an empty reason: it doesn't.
Verdict PolicyVerdict(const PendingSession& session, WallTime now) {
  const std::string& name = session.spec->value.policy;
  if (name == "default") return {};
  if (session.policy == nullptr) {
    return {"SandboxPolicyNotFound", fmt::format("there is no SandboxPolicy '{}' in namespace '{}'", name, session.ns), RecordTime(now)};
  }
  if (session.policy->ok()) return {};
  return {"SandboxPolicyUnreadable", fmt::format("SandboxPolicy '{}': {}", name, Message(session.policy->error)), RecordTime(now)};
}

const Bind* OwnBind(const PendingSession& session) {
  if (session.bind == nullptr || !session.bind->ok()) return nullptr;
  return session.bind->value.uid == session.spec->value.meta.uid ? &session.bind->value : nullptr;
}

}  // namespace

Duration AvoidFor(int64_t count) {
  const Duration longest = std::chrono::minutes(5);
  const int64_t doublings = std::clamp<int64_t>(count - 1, 0, 10);
  return std::min<Duration>(longest, std::chrono::seconds(5) * (int64_t{1} << doublings));
}

Placement Place(const SessionSpec& spec, const Resources& request, const Bind* bind,
                const std::vector<CandidateNode>& nodes, WallTime now) {
  Placement placement;
  std::map<std::string, int> rejections;
  for (const CandidateNode& candidate : nodes) {
    if (candidate.node == nullptr || !candidate.node->ok()) {
      ++rejections["unreadable"];
      continue;
    }
    const Node& node = candidate.node->value;
    if (!candidate.reachable) {
      ++rejections["not connected"];
      continue;
    }
    if (!SelectorMatches(spec, node)) {
      ++rejections["without the labels asked for"];
      continue;
    }
    const Fit fit = Fits(request, node.capacity, candidate.used);
    if (fit != Fit::kFits) {
      ++rejections[std::string(Word(fit))];
      continue;
    }
    if (const Duration wait = AvoidedFor(bind, candidate.name, now); wait > Duration::zero()) {
      ++rejections["refused it lately"];
      placement.look_again = std::min(placement.look_again.value_or(wait), wait);
      continue;
    }
    placement.node = &candidate;
    return placement;
  }
  std::string text;
  for (const auto& [reason, count] : rejections) {
    text += fmt::format("{}{} {}", text.empty() ? ": " : ", ", count, reason);
  }
  if (nodes.empty()) text = ": no node has registered";
  placement.verdict = {"Unschedulable", fmt::format("0/{} nodes fit{}", nodes.size(), text), RecordTime(now)};
  return placement;
}

void Scheduler::KeysFor(const Change& change, const ClusterState&, std::vector<std::string>& keys) const {
  switch (change.key.key_class) {
    case KeyClass::kSpec:
      if (change.key.kind == "session" || change.key.kind == "sandboxpolicy") keys.push_back(kKey);
      break;
    case KeyClass::kBind:
    case KeyClass::kNode:
    case KeyClass::kGateway: keys.push_back(kKey); break;
    default: break;
  }
}

Decision Scheduler::Reconcile(const std::string&, const ClusterState& state) const {
  return Decide(state.Scheduling(), clock_.Wall());
}

Decision Scheduler::Decide(const SchedulingView& view, WallTime now) const {
  std::optional<Decision> explanation;
  std::optional<Duration> look_again;
  for (const PendingSession& session : view.pending) {
    const SessionSpec& spec = session.spec->value;
    const PolicySpec* const policy = session.policy != nullptr && session.policy->ok() ? &session.policy->value : nullptr;
    const StatusOr<Resources> request = RequestOf(spec, policy);
    Placement placement;
    placement.verdict = {"InvalidSpec", "", RecordTime(now)};
    if (const Verdict lacking = PolicyVerdict(session, now); request.ok() && !lacking.reason.empty()) {
      placement.verdict = lacking;
    } else if (request.ok()) {
      placement = Place(spec, *request, OwnBind(session), view.nodes, now);
      if (placement.look_again) look_again = std::min(look_again.value_or(*placement.look_again), *placement.look_again);
      if (placement.node != nullptr) {
        StatusOr<Launch> launch = MakeLaunch(session.ns, session.name, *session.spec, policy);
        if (launch.ok()) return BindTo(view, session, *placement.node, std::move(*launch), now);
        placement.verdict = {"InvalidSpec", Message(launch.status()), RecordTime(now)};
      }
    } else {
      placement.verdict.message = Message(request.status());
    }
    if (!explanation) explanation = Explain(view, session, placement, now);
  }
  Decision decision = explanation.value_or(Decision{});
  decision.look_again = look_again;
  return decision;
}

Decision Scheduler::BindTo(const SchedulingView& view, const PendingSession& session, const CandidateNode& node,
                           Launch launch, WallTime now) const {
  const SessionSpec& spec = session.spec->value;
  Bind bind;
  if (const Bind* own = OwnBind(session)) bind = *own;
  const bool older = session.spec->kv->create_revision < view.epoch_began;
  bind.incarnation = NextIncarnation(OwnBind(session), older ? view.epoch : 1);
  bind.epoch = view.epoch;
  bind.uid = spec.meta.uid;
  bind.generation = spec.meta.generation;
  bind.verdict.reset();
  BindContainer container;
  container.name = "main";
  container.role = "main";
  container.uid = MainContainerUid(spec.meta.uid);
  container.incarnation = bind.incarnation;
  container.node = node.name;
  container.node_uid = node.node->value.uid;
  container.grace_period_msec = launch.grace_period_msec;
  container.resources = launch.resources;
  container.launch = std::move(launch.document);
  container.hash = std::move(launch.hash);
  bind.containers = {std::move(container)};
  return Write(view, session, bind, "bind", now);
}

std::optional<Decision> Scheduler::Explain(const SchedulingView& view, const PendingSession& session,
                                           const Placement& placement, WallTime now) const {
  const SessionSpec& spec = session.spec->value;
  Bind bind;
  const Bind* own = OwnBind(session);
  if (own != nullptr) {
    if (own->verdict && own->generation == spec.meta.generation) {
      if (own->verdict->SameAs(placement.verdict)) return std::nullopt;
      // What a node said when it refused tells more than "refused it lately" does.
      const bool refusal = own->verdict->reason != "Unschedulable" && own->verdict->reason != "InvalidSpec" && !own->verdict->reason.starts_with("SandboxPolicy");
      if (refusal && placement.look_again) return std::nullopt;
    }
    bind = *own;
  }
  bind.uid = spec.meta.uid;
  bind.generation = spec.meta.generation;
  bind.verdict = placement.verdict;
  return Write(view, session, bind, "verdict", now);
}

Decision Scheduler::Write(const SchedulingView& view, const PendingSession& session, const Bind& bind,
                          std::string what, WallTime now) const {
  const SessionSpec& spec = session.spec->value;
  StatusInput input;
  input.ns = session.ns;
  input.name = session.name;
  input.spec = &spec;
  const bool own_status =
      session.status != nullptr && session.status->ok() && session.status->value.uid == spec.meta.uid;
  input.previous = own_status ? &session.status->value.status : nullptr;
  input.bind = &bind;
  input.now = now;
  const std::string bind_key = keys_.Bind(session.ns, session.name);
  const std::string status_key = keys_.Status("session", session.ns, session.name);
  Decision decision;
  decision.what = std::move(what);
  decision.cluster_revision = view.cluster_revision;
  decision.txn = store::Transaction{
      {Compare::ModRevision(session.spec->key(), session.spec->mod_revision()),
       Compare::ModRevision(bind_key, ModRevision(session.bind)),
       Compare::ModRevision(status_key, ModRevision(session.status))},
      {Operation::Put(bind_key, Encode(bind)),
       Operation::Put(status_key, EncodeStatus(spec.meta, NextStatus(input), nullptr))},
      {}};
  return decision;
}

}  // namespace isla::controllers
