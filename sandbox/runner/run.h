// Runs a command under a policy and stays until it ends.
//
//   isla-box (this process)          outside: signals, terminal, audit, control; keeps listener and journal
//     |- isla-supervisor             only if the policy has notified calls, from the first of them on; outside, too: the command can't see it
//     `- first process (container.h) in the new namespaces, PID 1 of the pid namespace
//          `- the command            filter with listener, Landlock
//
// Without namespaces the command is isla-box's own child. What happens when something dies:
//   isla-box                  the first process dies with it (PDEATHSIG), and so does everything in the pid namespace. Without one
//                             the command dies, and what it left running goes on: calls that the policy notifies fail with ENOSYS
//   the supervisor            another one takes over its listener and journal: callers see a delay
//   the first process         as if the command was killed: 137
// A supervisor that doesn't answer is found out by asking (run.cc), killed, and replaced likewise.
//
// One thread. Blocks signals and changes descriptors 0 and 1 of the process: it is called once, by a program's main().
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/base/status.h"
#include "sandbox/runner/request.h"
#include "sandbox/supervisor/keeper.h"

namespace isla::runner {

/// FAILED_PRECONDITION or INVALID_ARGUMENT name the field of the policy, or the option, that this run can't honour.
Status CheckHonoured(const Request& request);

/// Whoever talks to a running command from outside: gets the keeper (null: the policy has no notified calls) when it is there.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  /// A descriptor to poll for input, or -1; and what to do when there is some.
  virtual int descriptor() const { return -1; }
  virtual void OnReadable(supervisor::Keeper*) {}
  /// The command has run for a moment, or made its first call that waits. Not called for one that ends before, nor if there is nothing to ask
  /// about or to change: neither a supervisor nor a control group.
  virtual void OnStarted() {}
};

struct Outcome {
  int exit = 0;                     // the command's, 128 + signal, or 125 to 127
  std::string error;                // why there was no command; "" if there was, or it was told already
};

/// Notes (what isn't enforced, what is missing) go to standard error. `request`: its policy is complete from the command's start on, if it wasn't
/// before; its sections are as sandbox/runner/lower.h leaves them.
Outcome Run(Request& request, RunObserver& observer);

}  // namespace isla::runner
