// Calls as people and strace write them:
//
//   openat(AT_FDCWD, "/etc/shadow", O_RDONLY|O_CLOEXEC)
//   connect(3, "10.0.0.1:443") exe=/usr/bin/curl uid=1000
//   openat2(3, "/x", {flags=O_RDONLY, resolve=RESOLVE_IN_ROOT}, 24) = 4
//   socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)
//   #470(1, 2)                                        a number without a name
//   [pid 7] clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD) = 8   also as "7 clone(...": strace -f, whose pids aren't looked at
//
// Arguments that are left out are 0. Paths are absolute. Socket addresses are strings ("10.0.0.1:80", "[::1]:80",
// "unix:/run/x", "unix:@abstract") or strace's structs ({sa_family=AF_INET, sin_port=htons(80),
// sin_addr=inet_addr("10.0.0.1")}). Other pointers are NULL, a number, or anything in quotes, braces or brackets.
// Remarks (/* 20 vars */) are passed over.
// What follows " = " (strace's result) is not looked at. Errors name the column.
#pragma once

#include <string_view>

#include "api/base/status.h"
#include "sandbox/names/arch.h"
#include "sandbox/proof/solver.h"

namespace isla::sandbox {

/// INVALID_ARGUMENT, "column N: ...", with a suggestion for a misspelt name.
StatusOr<CallExample> ParseCall(std::string_view text, Arch arch);

}  // namespace isla::sandbox
