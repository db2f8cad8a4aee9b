// Starts a container: clones its first process into new namespaces, which builds the root, waits until it was moved
// into payload/, gives up every privilege and becomes isla-init. What happens in it is reported over a socket
// (agentd/init/report.h).
//
// The order in the child, each step needing what comes before and forbidding what comes after:
//   die with the shim; loopback; hostname; root file system and pivot;       while systemd makes the scope
//   wait for EnterContainer; own cgroup view; user namespace; ids; keyring; working directory; capabilities;
//   no_new_privs; resource limits; signals; descriptors; Landlock; floor; the policy's filter, and, if it notifies calls, the handover of its
//   listener; exec of isla-init, which starts the payload.
//
// Until EnterContainer nothing of the user's runs, so it doesn't matter that the child is in the cgroup where agentd
// has started the shim; and what it spends there, a small grant of cpu time is not charged with.
#pragma once

#include <sys/types.h>

#include "agentd/shim/cgroup.h"
#include "agentd/shim/protocol.h"
#include "agentd/shim/step.h"
#include "api/base/unique_fd.h"
#include "sandbox/compiled_policy.h"

namespace isla::shim {

struct Container {
  pid_t pid = 0;       // of its PID 1, as this process sees it
  UniqueFd pidfd;
  UniqueFd report;     // SOCK_SEQPACKET, non-blocking
  UniqueFd out, err;   // ends of pipes, non-blocking
  UniqueFd handover;   // where the listener comes from; not valid if the policy has none
  UniqueFd user_namespace;  // for supervisors; likewise
};

/// Returns once the child exists; how it fares comes over `report`. It dies with the calling thread.
Step PrepareContainer(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, Container& out);

/// Lets the child, which is in payload/ by now, go on.
Step EnterContainer(const Leaves& leaves, const Container& container);

/// The environment of the payload: the request's, and PATH, HOME, HOSTNAME, USER where it has none.
std::vector<std::string> PayloadEnvironment(const LaunchRequest& request);

}  // namespace isla::shim
