// Starting a program as a child, with nothing of this process but what it is given.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "api/base/status.h"

namespace isla {

struct SpawnOptions {
  std::string program;                       // its path; no search
  std::vector<std::string> argv;
  std::vector<std::pair<int, int>> fds;      // {this process's descriptor, the child's number}; negative: /dev/null
};

/// Starts it: an empty environment, the descriptors of `fds` alone (their order and overlap don't matter), default dispositions of signals, none
/// blocked, a session of its own (no terminal, and none of its signals). The caller waits for it. Threads: any.
StatusOr<pid_t> SpawnProcess(const SpawnOptions& options);

}  // namespace isla
