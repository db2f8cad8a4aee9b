// Who answers one request of a control socket: a process forked from the run's isla-box, so it knows everything that this knew then, and takes its time
// with peers that are slow and policies that are large. It changes nothing but by a proposal to the run, which does it or refuses.
//
//   clerk --Proposal (a packet, with two memfds)--> run --{"ok":true} or {"ok":false,"error":TEXT}--> clerk --answer--> peer
//
// It dies with the run, and after kMostSeconds. Nothing of the run's may wait for it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "sandbox/box/keeping.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/supervisor/keeper.h"

namespace isla::sandbox {

/// What runs, by version.
struct PolicyVersion {
  std::string name;  // "2-9f2c4e01"
  std::string text;  // "" of the first: RunState::start
  Sections sections;
};

struct RunState {
  std::vector<std::string> command;
  std::function<SandboxPolicy()> start;  // the policy of the start, as decoded; may take milliseconds
  PolicyVersion current;
  std::vector<PolicyVersion> earlier;    // the last is the one before; at most kMostEarlier
  int count = 1;                         // of versions
  uint64_t changes = 0;                  // of proposals that were done
};
inline constexpr size_t kMostEarlier = 16;

/// What is to be changed, if nothing was since `base`.
struct Proposal {
  uint64_t base = 0;                       // RunState::changes
  bool back = false;                       // to the version before
  std::optional<PolicyVersion> version;    // and its rule table
  std::string table;
  std::optional<uint64_t> memory_bytes, cpu_millis, tasks;  // as flags ask for
  std::string audit;                       // a path; "": where it was
};

/// One packet with memfds, and back. INVALID_ARGUMENT, UNAVAILABLE if the other side ended.
Status SendProposal(int socket, const Proposal& proposal);
StatusOr<Proposal> ReceiveProposal(int socket);

/// The process: answers the peer's one request and ends. `keeper` is null if the policy has no notified calls.
[[noreturn]] void ClerkMain(const RunState& state, const Keeping& keeping, supervisor::Keeper* keeper, UniqueFd peer, UniqueFd run);

/// After which a clerk is killed.
inline constexpr unsigned kMostSeconds = 25;

}  // namespace isla::sandbox
