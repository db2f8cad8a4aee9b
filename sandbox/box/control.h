// The control socket of a run: what `isla-box top` and `isla-box reload` talk to. One socket for each run with a supervisor, 0600, in a folder
// of the user's own (0700), named by the pid of its isla-box.
//
//   $XDG_RUNTIME_DIR/isla-box, /run/isla-box (root), /tmp/isla-box-<uid>: the first that is ours or can be made
//
// Nothing that runs in a box may reach it, or it would change its own policy. So the folder is hidden in every box, and a peer in another
// mount namespace than ours is refused: runs without a mount namespace of their own have no socket.
//
// One request, one answer, each a JSON object and a newline:
//   {"command":"status"}                                  -> {"ok":true,"pid":..,"command":[..],"policy":..,"version":..,"kept":[..],"rules":[{..}]}
//   {"command":"reload","policy":TEXT,"dryRun":BOOL,"memoryBytes":N,"cpuMillis":N,"tasks":N,"audit":PATH}, any of them
//                                                         -> {"ok":true,"version":..,"changes":TEXT} or {"ok":false,"error":..,"changes":TEXT}
//   {"command":"rollback"}                                -> the same, to the policy of the version before
//
// The run never waits for a peer, nor for a comparison of policies: each request is a clerk's (control_clerk.h), a process of its own that
// knows all that this one knew when it began, and ends after half a minute at most. What it finds can be changed it proposes, and here
// it is done: all of it, or none. A proposal that another one overtook is refused.
#pragma once

#include <functional>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "api/base/unique_fd.h"
#include "sandbox/box/control_clerk.h"
#include "sandbox/box/keeping.h"
#include "sandbox/runner/run.h"

namespace isla::sandbox {

/// The folder of our sockets, made if it isn't there. UNAVAILABLE if none can be had: then runs have no socket.
StatusOr<std::string> ControlFolder();

/// Answers for one run. Of the process that runs it.
class Control final : public runner::RunObserver {
 public:
  struct Options {
    std::string folder;                     // of ControlFolder(); "": nobody is answered
    bool apart = false;                     // the run has a mount namespace; else nobody is answered
    std::function<SandboxPolicy()> policy;  // of the start, as decoded
    std::string hash;                       // its
    Sections sections;                      // its
    std::vector<std::string> command;
  };
  /// `keeping` must outlive it.
  Control(Options options, Keeping& keeping);
  /// Removes the socket, ends the clerks.
  ~Control() override;

  int descriptor() const override { return events_.get(); }
  void OnStarted() override;
  void OnReadable(supervisor::Keeper* keeper) override;

 private:
  struct Clerk {
    pid_t pid = -1;
    UniqueFd socket;
  };
  void Listen(bool on);
  void Accept(supervisor::Keeper* keeper);
  void OnClerk(Clerk& clerk, supervisor::Keeper* keeper);
  void Dismiss(std::list<Clerk>::iterator clerk);
  Status Apply(Proposal& proposal, supervisor::Keeper* keeper);
  Status SetLimits(const ResourceLimits& wanted);
  Status SetPolicy(Proposal& proposal, supervisor::Keeper* keeper, UniqueFd audit);

  const std::string folder_;
  const bool apart_;
  Keeping& keeping_;
  RunState state_;
  std::string path_;
  UniqueFd events_, listener_;
  std::list<Clerk> clerks_;
};

/// Of our user, by pid, ascending. Sockets that nobody listens to are removed.
std::vector<int> ListRuns(const std::string& folder);

/// One request to a run. NOT_FOUND if there is none of this pid.
/// `patience_ms` is for the answer: comparing large policies takes seconds, and one that is stopped says nothing.
StatusOr<json::Value> AskRun(const std::string& folder, int pid, const json::Value& request, int patience_ms = 30'000);

}  // namespace isla::sandbox
