#include "agentd/capacity.h"

#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "api/base/unique_fd.h"
#include "api/base/uuid.h"

namespace isla::agent {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

/// The first number in a file; 0 if there is none ("max" too).
int64_t NumberIn(const std::string& path) {
  const auto text = ReadFile(path, 4096);
  return text.ok() ? std::strtoll(text->c_str(), nullptr, 10) : 0;
}

StatusOr<int64_t> MemTotal() {
  ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/meminfo", 65536));
  const size_t at = text.find("MemTotal:");
  if (at == std::string::npos) return Error(Code::kInternal, "/proc/meminfo has no MemTotal");
  return std::strtoll(text.c_str() + at + 9, nullptr, 10) * 1024;
}

int64_t Cpus() {
  // Larger than any machine's, so that the call doesn't fail on big ones.
  constexpr size_t kMaxCpus = 16384;
  cpu_set_t* set = CPU_ALLOC(kMaxCpus);
  const size_t size = CPU_ALLOC_SIZE(kMaxCpus);
  const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 1;
  CPU_FREE(set);
  return std::max(count, 1);
}

}  // namespace

StatusOr<Resources> FindCapacity() {
  ASSIGN_OR_RETURN(int64_t memory, MemTotal());
  for (const char* limit : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    if (const int64_t bytes = NumberIn(limit); bytes > 0) memory = std::min(memory, bytes);
  }
  const int64_t reserve = std::min(std::max(memory / 20, 256 * kMiB), memory / 2);
  int64_t tasks = 1'000'000;
  for (const char* limit : {"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max", "/sys/fs/cgroup/pids.max",
                            "/sys/fs/cgroup/pids/pids.max"}) {
    if (const int64_t count = NumberIn(limit); count > 0) tasks = std::min(tasks, count / 2);
  }
  return Resources{Cpus() * 1000, memory - reserve, tasks};
}

bool HasCgroupV2() { return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0; }

std::vector<std::string> FindFeatures() {
  std::vector<std::string> features;
  const bool hybrid = access("/sys/fs/cgroup/unified/cgroup.controllers", F_OK) == 0;
  features.push_back(HasCgroupV2() ? "cgroup=v2" : hybrid ? "cgroup=hybrid" : "cgroup=v1");
  const long landlock = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (landlock > 0) features.push_back(fmt::format("landlock={}", landlock));
  const uint32_t notify = SECCOMP_RET_USER_NOTIF;
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &notify) == 0) features.emplace_back("seccomp-notify");
  if (access("/proc/self/ns/user", F_OK) == 0) features.emplace_back("userns");
  if (access("/run/systemd/system", F_OK) == 0) features.emplace_back("systemd");
  features.emplace_back("policy-updates");
  return features;
}

StatusOr<std::string> ReadBootId() {
  ASSIGN_OR_RETURN(std::string id, ReadFile("/proc/sys/kernel/random/boot_id", 256));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

StatusOr<std::string> NodeUid(const std::string& state_dir) {
  const std::string path = state_dir + "/node-uid";
  const auto text = ReadFile(path, 256);
  if (text.ok()) {
    const std::string uid = text->substr(0, 36);
    if (!IsUuid(uid)) return Errorf(Code::kFailedPrecondition, "'{}' holds no uid: restore it, or remove it", path);
    return uid;
  }
  if (text.status().code() != Code::kNotFound) return text.status();
  const std::string uid = NewUuid();
  RETURN_IF_ERROR(WriteFileAtomically(path, uid + "\n", 0600, /*durable=*/true));
  return uid;
}

std::string KernelRelease() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "";
}

}  // namespace isla::agent
