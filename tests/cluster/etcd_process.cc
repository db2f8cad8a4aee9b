#include "tests/cluster/etcd_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::testing {
namespace {

constexpr const char* kCluster = "default=unix://p.sock:0";

int CountLines(const std::string& path, const std::string& part) {
  std::ifstream file(path);
  int count = 0;
  for (std::string line; std::getline(file, line);) count += line.find(part) != std::string::npos ? 1 : 0;
  return count;
}

}  // namespace

EtcdProcess::EtcdProcess(const std::vector<std::string>& flags) {
  std::string folder = "/tmp/isla-etcd-XXXXXX";
  ISLA_CHECK(mkdtemp(folder.data()) != nullptr);  // 0700
  folder_ = folder;
  std::vector<std::string> argv = {"etcd", "--name=default", "--data-dir=data", "--logger=zap", "--log-outputs=stderr",
                                   "--listen-client-urls=unix://c.sock:0", "--advertise-client-urls=unix://c.sock:0",
                                   "--listen-peer-urls=unix://p.sock:0", "--initial-advertise-peer-urls=unix://p.sock:0",
                                   std::string("--initial-cluster=") + kCluster,
                                   // With one member there is no one to wait for: it is up in 0.2 s instead of 1 s.
                                   "--heartbeat-interval=20", "--election-timeout=200"};
  argv.insert(argv.end(), flags.begin(), flags.end());
  daemon_ = std::make_unique<Daemon>("etcd", argv, folder_, folder_ + "/log");
}

EtcdProcess::~EtcdProcess() {
  Kill9();
  RemoveTree(folder_).IgnoreError();
}

void EtcdProcess::Start() {
  const std::string log = folder_ + "/log";
  const std::string ready = "serving client traffic";
  const int before = CountLines(log, ready);
  // etcd 3.4 removes a peer socket that a killed one left behind, but not a client socket: "address already in use".
  unlink(socket().c_str());
  daemon_->Start();
  // Half a second, but for a machine that is starved.
  ASSERT_TRUE(Eventually([&log, &ready, before] { return CountLines(log, ready) > before; }, std::chrono::seconds(60))) << "etcd did not start\n" << Log();
}

void EtcdProcess::Stop() {
  if (!daemon_->running()) return;
  Thaw();
  daemon_->Signal(SIGTERM);  // etcd ends of that very signal, so Daemon::Stop would call it a crash
  if (!Eventually([this] { return !daemon_->running(); }, std::chrono::seconds(10))) {
    ADD_FAILURE() << "etcd did not stop\n" << Log();
    Kill9();
  }
}

void EtcdProcess::Kill9() { daemon_->Kill9(); }

void EtcdProcess::Freeze() { daemon_->Signal(SIGSTOP); }
void EtcdProcess::Thaw() { daemon_->Signal(SIGCONT); }

CommandResult EtcdProcess::Etcdctl(std::vector<std::string> arguments, const std::string& input) {
  arguments.insert(arguments.begin(), {"etcdctl", "--endpoints=" + endpoint()});
  CommandOptions options;
  options.input = input;
  options.environment = {"ETCDCTL_API=3"};
  return RunCommand(arguments, options);
}

void EtcdProcess::RestoreFrom(const std::string& snapshot) {
  Stop();
  ASSERT_TRUE(RemoveTree(folder_ + "/data").ok());
  const CommandResult restored = Etcdctl({"snapshot", "restore", snapshot, "--name=default", "--data-dir=" + folder_ + "/data",
                                          std::string("--initial-cluster=") + kCluster,
                                          "--initial-advertise-peer-urls=unix://p.sock:0"});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
}

}  // namespace isla::testing
