// Where the control groups of a process are in the file system: of v2, of v1, and of both where v2 is mounted beside v1 (hybrid).
// Used by isla-shim for a container's scope and by isla-box for a group of its own. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isla {

/// Where one hierarchy's folder of a process is.
struct CgroupFolder {
  std::string controllers;  // "cpu,cpuacct" as in /proc/self/cgroup; "" for v2
  std::string path;         // in the file system: "/sys/fs/cgroup/memory/isla.slice/isla-x.scope"
};

/// The folders of the process whose files these are the texts of. Hierarchies that aren't mounted, or whose
/// mount doesn't show the process's cgroup, are left out.
std::vector<CgroupFolder> FindCgroups(std::string_view proc_cgroup, std::string_view mountinfo);

/// Where cgroup file systems, of either version, are mounted.
std::vector<std::string> CgroupMountPoints(std::string_view mountinfo);

/// Whether `controllers` ("cpu,cpuacct") has `name`.
bool HasController(std::string_view controllers, std::string_view name);

/// {quota, period} in microseconds for a number of thousandths of a cpu: the kernel wants a quota of 1 ms at least.
struct CpuQuota {
  int64_t quota_usec, period_usec;
};
CpuQuota QuotaOf(int64_t cpu_millis);

}  // namespace isla
