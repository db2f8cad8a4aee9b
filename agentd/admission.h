// Admission: the agent's own yes or no to a container, once, when it is told to run it. The last word is the
// node's: its capacity (with the scheduler's own rule, Fits), its node.json, and what a launch may say at all.
#pragma once

#include <isla/v1/agent.pb.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "agentd/journal.h"
#include "agentd/node_config.h"
#include "api/base/fits.h"
#include "api/base/status.h"

namespace isla::agent {

inline constexpr size_t kMaxEntries = 4096;     // containers in the journal, the ended ones too
inline constexpr size_t kMaxLaunchBytes = 48 * 1024;  // as one launch request, with room for its own fields
inline constexpr size_t kMaxPolicyTextBytes = 512 * 1024;  // as the API bounds an object, with room
inline constexpr int64_t kLeastLogBytes = 64 * 1024;

/// What makes a launch refused: a word for the control plane and a text for people.
struct Rejection {
  std::string reason;  // InvalidLaunch, NotAllowed, NoSuchImage, OutOfCpu, OutOfMemory, OutOfTasks, OutOfIds, ...
  std::string message;
};

/// Resolves `path` (symbolic links and all) and returns it if it is a folder within one of `roots`, which are
/// resolved too. PERMISSION_DENIED, NOT_FOUND, FAILED_PRECONDITION (no folder).
StatusOr<std::string> ResolveWithin(const std::string& path, const std::vector<std::string>& roots);

/// Whether the launch may run here beside `used`. On yes the paths in it are replaced by resolved ones.
std::optional<Rejection> Admit(const NodeConfig& config, const Resources& capacity, const Resources& used,
                               isla::v1::LaunchSpec& launch);

/// The first id of a range that no container of the journal has, other than `taken`; the one given most
/// recently comes again last, so that what a range leaves behind isn't another's at once. Nothing: all are taken.
std::optional<uint32_t> AllocateIds(const NodeConfig& config, const JournalState& state,
                                    const std::set<uint32_t>& taken, uint32_t after);

/// What a new container's log may take: its own bound, or what the others leave of the node's.
int64_t LogShare(const NodeConfig& config, const JournalState& state, int64_t reserved);

}  // namespace isla::agent
