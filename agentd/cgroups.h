// What agentd looks at in the cgroup file systems itself: systemd makes and removes scopes' groups; agentd makes
// sure that they are gone, in every hierarchy (v2; v1; hybrid).
#pragma once

#include <string>

namespace isla::agent {

/// True if `control_group` ("/isla.slice/...") exists in no hierarchy under `root`. Folders of it that hold no
/// process are removed first.
bool RemoveEmptyCgroup(const std::string& control_group, const std::string& root = "/sys/fs/cgroup");

}  // namespace isla::agent
