// The commands. Each prints what it has to say and returns the exit code: 0, 1 for any error, and
// for `run` the status of what ran.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace isla::cli {

int Apply(Context& context);
int Create(Context& context);
int Get(Context& context);
int Describe(Context& context);
int Delete(Context& context);
int Logs(Context& context);
int Wait(Context& context);
int Run(Context& context);
int Version(Context& context);
int ApiResources(Context& context);
int Config(Context& context);
int Store(Context& context);
int Completion(Context& context);
int Complete(Context& context);

}  // namespace isla::cli
