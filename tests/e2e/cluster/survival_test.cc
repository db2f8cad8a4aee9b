// Daemons are killed in the middle of a running session: the container runs on untouched, its exit code and
// output are reported afterwards, and it ran once.
#include <gtest/gtest.h>

#include "tests/cluster/mini_cluster.h"

namespace isla::testing {
namespace {

/// Runs about three seconds, counts its own starts, ends with 7.
constexpr const char* kScript = "echo started $$; for i in 1 2 3 4 5 6; do echo tick $i; sleep 0.5; done; echo ended; exit 7";
constexpr const char* kOutput = "started 2\ntick 1\ntick 2\ntick 3\ntick 4\ntick 5\ntick 6\nended\n";

class Survival : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.Start();
    if (HasFatalFailure()) return;
    cluster_.Apply(MiniCluster::ShellSession("work", kScript));
    ASSERT_TRUE(cluster_.WaitForPhase("work", "Running"));
    scope_ = cluster_.Field("work", "status.containers.0.scope");
    ASSERT_NE(scope_, "");
    invocation_ = InvocationId();
    ASSERT_NE(invocation_, "");
  }

  std::string InvocationId() {
    return RunCommand({"systemctl", "show", scope_, "--value", "-p", "InvocationID"}).out;
  }

  /// The same start of the same scope still runs.
  void ExpectUntouched() {
    EXPECT_EQ(RunCommand({"systemctl", "is-active", scope_}).out, "active\n");
    EXPECT_EQ(InvocationId(), invocation_);
  }

  void ExpectReported() {
    ASSERT_TRUE(cluster_.WaitForPhase("work", "Failed")) << cluster_.Phase("work");
    EXPECT_EQ(cluster_.Field("work", "status.exitCode"), "7");
    EXPECT_EQ(cluster_.Field("work", "status.reason"), "Error");
    EXPECT_EQ(cluster_.Field("work", "status.containers.0.incarnation"), "1");
    const CommandResult logs = cluster_.Isla({"logs", "work"});
    // The shell is the first child of the container's PID 1, so its pid is 2: it is a container of its own.
    EXPECT_EQ(logs.out, kOutput) << logs.err;
  }

  MiniCluster cluster_;
  std::string scope_;
  std::string invocation_;
};

TEST_F(Survival, KilledIsladLeavesTheContainerAloneAndReportsItAfterwards) {
  cluster_.islad().Kill9();
  ExpectUntouched();
  cluster_.islad().Start();
  ExpectReported();
}

TEST_F(Survival, IsladDownUntilAfterTheEndReportsItAfterwards) {
  cluster_.islad().Kill9();
  ASSERT_TRUE(Eventually([&] { return RunCommand({"systemctl", "is-active", scope_}).out != "active\n"; }));
  cluster_.islad().Start();
  ExpectReported();
}

TEST_F(Survival, KilledAgentAdoptsTheContainer) {
  cluster_.agent().Kill9();
  ExpectUntouched();
  cluster_.agent().Start();
  ExpectReported();
}

TEST_F(Survival, AgentDownUntilAfterTheEndReportsTheExitCode) {
  cluster_.agent().Kill9();
  ASSERT_TRUE(Eventually([&] { return RunCommand({"systemctl", "is-active", scope_}).out != "active\n"; }));
  cluster_.agent().Start();
  ExpectReported();
}

TEST_F(Survival, StoppedAndStartedAgentTouchesNothing) {
  cluster_.agent().Stop();
  ExpectUntouched();
  cluster_.agent().Start();
  ExpectReported();
}

TEST_F(Survival, RestartedEtcdIsWatchedOnward) {
  cluster_.etcd().Kill9();
  ExpectUntouched();
  cluster_.etcd().Start();
  ExpectReported();
  // And new work goes on.
  cluster_.Apply(MiniCluster::ShellSession("next", "exit 0"));
  EXPECT_TRUE(cluster_.WaitForPhase("next", "Succeeded")) << cluster_.Phase("next");
}

TEST_F(Survival, EverythingKilledAtOnce) {
  cluster_.islad().Kill9();
  cluster_.agent().Kill9();
  cluster_.etcd().Kill9();
  ExpectUntouched();
  cluster_.etcd().Start();
  cluster_.islad().Start();
  cluster_.agent().Start();
  ExpectReported();
}

TEST_F(Survival, DeleteAfterwardsLeavesNothing) {
  cluster_.agent().Kill9();
  cluster_.agent().Start();
  const CommandResult result = cluster_.Isla({"delete", "session", "work", "--timeout=20s"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_EQ(RunCommand({"systemctl", "list-units", "--all", "--plain", "--no-legend", scope_}).out, "");
  EXPECT_EQ(RunCommand({"find", "/sys/fs/cgroup", "-name", scope_}).out, "");
  EXPECT_EQ(RunCommand({"find", cluster_.RunDir(), "-mindepth", "1", "-maxdepth", "1", "-type", "d"}).out, "");
  const std::string keys = cluster_.Etcdctl({"get", "/isla/", "--prefix", "--keys-only"}).out;
  EXPECT_EQ(keys.find("/work"), std::string::npos) << keys;
  EXPECT_EQ(keys.find("/run/"), std::string::npos) << keys;
}

}  // namespace
}  // namespace isla::testing
