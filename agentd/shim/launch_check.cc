#include "agentd/shim/launch_check.h"

#include <algorithm>
#include <climits>

namespace isla::shim {
namespace {

Status Bad(std::string_view member, std::string_view why) {
  return Errorf(Code::kInvalidArgument, "launch request: '{}' {}", member, why);
}

/// The form of a UUID; api/base/uuid.h would bring a cryptographic library into this small program.
bool LooksLikeUuid(std::string_view text) {
  return text.size() == 36 && text.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

Status CheckPath(std::string_view member, std::string_view path) {
  return IsCleanPath(path) ? OkStatus() : Bad(member, "must be a clean absolute path");
}

Status CheckHostname(std::string_view name) {
  if (name.empty() || name.size() > 63) return Bad("hostname", "must have 1 to 63 characters");
  for (const char c : name) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    if (!fine) return Bad("hostname", "must be letters, digits, '-' and '.'");
  }
  return OkStatus();
}

Status CheckProgram(const LaunchRequest& r) {
  if (r.argv.empty() || r.argv[0].empty()) return Bad("argv", "must name a program");
  for (const std::string& entry : r.env) {
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos) return Bad("env", "entries must be NAME=value");
  }
  return r.working_dir.empty() ? OkStatus() : CheckPath("workingDir", r.working_dir);
}

Status CheckLimits(const LaunchRequest& r) {
  constexpr int64_t kMebi = int64_t{1} << 20;
  if (r.cpu_millis < 1 || r.cpu_millis > 10'000'000) return Bad("cpuMillis", "must be from 1 to 10000000");
  if (r.memory_bytes < kMebi || r.memory_bytes > (int64_t{1} << 50)) return Bad("memoryBytes", "must be from 1 MiB to 1 PiB");
  if (r.tasks < 2 || r.tasks > 4'000'000) return Bad("tasks", "must be from 2 to 4000000");
  if (r.tmpfs_bytes > r.memory_bytes) return Bad("tmpfsBytes", "must be at most memoryBytes");
  // A year: sums of times stay far from overflow.
  constexpr int64_t kYearMsec = int64_t{366} * 24 * 3600 * 1000;
  if (r.timeout_msec > kYearMsec * 100) return Bad("timeoutMsec", "is more than a century");
  if (r.grace_period_msec > kYearMsec) return Bad("gracePeriodMsec", "is more than a year");
  if (r.id_base < kIdCount || r.id_base > UINT32_MAX - 2 * kIdCount) return Bad("idBase", "is outside of the range for containers");
  return OkStatus();
}

Status CheckFiles(const LaunchRequest& r) {
  RETURN_IF_ERROR(CheckPath("runDir", r.run_dir));
  RETURN_IF_ERROR(CheckPath("logPath", r.log_path));
  RETURN_IF_ERROR(CheckPath("initPath", r.init_path));
  if (!r.supervisor_path.empty()) RETURN_IF_ERROR(CheckPath("supervisorPath", r.supervisor_path));
  if (r.image != "host") {
    if (!r.image.starts_with("dir:")) return Bad("image", "must be 'host' or 'dir:/path'");
    RETURN_IF_ERROR(CheckPath("image", std::string_view(r.image).substr(4)));
    if (!r.overlay_dir.empty()) RETURN_IF_ERROR(CheckPath("overlayDir", r.overlay_dir));
  }
  if (r.mounts.size() > 256) return Bad("mounts", "are more than 256");
  for (const MountRequest& mount : r.mounts) {
    RETURN_IF_ERROR(CheckPath("mounts.hostPath", mount.host_path));
    RETURN_IF_ERROR(CheckPath("mounts.mountPath", mount.mount_path));
    for (const std::string_view own : {"/", "/proc", "/sys", "/dev"}) {
      if (mount.mount_path == own || (own != "/" && mount.mount_path.starts_with(std::string(own) + "/"))) {
        return Bad("mounts.mountPath", fmt::format("may not cover '{}'", own));
      }
    }
  }
  return OkStatus();
}

}  // namespace

bool IsCleanPath(std::string_view path) {
  if (path.empty() || path[0] != '/' || path.size() >= PATH_MAX || path.find('\0') != std::string_view::npos) return false;
  if (path == "/") return true;
  for (size_t at = 1; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == ".." || part.size() > NAME_MAX) return false;
    at = end + 1;
    if (end + 1 == path.size()) return false;  // ends in '/'
  }
  return true;
}

Status CheckLaunchRequest(const LaunchRequest& r) {
  if (!LooksLikeUuid(r.uid)) return Bad("uid", "must be a UUID");
  if (r.scope != fmt::format("isla-{}-{}.scope", r.uid, r.incarnation)) return Bad("scope", "doesn't name this container");
  RETURN_IF_ERROR(CheckHostname(r.hostname));
  RETURN_IF_ERROR(CheckProgram(r));
  RETURN_IF_ERROR(CheckLimits(r));
  return CheckFiles(r);
}

}  // namespace isla::shim
