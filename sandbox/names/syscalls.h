// The system calls of both architectures: names, numbers, arguments.
//
// One table (syscall_table.cc), so that isla-shim and the supervisor need no library for it. Its numbers are those of
// libseccomp and of the kernel's headers, its argument counts and widths those of the kernel's
// include/linux/syscalls.h (6.12): tests compare them. Calls from 424 on have the same number everywhere.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sandbox/names/arch.h"

namespace isla::sandbox {

struct Syscall {
  std::string_view name;
  int x86_64 = -1, arm64 = -1;  // -1: that architecture hasn't it
  /// "fd dirfd, path pathname, open flags, mode mode": types and names, as in the manual pages. The types are
  /// described in signature.h.
  std::string_view signature;

  int NumberOn(Arch arch) const { return arch == Arch::kX86_64 ? x86_64 : arm64; }
};

/// All of them, sorted by name.
std::span<const Syscall> AllSyscalls();

/// Null if there is none of that name on x86-64 or arm64.
const Syscall* FindSyscall(std::string_view name);
/// Null if the architecture has none of that number.
const Syscall* FindSyscall(Arch arch, int number);

/// The number of a call; nothing if the architecture hasn't it.
std::optional<int> SyscallNumber(Arch arch, std::string_view name);
/// The name of a number, or "".
std::string_view SyscallName(Arch arch, int number);
/// The name, or "#470" for a number without one.
std::string SyscallText(Arch arch, int number);

/// A call of other architectures only (_llseek, s390_pci_mmio_read): not misspelt, and nothing to decide here.
bool IsForeignSyscall(std::string_view name);

}  // namespace isla::sandbox
