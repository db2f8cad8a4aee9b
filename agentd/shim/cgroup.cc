#include "agentd/shim/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace isla::shim {
namespace {

constexpr int64_t kPage = 4096;

Step WriteTo(const std::string& path, const std::string& value) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return Step::Failed("open " + path);
  if (write(fd.get(), value.data(), value.size()) < 0) return Step::Failed("write " + value + " to " + path);
  return Step::Done();
}

std::string ReadSmall(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t got = fd.valid() ? read(fd.get(), text, sizeof text) : -1;
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
}

int64_t ReadNumber(const std::string& path) { return std::strtoll(ReadSmall(path).c_str(), nullptr, 10); }

/// The number after `key` in lines of "key number".
int64_t ReadKeyed(const std::string& path, std::string_view key) {
  const std::string text = "\n" + ReadSmall(path);
  const size_t at = text.find("\n" + std::string(key) + " ");
  return at == std::string::npos ? 0 : std::strtoll(text.c_str() + at + key.size() + 2, nullptr, 10);
}

/// Sets a limit and reads it back: accepted is not enforced.
Step SetLimit(const std::string& path, int64_t value, int64_t tolerance = 0) {
  RETURN_IF_FAILED(WriteTo(path, std::to_string(value)));
  const int64_t have = ReadNumber(path);
  if (have > value || have < value - tolerance) {
    return Step::Failed(fmt::format("limit {}: {} was set, {} is in force", path, value, have), ERANGE);
  }
  return Step::Done();
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Step MakeLeaf(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return Step::Failed("make cgroup " + path);
  return Step::Done();
}

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Step Leaves::Create(const std::string& scope, const Limits& limits, pid_t payload) {
  limits_ = limits;
  const StatusOr<std::string> cgroup = ReadFile("/proc/self/cgroup"), mounts = ReadFile("/proc/self/mountinfo");
  if (!cgroup.ok() || !mounts.ok()) return Step::Failed("read /proc/self/cgroup");
  const std::vector<CgroupFolder> found = FindCgroups(*cgroup, *mounts);
  std::string unified;
  for (const CgroupFolder& folder : found) {
    if (folder.controllers.empty()) unified = folder.path;
  }
  if (BaseName(unified) == scope) unified_folder_ = unified;
  for (const char* controller : {"cpu", "memory", "pids"}) {
    const auto v1 = std::find_if(found.begin(), found.end(), [controller](const CgroupFolder& folder) {
      return HasController(folder.controllers, controller);
    });
    if (v1 == found.end()) continue;
    if (BaseName(v1->path) != scope) {
      return Step::Failed(fmt::format("find the scope's {} cgroup: it is '{}'", controller, v1->path), ENOENT);
    }
    RETURN_IF_FAILED(CreateV1(v1->path, controller, limits, payload));
  }
  if (!folders_.empty()) return Step::Done();
  if (BaseName(unified) != scope) return Step::Failed(fmt::format("find the scope's cgroup: it is '{}'", unified), ENOENT);
  return CreateV2(unified, limits, payload);
}

Step Leaves::EnterUnified(pid_t payload) const {
  return v2_ ? Step::Done() : WriteTo(unified_folder_ + "/cgroup.procs", std::to_string(payload));
}

Step Leaves::LimitCpu() {
  cpu_limited_ = true;
  return WriteCpu(limits_.cpu_millis);
}

Step Leaves::WriteCpu(int64_t cpu_millis) const {
  if (cpu_folder_.empty()) return Step::Done();
  const CpuQuota quota = QuotaOf(cpu_millis);
  if (!v2_) {
    const std::string period = cpu_folder_ + "/cpu.cfs_period_us", in_quota = cpu_folder_ + "/cpu.cfs_quota_us";
    if (ReadNumber(period) != quota.period_usec) {
      // First off, to what the scope has: the old quota in another period may be more than that, which is refused.
      RETURN_IF_FAILED(WriteTo(in_quota, "-1"));
      RETURN_IF_FAILED(SetLimit(period, quota.period_usec));
    }
    return SetLimit(in_quota, quota.quota_usec);
  }
  const std::string cpu = fmt::format("{} {}", quota.quota_usec, quota.period_usec);
  RETURN_IF_FAILED(WriteTo(cpu_folder_ + "/cpu.max", cpu));
  return ReadSmall(cpu_folder_ + "/cpu.max") == cpu + "\n" ? Step::Done() : Step::Failed("limit cpu.max to " + cpu, ERANGE);
}

Status Leaves::Change(const Limits& limits) {
  const Limits before = limits_;
  const auto status = [](const Step& step) { return step.ok() ? OkStatus() : Errorf(Code::kFailedPrecondition, "{}", Message(FromErrno(step.error, step.name))); };
  if (limits.memory_bytes < before.memory_bytes) RETURN_IF_ERROR(Annotate(LowerMemory(limits.memory_bytes), "spec.limits.memory"));
  else if (limits.memory_bytes > before.memory_bytes) RETURN_IF_ERROR(Annotate(status(SetMemory(limits.memory_bytes)), "spec.limits.memory"));
  Status changed = OkStatus();
  if (limits.tasks != before.tasks && !pids_folder_.empty()) changed = Annotate(status(SetLimit(pids_folder_ + "/pids.max", limits.tasks)), "spec.limits.pids");
  if (changed.ok() && limits.cpu_millis != before.cpu_millis && cpu_limited_) {
    changed = Annotate(status(WriteCpu(limits.cpu_millis)), "spec.limits.cpus");
    if (!changed.ok()) (void)WriteCpu(before.cpu_millis);
  }
  if (!changed.ok()) {
    if (!pids_folder_.empty()) (void)SetLimit(pids_folder_ + "/pids.max", before.tasks);
    (void)SetMemory(before.memory_bytes);
    return changed;
  }
  limits_ = limits;
  return OkStatus();
}

/// The kernel takes back of the page cache what it can. v1 refuses what is in use then; v2 would kill for it, so there memory.high, which never
/// kills, tries first.
Status Leaves::LowerMemory(int64_t bytes) const {
  if (memory_folder_.empty()) return OkStatus();
  const auto in_use = [](int64_t used) { return Errorf(Code::kResourceExhausted, "{} bytes are in use already", used); };
  if (!v2_) {
    const std::string limit = memory_folder_ + "/memory.limit_in_bytes";
    if (const Step step = WriteTo(limit, std::to_string(bytes)); !step.ok()) {
      if (step.error == EBUSY) return in_use(ReadNumber(memory_folder_ + "/memory.usage_in_bytes"));
      return FromErrno(step.error, step.name);
    }
    // Memory and swap together after memory alone: never less than it.
    if (const Step step = SetMemory(bytes); !step.ok()) {
      (void)SetMemory(limits_.memory_bytes);
      return step.error == EBUSY ? in_use(ReadNumber(memory_folder_ + "/memory.memsw.usage_in_bytes")) : FromErrno(step.error, step.name);
    }
    return OkStatus();
  }
  const std::string high = memory_folder_ + "/memory.high";
  const Step tried = WriteTo(high, std::to_string(bytes));
  const int64_t used = ReadNumber(memory_folder_ + "/memory.current");
  const Step set = !tried.ok() || used > bytes ? tried : SetMemory(bytes);
  (void)WriteTo(high, "max");
  if (set.ok() && used > bytes) return in_use(used);
  return set.ok() ? OkStatus() : FromErrno(set.error, set.name);
}

Step Leaves::SetMemory(int64_t bytes) const {
  if (memory_folder_.empty()) return Step::Done();
  if (v2_) return SetLimit(memory_folder_ + "/memory.max", bytes, kPage - 1);
  const std::string limit = memory_folder_ + "/memory.limit_in_bytes", together = memory_folder_ + "/memory.memsw.limit_in_bytes";
  if (!Exists(together)) return SetLimit(limit, bytes, kPage - 1);
  // With swap, so never less than without.
  const bool more = ReadNumber(together) < bytes;
  if (more) RETURN_IF_FAILED(SetLimit(together, bytes, kPage - 1));
  RETURN_IF_FAILED(SetLimit(limit, bytes, kPage - 1));
  return more ? Step::Done() : SetLimit(together, bytes, kPage - 1);
}

Step Leaves::CreateV1(const std::string& folder, std::string_view controller, const Limits& limits, pid_t pid) {
  const std::string shim = folder + "/shim", payload = folder + "/payload";
  // cpu and cpuacct may be one hierarchy, but cpu, memory and pids may be too.
  if (std::find(folders_.begin(), folders_.end(), folder) == folders_.end()) {
    RETURN_IF_FAILED(MakeLeaf(shim));
    RETURN_IF_FAILED(MakeLeaf(payload));
    RETURN_IF_FAILED(WriteTo(shim + "/tasks", "0"));
    RETURN_IF_FAILED(WriteTo(payload + "/tasks", std::to_string(pid)));
    folders_.push_back(folder);
  }
  if (controller == "cpu") {
    cpu_folder_ = payload;
    return Step::Done();
  }
  if (controller == "pids") {
    pids_folder_ = payload;
    return SetLimit(payload + "/pids.max", limits.tasks);
  }
  memory_folder_ = payload;
  return SetMemory(limits.memory_bytes);
}

Step Leaves::WatchOom() {
  if (v2_ || memory_folder_.empty()) return Step::Done();
  oom_event_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  UniqueFd control(open((memory_folder_ + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC));
  if (!oom_event_.valid() || !control.valid()) return Step::Failed("watch for running out of memory");
  return WriteTo(memory_folder_ + "/cgroup.event_control", fmt::format("{} {}", oom_event_.get(), control.get()));
}

Step Leaves::CreateV2(const std::string& folder, const Limits& limits, pid_t pid) {
  v2_ = true;
  const std::string shim = folder + "/shim", payload = folder + "/payload";
  RETURN_IF_FAILED(MakeLeaf(shim));
  RETURN_IF_FAILED(MakeLeaf(payload));
  // A folder with processes can't hand controllers down. The payload's process is in it too if it was cloned after
  // systemd had moved this one.
  RETURN_IF_FAILED(WriteTo(shim + "/cgroup.procs", "0"));
  RETURN_IF_FAILED(WriteTo(payload + "/cgroup.procs", std::to_string(pid)));
  RETURN_IF_FAILED(WriteTo(folder + "/cgroup.subtree_control", "+cpu +memory +pids"));
  folders_.push_back(folder);
  memory_folder_ = cpu_folder_ = pids_folder_ = payload;
  RETURN_IF_FAILED(SetMemory(limits.memory_bytes));
  if (Exists(payload + "/memory.swap.max")) RETURN_IF_FAILED(SetLimit(payload + "/memory.swap.max", 0));
  RETURN_IF_FAILED(WriteTo(payload + "/memory.oom.group", "1"));
  return SetLimit(payload + "/pids.max", limits.tasks);
}

Usage Leaves::ReadUsage() const {
  Usage usage;
  if (memory_folder_.empty()) return usage;
  if (v2_) {
    usage.oom_kills = ReadKeyed(memory_folder_ + "/memory.events", "oom_kill");
    usage.peak_memory_bytes = ReadNumber(memory_folder_ + "/memory.peak");
    usage.cpu_time_usec = ReadKeyed(cpu_folder_ + "/cpu.stat", "usage_usec");
  } else {
    usage.oom_kills = ReadKeyed(memory_folder_ + "/memory.oom_control", "oom_kill");
    usage.peak_memory_bytes = ReadNumber(memory_folder_ + "/memory.max_usage_in_bytes");
  }
  return usage;
}

UniqueFd Leaves::OpenMemoryUsage() const {
  if (memory_folder_.empty()) return UniqueFd();
  return UniqueFd(open((memory_folder_ + (v2_ ? "/memory.current" : "/memory.usage_in_bytes")).c_str(), O_RDONLY | O_CLOEXEC));
}

void Leaves::Kill() const {
  for (const std::string& folder : folders_) {
    if (v2_ && WriteTo(folder + "/payload/cgroup.kill", "1").ok()) return;
    // v1, and v2 before 5.14. All of the payload is in one pid namespace that dies with its PID 1; this
    // is for what was moved in from outside.
    const StatusOr<std::string> pids = ReadFile(folder + "/payload/cgroup.procs");
    if (!pids.ok()) continue;
    const char* at = pids->c_str();
    for (char* end = nullptr;; at = end) {
      const long pid = std::strtol(at, &end, 10);
      if (end == at || pid <= 0) break;
      kill(static_cast<pid_t>(pid), SIGKILL);
    }
  }
}

bool Leaves::Remove() {
  bool gone = true;
  for (const std::string& folder : folders_) {
    if (rmdir((folder + "/payload").c_str()) != 0 && errno != ENOENT) gone = false;
  }
  if (!gone || v2_) return gone;
  for (const std::string& folder : folders_) {
    (void)WriteTo(folder + "/tasks", "0");
    rmdir((folder + "/shim").c_str());
  }
  return true;
}

}  // namespace isla::shim
