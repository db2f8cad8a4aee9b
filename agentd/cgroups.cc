#include "agentd/cgroups.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <vector>

namespace isla::agent {
namespace {

namespace fs = std::filesystem;

/// Removes the group and those below it, deepest first; a group with a process refuses (EBUSY).
bool RemoveGroup(const fs::path& group) {
  std::error_code error;
  if (!fs::exists(group, error)) return true;
  std::vector<fs::path> groups = {group};
  // Depth is bounded by the kernel's and systemd's limits for a delegated subtree; the payload can't write here.
  for (size_t i = 0; i < groups.size(); ++i) {
    for (fs::directory_iterator it(groups[i], error), end; !error && it != end; it.increment(error)) {
      if (it->is_directory(error) && !it->is_symlink(error)) groups.push_back(it->path());
    }
  }
  for (auto it = groups.rbegin(); it != groups.rend(); ++it) {
    if (rmdir(it->c_str()) != 0 && errno != ENOENT) return false;
  }
  return true;
}

}  // namespace

bool RemoveEmptyCgroup(const std::string& control_group, const std::string& root) {
  // Never the root itself, and never above it.
  if (control_group.size() < 2 || control_group[0] != '/' || control_group.find("/..") != std::string::npos) return true;
  if (control_group.find(".scope") == std::string::npos) return true;
  std::error_code error;
  if (fs::exists(fs::path(root) / "cgroup.controllers", error)) return RemoveGroup(root + control_group);
  bool gone = true;
  for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error) && !it->is_symlink(error)) gone &= RemoveGroup(it->path().string() + control_group);
  }
  return gone;
}

}  // namespace isla::agent
