// From the syntax of `when` to a condition on one system call: names get their meaning and types here.
//
//   flags, pathname, addr.port, how.flags    arguments by name (sandbox/names/syscall_table.cc), and parts of what they point to
//   path, anypath, address.ip ...            the call's only path, any of its paths, its socket address, whatever its name
//   caller.exe, caller.uid                   who calls
//   rate                                     calls that come as far as this test
//
// Pure.
#pragma once

#include <map>
#include <vector>

#include "sandbox/manifest/expression.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {

inline constexpr size_t kMaxTests = 1024;  // of an expression; a list of texts counts each

/// The condition for calls of `call` on `arch`; errors are added to `errors` (then the result means nothing).
/// `buckets` maps where rate tests stand in the text to their bucket: one expression for several calls counts them
/// together. A bucket that isn't there yet is `next_bucket`, which is then one more.
Condition MakeCondition(const Expression& expression, const Syscall& call, Arch arch, std::map<size_t, uint32_t>& buckets,
                        uint32_t& next_bucket, std::vector<ExpressionError>& errors);

/// "" if a path can stand in a rule: absolute, without "//", "." and "..", not ending in '/'. Else what is wrong.
std::string WhatIsWrongWithPath(std::string_view path);

}  // namespace isla::sandbox
