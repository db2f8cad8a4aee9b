#include "sandbox/box/run_flags.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sandbox/runner/privileges.h"
#include "sandbox/view/view_files.h"

namespace isla::sandbox {
namespace {

using runner::Mount;
using runner::Namespaces;

Status Bad(std::string_view flag, std::string_view text, std::string_view expected) {
  return Errorf(Code::kInvalidArgument, "--{}={} (expected {})", flag, text, expected);
}

Status SetNamespaces(const std::vector<std::string>& names, std::string_view flag, bool own, Namespaces& out) {
  for (const std::string& name : names) {
    const std::pair<const char*, bool Namespaces::*> all[] = {{"user", &Namespaces::user}, {"mount", &Namespaces::mount}, {"pid", &Namespaces::pid},      {"ipc", &Namespaces::ipc},
                                                              {"uts", &Namespaces::uts},   {"net", &Namespaces::net},     {"cgroup", &Namespaces::cgroup}};
    bool known = name == "all";
    for (const auto& [each, member] : all) {
      if (name != "all" && name != each) continue;
      out.*member = own;
      known = true;
    }
    if (!known) return Bad(flag, name, "user, mount, pid, ipc, uts, net, cgroup or all");
  }
  return OkStatus();
}

Status AddMounts(const std::vector<std::string>& texts, Mount::Kind kind, std::string_view flag, std::vector<Mount>& out) {
  for (const std::string& text : texts) {
    const size_t colon = kind == Mount::Kind::kTmpfs ? std::string::npos : text.find(':');
    Mount mount = {kind, text.substr(0, colon), colon == std::string::npos ? text : text.substr(colon + 1)};
    if (mount.target.empty() || mount.target.front() != '/' || mount.target == "/" || mount.source.empty()) return Bad(flag, text, "absolute paths");
    if (kind == Mount::Kind::kTmpfs) mount.source.clear();
    out.push_back(std::move(mount));
  }
  return OkStatus();
}

StatusOr<std::vector<std::string>> Environment(const RunFlags& flags, const std::vector<std::string>& own) {
  std::vector<std::string> out = flags.clearenv ? std::vector<std::string>() : own;
  const auto remove = [&out](std::string_view name) {
    std::erase_if(out, [name](const std::string& each) { return each.starts_with(name) && each.size() > name.size() && each[name.size()] == '='; });
  };
  for (const std::string& name : flags.unsetenv) remove(name);
  for (const std::string& each : flags.setenv) {
    const size_t equal = each.find('=');
    if (equal == std::string::npos || equal == 0) return Bad("setenv", each, "NAME=VALUE");
    remove(std::string_view(each).substr(0, equal));
    out.push_back(each);
  }
  return out;
}

StatusOr<std::pair<int, rlim_t>> Limit(const std::string& text) {
  const size_t equal = text.find('=');
  const std::string name = text.substr(0, equal), value = equal == std::string::npos ? "" : text.substr(equal + 1);
  const std::vector<runner::LimitName>& names = runner::LimitNames();
  const auto found = std::find_if(names.begin(), names.end(), [&name](const auto& each) { return name == each.name; });
  if (found == names.end() || value.empty()) return Bad("limit", text, "a name such as nofile, nproc, fsize, as, data, cpu, core, stack or memlock, '=', and a number or 'unlimited'");
  if (value == "unlimited") return std::pair(found->resource, RLIM_INFINITY);
  const StatusOr<uint64_t> number = ParseMemory(value);
  if (!number.ok()) return Bad("limit", text, "a number such as 1024 or 512m, or 'unlimited'");
  return std::pair(found->resource, static_cast<rlim_t>(*number));
}

}  // namespace

StatusOr<uint64_t> ParseCpuMillis(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0) || value > 65536) return Bad("cpus", text, "a number such as 2 or 1.5");
  return static_cast<uint64_t>(std::ceil(value * 1000 - 1e-6));
}

StatusOr<uint64_t> ParseTasks(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > 4'194'304) return Bad("pids", text, "a number of processes and threads from 1 to 4194304");
  return value;
}

StatusOr<uint64_t> ParseMemory(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  std::transform(unit.begin(), unit.end(), unit.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  static constexpr std::pair<const char*, unsigned> kUnits[] = {{"", 0}, {"b", 0}, {"k", 10}, {"ki", 10}, {"kib", 10}, {"m", 20}, {"mi", 20}, {"mib", 20}, {"g", 30}, {"gi", 30}, {"gib", 30}, {"t", 40}, {"ti", 40}, {"tib", 40}};
  const auto found = std::find_if(std::begin(kUnits), std::end(kUnits), [&unit](const auto& each) { return unit == each.first; });
  if (error != std::errc() || found == std::end(kUnits) || (value << found->second) >> found->second != value) return Bad("memory", text, "a size such as 512m, 2g or 1048576");
  return value << found->second;
}

StatusOr<runner::Request> RequestOf(const RunFlags& flags, bool root, const std::vector<std::string>& environment) {
  runner::Request out;
  out.command = flags.command;
  out.namespaces.user = !root;
  if (flags.no_namespaces) {
    if (!flags.unshare.empty() || !flags.share.empty()) return Error(Code::kInvalidArgument, "--no-namespaces goes with neither --unshare nor --share");
    out.namespaces = Namespaces::None();
  }
  if (flags.map_root) out.namespaces.user = true;
  RETURN_IF_ERROR(SetNamespaces(flags.unshare, "unshare", true, out.namespaces));
  RETURN_IF_ERROR(SetNamespaces(flags.share, "share", false, out.namespaces));
  if (flags.map_root && !out.namespaces.user) return Error(Code::kInvalidArgument, "--map-root needs a user namespace");
  // Without its own /proc there is no pid namespace worth the name, and without rights over it no other namespace.
  if (!out.namespaces.mount) out.namespaces.pid = false;
  if (!root && !out.namespaces.user && out.namespaces.Flags() != 0) return Error(Code::kInvalidArgument, "without a user namespace only root can have others (--no-namespaces)");
  RETURN_IF_ERROR(AddMounts(flags.bind, Mount::Kind::kBind, "bind", out.mounts));
  RETURN_IF_ERROR(AddMounts(flags.ro_bind, Mount::Kind::kReadOnly, "ro-bind", out.mounts));
  RETURN_IF_ERROR(AddMounts(flags.tmpfs, Mount::Kind::kTmpfs, "tmpfs", out.mounts));
  // What lies in another comes after it; of one place the last kind wins.
  std::stable_sort(out.mounts.begin(), out.mounts.end(), [](const Mount& a, const Mount& b) { return a.target + "/" < b.target + "/"; });
  ASSIGN_OR_RETURN(out.environment, Environment(flags, environment));
  for (const std::string& text : flags.limit) {
    ASSIGN_OR_RETURN(const auto limit, Limit(text));
    out.limits.push_back(limit);
  }
  for (const int fd : flags.keep) {
    if (fd < 3) return Bad("keep-fd", std::to_string(fd), "a number above 2");
  }
  if (!flags.cpus.empty()) {
    ASSIGN_OR_RETURN(out.cpu_millis, ParseCpuMillis(flags.cpus));
    out.cpus = view::WholeCpus(static_cast<int64_t>(out.cpu_millis));
  }
  if (!flags.memory.empty()) {
    ASSIGN_OR_RETURN(out.memory_bytes, ParseMemory(flags.memory));
    if (out.memory_bytes == 0) return Bad("memory", flags.memory, "a size such as 512m, 2g or 1048576");
  }
  if (!flags.pids.empty()) {
    ASSIGN_OR_RETURN(out.tasks, ParseTasks(flags.pids));
  }
  if (!flags.cgroup.empty() && flags.cgroup != "auto" && flags.cgroup != "no" && flags.cgroup.front() != '/') return Bad("cgroup", flags.cgroup, "auto, no, or a folder of a cgroup v2 hierarchy");
  out.keep = flags.keep;
  // The root that we have is none to change to.
  if (flags.root.find_first_not_of('/') != std::string::npos) out.root = flags.root;
  out.hostname = flags.hostname;
  out.folder = flags.folder;
  out.map_root = flags.map_root;
  out.new_session = flags.new_session;
  out.die_with_parent = flags.die_with_parent;
  out.go_on_without_landlock = flags.without_landlock;
  out.audit = flags.audit;
  return out;
}

}  // namespace isla::sandbox
