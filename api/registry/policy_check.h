// Whether a SandboxPolicy can be compiled: the check that its kind has beyond metadata. Private to api/registry.
//
// In this process, by the compiler's own decoder: what that takes is bounded in steps for whatever is written, it allocates within
// bounds, and is fuzzed; so a hostile policy is a refusal, neither a crash nor a stall. A program's source isn't run here. What is compiled and given to kernels is made elsewhere,
// by an unprivileged process on the node (agentd/policyc).
#pragma once

#include "api/base/field_error.h"
#include "api/base/json.h"

namespace isla::registry {

/// The mistakes, with path, line and column where the user's text has them. `object` has passed CheckSchema.
FieldErrors CheckSandboxPolicy(const json::Value& object);

}  // namespace isla::registry
