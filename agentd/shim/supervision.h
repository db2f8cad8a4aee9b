// The shim's part in supervising its container: keeps the listener and the journal of notified calls, and a supervisor at work on them
// (sandbox/supervisor/keeper.h) whenever there is work.
//
//   state     | watched()    | readable                        | timer
//   none      | -            |                                 |                              the policy needs no supervisor
//   armed     | the listener | a call waits: spawn -> running  | -                            no supervisor yet
//   running   | its pidfd    | it died: spawn -> running       | is it hung? kill it          every Keeper::kLookEvery
//             |              | the last process is gone: done  |
//   pausing   | -            |                                 | spawn -> running             they die again and again, or none can be started
//   done      | -            |                                 |
//
// So no start of a container waits for a supervisor, and a container whose programs ask nothing has none. Calls that come while there is
// none wait in the kernel. What is left where this process dies: nothing of this is on a disk. The container dies with the shim, and
// a supervisor with the last process of its container.
#pragma once

#include <optional>

#include "agentd/shim/audit_writer.h"
#include "agentd/shim/cgroup.h"
#include "agentd/shim/protocol.h"
#include "agentd/shim/step.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/unique_fd.h"
#include "sandbox/cgroup_net/cgroup_net.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/supervisor/keeper.h"

namespace isla::shim {

class Supervision {
 public:
  /// All must outlive it.
  Supervision(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, const Clock& clock);

  /// Puts the policy's `net` section, which it must have, in force for the scope's folder `cgroup` of cgroup v2: before anything of the user's runs there.
  Step EnforceNet(const std::string& cgroup);

  /// Takes the listener from the child of `pidfd`, which has written to `socket` (sandbox/supervisor/load.h), and lets it go on. Supervisors
  /// will work in `user_namespace`. `memory_usage`: see KeeperOptions.
  Step Take(int socket, int pidfd, UniqueFd user_namespace, UniqueFd memory_usage);

  /// To be watched for reading, anew after each call of OnReadable() and OnTimer(): numbers are used again. -1: nothing.
  int watched() const;
  void OnReadable();
  const std::optional<MonotonicTime>& timer() const { return timer_; }
  void OnTimer();

  /// To be watched for reading once Take() was called: what supervisors write down. -1: nothing.
  int audit_fd() const { return audit_lines_.get(); }
  void OnAudit();

  /// Another version of the policy for the running container: what its supervisor decides from now on, and its successors. FAILED_PRECONDITION
  /// names what can't be changed in what runs (its filter, its mounts...); INVALID_ARGUMENT, INTERNAL: the table is refused; UNAVAILABLE: it doesn't run. Then the one in
  /// force stays. Waits for the supervisor, at most 5 s.
  /// `compared_with`: a FilterId(); if it is the running one, whoever hands over `next` has found that it differs from what that filter stands for only
  /// in what the supervisor decides. Else only the same filter is taken.
  Status Replace(const sandbox::CompiledPolicy& next, const std::string& compared_with = {});
  /// The first half of Replace(), which changes nothing: FAILED_PRECONDITION and UNAVAILABLE as its.
  Status CheckLive(const sandbox::CompiledPolicy& next, const std::string& compared_with) const;
  /// Of the version in force.
  const std::string& policy_hash() const { return hash_; }

  /// Beside the container's log.
  static std::string AuditPath(const LaunchRequest& request);

  /// Ends the supervisor, once nothing runs in the container any more.
  void End();

 private:
  enum class State { kNone, kArmed, kRunning, kPausing, kDone };

  void Spawn();
  void Pause(Duration time);

  const LaunchRequest& request_;
  const sandbox::CompiledPolicy& policy_;
  const Clock& clock_;
  const Logger log_{"shim"};
  std::string hash_;

  State state_ = State::kNone;
  std::optional<supervisor::Keeper> keeper_;
  std::optional<cgroup_net::CgroupNet> net_;
  std::optional<sandbox::NetSection> net_section_;  // in force
  std::optional<MonotonicTime> timer_;
  Duration spawn_backoff_{};
  UniqueFd audit_lines_;  // the end of a pipe, non-blocking
  AuditWriter audit_;
};

/// What of `next` would take effect at a restart only, for people: "its filter"; empty: all of it can be had by a running container of `now`. `compared`: the filters
/// needn't be the same. The floor of what runs stays what it is.
std::string TakesRestart(const sandbox::CompiledPolicy& now, const sandbox::CompiledPolicy& next, bool compared = false);

/// What of the grant the policy's `limits` leave: the smaller of both, each. Pure.
Limits LimitsUnder(const Limits& granted, const sandbox::Sections& policy);

/// What the policy and the grant make of a supervisor's configuration. Pure.
supervisor::ProcessConfig SupervisorConfig(const LaunchRequest& request, const sandbox::CompiledPolicy& policy);

}  // namespace isla::shim
