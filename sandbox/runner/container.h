// The container's first process: builds the container around itself, starts the command, and stays: it reaps what is orphaned,
// passes signals on, and ends with the command, which ends whatever is left in its pid namespace. It carries the floor but not the
// policy's filter, has no more capabilities than the command, and isn't dumpable, so nothing inside can look into it.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <vector>

#include "sandbox/landlock/landlock.h"
#include "sandbox/policy/sections.h"
#include "sandbox/runner/request.h"

namespace isla::runner {

/// Signals that are passed on to the command. Those that a terminal sends reach it by themselves.
inline constexpr int kForwarded[] = {1 /* HUP */, 2 /* INT */, 3 /* QUIT */, 10 /* USR1 */, 12 /* USR2 */, 15 /* TERM */, 28 /* WINCH */};
/// By which isla-box lets a stopped command go on, once the terminal is its own again. SIGCONT itself reaches us from the shell, too, before that.
inline int ContinueSignal() { return SIGRTMIN; }

/// What it tells whoever stays outside, by a SOCK_SEQPACKET socket, with the listener as SCM_RIGHTS if there is one.
struct StartedMessage {
  int32_t pid = -1;  // of the command, in its own pid namespace
  uint32_t wait_killable = 0;
};

/// Then, whenever the command is stopped: whether it is in the process group of us all. The socket ends with the first process.
struct StoppedMessage {
  uint32_t same_group = 0;
};

struct ContainerArgs {
  const Request& request;
  const landlock::Plan& plan;
  int socket = -1;            // to whoever stays outside, ours until we end
  bool wait_for_ids = false;  // for one byte from outside: the ids are mapped there
  bool wait_for_view = false; // for SendView(), when the rest of the root is there: its files are read outside
  bool wait_for_filter = false;  // for SendFilter(), before the command: it is compiled outside
  uid_t uid = 0;              // as outside
  gid_t gid = 0;
  bool enter_unified = false; // it couldn't be cloned into the group
  pid_t outside = 0;          // who may send signals, in our pid namespace: 0 if it has another
};

/// To the first process, in this order. One that has ended, and said why, is no error: its end will be seen. They block until it has taken enough.
Status SendView(int socket, const std::vector<sandbox::ViewFile>& files);
Status SendFilter(int socket, const sandbox::CompiledPolicy& policy);

/// Runs in the new namespaces; ends with the command's exit status. kForwarded, ContinueSignal() and SIGCHLD are blocked.
[[noreturn]] void ContainerMain(const ContainerArgs& args);

}  // namespace isla::runner
