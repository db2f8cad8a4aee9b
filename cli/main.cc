#include <cstring>

#include "cli/cli.h"
#include "cli/process_io.h"

int main(int argc, char** argv) {
  isla::cli::ProcessIo io;
  int code = isla::cli::Main(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc), io);
  if (io.write_error() != 0) {
    io.Err(std::string("error: write standard output: ") + std::strerror(io.write_error()) + "\n");
    if (code == 0) code = 1;
  }
  return code;
}
