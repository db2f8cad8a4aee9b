// start_bench [COUNT [GAP_MSEC]]: how long a start takes, step by step, through the shim's own protocol:
// spawn to ready, the scope, go to running, running to exited, exited to gone. Medians and the 99th percentile.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "tests/e2e/container/harness.h"

int main(int argc, char** argv) {
  using std::chrono::steady_clock;
  const int count = argc > 1 ? std::atoi(argv[1]) : 50;
  const int gap = argc > 2 ? std::atoi(argv[2]) : 0;
  std::map<std::string, std::vector<double>> times;
  for (int i = 0; i < count; ++i) {
    isla::shim::TestContainer container({"/bin/true"});
    container.request().mounts.clear();
    auto last = steady_clock::now();
    const auto lap = [&](const char* name) {
      const auto now = steady_clock::now();
      times[name].push_back(std::chrono::duration<double, std::milli>(now - last).count());
      last = now;
    };
    container.Spawn();
    lap("1 spawn to ready");
    container.MakeScope();
    lap("2 scope");
    container.Go();
    if (!container.Event("running")) return 1;
    lap("3 go to running");
    if (!container.Event("exited")) return 1;
    lap("4 running to exited");
    container.WaitShim();
    lap("5 exited to gone");
    usleep(static_cast<useconds_t>(gap) * 1000);
  }
  for (auto& [name, all] : times) {
    std::sort(all.begin(), all.end());
    std::printf("%-22s p50 %7.3f ms   p99 %7.3f ms   min %7.3f ms\n", name.c_str(), all[all.size() / 2],
                all[all.size() * 99 / 100], all[0]);
  }
}
