#include "sandbox/supervisor/rights.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace isla::supervisor {
namespace {

// Those that are needed to come back, and no right over files.
constexpr uint64_t kOwn = uint64_t{1} << CAP_SETUID | uint64_t{1} << CAP_SETGID;

struct Capabilities {
  uint64_t effective = 0, permitted = 0, inheritable = 0;
};

bool Get(Capabilities& out) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  out.effective = sets[0].effective | uint64_t{sets[1].effective} << 32;
  out.permitted = sets[0].permitted | uint64_t{sets[1].permitted} << 32;
  out.inheritable = sets[0].inheritable | uint64_t{sets[1].inheritable} << 32;
  return true;
}

bool SetEffective(const Capabilities& all, uint64_t effective) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const auto low = [](uint64_t set) { return static_cast<uint32_t>(set); };
  const auto high = [](uint64_t set) { return static_cast<uint32_t>(set >> 32); };
  __user_cap_data_struct sets[2] = {{low(effective), low(all.permitted), low(all.inheritable)},
                                    {high(effective), high(all.permitted), high(all.inheritable)}};
  return syscall(SYS_capset, &header, sets) == 0;
}

// Raw calls: of this thread alone. The C library's would change all threads.
bool SetGroups(const std::vector<gid_t>& groups) { return syscall(SYS_setgroups, groups.size(), groups.data()) == 0; }
bool SetEffectiveIds(const Ids& ids) {
  constexpr int kStays = -1;
  // Who stops being root loses what is permitted, too, unless it says so beforehand.
  return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && syscall(SYS_setresgid, kStays, ids.gid, kStays) == 0 && syscall(SYS_setresuid, kStays, ids.uid, kStays) == 0;
}
/// A change of the effective ones has changed these, too.
bool SetFsIds(const Ids& ids) {
  syscall(SYS_setfsgid, ids.fs_gid);
  syscall(SYS_setfsuid, ids.fs_uid);
  return static_cast<uid_t>(syscall(SYS_setfsuid, -1)) == ids.fs_uid && static_cast<gid_t>(syscall(SYS_setfsgid, -1)) == ids.fs_gid;
}
Ids OwnIds() {
  return {geteuid(), static_cast<uid_t>(syscall(SYS_setfsuid, -1)), getegid(), static_cast<gid_t>(syscall(SYS_setfsgid, -1))};
}

}  // namespace

CallerRights::CallerRights(const Caller& caller, uint64_t also) { error_ = Take(caller, also); }

int CallerRights::Take(const Caller& caller, uint64_t also) {
  if (const int error = caller.Status(status_); error != 0) return error;
  own_ = OwnIds();
  const int count = getgroups(0, nullptr);
  if (count < 0) return EACCES;
  own_groups_.resize(static_cast<size_t>(count));
  if (getgroups(count, own_groups_.data()) != count) return EACCES;
  Capabilities all;
  if (!Get(all)) return EACCES;
  own_effective_ = all.effective;

  const Ids its = {status_.effective_uid, status_.fs_uid, status_.effective_gid, status_.fs_gid};
  std::vector<gid_t> have = own_groups_, want = status_.groups;
  std::sort(have.begin(), have.end());
  std::sort(want.begin(), want.end());
  if (own_ != its || have != want) {
    taken_ = true;
    if (have != want && !SetGroups(status_.groups)) return EACCES;
    // Becoming another user clears the effective capabilities, and the last step needs some.
    if (own_ != its && (!SetEffectiveIds(its) || !SetEffective(all, all.permitted & kOwn) || !SetFsIds(its))) return EACCES;
  }
  const uint64_t shared = caller.SharesUserNamespace() ? status_.capabilities : 0;
  if (!caller.StillWaits()) return ESRCH;
  taken_ = true;
  return SetEffective(all, all.permitted & (shared | kOwn | also)) ? 0 : EACCES;
}

CallerRights::~CallerRights() {
  if (!taken_) return;
  // A thread that can't get its own rights back would do everything that follows with a stranger's.
  Capabilities all;
  ISLA_CHECK(Get(all) && SetEffective(all, own_effective_));
  if (OwnIds() != own_) ISLA_CHECK(SetEffectiveIds(own_) && SetEffective(all, own_effective_) && SetFsIds(own_));
  std::vector<gid_t> now(own_groups_.size() + status_.groups.size());
  const int count = getgroups(static_cast<int>(now.size()), now.data());
  now.resize(count < 0 ? 0 : static_cast<size_t>(count));
  if (now != own_groups_) ISLA_CHECK(SetGroups(own_groups_));
  ISLA_CHECK(SetEffective(all, own_effective_));
}

}  // namespace isla::supervisor
