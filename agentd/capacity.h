// What this machine has: its resources, less what it needs for itself, and the features of kernel and systemd.
#pragma once

#include <string>
#include <vector>

#include "api/base/fits.h"
#include "api/base/status.h"

namespace isla::agent {

/// cpu: the CPUs that agentd may run on. memory: MemTotal, or the memory limit of agentd's own root control
/// group if that is less, minus a reserve (5 %, at least 256 MiB, at most half). tasks: half of what pid_max
/// and threads-max allow, at most 1,000,000.
StatusOr<Resources> FindCapacity();

/// "cgroup=v2", "landlock=7", "seccomp=notify-killable", ...: probed, never guessed from versions.
std::vector<std::string> FindFeatures();

/// Every controller is on the unified hierarchy.
bool HasCgroupV2();

StatusOr<std::string> ReadBootId();

/// The uid of this node: made at the first call, then read from `state_dir`.
StatusOr<std::string> NodeUid(const std::string& state_dir);

std::string KernelRelease();

}  // namespace isla::agent
