#include "sandbox/capabilities.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace isla::sandbox {

bool BoundCapabilities(uint64_t kept) {
  for (unsigned capability = 0; capability < 64; ++capability) {
    if ((kept >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    return errno == EINVAL || errno == EPERM;  // the kernel has no more; we may not
  }
  return true;
}

bool DropCapabilities(uint64_t kept) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  for (size_t i = 0; i < 2; ++i) {
    const auto part = static_cast<uint32_t>(kept >> (32 * i));
    sets[i] = {sets[i].permitted & part, sets[i].permitted & part, 0};
  }
  return syscall(SYS_capset, &header, sets) == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0;
}

}  // namespace isla::sandbox
