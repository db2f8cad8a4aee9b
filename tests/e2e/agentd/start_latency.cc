// How long isla-agentd takes from a delta sent to Accepted and to Running, and from Stop to Gone, with the real
// systemd and shim: agentd-start-latency [COUNT [GAP_MS [STATE_DIR]]], run in a cell. A tool, not a test.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "api/base/uuid.h"
#include "tests/cluster/process.h"
#include "tests/e2e/agentd/fake_gateway.h"

namespace {

using std::chrono::duration;
using std::chrono::steady_clock;

void Print(const char* what, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&values](double p) { return values[static_cast<size_t>(p * static_cast<double>(values.size() - 1))]; };
  std::printf("%-20s p50 %.2f ms  p90 %.2f ms  p99 %.2f ms\n", what, at(0.5), at(0.9), at(0.99));
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 50;
  const int gap_ms = argc > 2 ? std::atoi(argv[2]) : 0;
  char folder[] = "/tmp/agentd-latency-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string state = argc > 3 ? argv[3] : std::string(folder) + "/state";
  isla::testing::FakeGateway gateway(folder);
  const std::string bin = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
  isla::testing::Daemon agentd("isla-agentd",
                               {bin + "/isla-agentd", "--node=n1", "--gateway=" + gateway.target(), "--state-dir=" + state,
                                "--run-dir=/run/isla/containers", "--node-config=/nonexistent", std::string("--log-level=") + (std::getenv("LOG") ? std::getenv("LOG") : "info")},
                               "/", std::string(folder) + "/agentd.log");
  agentd.Start();
  if (!gateway.WaitServed()) {
    std::fprintf(stderr, "not served:\n%s\n", agentd.Log().c_str());
    return 1;
  }
  std::vector<double> acked, running, gone;
  for (int i = 0; i < count; ++i) {
    const isla::testing::FakeGateway::Key key{isla::NewUuid(), 1};
    const auto start = steady_clock::now();
    const auto millis = [](steady_clock::duration d) { return duration<double, std::milli>(d).count(); };
    if (!gateway.Run(key, isla::testing::MakeLaunch({"/bin/sleep", "100"}))) return 1;
    acked.push_back(millis(steady_clock::now() - start));
    const auto report = gateway.WaitState(key, isla::v1::RUNNING);
    running.push_back(millis(steady_clock::now() - start));
    if (!report || report->state() != isla::v1::RUNNING) {
      std::fprintf(stderr, "not running: %s\n%s\n", report ? report->ShortDebugString().c_str() : "", agentd.Log().c_str());
      return 1;
    }
    const auto stop = steady_clock::now();
    gateway.Stop(key);
    if (!gateway.WaitState(key, isla::v1::GONE)) {
      std::fprintf(stderr, "not gone\n%s\n", agentd.Log().c_str());
      return 1;
    }
    gone.push_back(millis(steady_clock::now() - stop));
    gateway.Remove(key);
    if (gap_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(gap_ms));
  }
  Print("delta to ack", acked);
  Print("delta to Running", running);
  Print("Stop to Gone", gone);
  if (std::getenv("LOG") != nullptr) std::fprintf(stderr, "%s\n", agentd.Log().c_str());
  agentd.Stop();
  std::filesystem::remove_all(folder);
  return 0;
}
