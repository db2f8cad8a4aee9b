// Arguments of system calls as types: how many bits the kernel looks at, whether they are signed, what their
// symbolic values are, what stands behind a pointer.
//
//   int uint long ulong size off pid uid gid dev   numbers of C's widths
//   fd                                             a descriptor; AT_FDCWD
//   mode                                           16 bits (umode_t); S_...
//   open at prot map clone family ioctl ...        flags and values of that domain (constants.h)
//   ptr, str                                       a pointer that rules can compare with 0 only
//   path                                           a pointer to the path of a file
//   sockaddr, msghdr                               a pointer to (something with) a socket address: .family .port .ip .path
//   open_how                                       openat2's: .flags .mode .resolve
#pragma once

#include <string_view>
#include <vector>

#include "sandbox/names/syscalls.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {

enum class ArgumentKind : uint8_t { kNumber, kPointer, kPath, kAddress, kOpenHow };

struct ArgumentType {
  std::string_view name;
  ArgumentKind kind = ArgumentKind::kNumber;
  Width width = Width::k32;
  bool is_signed = false;
  std::string_view domain;  // "" if any constant may stand for its values
};

/// Null if there is no such type.
const ArgumentType* FindArgumentType(std::string_view name);

struct Argument {
  std::string_view name;
  const ArgumentType* type = nullptr;
};

/// Up to six arguments, in order.
std::vector<Argument> SignatureOf(const Syscall& call);

}  // namespace isla::sandbox
