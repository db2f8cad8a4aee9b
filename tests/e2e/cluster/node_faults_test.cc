// Faults on the node: the scope is stopped behind our back, the shim is killed, the agent dies around the
// start. The end is reported, or ShimLost; nothing hangs, nothing runs unseen.
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "tests/cluster/mini_cluster.h"

namespace isla::testing {
namespace {

class NodeFaults : public ::testing::Test {
 protected:
  void SetUp() override { cluster_.Start(); }

  std::string StartSleeper(const std::string& name) {
    cluster_.Apply(MiniCluster::ShellSession(name, "echo up; exec sleep 300"));
    EXPECT_TRUE(cluster_.WaitForPhase(name, "Running"));
    return cluster_.Field(name, "status.containers.0.scope");
  }

  static std::string Scopes() {
    return RunCommand({"systemctl", "list-units", "--plain", "--no-legend", "isla-*.scope"}).out;
  }
  static std::string Inits() { return RunCommand({"pgrep", "isla-init"}).out; }

  MiniCluster cluster_;
};

TEST_F(NodeFaults, SystemctlStopOfTheScopeIsReported) {
  const std::string scope = StartSleeper("stopped");
  EXPECT_EQ(RunCommand({"systemctl", "stop", scope}).exit_code, 0);
  ASSERT_TRUE(cluster_.WaitForPhase("stopped", "Failed")) << cluster_.Phase("stopped");
  EXPECT_NE(cluster_.Field("stopped", "status.reason"), "") << cluster_.Field("stopped", "status");
  EXPECT_EQ(Inits(), "");
}

TEST_F(NodeFaults, KilledShimEndsItsContainerAndIsReportedLost) {
  StartSleeper("lost");
  EXPECT_EQ(RunCommand({"pkill", "-KILL", "-x", "isla-shim"}).exit_code, 0);
  ASSERT_TRUE(cluster_.WaitForPhase("lost", "Failed")) << cluster_.Phase("lost");
  EXPECT_EQ(cluster_.Field("lost", "status.reason"), "ShimLost") << cluster_.Field("lost", "status");
  EXPECT_TRUE(Eventually([] { return Inits().empty() && Scopes().empty(); })) << Inits() << Scopes();
}

TEST_F(NodeFaults, ShimKilledWhileTheAgentIsAwayIsReportedLost) {
  StartSleeper("away");
  cluster_.agent().Kill9();
  EXPECT_EQ(RunCommand({"pkill", "-KILL", "-x", "isla-shim"}).exit_code, 0);
  cluster_.agent().Start();
  ASSERT_TRUE(cluster_.WaitForPhase("away", "Failed")) << cluster_.Phase("away");
  EXPECT_EQ(cluster_.Field("away", "status.reason"), "ShimLost");
  EXPECT_EQ(Inits(), "");
}

TEST_F(NodeFaults, AgentKilledAtAnyMomentOfTheStartRunsItOnceOrSaysSo) {
  // Kills the agent at moments spread over the start of a container. Whatever it had done, the session must
  // end: run by this incarnation, or given back and run by the next; never twice at once, never hung.
  for (int i = 0; i < 12; ++i) {
    const std::string name = "start" + std::to_string(i);
    cluster_.Apply(MiniCluster::ShellSession(name, "echo ran; exit 0"));
    std::this_thread::sleep_for(std::chrono::milliseconds(i * 2));
    cluster_.agent().Kill9();
    cluster_.agent().Start();
    ASSERT_TRUE(Eventually(
        [&] {
          const std::string phase = cluster_.Phase(name);
          return phase == "Succeeded" || phase == "Failed";
        },
        std::chrono::seconds(20)))
        << name << " " << cluster_.Field(name, "status");
    if (cluster_.Phase(name) == "Succeeded") {
      // It may have ended before the kill: then the log can be asked for once the agent is back.
      EXPECT_TRUE(Eventually([&] { return cluster_.Isla({"logs", name}).out == "ran\n"; })) << name;
    } else {
      EXPECT_NE(cluster_.Field(name, "status.reason"), "") << name;
    }
  }
  EXPECT_TRUE(Eventually([] { return Inits().empty() && Scopes().empty(); })) << Inits() << Scopes();
}

TEST_F(NodeFaults, StopsReachAContainerAfterTheAgentCameBack) {
  StartSleeper("deleted");
  cluster_.agent().Kill9();
  const CommandResult asked = cluster_.Isla({"delete", "session", "deleted", "--wait=false"});
  EXPECT_EQ(asked.exit_code, 0) << asked.err;
  EXPECT_TRUE(cluster_.WaitForPhase("deleted", "Terminating"));
  cluster_.agent().Start();
  EXPECT_TRUE(Eventually([&] { return cluster_.Isla({"get", "session", "deleted"}).exit_code == 1; }));
  EXPECT_EQ(Inits(), "");
}

TEST_F(NodeFaults, AMissingCommandFailsItsStartAndRunExitsAsAShellWould) {
  cluster_.Apply(R"({"apiVersion": "isla/v1", "kind": "Session", "metadata": {"name": "missing"},
                     "spec": {"command": ["/no/such/program"]}})");
  ASSERT_TRUE(cluster_.WaitForPhase("missing", "Failed"));
  EXPECT_EQ(cluster_.Field("missing", "status.reason"), "CommandNotFound");
  EXPECT_EQ(cluster_.Field("missing", "status.exitCode"), "");
  EXPECT_EQ(cluster_.Isla({"run", "-q", "--", "/no/such/program"}).exit_code, 127);
  EXPECT_EQ(cluster_.Isla({"run", "-q", "--", "/etc/passwd"}).exit_code, 126);
  EXPECT_EQ(cluster_.Isla({"run", "-q", "--workdir=/etc/passwd", "--", "true"}).exit_code, 125);
  const std::string message = cluster_.Field("missing", "status.message");
  EXPECT_NE(message.find("/no/such/program"), std::string::npos) << message;
}

TEST_F(NodeFaults, TwoHundredSessionsComeAndGo) {
  std::string all;
  for (int i = 0; i < 200; ++i) {
    all += MiniCluster::ShellSession("many" + std::to_string(i), "exit 0",
                                     R"("resources": {"cpu": "10m", "memory": "8Mi", "tasks": 16})") + "\n";
  }
  const CommandResult applied = cluster_.Isla({"apply", "-f", "-"}, all);
  ASSERT_EQ(applied.exit_code, 0) << applied.err;
  ASSERT_TRUE(Eventually(
      [&] {
        const std::string table = cluster_.Isla({"get", "sessions", "--no-headers"}).out;
        size_t done = 0;
        for (size_t at = 0; (at = table.find("Succeeded", at)) != std::string::npos; ++at) ++done;
        return done == 200;
      },
      std::chrono::seconds(120)));
  EXPECT_EQ(cluster_.Isla({"delete", "sessions", "--all", "--timeout=60s"}, {}, std::chrono::seconds(90)).exit_code, 0);
  EXPECT_EQ(Scopes(), "");
  EXPECT_EQ(RunCommand({"find", cluster_.RunDir(), "-mindepth", "1", "-maxdepth", "1", "-type", "d"}).out, "");
}

}  // namespace
}  // namespace isla::testing
