// What confines a container, as agentd hands it over: a compiled policy's bytes, and which parts of one this shim can honour. Used by
// isla-agentd too, so that a policy that asks for more is refused with a reason before anything is started.
#pragma once

#include <string_view>

#include "api/base/status.h"
#include "sandbox/compiled_policy.h"

namespace isla::shim {

inline constexpr size_t kMaxPolicyBytes = size_t{24} << 20;

/// CompiledPolicy's bytes; or a filter alone, from agentds of before policies: then it has no floor, table or sections. Errors as
/// CompiledPolicy::FromBytes() and as CheckHonoured().
StatusOr<sandbox::CompiledPolicy> ParsePolicy(std::string_view bytes);

/// UNIMPLEMENTED names the section of the policy that containers don't honour: it would be a hole that looks like a wall. INVALID_ARGUMENT: a
/// rule of `net` that can't be.
Status CheckHonoured(const sandbox::CompiledPolicy& policy);

/// A policy's program takes no more than this in a container: it is beside what the session was granted.
inline constexpr uint32_t kMostProgramMemory = 32u << 20;
/// What the scope of a container needs for its policy's program, beside all else (api/base/program_room.h).
int64_t ProgramRoom(const sandbox::CompiledPolicy& policy);

/// Whether its supervisor may have to do a call for its caller, with the caller's rights.
bool Performs(const sandbox::CompiledPolicy& policy);

}  // namespace isla::shim
