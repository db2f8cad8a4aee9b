#include "controllers/session/policy_status.h"

#include <fmt/format.h>

#include <algorithm>

namespace isla::controllers {
namespace {

using json::Value;

std::string NameOf(const BindContainer& container) { return container.launch.StringAt({"sandboxPolicy"}); }

std::string Stays(const PolicyFacts& facts) {
  return facts.in_force.empty() ? std::string() : fmt::format("; version {} stays in force", ShortVersion(facts.in_force));
}

void Say(PolicyFacts& facts, std::string_view status, std::string_view reason, std::string message) {
  facts.status = status;
  facts.reason = reason;
  facts.message = std::move(message);
}

/// As long as the SandboxPolicy can be had, and the node can be asked.
void Compare(const StatusInput& input, const BindContainer& container, const PolicySpec& policy, PolicyFacts& facts) {
  const std::string present = fmt::format("generation {}, version {}", policy.meta.generation, ShortVersion(policy.hash));
  if (facts.in_force == policy.hash) return Say(facts, "True", "InForce", present);
  if (!input.follows_policies) {
    return Say(facts, "False", "AgentTooOld",
               fmt::format("the agent of node {} can't put {} in force in what runs{}", container.node, present, Stays(facts)));
  }
  if (facts.refused == policy.hash && input.run->policy) {
    return Say(facts, "False", input.run->policy->reason.empty() ? "PolicyNotApplied" : input.run->policy->reason,
               fmt::format("{}: {}{}", present, input.run->policy->message, Stays(facts)));
  }
  facts.refused.clear();  // of an older version
  Say(facts, "False", "Updating", fmt::format("{} is being put in force{}", present,
                                              facts.in_force.empty() ? "" : fmt::format("; version {} is until then", ShortVersion(facts.in_force))));
}

const Value* ConditionOf(const Value* status, std::string_view type) {
  const Value* list = status == nullptr ? nullptr : status->Find("conditions");
  if (list == nullptr || !list->is_array()) return nullptr;
  const auto found = std::find_if(list->items().begin(), list->items().end(), [&](const Value& each) { return each.StringAt({"type"}) == type; });
  return found == list->items().end() ? nullptr : &*found;
}

/// A version that is named in the first container of a status.
std::string VersionIn(const Value* status, std::string_view member) {
  const Value* containers = status == nullptr ? nullptr : status->Find("containers");
  if (containers == nullptr || !containers->is_array() || containers->items().empty()) return {};
  return containers->items().front().StringAt({member});
}

}  // namespace

std::string ShortVersion(const std::string& hash) { return hash.substr(0, 12); }

std::optional<PolicyFacts> PolicyFactsOf(const StatusInput& input, Phase phase) {
  if (input.bind == nullptr || input.bind->containers.empty() || input.run == nullptr) return std::nullopt;
  const BindContainer& container = input.bind->containers.front();
  if (container.WantedPolicy().empty()) return std::nullopt;
  PolicyFacts facts;
  if (input.run->policy) {
    facts.in_force = input.run->policy->in_force;
    facts.refused = input.run->policy->refused;
  } else if (!input.follows_policies) {
    facts.in_force = container.launch.StringAt({"sandboxPolicyHash"});  // what it was started with
  }
  if (phase != Phase::kRunning) return facts;
  if (!input.node_reachable) {
    Say(facts, "Unknown", "NodeDisconnected", fmt::format("node {} isn't connected", container.node));
  } else if (input.policy == nullptr) {
    Say(facts, "False", "PolicyDeleted", fmt::format("there is no SandboxPolicy '{}' any more{}", NameOf(container), Stays(facts)));
  } else if (!input.policy->ok()) {
    Say(facts, "False", "PolicyUnreadable", fmt::format("SandboxPolicy '{}': {}{}", NameOf(container), Message(input.policy->error), Stays(facts)));
  } else {
    Compare(input, container, input.policy->value, facts);
  }
  return facts;
}

std::optional<std::pair<std::string, std::string>> PolicyEvent(const PolicyFacts& facts, const Value* previous) {
  const std::string before = VersionIn(previous, "policyVersion");
  if (!before.empty() && !facts.in_force.empty() && before != facts.in_force) {
    return std::pair("PolicyUpdated", fmt::format("version {} took the place of {}", ShortVersion(facts.in_force), ShortVersion(before)));
  }
  if (facts.status != "False" || !facts.reason.starts_with("Policy")) return std::nullopt;
  const Value* condition = ConditionOf(previous, "PolicyCurrent");
  const bool known = condition != nullptr && condition->StringAt({"reason"}) == facts.reason && VersionIn(previous, "policyRefused") == facts.refused;
  if (known) return std::nullopt;
  return std::pair(facts.reason, facts.message);
}

}  // namespace isla::controllers
