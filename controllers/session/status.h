// The status of a session, computed from what is known of it: a pure function, level-triggered. The scheduler
// and the session controller both write what it says, so there is one meaning of every field.
//
// Times of the history come from the record that the node's agent made, not from when the controller looked: a
// phase that was passed between two looks is in the history all the same.
#pragma once

#include <optional>
#include <string>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/session/phase.h"

namespace isla::controllers {

inline constexpr size_t kMaxHistory = 64;
inline constexpr size_t kMaxPolicyHistory = 16;  // of these, entries of policy_status.h

struct StatusInput {
  std::string ns, name;
  const SessionSpec* spec = nullptr;           // required, decoded
  const json::Value* previous = nullptr;       // the status as it is; null: none of this uid
  const Bind* bind = nullptr;                  // null: none of this uid
  const Run* run = nullptr;                    // of the container that bind names; null: not reported
  bool node_reachable = true;                  // the bound node is connected
  const Stored<PolicySpec>* policy = nullptr;  // that spec names; null: the built-in one, or there is none of that name
  bool follows_policies = true;                // the bound node's agent puts new versions in force
  bool overdue = false;                        // the present phase's deadline has passed
  WallTime now{};
};

/// The phase that the facts say.
Phase DerivePhase(const StatusInput& input);

/// The whole new status; equal to `previous` if nothing is to be written.
json::Value NextStatus(const StatusInput& input);

/// The bytes of the status/ key.
std::string EncodeStatus(const ObjectMeta& meta, const json::Value& status, const json::Value* stored);

/// How long the session may stay in `phase` before its conditions say so; nothing: for ever.
std::optional<Duration> DeadlineOf(Phase phase, const SessionSpec& spec);

/// How its containers end: by metadata.deletionGracePeriodSeconds, else spec.terminationGracePeriod.
Duration GracePeriodOf(const SessionSpec& spec);

/// How a container ended, as the session's own result.
struct Ending {
  Phase phase = Phase::kFailed;  // Succeeded, Failed, Cancelled
  std::optional<int64_t> exit_code;  // nothing: its command was never started, or nobody knows how it ended
  std::string reason, message, finished_at;
};
/// Nothing while it hasn't ended.
std::optional<Ending> EndingOf(const Run* run, bool deleting, WallTime now);

}  // namespace isla::controllers
