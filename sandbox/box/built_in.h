// The built-in default policy as it was compiled when isla-box was built.
#pragma once

#include "sandbox/compiled_policy.h"

namespace isla::sandbox {

/// What CompilePolicy(DefaultPolicy()) makes, but for its table: no call of it is notified.
CompiledPolicy BuiltInPolicy();

}  // namespace isla::sandbox
