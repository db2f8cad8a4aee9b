#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/base/unique_fd.h"
#include "controllers/islad/daemon.h"
#include "tests/cluster/process.h"

namespace isla::islad {
namespace {

using isla::testing::Eventually;

int Threads() {
  int count = 0;
  DIR* folder = opendir("/proc/self/task");
  while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(folder);
  return count;
}

class DaemonTest : public ::testing::Test {
 protected:
  DaemonTest() {
    char name[] = "/tmp/isla-daemon-XXXXXX";
    folder_ = mkdtemp(name);
    options_.store = "memory";
    options_.run_dir = folder_ + "/run";
    options_.data_dir = folder_ + "/data";
    options_.api_listen = "127.0.0.1:0";
    options_.id = "a";
  }
  ~DaemonTest() override { EXPECT_TRUE(RemoveTree(folder_).ok()); }

  std::string folder_;
  DaemonOptions options_;
};

TEST_F(DaemonTest, EndsWithOneThread) {
  const int before = Threads();
  {
    auto daemon = Daemon::Start(options_);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    ASSERT_TRUE(Eventually([&] { return (*daemon)->ready().ok(); })) << (*daemon)->ready();
    EXPECT_GT(Threads(), before);
  }
  // gRPC ends its own a moment after the last of its objects.
  EXPECT_TRUE(Eventually([&] { return Threads() <= before; })) << Threads();
}

TEST_F(DaemonTest, StartsAgainInTheSameProcess) {
  for (int i = 0; i < 3; ++i) {
    auto daemon = Daemon::Start(options_);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    // Stopped at any moment of its start.
    if (i != 1) {
      EXPECT_TRUE(Eventually([&] { return (*daemon)->ready().ok(); }));
    }
  }
}

TEST_F(DaemonTest, OneProcessHasTheRunFolder) {
  auto first = Daemon::Start(options_);
  ASSERT_TRUE(first.ok());
  const auto second = Daemon::Start(options_);
  EXPECT_EQ(second.status().code(), Code::kAlreadyExists);
  EXPECT_NE(Message(second.status()).find("--run-dir"), std::string::npos);
  first->reset();
  EXPECT_TRUE(Daemon::Start(options_).ok());
}

TEST_F(DaemonTest, SaysWhatIsWrongWithAStore) {
  for (const char* nothing : {"embedded", "embedded:"}) {
    options_.store = nothing;
    EXPECT_EQ(Daemon::Start(options_).status().code(), Code::kInvalidArgument) << nothing;
  }
  options_.store = "postgres:";
  EXPECT_EQ(Daemon::Start(options_).status().code(), Code::kInvalidArgument);
  options_.store = "etcd:";
  EXPECT_EQ(Daemon::Start(options_).status().code(), Code::kInvalidArgument);
}

TEST_F(DaemonTest, UnlessToldOtherwiseTheStoreIsInTheDataFolderAndOneProcesss) {
  options_.store.clear();
  auto first = Daemon::Start(options_);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(Eventually([&] { return (*first)->ready().ok(); })) << (*first)->ready();
  struct stat status {};
  ASSERT_EQ(stat((options_.data_dir + "/store").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  DaemonOptions other = options_;
  other.run_dir = folder_ + "/other";
  other.store = "embedded:" + options_.data_dir + "/store";
  const auto second = Daemon::Start(other);
  EXPECT_EQ(second.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(Message(second.status()).find("process " + std::to_string(getpid())), std::string::npos) << second.status();
}

TEST_F(DaemonTest, ComesUpWithoutItsStoreAndSaysWhatItWaitsFor) {
  options_.store = "etcd:unix://" + folder_ + "/no-such-etcd";
  auto daemon = Daemon::Start(options_);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  EXPECT_EQ((*daemon)->ready().code(), Code::kUnavailable);
  EXPECT_TRUE(Eventually([&] { return Message((*daemon)->ready()).find("no-such-etcd") != std::string::npos; }))
      << (*daemon)->ready();
}

}  // namespace
}  // namespace isla::islad
