// Two replicas of islad: one leads, the other takes over; a leader that was frozen past its lease writes
// nothing any more.
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "tests/cluster/mini_cluster.h"

namespace isla::testing {
namespace {

class Leadership : public ::testing::Test {
 protected:
  Leadership() : cluster_(TwoIslads()) {}

  static MiniClusterOptions TwoIslads() {
    MiniClusterOptions options;
    options.islads = 2;
    return options;
  }

  void SetUp() override { cluster_.Start(); }

  /// The index of the leader by what the store says, or -1.
  int Leader() {
    const std::string record = cluster_.Etcdctl({"get", "/isla/default/lead/controllers", "--print-value-only"}).out;
    for (int i = 0; i < 2; ++i) {
      if (record.find("\"islad" + std::to_string(i) + "\"") != std::string::npos) return i;
    }
    return -1;
  }

  int WaitForLeader() {
    int leader = -1;
    EXPECT_TRUE(Eventually([&] { return (leader = Leader()) >= 0; }));
    return leader;
  }

  bool RunsToItsEnd(const std::string& name) {
    cluster_.Apply(MiniCluster::ShellSession(name, "exit 0"));
    return cluster_.WaitForPhase(name, "Succeeded", std::chrono::seconds(40));
  }

  MiniCluster cluster_;
};

TEST_F(Leadership, TheOtherTakesOverFromAKilledLeader) {
  ASSERT_TRUE(RunsToItsEnd("before"));
  const int leader = WaitForLeader();
  ASSERT_GE(leader, 0);
  cluster_.Via(1 - leader);
  cluster_.islad(leader).Kill9();
  EXPECT_TRUE(RunsToItsEnd("after")) << cluster_.Phase("after");
  EXPECT_EQ(Leader(), 1 - leader);
}

TEST_F(Leadership, ACleanStopHandsOverAtOnce) {
  const int leader = WaitForLeader();
  ASSERT_GE(leader, 0);
  cluster_.Via(1 - leader);
  cluster_.islad(leader).Stop();
  EXPECT_TRUE(Eventually([&] { return Leader() == 1 - leader; }, std::chrono::seconds(3))) << Leader();
  EXPECT_TRUE(RunsToItsEnd("after"));
}

TEST_F(Leadership, NoLateWriteOfAFrozenLeaderLands) {
  const int leader = WaitForLeader();
  ASSERT_GE(leader, 0);
  const int other = 1 - leader;
  cluster_.Via(other);
  // Work in the air while it freezes: sessions that the frozen leader has decided on or is about to.
  for (int i = 0; i < 10; ++i) cluster_.Apply(MiniCluster::ShellSession("air" + std::to_string(i), "sleep 1"));
  cluster_.islad(leader).Signal(SIGSTOP);
  ASSERT_TRUE(Eventually([&] { return Leader() == other; }, std::chrono::seconds(40))) << Leader();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(cluster_.WaitForPhase("air" + std::to_string(i), "Succeeded", std::chrono::seconds(40)));
  }
  // All is quiet: from here on nobody has a reason to write those keys.
  const auto written = [&] {
    return cluster_.Etcdctl({"get", "/isla/default/", "--prefix", "-w", "fields"}).out;
  };
  const auto revisions = [&] {
    // Of bind/, status/ and spec/ only: leases and read barriers go on.
    std::string out;
    for (const char* prefix : {"bind/", "status/", "spec/"}) {
      out += cluster_.Etcdctl({"get", std::string("/isla/default/") + prefix, "--prefix", "-w", "json"}).out;
    }
    // The header carries the store's revision; only the keys count.
    std::string keys;
    for (size_t at = 0; (at = out.find("\"mod_revision\":", at)) != std::string::npos; ++at) {
      keys += out.substr(at, out.find(',', at) - at);
    }
    return keys;
  };
  const std::string before = revisions();
  ASSERT_NE(before, "") << written();
  cluster_.islad(leader).Signal(SIGCONT);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(revisions(), before);
  EXPECT_EQ(Leader(), other);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(cluster_.Field("air" + std::to_string(i), "status.containers.0.incarnation"), "1");
  }
  // Awake again it serves on as a candidate.
  cluster_.Via(leader);
  EXPECT_TRUE(RunsToItsEnd("after"));
}

TEST_F(Leadership, EitherReplicaShowsAWriteThroughTheOther) {
  for (int i = 0; i < 20; ++i) {
    const std::string name = "seen" + std::to_string(i);
    cluster_.Via(i % 2);
    cluster_.Apply(MiniCluster::ShellSession(name, "exit 0"));
    cluster_.Via(1 - i % 2);
    const std::string list = cluster_.Isla({"get", "sessions", "-o", "name"}).out;
    EXPECT_NE(list.find("session.isla/" + name + "\n"), std::string::npos) << list;
  }
}

}  // namespace
}  // namespace isla::testing
