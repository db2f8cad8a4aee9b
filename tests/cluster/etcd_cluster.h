// A real etcd of several members, on unix sockets in one temporary folder that only its user can enter. All die with the test,
// and the folder goes with them. Start it from the test's main thread: the parent-death signal is the thread's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/process.h"

namespace isla::testing {

class EtcdCluster {
 public:
  explicit EtcdCluster(size_t members = 3);
  ~EtcdCluster();

  /// Starts all, and waits until each serves.
  void Start();
  void Kill9(size_t member) { daemons_[member]->Kill9(); }
  /// After Kill9; waits until it serves, unless there is no quorum for it to.
  void StartMember(size_t member, bool wait = true);
  void Freeze(size_t member);
  void Thaw(size_t member);

  size_t size() const { return daemons_.size(); }
  std::string endpoint(size_t member) const { return "unix://" + Socket(member); }
  std::vector<std::string> endpoints() const;

 private:
  std::string Socket(size_t member) const;
  std::string LogPath(size_t member) const;
  void WaitUntilServing(size_t member, int times);

  std::string folder_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
  std::vector<int> served_;  // how often each said so
};

}  // namespace isla::testing
