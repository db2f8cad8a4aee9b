// Drives isla-shim as agentd does (agentd/shim/protocol.h), for one container: spawns it, makes its scope, says go, and
// reads what it says and leaves. The scope is systemd's where systemd runs (a cell), else plain cgroups made by hand in
// every hierarchy that has cpu, memory or pids.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agentd/shim/protocol.h"
#include "api/base/json.h"
#include "api/base/unique_fd.h"

namespace isla::shim {

class TestContainer {
 public:
  /// A request for `argv` in image host, with 256 MiB, half a cpu more than one, 64 tasks.
  explicit TestContainer(std::vector<std::string> argv);
  ~TestContainer();
  TestContainer(const TestContainer&) = delete;
  TestContainer& operator=(const TestContainer&) = delete;

  LaunchRequest& request() { return request_; }
  /// Instead of the default policy with its view: bytes as for the shim's descriptor 4.
  void SetPolicy(std::string bytes) { policy_ = std::move(bytes); }
  pid_t shim_pid() const { return shim_; }
  const std::string& run_dir() const { return request_.run_dir; }
  const std::string& folder() const { return folder_; }

  /// Each asserts that it worked.
  void StartShim();
  void Spawn();      // that, until "ready"
  void MakeScope();
  void Go();
  void Start();      // all three, until "running"

  void Send(const json::Value& packet);
  /// A policy for the running container; the shim's answer.
  json::Value SendPolicy(const std::string& bytes, const std::string& compared_with = {});
  void Stop(int64_t grace_period_msec);
  /// The next event of that name; others are skipped. Nothing if the socket ended or `timeout` passed.
  std::optional<json::Value> Event(const std::string& name, std::chrono::milliseconds timeout = std::chrono::seconds(10));
  /// Closes the test's end of the control socket, as agentd's death does.
  void CloseControl() { control_.Reset(); }
  /// Another connection through shim.sock, instead of the first.
  void Reconnect();

  /// Waits for the shim's end; its wait status.
  int WaitShim(std::chrono::milliseconds timeout = std::chrono::seconds(10));
  /// Starts it and waits for the shim's end.
  ExitRecord Run();
  ExitRecord Record();

  /// What the container wrote to stdout (or stderr), put together from the log.
  std::string Output(const std::string& stream = "stdout");

  /// The folder of a leaf in one hierarchy ("memory"; any on v2), seen from the host.
  std::string LeafFolder(const std::string& controller, const std::string& leaf) const;

 private:
  void MakePlainCgroups();
  void MakeSystemdScope();

  std::string folder_;   // of everything that the test makes
  LaunchRequest request_;
  std::string policy_;
  UniqueFd control_;
  pid_t shim_ = -1;
  std::vector<std::string> cgroups_;
};

/// Waits until it holds, for half a minute at most.
bool Eventually(const std::function<bool()>& holds);
/// True where systemd is PID 1 (a cell).
bool HasSystemd();
std::string BinaryDir();
/// The probe, a program of the tests that tries one forbidden thing: shown in containers at /probe/probe.
std::string ProbeDir();

}  // namespace isla::shim
