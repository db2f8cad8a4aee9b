// isla-box learn: runs a command under a policy that lets everything pass and writes it down, and makes a least policy of that.
#pragma once

#include "sandbox/box/box.h"
#include "sandbox/box/options.h"

namespace isla::sandbox {

/// Returns the command's exit status; 125 if it couldn't be run or the policy not be written. For a program's main() only.
int LearnCommand(const BoxOptions& options, BoxIo& io);

}  // namespace isla::sandbox
