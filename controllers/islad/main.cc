// islad: the control plane of isla. Reads its flags and runs.
#include "controllers/islad/daemon.h"
#include "controllers/islad/options.h"

int main(int argc, char** argv) {
  isla::islad::PrepareSignals();
  int exit_code = 0;
  const auto options = isla::islad::ParseCommandLine(argc, argv, exit_code);
  if (!options) return exit_code;
  isla::SetLogLevel(options->log_level);
  return isla::islad::RunUntilSignal(*options);
}
