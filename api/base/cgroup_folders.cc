#include "api/base/cgroup_folders.h"

#include <algorithm>

namespace isla {
namespace {

/// Calls `each` with every line.
template <typename F>
void ForEachLine(std::string_view text, F each) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    each(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t end = text.find(separator);
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

/// mountinfo writes space, tab, newline and backslash as \ooo.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct Mount {
  std::string root, point;
  std::string type;
  std::vector<std::string> options;  // of the super block
};

std::vector<Mount> CgroupMounts(std::string_view mountinfo) {
  // 36 35 98:0 /root /point options [optional...] - type source super-options
  std::vector<Mount> out;
  ForEachLine(mountinfo, [&out](std::string_view line) {
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) return;
    const auto left = Split(line.substr(0, dash), ' '), right = Split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3 || !right[0].starts_with("cgroup")) return;
    Mount mount = {Unescape(left[3]), Unescape(left[4]), std::string(right[0]), {}};
    for (const std::string_view option : Split(right[2], ',')) mount.options.emplace_back(option);
    out.push_back(std::move(mount));
  });
  return out;
}

bool Has(const Mount& mount, std::string_view option) {
  for (const std::string& have : mount.options) {
    if (have == option) return true;
  }
  return false;
}

/// The folder of cgroup `path` in this mount; "" if the mount doesn't show it.
std::string FolderIn(const Mount& mount, std::string_view path) {
  std::string_view below = path;
  if (mount.root != "/") {
    if (!below.starts_with(mount.root)) return {};
    below.remove_prefix(mount.root.size());
    if (!below.empty() && below[0] != '/') return {};
  }
  if (below.find("/..") != std::string_view::npos) return {};  // outside of the cgroup namespace
  return mount.point + (below == "/" ? "" : std::string(below));
}

}  // namespace

std::vector<CgroupFolder> FindCgroups(std::string_view proc_cgroup, std::string_view mountinfo) {
  const std::vector<Mount> mounts = CgroupMounts(mountinfo);
  std::vector<CgroupFolder> out;
  ForEachLine(proc_cgroup, [&](std::string_view line) {
    // 4:memory:/path, 0::/path
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    for (const Mount& mount : mounts) {
      const bool same = controllers.empty() ? mount.type == "cgroup2"
                                            : mount.type == "cgroup" && Has(mount, Split(controllers, ',')[0]);
      std::string folder = same ? FolderIn(mount, line.substr(second + 1)) : "";
      if (folder.empty()) continue;
      out.push_back({std::string(controllers), std::move(folder)});
      return;
    }
  });
  return out;
}

std::vector<std::string> CgroupMountPoints(std::string_view mountinfo) {
  std::vector<std::string> out;
  for (Mount& mount : CgroupMounts(mountinfo)) out.push_back(std::move(mount.point));
  return out;
}

bool HasController(std::string_view controllers, std::string_view name) {
  for (const std::string_view each : Split(controllers, ',')) {
    if (each == name) return true;
  }
  return false;
}

CpuQuota QuotaOf(int64_t cpu_millis) {
  const int64_t period = cpu_millis < 10 ? 1'000'000 : 100'000;
  return {cpu_millis * period / 1000, period};
}

}  // namespace isla
