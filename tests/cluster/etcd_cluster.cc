#include "tests/cluster/etcd_cluster.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::testing {
namespace {

int CountServing(const std::string& path) {
  std::ifstream file(path);
  int count = 0;
  for (std::string line; std::getline(file, line);) count += line.find("serving client traffic") != std::string::npos ? 1 : 0;
  return count;
}

}  // namespace

EtcdCluster::EtcdCluster(size_t members) : served_(members, 0) {
  std::string folder = "/tmp/isla-etcds-XXXXXX";
  ISLA_CHECK(mkdtemp(folder.data()) != nullptr);  // 0700
  folder_ = folder;
  std::string all;
  for (size_t i = 0; i < members; ++i) all += fmt::format("{}m{}=unix://p{}.sock:0", i == 0 ? "" : ",", i, i);
  for (size_t i = 0; i < members; ++i) {
    const std::string client = fmt::format("unix://c{}.sock:0", i), peer = fmt::format("unix://p{}.sock:0", i);
    const std::vector<std::string> argv = {
        "etcd", fmt::format("--name=m{}", i), fmt::format("--data-dir=data{}", i), "--logger=zap", "--log-outputs=stderr",
        "--listen-client-urls=" + client, "--advertise-client-urls=" + client, "--listen-peer-urls=" + peer,
        "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + all, "--heartbeat-interval=50", "--election-timeout=500"};
    daemons_.push_back(std::make_unique<Daemon>(fmt::format("etcd m{}", i), argv, folder_, LogPath(i)));
  }
}

EtcdCluster::~EtcdCluster() {
  for (const auto& daemon : daemons_) daemon->Kill9();
  RemoveTree(folder_).IgnoreError();
}

void EtcdCluster::Start() {
  for (size_t i = 0; i < size(); ++i) StartMember(i, false);
  for (size_t i = 0; i < size(); ++i) WaitUntilServing(i, 1);
}

void EtcdCluster::StartMember(size_t member, bool wait) {
  served_[member] = CountServing(LogPath(member));
  unlink(Socket(member).c_str());  // as in EtcdProcess
  daemons_[member]->Start();
  if (wait) WaitUntilServing(member, served_[member] + 1);
}

void EtcdCluster::WaitUntilServing(size_t member, int times) {
  ASSERT_TRUE(Eventually([this, member, times] { return CountServing(LogPath(member)) >= times; }, std::chrono::seconds(30)))
      << "etcd m" << member << " did not start\n" << daemons_[member]->Log();
}

void EtcdCluster::Freeze(size_t member) { daemons_[member]->Signal(SIGSTOP); }
void EtcdCluster::Thaw(size_t member) { daemons_[member]->Signal(SIGCONT); }

std::vector<std::string> EtcdCluster::endpoints() const {
  std::vector<std::string> all;
  for (size_t i = 0; i < size(); ++i) all.push_back(endpoint(i));
  return all;
}

std::string EtcdCluster::Socket(size_t member) const { return fmt::format("{}/c{}.sock:0", folder_, member); }
std::string EtcdCluster::LogPath(size_t member) const { return fmt::format("{}/log{}", folder_, member); }

}  // namespace isla::testing
