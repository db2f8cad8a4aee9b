// SandboxPolicy from the manifest to the container: applied, resolved, compiled on the node, in force.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <thread>

#include "tests/cluster/cluster_suite.h"

namespace isla::testing {
namespace {

std::string PolicyManifest(const std::string& name, const std::string& spec) {
  return R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": ")" + name + R"("}, "spec": )" + spec + "}";
}

class Policy : public ClusterSuite {};

TEST_F(Policy, ASessionSeesTheCoresAndMemoryThatItWasGranted) {
  cluster_->Apply(MiniCluster::ShellSession("granted",
                                            "nproc; getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; "
                                            "[ ! -x /usr/bin/python3 ] || /usr/bin/python3 -c 'import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))'; "
                                            "[ ! -x /usr/bin/busybox ] || /usr/bin/busybox nproc; "
                                            "grep MemTotal /proc/meminfo",
                                            R"("resources": {"cpu": "1", "memory": "256Mi"})"));
  EXPECT_TRUE(cluster_->WaitForPhase("granted", "Succeeded")) << cluster_->Explain();
  const std::string out = cluster_->Isla({"logs", "granted"}).out;
  EXPECT_EQ(out.find("1\n1\n1\n"), 0u) << out;
  EXPECT_EQ(out.find('2'), out.find("262144 kB")) << "two is nowhere: " << out;
}

TEST_F(Policy, ASessionWaitsForItsPolicyAndRunsUnderIt) {
  cluster_->Apply(MiniCluster::ShellSession("early", "mkdir /tmp/x 2>/dev/null || echo refused; cat /tmp/motd; echo done", R"("sandbox": {"policy": "strict"})"));
  ASSERT_TRUE(Eventually([] { return cluster_->Field("early", "status.conditions").find("there is no SandboxPolicy 'strict'") != std::string::npos; }))
      << cluster_->Field("early", "status");
  EXPECT_EQ(cluster_->Phase("early"), "Pending");
  cluster_->Apply(PolicyManifest("strict", R"({"base": {"groups": ["@container"]}, "rules": [
      {"name": "no-folders", "syscalls": ["mkdir", "mkdirat"], "action": {"errno": "EPERM"}},
      {"name": "made-up", "syscalls": ["open", "openat", "openat2"], "when": "path == '/tmp/motd'", "action": {"file": {"content": "made up\n"}}},
      {"name": "opens", "syscalls": ["@file-open"], "action": "perform"}]})"));
  ASSERT_TRUE(cluster_->WaitForPhase("early", "Succeeded")) << cluster_->Explain();
  EXPECT_EQ(cluster_->Isla({"logs", "early"}).out, "refused\nmade up\ndone\n");
}

TEST_F(Policy, TheKindIsServedLikeOthers) {
  cluster_->Apply(PolicyManifest("served", R"({"mode": "warn", "base": {"groups": ["@container"]}, "rules": [{"syscalls": ["mkdir"], "action": "deny"}]})"));
  const CommandResult table = cluster_->Isla({"get", "sandboxpolicies"});
  EXPECT_NE(table.out.find("served"), std::string::npos) << table.out << table.err;
  EXPECT_NE(table.out.find("warn"), std::string::npos) << table.out;
  const CommandResult bad = cluster_->Isla({"apply", "-f", "-"}, PolicyManifest("bad", R"({"base": {"groups": ["@contianer"]}})"));
  EXPECT_NE(bad.exit_code, 0);
  EXPECT_NE((bad.out + bad.err).find("spec.base.groups[0]"), std::string::npos) << bad.err;
  EXPECT_NE((bad.out + bad.err).find("did you mean '@container'"), std::string::npos) << bad.err;
  EXPECT_EQ(cluster_->Isla({"delete", "sandboxpolicy", "served"}).exit_code, 0);
  EXPECT_NE(cluster_->Isla({"get", "sandboxpolicy", "served"}).exit_code, 0);
}

TEST_F(Policy, WhatNodesDontHonourFailsTheStartByName) {
  cluster_->Apply(PolicyManifest("greedier", R"({"base": {"groups": ["@container"]}, "program": {"source": "function f(call) return 'allow' end", "memory": "64Mi"}})"));
  cluster_->Apply(MiniCluster::ShellSession("greedier", "echo ran", R"("sandbox": {"policy": "greedier"})"));
  ASSERT_TRUE(cluster_->WaitForPhase("greedier", "Failed")) << cluster_->Explain();
  EXPECT_EQ(cluster_->Field("greedier", "status.reason"), "StartError");
  EXPECT_NE(cluster_->Field("greedier", "status.message").find("spec.program.memory of the sandbox policy 'greedier' is more than the 32 MiB that containers have for programs"), std::string::npos)
      << cluster_->Field("greedier", "status");
}

/// Opens and mkdirs are the supervisor's from the start: what they may do can change while they run.
std::string Watched(const std::string& name, const std::string& refused, const std::string& more = "") {
  return PolicyManifest(name, R"({"base": {"groups": ["@container"]}, "rules": [
      {"name": "refused", "syscalls": ["@file-open"], "when": "path under ')" + refused + R"('", "action": "deny"},
      {"name": "opens", "syscalls": ["@file-open"], "action": "perform"},
      {"name": "nowhere", "syscalls": ["connect"], "when": "addr.port == )" + (refused == "/tmp/no" ? "7" : "8") + R"(", "action": {"errno": "EACCES"}},
      {"name": "connects", "syscalls": ["connect"], "action": "perform"}])" + more + "}");
}

/// Tries an open and a connect again and again, in one process, and says what has changed.
std::string Trying() {
  return R"SH(exec /bin/bash -c '
for i in {1..4000}; do
  open=done; { true > /tmp/no; } 2> /dev/null || open=refused
  { true 3<> /dev/tcp/127.0.0.1/7; } 2> /tmp/why
  case "$(< /tmp/why)" in *"Connection refused"*) connect=nobody;; *"Permission denied"*) connect=refused;; *) connect="$(< /tmp/why)";; esac
  [ "$open $connect" = "$last" ] || echo "open $open, connect $connect"
  last="$open $connect"
  sleep 0.02
done')SH";
}

constexpr char kFree[] = "open done, connect nobody\n";
constexpr char kRefused[] = "open refused, connect refused\n";

/// What the session has said so far. A version may come between the open and the connect of one try: what such a try says is left out.
std::string Said(MiniCluster& cluster, const std::string& session) {
  std::istringstream lines(cluster.Isla({"logs", session}).out);
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    line += '\n';
    if (line == kFree || line == kRefused) out += line;
  }
  return out;
}

/// The version that `policy` has now, of the session's condition once it is current.
bool IsCurrent(MiniCluster& cluster, const std::string& session, int generation) {
  const std::string conditions = cluster.Field(session, "status.conditions");
  return conditions.find("\"InForce\"") != std::string::npos && conditions.find(fmt::format("generation {},", generation)) != std::string::npos;
}

TEST_F(Policy, ANewVersionHoldsForWhatRunsAndNothingElseIsNoticed) {
  cluster_->Apply(Watched("live", "/srv"));
  cluster_->Apply(MiniCluster::ShellSession("live", Trying(), R"("sandbox": {"policy": "live"})"));
  ASSERT_TRUE(cluster_->WaitForPhase("live", "Running")) << cluster_->Explain();
  const auto says = [&](const std::string& text) { return Eventually([&, text] { return Said(*cluster_, "live") == text; }); };
  ASSERT_TRUE(says(kFree)) << cluster_->Isla({"logs", "live"}).out << cluster_->Explain();
  ASSERT_TRUE(Eventually([] { return IsCurrent(*cluster_, "live", 1); })) << cluster_->Field("live", "status");
  const std::string before = cluster_->Field("live", "status.containers.0.policyVersion");
  cluster_->Apply(Watched("live", "/tmp/no"));
  ASSERT_TRUE(says(std::string(kFree) + kRefused)) << cluster_->Isla({"logs", "live"}).out << cluster_->Field("live", "status");
  ASSERT_TRUE(Eventually([] { return IsCurrent(*cluster_, "live", 2); })) << cluster_->Field("live", "status");
  EXPECT_NE(cluster_->Field("live", "status.containers.0.policyVersion"), before);
  EXPECT_NE(cluster_->Field("live", "status.history").find("PolicyUpdated"), std::string::npos);
  EXPECT_EQ(cluster_->Phase("live"), "Running");
  EXPECT_EQ(cluster_->Field("live", "status.containers.0.incarnation"), "1");
  const CommandResult described = cluster_->Isla({"describe", "session", "live"});
  EXPECT_NE(described.out.find("PolicyCurrent"), std::string::npos) << described.out;
  EXPECT_NE(described.out.find("Policy Version:"), std::string::npos) << described.out;

  // Back and forth in a hurry: the last counts.
  for (const char* refused : {"/srv", "/mnt", "/tmp/no", "/opt", "/srv"}) cluster_->Apply(Watched("live", refused));
  EXPECT_TRUE(Eventually([] { return cluster_->Isla({"logs", "live"}).out.ends_with(kFree); })) << cluster_->Isla({"logs", "live"}).out;
  EXPECT_TRUE(Eventually([&before] { return cluster_->Field("live", "status.containers.0.policyVersion") == before; }));
  // One that leaves more to the kernel has another filter, and can be had all the same: what runs goes on to hand the calls over.
  cluster_->Apply(PolicyManifest("live", R"({"base": {"groups": ["@container"]}, "rules": [
      {"syscalls": ["connect"], "when": "addr.port == 7", "action": {"errno": "EACCES"}}, {"syscalls": ["connect"], "action": "perform"}]})"));
  EXPECT_TRUE(Eventually([] { return cluster_->Isla({"logs", "live"}).out.ends_with("open done, connect refused\n"); }))
      << cluster_->Isla({"logs", "live"}).out << cluster_->Field("live", "status") << cluster_->Explain();
  EXPECT_EQ(cluster_->Isla({"delete", "session", "live"}).exit_code, 0);
}

TEST_F(Policy, AVersionThatTakesARestartIsRefusedWithWhatItChangesAndTheOldHolds) {
  cluster_->Apply(Watched("severe", "/srv"));
  cluster_->Apply(MiniCluster::ShellSession("held", Trying(), R"("sandbox": {"policy": "severe"})"));
  ASSERT_TRUE(cluster_->WaitForPhase("held", "Running")) << cluster_->Explain();
  ASSERT_TRUE(Eventually([] { return IsCurrent(*cluster_, "held", 1); })) << cluster_->Field("held", "status");
  cluster_->Apply(Watched("severe", "/tmp/no", R"(, "files": {"mask": ["/opt"]})"));
  ASSERT_TRUE(Eventually([] { return cluster_->Field("held", "status.conditions").find("PolicyRestartRequired") != std::string::npos; }))
      << cluster_->Field("held", "status") << cluster_->Explain();
  EXPECT_NE(cluster_->Field("held", "status.conditions").find("spec.files: other mounts (restart)"), std::string::npos) << cluster_->Field("held", "status.conditions");
  EXPECT_NE(cluster_->Field("held", "status.conditions").find("stays in force"), std::string::npos);
  EXPECT_NE(cluster_->Isla({"get", "sessions"}).out.find("PolicyRestartRequired"), std::string::npos);
  EXPECT_NE(cluster_->Field("held", "status.history").find("PolicyRestartRequired"), std::string::npos);
  EXPECT_EQ(cluster_->Isla({"logs", "held"}).out, kFree);
  // One that nodes don't honour leaves the old in force, too.
  cluster_->Apply(PolicyManifest("severe", R"({"base": {"groups": ["@container"]}, "program": {"source": "function f() return 'allow' end", "memory": "64Mi"}})"));
  ASSERT_TRUE(Eventually([] { return cluster_->Field("held", "status.conditions").find("PolicyNotCompiled") != std::string::npos; })) << cluster_->Field("held", "status");
  // And so does none.
  ASSERT_EQ(cluster_->Isla({"delete", "sandboxpolicy", "severe"}).exit_code, 0);
  ASSERT_TRUE(Eventually([] { return cluster_->Field("held", "status.conditions").find("PolicyDeleted") != std::string::npos; })) << cluster_->Field("held", "status");
  EXPECT_EQ(cluster_->Isla({"logs", "held"}).out, kFree);
  cluster_->Apply(Watched("severe", "/tmp/no"));
  EXPECT_TRUE(Eventually([] { return Said(*cluster_, "held") == std::string(kFree) + kRefused; })) << cluster_->Field("held", "status");
  EXPECT_EQ(cluster_->Isla({"delete", "session", "held"}).exit_code, 0);
}

TEST_F(Policy, AnAgentThatIsDeadOrDiesInBetweenMissesNoVersion) {
  cluster_->Apply(Watched("survives", "/srv"));
  cluster_->Apply(MiniCluster::ShellSession("survives", Trying(), R"("sandbox": {"policy": "survives"})"));
  ASSERT_TRUE(cluster_->WaitForPhase("survives", "Running")) << cluster_->Explain();
  std::string expected = kFree;
  const auto says = [&] { return Eventually([&] { return Said(*cluster_, "survives") == expected; }, std::chrono::seconds(30)); };
  ASSERT_TRUE(says()) << cluster_->Isla({"logs", "survives"}).out;
  // Dead when it is applied; killed at once after; killed while it is at it.
  for (int round = 0; round < 6; ++round) {
    const bool refuses = round % 2 == 0;
    if (round < 2) cluster_->agent().Kill9();
    cluster_->Apply(Watched("survives", refuses ? "/tmp/no" : "/srv"));
    if (round >= 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(round * 7));
      cluster_->agent().Kill9();
    }
    cluster_->agent().Start();
    expected += refuses ? kRefused : kFree;
    ASSERT_TRUE(says()) << "round " << round << "\n" << cluster_->Isla({"logs", "survives"}).out << cluster_->Field("survives", "status") << cluster_->Explain();
    ASSERT_TRUE(Eventually([round] { return IsCurrent(*cluster_, "survives", round + 2); }, std::chrono::seconds(30))) << cluster_->Field("survives", "status");
  }
  EXPECT_EQ(cluster_->Field("survives", "status.containers.0.incarnation"), "1");
  EXPECT_EQ(cluster_->Isla({"delete", "session", "survives"}).exit_code, 0);
}

TEST_F(Policy, AProgramThatTakesAllItMayEndsNoContainerThatTakesAllItMay) {
  cluster_->Apply(PolicyManifest("greedy", R"({"base": {"groups": ["@container"]}, "rules": [{"syscalls": ["mkdir", "mkdirat"], "action": {"program": "f"}}],
      "program": {"source": "function f(call) local t = {} for i = 1, 1 << 40 do t[i] = {i} end end", "memory": "32Mi", "time": "1s", "onError": {"errno": "EROFS"}},
      "limits": {"deadline": "20s"}})"));
  // 32 MiB are granted; nearly all are in use while eight calls at a time fill what the program has.
  cluster_->Apply(MiniCluster::ShellSession("greedy", "head -c 26M /dev/zero > /tmp/fill; for i in 1 2 3 4 5 6 7 8; do mkdir /tmp/d$i 2> /tmp/said$i & done; wait; cat /tmp/said* | grep -c 'Read-only'",
                                            R"("sandbox": {"policy": "greedy"})"));
  ASSERT_TRUE(cluster_->WaitForPhase("greedy", "Succeeded", std::chrono::seconds(60))) << cluster_->Field("greedy", "status") << cluster_->Explain();
  EXPECT_EQ(cluster_->Isla({"logs", "greedy"}).out, "8\n");
}

TEST_F(Policy, ItsLimitsHoldBelowTheGrantAndChangeWhileASessionRuns) {
  const auto policy = [](const std::string& limits) { return PolicyManifest("limited", R"({"base": {"groups": ["@container"]}, "view": {"memory": "granted"}, "limits": {)" + limits + "}}"); };
  cluster_->Apply(policy(R"("memory": "128Mi", "pids": 100)"));
  cluster_->Apply(MiniCluster::ShellSession("limited", "grep MemTotal /proc/meminfo; exec sleep 600", R"("resources": {"cpu": "500m", "memory": "256Mi", "tasks": 50}, "sandbox": {"policy": "limited"})"));
  ASSERT_TRUE(cluster_->WaitForPhase("limited", "Running")) << cluster_->Explain();
  EXPECT_TRUE(Eventually([] { return cluster_->Isla({"logs", "limited"}).out.find(" 131072 kB") != std::string::npos; })) << cluster_->Isla({"logs", "limited"}).out;
  const std::string scope = cluster_->Field("limited", "status.containers.0.scope");
  ASSERT_NE(scope, "");
  const auto pids = [&scope] { return RunCommand({"sh", "-c", "cat $(find /sys/fs/cgroup -path '*/" + scope + "/payload/pids.max' 2>/dev/null | head -1)"}).out; };
  EXPECT_EQ(pids(), "50\n") << "what was asked for is less";
  cluster_->Apply(policy(R"("memory": "64Mi", "pids": 20)"));
  EXPECT_TRUE(Eventually([&pids] { return pids() == "20\n"; })) << pids() << cluster_->Field("limited", "status");
  EXPECT_TRUE(Eventually([] { return IsCurrent(*cluster_, "limited", 2); })) << cluster_->Field("limited", "status");
  EXPECT_EQ(cluster_->Field("limited", "status.containers.0.incarnation"), "1");
  const CommandResult bad = cluster_->Isla({"apply", "-f", "-"}, policy(R"("memory": "64m")"));
  EXPECT_NE(bad.exit_code, 0);
  EXPECT_NE((bad.out + bad.err).find("spec.limits.memory"), std::string::npos) << bad.err;
  EXPECT_EQ(cluster_->Isla({"delete", "session", "limited"}).exit_code, 0);
}

TEST_F(Policy, AnAgentThatIsKilledTouchesNothing) {
  cluster_->Apply(PolicyManifest("kept", R"({"base": {"groups": ["@container"]}, "rules": [{"syscalls": ["mkdir", "mkdirat"], "action": "deny"}]})"));
  cluster_->Apply(MiniCluster::ShellSession("kept", "echo up; while [ ! -e /tmp/go ]; do mkdir /tmp/x 2>/dev/null && echo WORKED; sleep 0.05; i=$((i+1)); [ $i -lt 60 ] || touch /tmp/go; done; echo over",
                                            R"("sandbox": {"policy": "kept"})"));
  ASSERT_TRUE(cluster_->WaitForPhase("kept", "Running")) << cluster_->Explain();
  cluster_->agent().Kill9();
  ASSERT_EQ(cluster_->Isla({"delete", "sandboxpolicy", "kept"}).exit_code, 0) << "it has its version";
  cluster_->agent().Start();
  ASSERT_TRUE(cluster_->WaitForPhase("kept", "Succeeded")) << cluster_->Explain();
  EXPECT_EQ(cluster_->Isla({"logs", "kept"}).out, "up\nover\n");
}

}  // namespace
}  // namespace isla::testing
