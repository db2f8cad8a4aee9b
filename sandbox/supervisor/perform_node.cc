#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <utility>

#include "sandbox/supervisor/perform.h"
#include "sandbox/supervisor/rights.h"

namespace isla::supervisor {
namespace {

/// As the kernel packs a device number in an argument.
dev_t DeviceOf(uint64_t argument) {
  const auto packed = static_cast<uint32_t>(argument);
  return makedev((packed & 0xfff00) >> 8, (packed & 0xff) | ((packed >> 12) & 0xfff00));
}

/// Those that give nobody anything: null, zero, full, random, urandom, tty, console, and the whiteouts of overlays.
bool IsHarmless(mode_t type, dev_t device) {
  if (type != S_IFCHR) return false;
  for (const auto& [major_number, minor_number] : {std::pair(1, 3), {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {0, 0}}) {
    if (device == makedev(static_cast<unsigned>(major_number), static_cast<unsigned>(minor_number))) return true;
  }
  return false;
}

}  // namespace

Outcome PerformMakeNode(ReceivedCall& call) {
  const auto& arguments = call.arguments();
  const size_t mode_at = call.number() == SYS_mknodat ? 2 : 1;
  const auto mode = static_cast<mode_t>(arguments[mode_at]);
  const mode_t type = (mode & S_IFMT) == 0 ? mode_t{S_IFREG} : mode & S_IFMT;
  const dev_t device = DeviceOf(arguments[mode_at + 1]);
  const bool is_device = type == S_IFCHR || type == S_IFBLK;
  if (is_device && !IsHarmless(type, device)) return Outcome::Errno(EPERM);
  if (type == S_IFDIR) return Outcome::Errno(EPERM);
  const Resolved& where = call.resolved[0];
  // The right to make devices is ours, all else the caller's: whose it is, and whether it may make something there.
  const CallerRights rights(call.caller(), is_device ? uint64_t{1} << CAP_MKNOD : 0);
  if (rights.error() != 0) return Outcome::Errno(rights.error());
  if (where.error != 0) return Outcome::Errno(where.error);
  if (where.inode.valid()) {
    struct stat st {};
    const bool ours = call.performed_before && fstat(where.inode.get(), &st) == 0 && (st.st_mode & S_IFMT) == type &&
                      st.st_rdev == (is_device ? device : 0);
    return ours ? Outcome::Value(0) : Outcome::Errno(EEXIST);
  }
  if (!call.BeginPerforming()) return Outcome::Errno(ETIMEDOUT);
  const mode_t shown = type | (mode & 07777 & ~rights.status().umask);
  return mknodat(where.folder.get(), where.name.c_str(), shown, is_device ? device : 0) == 0 ? Outcome::Value(0) : Outcome::Errno(errno);
}

}  // namespace isla::supervisor
