// The last steps of a start: the process that becomes the command. It shares the memory of its parent, which waits, until it
// has the program (as vfork), so nothing is copied; and its descriptors, so the listener of its filter is the parent's without any
// handover: no call between the filter and the program but execve.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "api/base/status.h"
#include "api/base/unique_fd.h"
#include "sandbox/landlock/landlock.h"
#include "sandbox/runner/request.h"

namespace isla::runner {

// Exit statuses of our own, as of docker and env.
inline constexpr int kOwnFailure = 125, kCannotRun = 126, kNotFound = 127;

/// A failure, and what we exit with because of it.
struct Failure {
  Status status;
  int exit = kOwnFailure;
  bool ok() const { return status.ok(); }
};

/// What to say if the command's folder can't be entered: without --chdir it is the caller's, which may lie outside of what the command sees.
Status NoFolder(const std::string& folder, int error);

struct Started {
  pid_t pid = -1;
  UniqueFd listener;           // valid if the filter has one
  bool wait_killable = false;
  std::vector<std::string> missing;  // paths of files.allow and exec.allow that aren't there
};

/// Everything that the command inherits besides its filter, after BoundPrivileges(): capabilities, no_new_privs, floor, limits. Of the calling
/// process, for good.
Status ConfineSelf(const Request& request);

struct CommandFilter {
  sandbox::Program program;
  bool listener = false;          // the policy needs a supervisor
};

struct StartOptions {
  bool confine = false;           // the child does BoundPrivileges() and ConfineSelf(); else the caller has
  bool die_with_caller = false;   // the caller isn't the first process of a pid namespace
};

/// Starts the command in the working folder that we are in. The calling process must have one thread.
Failure StartCommand(const Request& request, const landlock::Plan& plan, const CommandFilter& filter, const StartOptions& options, Started& out);

}  // namespace isla::runner
