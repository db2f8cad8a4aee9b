// store_torture: a store under seeded faults, its history judged. See torture.h; README.md of this folder says how to read what it prints.
//
//   --seed=N      the first round's; each round takes the next one (1)
//   --seconds=S   how long (9); --hours=H likewise
//   --round=S     how long one round is (4)
//   --backend=B   etcd, embedded (in memory), or disk (the embedded store on one)
//   --verbose     with the store's own log
// Exits 1 at the first round that is refused; what it saw is then in a file, named in the output.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <optional>

#include "api/base/log.h"
#include "tests/fault/store/torture.h"

namespace isla::store::torture {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Options {
  uint64_t seed = 1;
  double seconds = 9;
  double round = 4;
  std::string backend = "etcd";
  bool verbose = false;
};

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const size_t equals = flag.find('=');
    const std::string name = flag.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : flag.substr(equals + 1);
    if (name == "--seed") {
      options.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else if (name == "--seconds") {
      options.seconds = std::strtod(value.c_str(), nullptr);
    } else if (name == "--hours") {
      options.seconds = std::strtod(value.c_str(), nullptr) * 3600;
    } else if (name == "--round") {
      options.round = std::strtod(value.c_str(), nullptr);
    } else if (name == "--backend" && (value == "etcd" || value == "embedded" || value == "disk")) {
      options.backend = value;
    } else if (name == "--verbose") {
      options.verbose = true;
    } else {
      std::cerr << "store_torture: unknown flag '" << flag << "'\n";
      return std::nullopt;
    }
  }
  return options;
}

std::string TimeOfDay() {
  char text[16];
  const time_t now = time(nullptr);
  tm local{};
  localtime_r(&now, &local);
  strftime(text, sizeof text, "%H:%M:%S", &local);
  return text;
}

/// A helper of the tests has failed: etcd that doesn't start, a command that doesn't run.
bool HelpersFailed() { return ::testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed(); }

int Run(const Options& options) {
  Torture torture(options.backend == "etcd" ? MakeEtcdTarget() : options.backend == "disk" ? MakeDiskTarget() : MakeEmbeddedTarget());
  const auto begin = SteadyClock::now();
  const auto passed = [&begin] { return std::chrono::duration<double>(SteadyClock::now() - begin).count(); };
  const auto length = std::chrono::milliseconds(static_cast<int64_t>(options.round * 1000));
  Totals totals;
  int result = 0;
  for (uint64_t seed = options.seed; result == 0 && (passed() < options.seconds || totals.rounds == 0); ++seed) {
    const std::vector<std::string> complaints = torture.Round(seed, length, seed % 2 == 0);
    const Totals round = torture.Count();
    totals.Add(round);
    result = complaints.empty() && !HelpersFailed() ? 0 : 1;
    std::cout << fmt::format("{} backend={} seed={} {} operations={} transactions={} unknown={} refused={} watches={} events={}\n", TimeOfDay(),
                             options.backend, seed, result == 0 ? "ok" : "REFUSED", round.ops, round.transactions, round.unknown, round.refused,
                             round.watches, round.events);
    for (const std::string& complaint : complaints) std::cout << "  " << complaint << "\n";
    if (complaints.empty() && result != 0) std::cout << "  nothing is wrong with the history; etcd was not handled as it should be, see above\n";
    if (result != 0) std::cout << fmt::format("  repeat: store_torture --backend={} --seed={} --seconds={}; history: {}\n", options.backend, seed, options.round, torture.DumpLast(seed));
    std::cout.flush();
  }
  std::cout << fmt::format("total: backend={} rounds={} seconds={:.0f} {} {}\n", options.backend, totals.rounds, passed(),
                           result == 0 ? "ok" : "REFUSED", totals.Text());
  return result;
}

}  // namespace
}  // namespace isla::store::torture

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  const auto options = isla::store::torture::Parse(argc, argv);
  if (!options) return 2;
  if (!options->verbose) isla::SetLogLevel(isla::LogLevel::kError);
  return isla::store::torture::Run(*options);
}
