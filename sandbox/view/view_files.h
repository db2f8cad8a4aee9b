// The files of /proc and /sys that tell how many cpus and how much memory there are, as a container that was granted a part
// of them should see them. Pure text to text; whoever builds the container's root binds them over the real ones, read-only.
//
// Together with the emulated calls sched_getaffinity and sysinfo (sandbox/supervisor/emulate.h) all that programs ask agrees:
//   sysconf, get_nprocs, std::thread, python     /sys/devices/system/cpu/online
//   sysconf(_SC_NPROCESSORS_CONF), OpenBLAS      /sys/devices/system/cpu/possible
//   node, many monitors                          /proc/cpuinfo, /proc/stat
//   nproc, libgomp, Go                           sched_getaffinity
//   free, JVM                                    /proc/meminfo, sysinfo
// Cpu ids are the true ones, as in the affinity mask: never renumbered.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/status.h"
#include "sandbox/policy/sections.h"

namespace isla::view {

using sandbox::ViewFile;

struct GrantedView {
  std::vector<unsigned> cpus;  // ids, ascending; empty: as the machine has them
  uint64_t memory_bytes = 0;   // 0: as the machine has it
  uint64_t used_bytes = 0;
  bool any() const { return !cpus.empty() || memory_bytes != 0; }
};

/// How many whole cpus a grant of so many thousandths is: rounded up, at least one.
unsigned WholeCpus(int64_t cpu_millis);

/// The first `count` ids that this process may run on; all, if there are fewer.
std::vector<unsigned> FirstCpus(unsigned count);

/// "0-2,5\n", as the kernel writes lists of cpus.
std::string CpuList(const std::vector<unsigned>& cpus);

/// /proc/cpuinfo without the other cpus' blocks.
std::string CpuInfo(std::string_view real, const std::vector<unsigned>& cpus);

/// /proc/stat without the other cpus' lines; the first line is the sum of those left.
std::string Stat(std::string_view real, const std::vector<unsigned>& cpus);

/// /proc/meminfo with the grant for MemTotal, what is left of it for MemFree and MemAvailable, no swap, and no
/// use of memory that is greater than all of it.
std::string MemInfo(std::string_view real, uint64_t memory_bytes, uint64_t used_bytes);

/// All of them with their paths, made from this machine's own. Files that this machine doesn't have are left out.
StatusOr<std::vector<ViewFile>> GrantedFiles(const GrantedView& granted);

}  // namespace isla::view
