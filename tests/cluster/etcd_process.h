// A real etcd for tests: one member on unix sockets in a temporary folder that only its user can enter. It dies with the
// test, and the folder goes with it.
//
// etcd takes "unix://c.sock:0" relative to its folder, port included in the file's name; so the endpoint is
// unix://<folder>/c.sock:0. Start it from the test's main thread: the parent-death signal is the thread's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/process.h"

namespace isla::testing {

class EtcdProcess {
 public:
  /// `flags` are added to etcd's.
  explicit EtcdProcess(const std::vector<std::string>& flags = {});
  ~EtcdProcess();

  /// Waits until it serves. A failure is the test's.
  void Start();
  /// SIGTERM and wait.
  void Stop();
  void Kill9();
  void Restart() {
    Stop();
    Start();
  }
  /// SIGSTOP: it holds its connections and answers nothing.
  void Freeze();
  void Thaw();

  /// etcdctl (v3) with this etcd's endpoint.
  CommandResult Etcdctl(std::vector<std::string> arguments, const std::string& input = {});
  /// Stops it, and puts what it held at `snapshot` (of `etcdctl snapshot save`) back as its data. Start it again after.
  void RestoreFrom(const std::string& snapshot);

  std::string endpoint() const { return "unix://" + socket(); }
  std::string socket() const { return folder_ + "/c.sock:0"; }
  const std::string& folder() const { return folder_; }
  std::string Log() const { return daemon_->Log(); }

 private:
  std::string folder_;
  std::unique_ptr<Daemon> daemon_;
};

}  // namespace isla::testing
