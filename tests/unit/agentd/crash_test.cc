// Kills isla-agentd, or the machine, after every step of a container's life, in many interleavings, and lets a new
// agentd and a gateway that sends its full state again go on. Whatever the point: the payload started at most
// once, the end comes out right or is said to be lost, and after Stop nothing is left.
#include <gtest/gtest.h>

#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

using std::chrono::seconds;

isla::v1::Delta Full(isla::v1::Delta delta) {
  delta.set_full(true);
  delta.set_expected_count(static_cast<uint64_t>(delta.upserts_size()));
  return delta;
}

enum class Crash { kAgent, kPower, kPowerWithTornTail };

/// Runs a life with a crash after `steps` steps; false if the life was over before that.
bool LiveWithCrash(uint32_t seed, int steps, Crash crash) {
  FakeNode node(seed);
  node.payload_exit_code = 3;
  node.StartAgent();
  node.Run();
  node.Connect();
  const ContainerKey key = TestKey(1);
  node.PostDelta(Full(node.RunDelta(key)));
  bool crashed = false;
  for (int i = 0; !crashed; ++i) {
    if (i == steps) {
      crashed = true;
    } else if (!node.Step()) {
      break;
    }
  }
  if (!crashed) return false;
  const bool was_reported_exited = node.ReportedState(key) == isla::v1::EXITED;
  const auto reported = node.reports[key].exit();
  if (crash == Crash::kAgent) {
    node.KillAgent();
  } else {
    node.LosePower(crash == Crash::kPowerWithTornTail ? 7 : 0);
  }
  node.StartAgent();
  node.Run(seconds(1));
  EXPECT_TRUE(node.restored());
  node.Connect();
  node.PostDelta(Full(node.RunDelta(key)));
  node.Run(seconds(60));
  EXPECT_LE(node.payload_starts[key], 1);
  EXPECT_EQ(node.ReportedState(key), isla::v1::EXITED);
  const auto& exit = node.reports[key].exit();
  if (exit.cause() == "exited") {
    EXPECT_EQ(exit.exit_code(), 3);
    EXPECT_EQ(node.payload_starts[key], 1);
  } else {
    EXPECT_EQ(exit.cause(), "lost");
  }
  // What was said is never unsaid: an exit is durable before it is reported.
  if (was_reported_exited) {
    EXPECT_EQ(exit.SerializeAsString(), reported.SerializeAsString());
  }
  node.SendDelta(node.StopDelta(key));
  node.Run(seconds(60));
  EXPECT_EQ(node.ReportedState(key), isla::v1::GONE);
  EXPECT_FALSE(node.HasTrace(key));
  EXPECT_LE(node.payload_starts[key], 1);
  return true;
}

void Sweep(Crash crash) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    int steps = 0;
    while (LiveWithCrash(seed, steps, crash)) {
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << " after " << steps << " steps";
      ++steps;
    }
    ASSERT_GT(steps, 8);
  }
}

TEST(Crash, AgentKilledAfterAnyStepStartsNothingTwice) { Sweep(Crash::kAgent); }
TEST(Crash, PowerLostAfterAnyStepStartsNothingTwice) { Sweep(Crash::kPower); }
TEST(Crash, PowerLostWithATornJournalStartsNothingTwice) { Sweep(Crash::kPowerWithTornTail); }

TEST(Crash, AgentKilledAfterAnyStepOfARemovalLeavesNothing) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    for (int steps = 0;; ++steps) {
      FakeNode node(seed);
      node.StartAgent();
      node.Run();
      node.Connect();
      const ContainerKey key = TestKey(1);
      node.SendDelta(node.RunDelta(key));
      node.Run();
      ASSERT_EQ(node.ReportedState(key), isla::v1::RUNNING);
      node.PostDelta(node.StopDelta(key));
      bool over = false;
      for (int i = 0; i < steps && !over; ++i) over = !node.Step();
      if (over) break;
      node.KillAgent();
      node.StartAgent();
      node.Run(seconds(1));
      node.Connect();
      node.PostDelta(Full(node.StopDelta(key)));
      node.Run(seconds(60));
      ASSERT_EQ(node.ReportedState(key), isla::v1::GONE) << "seed " << seed << " steps " << steps;
      ASSERT_FALSE(node.HasTrace(key)) << "seed " << seed << " steps " << steps;
      ASSERT_EQ(node.payload_starts[key], 1);
      ASSERT_EQ(node.reports[key].exit().cause(), "stopped") << "seed " << seed << " steps " << steps;
    }
  }
}

TEST(Crash, StopWhileStartingAtAnyStepLeavesNothing) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    for (int steps = 0; steps < 15; ++steps) {
      FakeNode node(seed);
      node.StartAgent();
      node.Run();
      node.Connect();
      const ContainerKey key = TestKey(1);
      node.PostDelta(node.RunDelta(key));
      for (int i = 0; i < steps; ++i) node.Step();
      node.PostDelta(node.StopDelta(key));
      node.Run(seconds(60));
      ASSERT_EQ(node.ReportedState(key), isla::v1::GONE) << "seed " << seed << " steps " << steps;
      ASSERT_FALSE(node.HasTrace(key)) << "seed " << seed << " steps " << steps;
      ASSERT_LE(node.payload_starts[key], 1);
    }
  }
}

TEST(Crash, AfterARebootWhatHadStartedIsLostAndNeverStartedAgain) {
  FakeNode node;
  node.StartAgent();
  node.Run();
  node.Connect();
  const ContainerKey key = TestKey(1);
  node.SendDelta(node.RunDelta(key));
  node.Run();
  const uint64_t sequence = node.reports[key].sequence();
  node.LosePower();
  node.StartAgent();
  node.Run();
  node.Connect();
  node.PostDelta(Full(node.RunDelta(key)));
  node.Run(seconds(60));
  EXPECT_EQ(node.reports[key].exit().cause(), "lost");
  EXPECT_EQ(node.reports[key].exit().reason(), "NodeRebooted");
  EXPECT_GT(node.reports[key].sequence(), sequence + kSequenceLeap - 1000);
  EXPECT_EQ(node.payload_starts[key], 1);
}

}  // namespace
}  // namespace isla::agent
