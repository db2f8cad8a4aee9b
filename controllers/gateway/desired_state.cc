#include "controllers/gateway/desired_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/base/uuid.h"
#include "api/object/object.h"

namespace isla::controllers {

using isla::v1::Delta;
using isla::v1::DesiredContainer;

Delta DesiredState::Full() {
  full_ = false;
  dirty_.clear();
  for (const auto& [key, told] : told_) told_before_.insert(key);
  told_.clear();
  by_session_.clear();
  Delta delta;
  delta.set_full(true);
  for (const std::string& session : state_.SessionsOnNode(node_)) {
    for (const DesiredOnNode& desired : state_.DesiredOf(node_, session)) Tell(session, desired.container, delta);
  }
  delta.set_expected_count(static_cast<uint64_t>(delta.upserts_size()));
  told_before_.clear();
  return delta;
}

void DesiredState::Compare(const std::string& session, Delta& delta, std::vector<ContainerKey>& vanished) {
  const StoredPtr<Bind> bind = state_.Session(session).bind;
  if (bind != nullptr && !bind->ok()) return;
  std::set<ContainerKey> named;
  if (bind != nullptr) {
    for (const BindContainer& container : bind->value.containers) {
      if (container.node != node_) continue;
      const ContainerKey key{container.uid, container.incarnation};
      named.insert(key);
      const auto told = told_.find(key);
      if (told == told_.end() || IsToTell(told->second, container)) Tell(session, container, delta);
    }
  }
  const auto before = by_session_.find(session);
  if (before == by_session_.end()) return;
  std::set_difference(before->second.begin(), before->second.end(), named.begin(), named.end(),
                      std::back_inserter(vanished));
}

bool DesiredState::IsToTell(const Told& told, const BindContainer& container) const {
  if (told.hash != container.hash || told.desired != container.desired) return true;
  if (container.desired == Desired::kStop) return told.grace_period_msec != container.grace_period_msec;
  // A version that wasn't there when it was told may have come back: a policy that was deleted and applied again.
  return !told.lacks_policy.empty() &&
         state_.PolicyText(container.launch.StringAt({"namespace"}), container.launch.StringAt({"sandboxPolicy"}), told.lacks_policy) != nullptr;
}

bool DesiredState::MayHaveRun(const std::string& session, const BindContainer& container) const {
  const ContainerKey key{container.uid, container.incarnation};
  const SessionView view = state_.Session(session);
  if (view.bind == nullptr || !view.bind->ok() || view.bind->value.epoch >= view.epoch) return false;
  return !told_.contains(key) && !told_before_.contains(key) && known_(key) == nullptr;
}

bool DesiredState::Tell(const std::string& session, const BindContainer& container, Delta& delta) {
  const ContainerKey key{container.uid, container.incarnation};
  if (container.desired == Desired::kRun && MayHaveRun(session, container)) {
    // One that had ended by the time of the backup has nothing left to be told.
    if (!container.released) {
      bad_.push_back({key, session, std::string(kStoreRestored),
                      "the store was restored from a backup, and this incarnation may have run already"});
    }
    return false;
  }
  DesiredContainer out;
  out.set_uid(container.uid);
  out.set_incarnation(container.incarnation);
  out.set_hash(container.hash);
  out.set_grace_period_msec(container.grace_period_msec);
  out.set_desired(container.desired == Desired::kStop ? DesiredContainer::STOP : DesiredContainer::RUN);
  if (container.desired == Desired::kRun) {
    const Status status = api::ToMessage(container.launch, *out.mutable_launch());
    if (!status.ok()) {
      bad_.push_back({key, session, "InvalidLaunch", Message(status)});
      return false;
    }
  }
  const std::string wanted = container.desired == Desired::kRun ? container.WantedPolicy() : std::string();
  std::string lacks;
  if (!wanted.empty()) {
    out.mutable_live()->set_sandbox_policy_hash(wanted);
    const std::string* known = known_(key);
    const bool has_it = known != nullptr && *known == container.hash;
    if (!has_it && !AddPolicy(out.launch(), wanted, delta)) lacks = wanted;
    // An agent of before policies changed looks for the launch's.
    if (known == nullptr && wanted != out.launch().sandbox_policy_hash()) AddPolicy(out.launch(), out.launch().sandbox_policy_hash(), delta);
  }
  *delta.add_upserts() = std::move(out);
  told_[key] = {session, container.hash, container.desired, container.grace_period_msec, lacks};
  by_session_[session].insert(key);
  return true;
}

/// Each once a delta, however many containers have it. Of a version that is gone there is nothing to add: the agent refuses a new container, whose
/// session is placed anew with the present one; what runs keeps the version that it has.
bool DesiredState::AddPolicy(const isla::v1::LaunchSpec& launch, const std::string& hash, Delta& delta) const {
  for (const isla::v1::PolicyText& there : delta.policies()) {
    if (there.hash() == hash) return true;
  }
  const std::shared_ptr<const std::string> text = state_.PolicyText(launch.namespace_(), launch.sandbox_policy(), hash);
  if (text == nullptr) return false;
  isla::v1::PolicyText& policy = *delta.add_policies();
  policy.set_hash(hash);
  policy.set_text(*text);
  return true;
}

void DesiredState::Remove(const ContainerKey& key, Delta& delta) {
  const auto told = told_.find(key);
  if (told == told_.end()) return;
  const auto of_session = by_session_.find(told->second.session);
  of_session->second.erase(key);
  if (of_session->second.empty()) by_session_.erase(of_session);
  told_.erase(told);
  isla::v1::ContainerRef& removal = *delta.add_removals();
  removal.set_uid(key.uid);
  removal.set_incarnation(key.incarnation);
}

std::string DesiredState::Digest() const {
  std::vector<std::string> lines;
  lines.reserve(told_.size());
  for (const auto& [key, told] : told_) {
    lines.push_back(fmt::format("{} {} {} {}\n", key.uid, key.incarnation, told.hash,
                                told.desired == Desired::kStop ? "STOP" : "RUN"));
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line;
  return Sha256Hex(all);
}

}  // namespace isla::controllers
