// An interpreter of seccomp's classic BPF, for tests, for checking bytes before they are loaded, and for
// explaining what a filter does to a call. Pure; never loads anything.
#pragma once

#include <linux/seccomp.h>

#include <array>
#include <initializer_list>

#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/names/arch.h"

namespace isla::sandbox {

/// What the kernel checks when it loads a filter: known instructions, aligned loads within seccomp_data,
/// jumps that stay inside, a return at the end of every path. INVALID_ARGUMENT names the instruction.
Status Check(const Program& program);

/// Runs the program. The result is a SECCOMP_RET_ value. INVALID_ARGUMENT as Check().
StatusOr<uint32_t> Evaluate(const Program& program, const seccomp_data& data);

/// The same without the check: for programs that passed it, and many calls.
uint32_t RunProgram(const Program& program, const seccomp_data& data);
/// How many instructions it executes for the call.
size_t CountInstructions(const Program& program, const seccomp_data& data);

/// A call of that architecture.
seccomp_data CallOn(Arch arch, int number, const std::array<uint64_t, 6>& arguments);
/// A native call with these arguments (the rest 0), for Evaluate().
seccomp_data NativeCall(int number, std::initializer_list<uint64_t> arguments = {});

}  // namespace isla::sandbox
