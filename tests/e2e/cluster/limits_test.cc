// A container that uses more than it was granted is held or ended, alone, and the cause reported is right.
#include <gtest/gtest.h>

#include "tests/cluster/cluster_suite.h"

namespace isla::testing {
namespace {

class Limits : public ClusterSuite {
 protected:
  static void RunToEnd(const std::string& name, const std::string& script, const std::string& extra = {}) {
    cluster_->Apply(MiniCluster::ShellSession(name, script, extra));
    const CommandResult waited =
        cluster_->Isla({"wait", "session/" + name, "--for=condition=Finished", "--timeout=90s"}, {}, std::chrono::seconds(100));
    EXPECT_EQ(waited.exit_code, 0) << waited.err;
  }
};

TEST_F(Limits, MemoryBeyondTheGrantIsOomKilled) {
  RunToEnd("memory", "head -c 200M /dev/zero | tail | wc -c; exit 3");
  RunToEnd("hog", "exec awk 'BEGIN { s = \"xxxxxxxxxxxxxxxx\"; while (1) s = s s }'");
  EXPECT_EQ(cluster_->Phase("hog"), "Failed");
  EXPECT_EQ(cluster_->Field("hog", "status.reason"), "OOMKilled") << cluster_->Field("hog", "status");
  EXPECT_EQ(cluster_->Field("hog", "status.exitCode"), "137");
}

TEST_F(Limits, FillingTheTmpfsEndsInAnErrorOrOomNeverInALostShim) {
  RunToEnd("tmpfs", "dd if=/dev/zero of=/tmp/fill bs=1M 2>/dev/null; echo full; sleep 0.1; exit 4");
  EXPECT_EQ(cluster_->Phase("tmpfs"), "Failed");
  const std::string reason = cluster_->Field("tmpfs", "status.reason");
  EXPECT_TRUE(reason == "Error" || reason == "OOMKilled") << cluster_->Field("tmpfs", "status");
}

TEST_F(Limits, ForkingToTheTaskLimitIsHeld) {
  RunToEnd("forks", "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done 2>/dev/null; echo unreachable");
  EXPECT_EQ(cluster_->Phase("forks"), "Failed") << cluster_->Field("forks", "status");
  EXPECT_EQ(cluster_->Field("forks", "status.reason"), "Error");
}

TEST_F(Limits, BurningTheQuotaSlowsItselfOnly) {
  RunToEnd("burn", "timeout 2 sh -c 'while :; do :; done' & timeout 2 sh -c 'while :; do :; done' & wait; exit 0");
  EXPECT_EQ(cluster_->Phase("burn"), "Succeeded") << cluster_->Field("burn", "status");
  // 100m of a CPU for about 2 s.
  const long used = std::atol(cluster_->Field("burn", "status.containers.0.cpuTimeUsec").c_str());
  EXPECT_GT(used, 50'000);
  EXPECT_LT(used, 1'000'000);
}

TEST_F(Limits, FloodOfOutputIsBoundedAndTheEndIsKept) {
  RunToEnd("flood", "head -c 200M /dev/zero | tr '\\0' 'x' | fold -w 1000; echo; echo the end");
  EXPECT_EQ(cluster_->Phase("flood"), "Succeeded") << cluster_->Field("flood", "status");
  EXPECT_EQ(cluster_->Isla({"logs", "flood", "--tail=1"}).out, "the end\n");
  const std::string used = RunCommand({"du", "-sm", cluster_->StateDir()}).out;
  EXPECT_LT(std::atol(used.c_str()), 64) << used;
}

TEST_F(Limits, TimeoutStopsIt) {
  RunToEnd("late", "sleep 60", R"("timeout": "1s")");
  EXPECT_EQ(cluster_->Phase("late"), "Failed");
  EXPECT_EQ(cluster_->Field("late", "status.reason"), "Timeout") << cluster_->Field("late", "status");
}

TEST_F(Limits, SleepEndsOnDeleteAtOnce) {
  cluster_->Apply(MiniCluster::ShellSession("sleeper", "exec sleep 600", R"("terminationGracePeriod": "30s")"));
  ASSERT_TRUE(cluster_->WaitForPhase("sleeper", "Running"));
  const CommandResult gone = cluster_->Isla({"delete", "session", "sleeper", "--timeout=5s"});
  EXPECT_EQ(gone.exit_code, 0) << gone.out << gone.err;
}

TEST_F(Limits, OneThatIgnoresSigtermIsKilledAfterItsGrace) {
  cluster_->Apply(MiniCluster::ShellSession("stubborn", "trap '' TERM; echo armed; while :; do sleep 0.2; done", R"("terminationGracePeriod": "1s")"));
  ASSERT_TRUE(cluster_->WaitForPhase("stubborn", "Running"));
  ASSERT_TRUE(Eventually([] { return cluster_->Isla({"logs", "stubborn"}).out == "armed\n"; }));
  const CommandResult gone = cluster_->Isla({"delete", "session", "stubborn", "--timeout=15s"});
  EXPECT_EQ(gone.exit_code, 0) << gone.out << gone.err;
}

TEST_F(Limits, MoreThanTheNodeHasStaysPendingWithTheReason) {
  cluster_->Apply(MiniCluster::ShellSession("huge", "true", R"("resources": {"cpu": "5000", "memory": "32Mi"})"));
  EXPECT_TRUE(Eventually([] {
    const std::string conditions = cluster_->Field("huge", "status.conditions");
    return conditions.find("Unschedulable") != std::string::npos && conditions.find("cpu") != std::string::npos;
  })) << cluster_->Field("huge", "status");
  EXPECT_EQ(cluster_->Phase("huge"), "Pending");
  EXPECT_EQ(cluster_->Isla({"delete", "session", "huge", "--timeout=5s"}).exit_code, 0);
}

}  // namespace
}  // namespace isla::testing
