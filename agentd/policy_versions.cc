#include "agentd/policy_versions.h"

#include <algorithm>

#include "agentd/admission.h"
#include "api/base/uuid.h"

namespace isla::agent {

PolicyText WantedPolicy(const journal::Entry& entry) {
  const std::string& wanted = entry.desired().live().sandbox_policy_hash();
  return PolicyVersion(entry, wanted.empty() ? entry.desired().launch().sandbox_policy_hash() : wanted);
}

PolicyText PolicyToStart(const journal::Entry& entry) {
  PolicyText wanted = WantedPolicy(entry);
  if (!LacksPolicy(entry)) return wanted;
  return PolicyVersion(entry, entry.desired().launch().sandbox_policy_hash());
}

PolicyText PolicyVersion(const journal::Entry& entry, const std::string& hash) {
  const isla::v1::LaunchSpec& launch = entry.desired().launch();
  const isla::v1::LiveSpec& live = entry.desired().live();
  PolicyText policy{launch.sandbox_policy(), hash, {}};
  if (!hash.empty() && hash == launch.sandbox_policy_hash()) policy.text = launch.sandbox_policy_text();
  if (!hash.empty() && hash == live.sandbox_policy_hash() && policy.text.empty()) policy.text = live.sandbox_policy_text();
  return policy;
}

bool LacksPolicy(const journal::Entry& entry) {
  if (entry.has_nack() || entry.has_exit() || entry.gone()) return false;
  const PolicyText wanted = WantedPolicy(entry);
  return !wanted.built_in() && wanted.text.empty();
}

const std::string* TextIn(const isla::v1::Delta& delta, const std::string& hash) {
  const auto found = std::find_if(delta.policies().begin(), delta.policies().end(), [&](const isla::v1::PolicyText& policy) { return policy.hash() == hash; });
  if (found == delta.policies().end() || found->text().size() > kMaxPolicyTextBytes || Sha256Hex(found->text()) != hash) return nullptr;
  return &found->text();
}

bool TakeWantedPolicy(const isla::v1::Delta& delta, const isla::v1::DesiredContainer& desired, const std::string& started_with, journal::Entry& entry) {
  const std::string& wanted = desired.live().sandbox_policy_hash();
  isla::v1::LaunchSpec& launch = *entry.mutable_desired()->mutable_launch();
  // The built-in policy has one version. An orphan that learns its name has none until it is told.
  if (wanted.empty() || launch.sandbox_policy_hash().empty()) return false;
  const bool told_before = WantedPolicy(entry).hash == wanted;
  if (told_before && !LacksPolicy(entry)) return false;
  const std::string* in_delta = TextIn(delta, wanted);
  if (told_before && in_delta == nullptr) return false;
  const std::string text = in_delta != nullptr ? *in_delta : PolicyVersion(entry, wanted).text;
  isla::v1::LiveSpec& live = *entry.mutable_desired()->mutable_live();
  if (live.sandbox_policy_hash() == started_with && !live.sandbox_policy_text().empty()) {
    launch.set_sandbox_policy_hash(live.sandbox_policy_hash());
    launch.set_sandbox_policy_text(live.sandbox_policy_text());
  }
  live.set_sandbox_policy_hash(wanted);
  if (wanted == launch.sandbox_policy_hash() && !launch.sandbox_policy_text().empty()) {
    live.clear_sandbox_policy_text();
  } else {
    live.set_sandbox_policy_text(text);
  }
  return true;
}

}  // namespace isla::agent
