// The Launcher makes shims, speaks with them, and owns the folders of containers: the seam between agentd's
// logic and the node. Requests are values that fit a socket, so that a small root process can take this part
// over and agentd can drop root. The real one is posix_launcher.h; tests use FakeLauncher.
//
// Loop thread only. Observer calls come later, never within a call of the Launcher; after OnShimGone of a
// container no other call for it comes until it is spawned or adopted again.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agentd/key.h"
#include "agentd/policy_text.h"
#include "agentd/shim/protocol.h"
#include "api/base/clock.h"
#include "api/base/status.h"

namespace isla::agent {

/// What a shim says of its container's policy.
struct ShimPolicy {
  std::string in_force;      // the version; "" = it doesn't say
  std::string started_with;  // that the container was started with: what its filter is made of; "" = it doesn't say
  std::string refused;       // a version that it was handed and didn't take
  std::string error;         // why
  bool takes_restart = false;  // ... because the version changes what a running container keeps
};

/// What a running container would have to change for another version of its policy.
struct PolicyChange {
  std::string started_filter;  // what was compared with: the filter of the version that it was started with, as sandbox::FilterId() names it
  bool live = false;           // nothing that it keeps
  std::string obstacles;       // else what, for people
};

class ShimObserver {
 public:
  virtual ~ShimObserver() = default;
  /// It has read its request and waits for go.
  virtual void OnReady(const ContainerKey& key) = 0;
  /// It can't do with what it was given, and is about to exit: OnShimGone() follows.
  virtual void OnRefused(const ContainerKey& key, const std::string& why) = 0;
  virtual void OnRunning(const ContainerKey& key, int64_t started_at_ns) = 0;
  /// When it is connected to, and in answer to SwapPolicy().
  virtual void OnPolicy(const ContainerKey& key, const ShimPolicy& told) = 0;
  /// The exit record is in its file.
  virtual void OnExited(const ContainerKey& key) = 0;
  /// The process is dead (not merely silent).
  virtual void OnShimGone(const ContainerKey& key) = 0;
};

/// What a run folder says.
struct RunRecords {
  bool folder = false;
  bool has_log = false;       // log lines were written
  bool created = false;       // go may have been sent: the payload may have run
  std::string invocation_id;  // these with `created`
  int64_t created_at_ns = 0;
  int64_t started_at_ns = 0;  // != 0: the payload has run
  std::optional<shim::ExitRecord> exit;
};

struct LaunchPlan {
  ContainerKey key;
  PolicyText policy;
  shim::LaunchRequest request;  // run_dir, log_path, overlay_dir, init_path, supervisor_path are filled in by the launcher
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  virtual void SetObserver(ShimObserver* observer) = 0;
  /// Whether a policy is ready for Spawn() at once. The built-in one is, unless the package has changed under this process.
  virtual bool IsReady(const PolicyText& policy) = 0;
  /// Makes a policy of the container ready for Spawn() and SwapPolicy(); `done` later, on the loop: why it can't be used (INVALID_ARGUMENT and UNIMPLEMENTED: not
  /// in this version). `id_base`: of the container's ids.
  virtual void Prepare(const PolicyText& policy, uint32_t id_base, std::function<void(Status)> done) = 0;
  /// Makes the folders and starts a shim, which waits for Go and leaves nothing if agentd dies before. Its pid.
  virtual StatusOr<pid_t> Spawn(const LaunchPlan& plan) = 0;
  /// Finds the living shim of a container that an earlier agentd started and connects to it. NOT_FOUND: there
  /// is none. OK with a shim that is alive but silent too: OnShimGone comes when it dies.
  virtual Status Adopt(const ContainerKey& key) = 0;
  /// Writes `created`, then sends go. Once it returns OK the payload may run.
  virtual Status Go(const ContainerKey& key, const std::string& scope, const std::string& invocation_id,
                    int64_t now_ns) = 0;
  /// Ends a shim that was not sent go: the shim sees the end of its socket and exits.
  virtual void Abandon(const ContainerKey& key) = 0;
  /// What the scope of a container needs for this policy's program, which is ready, beside its grant and the margin. Bytes.
  virtual int64_t ProgramRoom(const PolicyText& policy) = 0;
  /// Finds out what a container that was started with one version would have to change for another; `done` later, on the loop. Errors as Prepare()'s.
  virtual void Compare(const PolicyText& started, const PolicyText& wanted, uint32_t id_base, std::function<void(StatusOr<PolicyChange>)> done) = 0;
  /// Hands the shim of a running container another version of its policy, which is ready. Its answer comes by OnPolicy(), if it comes: again with the same version
  /// is fine. `compared_with`: the filter that it was found to be live against, "" if it wasn't compared. UNAVAILABLE: no way to tell it.
  virtual Status SwapPolicy(const ContainerKey& key, const PolicyText& policy, const std::string& compared_with) = 0;
  /// Asks the shim to end its payload; again with a shorter grace is fine. UNAVAILABLE: no way to tell it.
  virtual Status Stop(const ContainerKey& key, Duration grace) = 0;
  virtual RunRecords Read(const ContainerKey& key) = 0;
  /// Containers that have a folder on this node (run, log or overlay).
  virtual std::vector<ContainerKey> List() = 0;
  /// Removes all folders of the container and makes sure that they are gone; on another thread, `done` on the
  /// loop. Its shim must be dead.
  virtual void Cleanup(const ContainerKey& key, std::function<void(Status)> done) = 0;
  /// Whether a control group is gone in every hierarchy; empty folders that were left of it are removed.
  virtual bool CgroupGone(const std::string& control_group) = 0;
};

}  // namespace isla::agent
