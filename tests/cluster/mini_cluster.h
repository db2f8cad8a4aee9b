// A whole isla on one machine, of real parts: etcd on a unix socket, one or more islads, one or more agents,
// each a process of its own, in folders of their own. Needs root and a systemd that can be reached: run the
// test within tests/cluster/cell.sh.
//
// The test talks to it as people do: through the isla command, kubectl, etcdctl and systemctl.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/process.h"

namespace isla::testing {

struct MiniClusterOptions {
  int islads = 1;
  int agents = 1;
  std::string node_config;  // JSON for --node-config of every agent; "" = none
  std::vector<std::string> islad_flags;
};

class MiniCluster {
 public:
  explicit MiniCluster(const MiniClusterOptions& options = {});
  ~MiniCluster();

  /// Starts everything and waits until each node is Ready. Failures are the test's.
  void Start();

  Daemon& etcd() { return *etcd_; }
  Daemon& islad(int i = 0) { return *islads_[static_cast<size_t>(i)]; }
  Daemon& agent(int i = 0) { return *agents_[static_cast<size_t>(i)]; }
  std::string NodeName(int i = 0) const;

  /// isla ARGUMENTS... through the unix socket of islad `via_`.
  CommandResult Isla(std::vector<std::string> arguments, const std::string& input = {},
                     std::chrono::milliseconds timeout = std::chrono::seconds(60));
  /// The islad that Isla() talks to.
  void Via(int islad) { via_ = islad; }
  /// etcdctl (v3) ARGUMENTS...
  CommandResult Etcdctl(std::vector<std::string> arguments, const std::string& input = {});
  std::string KubeConfig(int islad = 0) const;
  std::string ApiSocket(int islad = 0) const;
  std::string GatewaySocket(int islad = 0) const;
  std::string EtcdSocket() const;
  std::string RunDir(int agent = 0) const;
  std::string StateDir(int agent = 0) const;

  /// Applies a manifest; the test fails if that does.
  void Apply(const std::string& manifest);
  /// One field of a session by jsonpath-like name: Phase("x") is status.phase; "" if there is no such session.
  std::string Phase(const std::string& session);
  /// A value out of `isla get session NAME -o json` by its path ("status.containers.0.scope"); "" if absent.
  std::string Field(const std::string& session, const std::string& path);
  bool WaitForPhase(const std::string& session, const std::string& phase,
                    std::chrono::milliseconds timeout = std::chrono::seconds(20));
  /// Everything that could explain a failure: sessions, logs of all daemons.
  std::string Explain();

  /// A batch session of /bin/sh -c SCRIPT. `extra` is more of spec, JSON members: "\"timeout\": \"5s\"".
  static std::string ShellSession(const std::string& name, const std::string& script, const std::string& extra = {});

 private:
  std::string Folder(const std::string& name) const { return root_ + "/" + name; }

  MiniClusterOptions options_;
  std::string root_;
  int via_ = 0;
  std::unique_ptr<Daemon> etcd_;
  std::vector<std::unique_ptr<Daemon>> islads_;
  std::vector<std::unique_ptr<Daemon>> agents_;
};

}  // namespace isla::testing
