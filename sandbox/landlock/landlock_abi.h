// The kernel's interface of Landlock (landlock(7), Documentation/userspace-api/landlock.rst), spelled out here: Debian 12's
// headers end at ABI 2, and what runs is asked for what it knows, whatever this was built with.
#pragma once

#include <cstdint>

namespace isla::landlock {

// Rights over files. ABI 1 unless said otherwise. The first three, kTruncate and kIoctlDev can be had on a file; the others
// are rights over a folder's entries.
inline constexpr uint64_t kExecute = 1 << 0;
inline constexpr uint64_t kWriteFile = 1 << 1;
inline constexpr uint64_t kReadFile = 1 << 2;
inline constexpr uint64_t kReadDir = 1 << 3;
inline constexpr uint64_t kRemoveDir = 1 << 4;
inline constexpr uint64_t kRemoveFile = 1 << 5;
inline constexpr uint64_t kMakeChar = 1 << 6;
inline constexpr uint64_t kMakeDir = 1 << 7;
inline constexpr uint64_t kMakeReg = 1 << 8;
inline constexpr uint64_t kMakeSock = 1 << 9;
inline constexpr uint64_t kMakeFifo = 1 << 10;
inline constexpr uint64_t kMakeBlock = 1 << 11;
inline constexpr uint64_t kMakeSym = 1 << 12;
inline constexpr uint64_t kRefer = 1 << 13;     // ABI 2: link and rename from one folder to another
inline constexpr uint64_t kTruncate = 1 << 14;  // ABI 3
inline constexpr uint64_t kIoctlDev = 1 << 15;  // ABI 5: ioctl on devices
inline constexpr uint64_t kOnFiles = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDev;

// ABI 4.
inline constexpr uint64_t kBindTcp = 1 << 0;
inline constexpr uint64_t kConnectTcp = 1 << 1;

// ABI 6: neither reaches beyond the restricted process tree.
inline constexpr uint64_t kScopeAbstractUnixSocket = 1 << 0;
inline constexpr uint64_t kScopeSignal = 1 << 1;

inline constexpr int kAbiRefer = 2, kAbiTruncate = 3, kAbiPorts = 4, kAbiIoctlDev = 5, kAbiScopes = 6;

inline constexpr unsigned kVersionFlag = 1;  // LANDLOCK_CREATE_RULESET_VERSION
inline constexpr int kRulePathBeneath = 1, kRuleNetPort = 2;

/// Kernels take a prefix: what they don't know may be left off, or be zero.
struct RulesetAttr {
  uint64_t files = 0, ports = 0, scoped = 0;
};
struct __attribute__((packed)) PathBeneathAttr {
  uint64_t allowed = 0;
  int32_t parent_fd = -1;
};
struct NetPortAttr {
  uint64_t allowed = 0, port = 0;
};

}  // namespace isla::landlock
