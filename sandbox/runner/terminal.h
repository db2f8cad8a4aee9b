// The terminal that a run shares with whoever started it: a shell as a rule, that sees isla-box as one job.
//
//   the command is stopped     isla-box stops, too, so that the shell has its terminal back: by the signal that stopped both (^Z, reading in the background),
//                              or by SIGTSTP if the command has a process group of its own (a shell that suspends itself)
//   isla-box is continued      so is the command (run.cc passes SIGCONT on), and if its group was the foreground's it is again
//   the command has ended      isla-box's group is the foreground's again if that of the command was; and if a signal ended it the settings of the
//                              terminal are those of the start: a shell does so for its jobs, but isla-box exits, and isn't killed
//
// A command that isn't stopped by ^Z doesn't stop isla-box: the stopping signals stay blocked in all processes of ours (the supervisor is among them: calls that
// are notified are answered as long as somebody makes them).
//
// Without a controlling terminal nothing of this is done.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <termios.h>

#include "api/base/unique_fd.h"

namespace isla::runner {

class Terminal {
 public:
  /// Before the command is there, while 0 to 2 are still what we were given.
  void Remember();
  /// Adds the signals by which terminals stop jobs.
  static void AddStopping(sigset_t& set);
  /// The command is stopped. Returns when we have been continued, or at once. `same_group`: it is in our process group.
  void OnStopped(bool same_group) const;
  /// The command has ended with this exit status, as a shell says it.
  void Restore(int exit) const;

 private:
  UniqueFd terminal_;      // if ours is the session that it controls
  bool in_front_ = false;  // our group was the foreground's
  termios settings_{};
};

}  // namespace isla::runner
