// The flags of islad.
#pragma once

#include <optional>
#include <string>

#include "api/base/log.h"
#include "controllers/islad/daemon.h"

namespace isla::islad {

/// Reads the command line. Nothing: print was asked for (--help, --version) or something is wrong; it has been printed, and
/// `exit_code` is set.
std::optional<DaemonOptions> ParseCommandLine(int argc, char** argv, int& exit_code);

}  // namespace isla::islad
