// The store's benchmarks: see bench/README.md. `bench_store --help` says how it is run.
#include <getopt.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "api/base/log.h"
#include "bench/store/bench.h"

namespace isla::bench {
namespace {

constexpr const char* kUsage =
    "bench_store [--long] [--only=PART,...] [--rounds=N] [--etcd=tmpfs|disk] [--out=FOLDER]\n"
    "  --long    as bench/README.md's figures were made: more rounds, 1,000,000 keys\n"
    "  --only    parts: embedded, etcd, events, typed, growth, big (all)\n"
    "  --rounds  of each comparison, after one to warm up (5; long: 9)\n"
    "  --etcd    where the etcd lies beside which the etcd backend, events and lists are measured (tmpfs)\n"
    "  --out     the folder where the plots of growth are written (none are)\n";

bool Wanted(const std::string& only, const std::string& part) {
  return only.empty() || ("," + only + ",").find("," + part + ",") != std::string::npos;
}

int Main(int argc, char** argv) {
  SetLogLevel(LogLevel::kWarn);
  // What children of this program do.
  if (argc == 3 && std::string(argv[1]) == "--open") return RunOpen(argv[2]);
  if (argc == 4 && std::string(argv[1]) == "--list") return RunList(argv[2], argv[3]);

  Settings settings;
  std::string only;
  int rounds = 0;
  const option options[] = {{"long", no_argument, nullptr, 'l'},        {"only", required_argument, nullptr, 'p'},
                            {"rounds", required_argument, nullptr, 'r'}, {"etcd", required_argument, nullptr, 'e'},
                            {"out", required_argument, nullptr, 'o'},    {}};
  for (int option = 0; (option = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    const std::string value = optarg == nullptr ? "" : optarg;
    if (option == 'l') {
      settings.rounds = 9;
      settings.keys = settings.most_keys = 1'000'000;
    } else if (option == 'p') {
      only = value;
    } else if (option == 'r') {
      rounds = std::atoi(value.c_str());
    } else if (option == 'e' && (value == "tmpfs" || value == "disk")) {
      settings.etcd_on_disk = value == "disk";
    } else if (option == 'o') {
      settings.out = value;
    } else {
      std::fputs(kUsage, stderr);
      return 2;
    }
  }
  if (rounds > 0) settings.rounds = rounds;

  std::printf("%d rounds of each; medians of the rounds, ratios are medians of the rounds' ratios\n", settings.rounds);
  const std::pair<const char*, void (*)(const Settings&)> parts[] = {
      {"embedded", RunEmbedded}, {"etcd", RunEtcd}, {"events", RunEvents}, {"typed", RunTyped}, {"growth", RunGrowth}, {"big", RunBig}};
  for (const auto& [name, run] : parts) {
    if (Wanted(only, name)) run(settings);
  }
  return 0;
}

}  // namespace
}  // namespace isla::bench

int main(int argc, char** argv) { return isla::bench::Main(argc, argv); }
