// The whole program, without its process: tests call it with streams of their own.
#pragma once

#include <string>
#include <vector>

#include "cli/io.h"

namespace isla::cli {

/// Runs one command line (without the program's name) and returns the exit code.
int Main(const std::vector<std::string>& args, Io& io);

}  // namespace isla::cli
