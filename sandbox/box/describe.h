// Calls, tests and actions as texts for people: `openat(AT_FDCWD, "/etc/shadow", O_RDONLY)`, `flags & 0x3 is 0x0`.
#pragma once

#include <string>

#include "sandbox/names/syscalls.h"
#include "sandbox/policy/policy.h"
#include "sandbox/policy/sections.h"
#include "sandbox/proof/solver.h"

namespace isla::sandbox {

/// As ParseCall() (call_text.h) reads it, up to the last argument that isn't 0; with exe= and uid= where `facts` has them.
std::string DescribeCall(Arch arch, const CallExample& call, Facts facts = 0);

/// "flags has O_CREAT", "path under '/etc'", "caller.uid is 0x0"; with "not (...)" if it doesn't hold.
std::string DescribeTest(Arch arch, int number, const AnyTest& test, bool holds);

/// "errno EPERM", "deny", "redirect to /x"; what goes on in another mode: "allow (written down; enforced: errno EPERM)".
std::string DescribeAction(const Action& action, Mode mode = Mode::kEnforce);

/// Limits as manifests write them, "none" for none: "512Mi", "1.5", "100".
std::string MemoryText(uint64_t bytes);
std::string CpusText(uint64_t millis);
std::string PidsText(uint64_t tasks);
/// "memory 512Mi, cpus 1.5", only those there are; "" for none.
std::string LimitsText(const ResourceLimits& limits);

}  // namespace isla::sandbox
