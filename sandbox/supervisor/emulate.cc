#include "sandbox/supervisor/emulate.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace isla::supervisor {
namespace {

constexpr unsigned long kPidFromNamespace = _IOR(0xb7, 0x6, int);  // NS_GET_PID_FROM_PIDNS, 6.11

/// The thread that the caller means by `pid`, as this process sees it. ESRCH if there is none.
int Translate(const Caller& caller, pid_t pid, pid_t& out) {
  out = pid == 0 ? caller.tid() : pid;
  if (pid == 0) return 0;
  if (pid < 0) return ESRCH;
  CallerStatus status;
  if (const int error = caller.Status(status); error != 0) return error;
  if (pid == status.own_tid) {
    out = caller.tid();
    return 0;
  }
  if (caller.SharesPidNamespace()) return 0;
  const UniqueFd space(open(fmt::format("/proc/{}/ns/pid", caller.tid()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!space.valid() || !caller.StillWaits()) return ESRCH;
  const int translated = ioctl(space.get(), kPidFromNamespace, pid);
  // Older kernels can't translate. That thread's mask is not known then; the caller's own is of the same container.
  out = translated > 0 ? translated : caller.tid();
  return translated < 0 && errno == ESRCH ? ESRCH : 0;
}

EmulatedResult Affinity(const Grant& grant, const Caller& caller, const uint64_t (&arguments)[6]) {
  const auto length = static_cast<uint32_t>(arguments[1]);
  pid_t thread = 0;
  // The kernel looks at the length first, then for the thread.
  unsigned long mask[8192 / 64] = {};
  const size_t room = std::min<size_t>(length, sizeof mask);
  if (length % sizeof(unsigned long) != 0) return {EINVAL, 0};
  if (arguments[0] != 0 && syscall(SYS_sched_getaffinity, 0, room, mask) < 0) return {errno, 0};
  if (const int error = Translate(caller, static_cast<pid_t>(arguments[0]), thread); error != 0) return {error, 0};
  const long bytes = syscall(SYS_sched_getaffinity, thread, room, mask);
  if (bytes < 0) return {errno, 0};
  unsigned left = grant.cpus == 0 ? ~0u : grant.cpus;
  for (unsigned long& word : mask) {
    for (unsigned long rest = word; rest != 0; rest &= rest - 1) {
      if (left > 0) {
        --left;
      } else {
        word &= ~(rest & -rest);
      }
    }
  }
  const int error = caller.memory().Write(arguments[2], mask, static_cast<size_t>(bytes));
  return {error, bytes};
}

EmulatedResult SysInfo(const Grant& grant, const Caller& caller, const uint64_t (&arguments)[6]) {
  struct sysinfo info {};
  if (sysinfo(&info) != 0) return {errno, 0};
  if (grant.memory_bytes != 0) {
    const uint64_t unit = info.mem_unit == 0 ? 1 : info.mem_unit;
    const uint64_t total = std::min<uint64_t>(grant.memory_bytes, info.totalram * unit);
    const uint64_t used = std::min(total, grant.memory_usage ? grant.memory_usage() : 0);
    info.totalram = total / unit;
    info.freeram = std::min<uint64_t>((total - used) / unit, info.freeram);
    info.sharedram = info.bufferram = 0;
    info.totalswap = info.freeswap = 0;  // containers have none
    info.totalhigh = info.freehigh = 0;
  }
  if (grant.tasks != 0) info.procs = static_cast<unsigned short>(std::min<uint64_t>(info.procs, grant.tasks));
  return {caller.memory().Write(arguments[0], &info, sizeof info), 0};
}

EmulatedResult Uname(const Grant& grant, const Caller& caller, const uint64_t (&arguments)[6]) {
  utsname names{};
  if (uname(&names) != 0) return {errno, 0};
  if (!grant.hostname.empty()) {
    std::memset(names.nodename, 0, sizeof names.nodename);
    std::memset(names.domainname, 0, sizeof names.domainname);
    std::memcpy(names.domainname, "(none)", sizeof "(none)");
    std::memcpy(names.nodename, grant.hostname.data(), std::min(grant.hostname.size(), sizeof names.nodename - 1));
  }
  return {caller.memory().Write(arguments[0], &names, sizeof names), 0};
}

using Emulator = EmulatedResult (*)(const Grant&, const Caller&, const uint64_t (&)[6]);

Emulator Find(std::string_view name) {
  if (name == "affinity") return Affinity;
  if (name == "sysinfo") return SysInfo;
  if (name == "uname") return Uname;
  return nullptr;
}

}  // namespace

bool HasEmulator(std::string_view name) { return Find(name) != nullptr; }

EmulatedResult Emulate(std::string_view name, const Grant& grant, const Caller& caller, const uint64_t (&arguments)[6]) {
  const Emulator emulator = Find(name);
  return emulator == nullptr ? EmulatedResult{ENOSYS, 0} : emulator(grant, caller, arguments);
}

}  // namespace isla::supervisor
