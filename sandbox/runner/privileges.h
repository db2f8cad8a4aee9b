// What a contained process must not carry: capabilities, descriptors, dispositions and masks of whoever started it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include "api/base/status.h"

namespace isla::runner {

/// The first half of giving up privileges, of which what builds a container needs none: bounds the capabilities that any program can get to those
/// that DropPrivileges() keeps, and leaves the keys of the session that started us.
Status BoundPrivileges();

/// The second: keeps, of what is there, the capabilities that a contained root needs for its own files and processes; none that
/// reaches the kernel's configuration, devices, or other processes' memory. Then no_new_privs.
Status DropPrivileges();

struct LimitName {
  const char* name;
  int resource;
};
/// As --limit has them: {"nofile", RLIMIT_NOFILE}...
const std::vector<LimitName>& LimitNames();

/// `limits` are RLIMIT_... with a value for soft and hard.
Status SetLimits(const std::vector<std::pair<int, rlim_t>>& limits);

/// For the process that becomes the command, with raw calls: default dispositions, but for SIGHUP, SIGINT and SIGQUIT, which
/// stay ignored if they were (nohup, background jobs of a shell); no signal blocked.
void ResetSignals();

/// All descriptors above 2 but `keep` are closed at exec. False if the kernel says no.
bool CloseAtExec(const std::vector<int>& keep);

}  // namespace isla::runner
