// What a session's status says of its SandboxPolicy: the condition PolicyCurrent, the versions of its container, and the entries of the history. Pure.
//
//   PolicyCurrent   reason                  the version that is in force
//   True            InForce                 is the SandboxPolicy's
//   False           Updating                is an older one; its node hasn't said how it went with the newer one
//   False           PolicyRestartRequired   ... the newer one changes what a running process keeps: its filter, its mounts
//   False           PolicyNotCompiled       ... the newer one can't be used on its node
//   False           PolicyNotApplied        ... it could not be put in force, and is tried again
//   False           PolicyChanged           ... its text was gone before the node had it
//   False           PolicyDeleted           stays, as there is no SandboxPolicy of that name any more
//   False           PolicyUnreadable        stays, as the SandboxPolicy in the store can't be read
//   False           AgentTooOld             is the one that it was started with: its node's agent can't change it
//   Unknown         NodeDisconnected        is as its node said last
//
// Of sessions that run, and name a policy; the built-in one has one version.
#pragma once

#include <optional>
#include <string>

#include "controllers/session/status.h"

namespace isla::controllers {

/// The feature of a node whose agent changes the policy of what runs.
inline constexpr std::string_view kPolicyUpdates = "policy-updates";

struct PolicyFacts {
  std::string in_force;  // the version; "" = not known
  std::string refused;   // a newer one that isn't, for `reason`
  std::string status, reason, message;  // of the condition
};

/// Nothing: there is nothing to say (not placed, not running, the built-in policy).
std::optional<PolicyFacts> PolicyFactsOf(const StatusInput& input, Phase phase);

/// What is new in `facts` since the status `previous`, for the history: a reason and a message; nothing: nothing is.
std::optional<std::pair<std::string, std::string>> PolicyEvent(const PolicyFacts& facts, const json::Value* previous);

/// A version as people read it.
std::string ShortVersion(const std::string& hash);

}  // namespace isla::controllers
