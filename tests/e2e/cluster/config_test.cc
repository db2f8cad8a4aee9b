// Settings that are changed take effect in daemons that go on running.
#include <gtest/gtest.h>

#include "tests/cluster/cluster_suite.h"

namespace isla::testing {
namespace {

class Config : public ClusterSuite {
 protected:
  static bool AgentSays(const std::string& text) {
    return Eventually([&] { return cluster_->agent().Log().find(text) != std::string::npos; });
  }
  static int Count(const std::string& text, const std::string& what) {
    int count = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
    return count;
  }
  static size_t LogOf(const std::string& name) {
    cluster_->Apply(MiniCluster::ShellSession(
        name, "i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done"));
    EXPECT_TRUE(cluster_->WaitForPhase(name, "Succeeded"));
    return cluster_->Isla({"logs", name}).out.size();
  }
};

TEST_F(Config, ANodesLogBoundAndLevelChangeWithoutARestart) {
  const pid_t agent = cluster_->agent().pid();
  EXPECT_GT(LogOf("before"), 80'000u);
  const CommandResult set =
      cluster_->Isla({"config", "set", "agent/log/maxBytes=65536", "agent/log/level=debug", "--node=node0"});
  ASSERT_EQ(set.exit_code, 0) << set.err;
  ASSERT_TRUE(AgentSays("settings applied log_level=debug container_log_bytes=65536"));
  const size_t after = LogOf("after");
  EXPECT_GT(after, 0u);
  EXPECT_LT(after, 65536u);
  EXPECT_TRUE(AgentSays("debug agentd: shim spawned"));
  const CommandResult explained = cluster_->Isla({"config", "explain", "agent/log/maxBytes", "--node=node0"});
  EXPECT_NE(explained.out.find("node/node0"), std::string::npos) << explained.out << explained.err;
  ASSERT_EQ(cluster_->Isla({"config", "unset", "agent/log/maxBytes", "agent/log/level", "--node=node0"}).exit_code, 0);
  ASSERT_TRUE(AgentSays("settings applied none"));
  EXPECT_GT(LogOf("unset"), 80'000u);
  EXPECT_TRUE(cluster_->agent().running());
  EXPECT_EQ(cluster_->agent().pid(), agent);
}

TEST_F(Config, IsladsLogLevelChangesWithoutARestart) {
  ASSERT_EQ(cluster_->Isla({"config", "set", "islad/log/level=debug"}).exit_code, 0);
  EXPECT_TRUE(Eventually([] { return cluster_->islad().Log().find("log level changed level=debug from=global") != std::string::npos; }));
  ASSERT_EQ(cluster_->Isla({"config", "unset", "islad/log/level"}).exit_code, 0);
  EXPECT_TRUE(Eventually([] { return cluster_->islad().Log().find("level=info from=--log-level") != std::string::npos; }));
}

TEST_F(Config, WhatIsPutStraightIntoTheStoreIsReportedAndIgnored) {
  const std::string key = "/isla/default/nodes/agents/node0/config/agent/start/maxParallel";
  ASSERT_EQ(cluster_->Isla({"config", "set", "agent/start/maxParallel=3"}).exit_code, 0);
  ASSERT_TRUE(AgentSays("settings applied max_starting=3"));
  int puts = 0;
  for (const char* value : {"{", "\"many\"", "0"}) {
    ASSERT_EQ(cluster_->Etcdctl({"put", key, value}).exit_code, 0);
    ++puts;
    EXPECT_TRUE(Eventually([&] {
      return Count(cluster_->islad().Log(), "setting can't be used key='nodes/agents/node0/config/agent/start/maxParallel'") == puts;
    })) << value;
    const CommandResult explained = cluster_->Isla({"config", "explain", "agent/start/maxParallel", "--node=node0"});
    EXPECT_NE(explained.out.find("3       global"), std::string::npos) << explained.out << explained.err;
    EXPECT_NE(explained.out.find("ignored: "), std::string::npos) << explained.out;
  }
  // It hides nothing, and goes by unset.
  ASSERT_EQ(cluster_->Isla({"config", "set", "agent/start/maxParallel=4"}).exit_code, 0);
  EXPECT_TRUE(AgentSays("settings applied max_starting=4"));
  ASSERT_EQ(cluster_->Isla({"config", "unset", "agent/start/maxParallel", "--node=node0"}).exit_code, 0);
  EXPECT_EQ(cluster_->Etcdctl({"get", "--print-value-only", key}).out, "");
  ASSERT_EQ(cluster_->Isla({"config", "unset", "agent/start/maxParallel"}).exit_code, 0);
  EXPECT_TRUE(cluster_->islad().running());
  EXPECT_TRUE(cluster_->agent().running());
}

TEST_F(Config, AGroupsSettingsReachItsNodesAlone) {
  ASSERT_EQ(cluster_->Isla({"config", "set", "node/group=gpu", "--node=node0"}).exit_code, 0);
  const CommandResult other = cluster_->Isla({"config", "set", "agent/start/maxParallel=5", "--group=gpo"});
  EXPECT_EQ(other.exit_code, 0);
  EXPECT_NE(other.err.find("no node is in the group 'gpo'"), std::string::npos) << other.err;
  const CommandResult set = cluster_->Isla({"config", "set", "agent/start/maxParallel=6", "--group=gpu"});
  EXPECT_EQ(set.err, "");
  EXPECT_TRUE(AgentSays("settings applied max_starting=6"));
  EXPECT_EQ(cluster_->agent().Log().find("max_starting=5"), std::string::npos);
  ASSERT_EQ(cluster_->Isla({"config", "unset", "node/group", "--node=node0"}).exit_code, 0);
  EXPECT_NE(cluster_->Isla({"config", "explain", "agent/start/maxParallel", "--node=node0"}).out.find("default"),
            std::string::npos);
  for (const char* group : {"--group=gpo", "--group=gpu"}) {
    EXPECT_EQ(cluster_->Isla({"config", "unset", "agent/start/maxParallel", group}).exit_code, 0);
  }
}

TEST_F(Config, TheLeaderAppliesHowLongHistoryIsKept) {
  ASSERT_EQ(cluster_->Isla({"config", "set", "islad/history/keepSeconds=900"}).exit_code, 0);
  EXPECT_TRUE(Eventually(
      [] { return cluster_->islad().Log().find("setting applied islad/history/keepSeconds=900 from=global") != std::string::npos; },
      std::chrono::seconds(40)));
  ASSERT_EQ(cluster_->Isla({"config", "unset", "islad/history/keepSeconds"}).exit_code, 0);
}

TEST_F(Config, SettingsSurviveTheAgentsRestart) {
  ASSERT_EQ(cluster_->Isla({"config", "set", "agent/log/maxBytes=65536"}).exit_code, 0);
  ASSERT_TRUE(AgentSays("settings applied container_log_bytes=65536"));
  cluster_->agent().Kill9();
  cluster_->agent().Start();
  EXPECT_LT(LogOf("again"), 65536u);
  ASSERT_EQ(cluster_->Isla({"config", "unset", "agent/log/maxBytes"}).exit_code, 0);
}

}  // namespace
}  // namespace isla::testing
