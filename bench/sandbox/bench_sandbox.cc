// What the sandbox costs, beside none and beside its peers: see bench/README.md.
#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "api/base/log.h"
#include "bench/sandbox/bench.h"

namespace isla::bench {

std::string ProgramFolder() { return std::filesystem::read_symlink("/proc/self/exe").parent_path().string(); }

namespace {

constexpr const char* kUsage =
    "bench_sandbox [--only=PART,...] [--rounds=N] [--out=FOLDER]\n"
    "  --only    parts: calls, decide, rules, programs (all)\n"
    "  --rounds  of each comparison (5)\n"
    "  --out     the folder where the plot of rules is written (none is)\n";

int Main(int argc, char** argv) {
  SetLogLevel(LogLevel::kWarn);
  SandboxSettings settings;
  std::string only;
  const option options[] = {{"only", required_argument, nullptr, 'p'}, {"rounds", required_argument, nullptr, 'r'}, {"out", required_argument, nullptr, 'o'}, {}};
  for (int option = 0; (option = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    if (option == 'p') only = optarg;
    else if (option == 'r' && std::atoi(optarg) > 0) settings.rounds = std::atoi(optarg);
    else if (option == 'o') settings.out = optarg;
    else return std::fputs(kUsage, stderr), 2;
  }
  std::printf("%d rounds of each; medians of the rounds, ratios are medians of the rounds' ratios\n\n", settings.rounds);
  Row::PrintHeader();
  const std::pair<const char*, void (*)(const SandboxSettings&)> parts[] = {
      {"calls", RunCalls}, {"decide", RunDecide}, {"programs", RunPrograms}, {"rules", RunRules}};
  for (const auto& [name, run] : parts) {
    if (only.empty() || ("," + only + ",").find(std::string(",") + name + ",") != std::string::npos) run(settings);
  }
  return 0;
}

}  // namespace
}  // namespace isla::bench

int main(int argc, char** argv) { return isla::bench::Main(argc, argv); }
