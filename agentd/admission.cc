#include "agentd/admission.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>

namespace isla::agent {
namespace {

using isla::v1::LaunchSpec;

constexpr std::string_view kDirImage = "dir:";

std::optional<std::string> RealPath(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return std::nullopt;
  std::string out = resolved;
  free(resolved);
  return out;
}

bool IsWithin(const std::string& path, const std::string& root) {
  if (root == "/") return true;
  return path == root || (path.starts_with(root) && path[root.size()] == '/');
}

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

bool IsCleanAbsolute(const std::string& path) {
  if (path.empty() || path[0] != '/' || path.size() >= PATH_MAX || HasNul(path)) return false;
  return (path + "/").find("/../") == std::string::npos;
}

/// What no manifest that passed the API says; a gateway that is wrong, or hostile, is answered, not obeyed.
std::optional<Rejection> CheckShape(const LaunchSpec& launch) {
  const auto invalid = [](std::string message) { return Rejection{"InvalidLaunch", std::move(message)}; };
  if (launch.argv().empty() || launch.argv(0).empty()) return invalid("no command");
  for (const auto& item : launch.argv()) {
    if (HasNul(item)) return invalid("the command holds a NUL");
  }
  for (const auto& item : launch.env()) {
    if (HasNul(item) || item.find('=') == std::string::npos || item[0] == '=') return invalid("bad env entry");
  }
  if (!launch.working_dir().empty() && !IsCleanAbsolute(launch.working_dir())) return invalid("bad working folder");
  if (launch.cpu_millis() <= 0 || launch.memory_bytes() <= 0 || launch.tasks() <= 0) {
    return invalid("cpu, memory and tasks must be positive");
  }
  if (launch.timeout_msec() < 0 || launch.grace_period_msec() < 0) return invalid("negative duration");
  if (launch.namespace_().empty() || launch.session().empty()) return invalid("no namespace or session");
  for (const auto& mount : launch.mounts()) {
    if (!IsCleanAbsolute(mount.host_path()) || !IsCleanAbsolute(mount.mount_path()) || mount.mount_path() == "/") {
      return invalid(fmt::format("bad mount '{}' at '{}'", mount.host_path(), mount.mount_path()));
    }
  }
  if (launch.ByteSizeLong() > kMaxLaunchBytes) {
    return invalid(fmt::format("larger than {} bytes", kMaxLaunchBytes));
  }
  const bool built_in = launch.sandbox_policy().empty() || launch.sandbox_policy() == "default";
  if (built_in != launch.sandbox_policy_hash().empty()) return invalid(fmt::format("no sandbox policy '{}' of that version", launch.sandbox_policy()));
  return std::nullopt;
}

std::optional<Rejection> CheckImage(const NodeConfig& config, LaunchSpec& launch) {
  if (launch.image().empty() || launch.image() == "host") return std::nullopt;
  if (!launch.image().starts_with(kDirImage)) {
    return Rejection{"InvalidLaunch", fmt::format("unknown kind of image '{}'", launch.image())};
  }
  const std::string path = launch.image().substr(kDirImage.size());
  if (!IsCleanAbsolute(path)) return Rejection{"InvalidLaunch", fmt::format("bad image path '{}'", path)};
  const auto resolved = ResolveWithin(path, config.image_roots);
  if (!resolved.ok()) {
    const bool denied = resolved.status().code() == Code::kPermissionDenied;
    return Rejection{denied ? "NotAllowed" : "NoSuchImage",
                     fmt::format("image '{}': {}", launch.image(),
                                 denied ? "not under an imageRoots of the node's node.json" : Message(resolved.status()))};
  }
  launch.set_image(std::string(kDirImage) + *resolved);
  return std::nullopt;
}

std::optional<Rejection> CheckMounts(const NodeConfig& config, LaunchSpec& launch) {
  for (auto& mount : *launch.mutable_mounts()) {
    std::vector<std::string> roots;
    for (const MountRoot& root : config.mount_roots) {
      if (mount.read_only() || !root.read_only) roots.push_back(root.path);
    }
    const auto resolved = ResolveWithin(mount.host_path(), roots);
    if (!resolved.ok()) {
      const bool denied = resolved.status().code() == Code::kPermissionDenied;
      return Rejection{denied ? "NotAllowed" : "NoSuchFolder",
                       fmt::format("mount of '{}'{}: {}", mount.host_path(), mount.read_only() ? "" : " for writing",
                                   denied ? "no mountRoots of the node's node.json allows it"
                                          : Message(resolved.status()))};
    }
    mount.set_host_path(*resolved);
  }
  return std::nullopt;
}

}  // namespace

StatusOr<std::string> ResolveWithin(const std::string& path, const std::vector<std::string>& roots) {
  const auto denied = [&path] { return Errorf(Code::kPermissionDenied, "'{}' is not allowed", path); };
  if (roots.empty()) return denied();
  const auto resolved = RealPath(path);
  // Before anything is said of what exists: a path that can't be allowed tells nothing about the node.
  const std::string& judged = resolved.has_value() ? *resolved : path;
  const bool within = std::any_of(roots.begin(), roots.end(), [&judged](const std::string& root) {
    const auto real = RealPath(root);
    return IsWithin(judged, real.has_value() ? *real : root);
  });
  if (!within) return denied();
  if (!resolved.has_value()) return Errorf(Code::kNotFound, "'{}' does not exist", path);
  struct stat st {};
  if (stat(resolved->c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
    return Errorf(Code::kFailedPrecondition, "'{}' is not a folder", path);
  }
  return *resolved;
}

std::optional<Rejection> Admit(const NodeConfig& config, const Resources& capacity, const Resources& used,
                               LaunchSpec& launch) {
  if (auto wrong = CheckShape(launch)) return wrong;
  const Resources request{launch.cpu_millis(), launch.memory_bytes(), launch.tasks()};
  if (const Fit fit = Fits(request, capacity, used); fit != Fit::kFits) {
    return Rejection{std::string(FitReason(fit)), FitMessage(fit, request, capacity, used)};
  }
  if (launch.network() == "host" && !config.host_network) {
    return Rejection{"NotAllowed", "network 'host': the node's node.json does not allow it"};
  }
  if (launch.network() != "host" && launch.network() != "none" && !launch.network().empty()) {
    return Rejection{"InvalidLaunch", fmt::format("unknown network '{}'", launch.network())};
  }
  if (auto wrong = CheckImage(config, launch)) return wrong;
  return CheckMounts(config, launch);
}

std::optional<uint32_t> AllocateIds(const NodeConfig& config, const JournalState& state,
                                    const std::set<uint32_t>& taken, uint32_t after) {
  std::set<uint32_t> used = taken;
  for (const auto& [key, entry] : state.entries) {
    if (entry.id_base() != 0) used.insert(entry.id_base());
  }
  const auto overlaps = [&used](uint32_t base) {
    // Ranges given under another node.json may lie askew.
    const auto next = used.lower_bound(base);
    if (next != used.end() && *next - base < kIdsPerContainer) return true;
    return next != used.begin() && base - *std::prev(next) < kIdsPerContainer;
  };
  const uint32_t slots = config.id_count / kIdsPerContainer;
  const bool inside = after >= config.first_id && after - config.first_id < config.id_count;
  const uint32_t start = inside ? (after - config.first_id) / kIdsPerContainer + 1 : 0;
  for (uint32_t i = 0; i < slots; ++i) {
    const uint32_t base = config.first_id + ((start + i) % slots) * kIdsPerContainer;
    if (!overlaps(base)) return base;
  }
  return std::nullopt;
}

int64_t LogShare(const NodeConfig& config, const JournalState& state, int64_t reserved) {
  int64_t used = reserved;
  for (const auto& [key, entry] : state.entries) used += entry.log_max_bytes();
  const int64_t left = std::max<int64_t>(0, config.node_log_bytes - used);
  return std::max(std::min(config.container_log_bytes, left), std::min(kLeastLogBytes, config.container_log_bytes));
}

}  // namespace isla::agent
