// isla-box reload and isla-box top: what a running isla-box is asked by its control socket (control.h).
#pragma once

#include "api/base/json.h"
#include "sandbox/box/box.h"
#include "sandbox/box/options.h"

namespace isla::sandbox {

/// 0: done, or it would be; 1: refused, with the reasons; 2: trouble.
int ReloadCommand(const BoxOptions& options, BoxIo& io);

/// One table for each run; on a terminal again and again, until it is interrupted.
int TopCommand(const BoxOptions& options, BoxIo& io);

/// A run's answer to "status" as a table; `before` is the answer `seconds` ago, or null.
std::string TopText(const json::Value& now, const json::Value* before, double seconds);

}  // namespace isla::sandbox
