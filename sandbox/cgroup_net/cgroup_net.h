// The `net` section of a policy, in force for a control group: see net_program.h for what is decided.
//
// The programs belong to the group: they stay when the process that attached them ends, whatever way, and go when the group is
// removed. Replace() swaps them one hook after the other, each atomically: a connection in that moment is decided by the old
// section or the new one, never by none.
//
// Needs cgroup v2, CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) over the machine, Linux 5.7. One thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "api/base/status.h"
#include "api/base/unique_fd.h"
#include "sandbox/cgroup_net/net_program.h"

namespace isla::cgroup_net {

class CgroupNet {
 public:
  CgroupNet() = default;
  CgroupNet(CgroupNet&&) noexcept = default;
  CgroupNet& operator=(CgroupNet&&) noexcept = default;

  /// For `cgroup`, a folder of a cgroup v2 hierarchy. On an error nothing is attached. UNIMPLEMENTED or PERMISSION_DENIED: this kernel,
  /// or this process' rights, have no such programs.
  static StatusOr<CgroupNet> Attach(int cgroup, const sandbox::NetSection& net);

  /// The same group under another section. On an error all is as it was.
  Status Replace(const sandbox::NetSection& net);

 private:
  using Programs = std::array<UniqueFd, kHooks.size()>;
  static StatusOr<Programs> Load(const sandbox::NetSection& net);

  UniqueFd cgroup_;
  Programs programs_;
};

/// Whether this process can attach programs: it loads one and forgets it.
bool CanLoad();

}  // namespace isla::cgroup_net
