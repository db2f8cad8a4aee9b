// A classic BPF program as seccomp(2) takes it, its bytes, and its listing.
//
// A program is plain data: made by the compiler (sandbox/bpf/compiler.h), checked by the evaluator, handed
// over as bytes (struct sock_filter[], native byte order: they never leave the machine) and loaded by
// the container's own process. See seccomp(2) and the kernel's Documentation/networking/filter.rst.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/status.h"

namespace isla::sandbox {

using Program = std::vector<sock_filter>;

/// The kernel's limit (BPF_MAXINSNS).
inline constexpr size_t kMaxInstructions = 4096;

/// The instructions as bytes, for a memfd.
std::string ToBytes(const Program& program);

/// INVALID_ARGUMENT if the size is no multiple of an instruction, zero, or beyond the limit. The
/// instructions themselves are not checked: see Check() in evaluator.h.
StatusOr<Program> FromBytes(std::string_view bytes);

/// One line an instruction, with jump targets as line numbers and return values by name:
///   0001  jeq   0xc000003e, 3, 2
std::string Dump(const Program& program);

/// "allow", "errno 38", "kill_process"...: a SECCOMP_RET_ value by name.
std::string ActionName(uint32_t return_value);

}  // namespace isla::sandbox
