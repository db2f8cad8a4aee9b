#include "agentd/container_manager.h"

#include <gtest/gtest.h>

#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ContainerManagerTest : public ::testing::Test {
 protected:
  void Start() {
    node_.StartAgent();
    node_.Run();
    node_.Connect();
  }
  void RunIt(const ContainerKey& key) {
    ASSERT_TRUE(node_.SendDelta(node_.RunDelta(key)).has_value());
    node_.Run(seconds(5));
  }
  void ExpectGoneAfterStop(const ContainerKey& key) {
    ASSERT_TRUE(node_.SendDelta(node_.StopDelta(key)).has_value());
    node_.Run(seconds(120));
    EXPECT_EQ(node_.ReportedState(key), isla::v1::GONE);
    EXPECT_FALSE(node_.HasTrace(key));
  }

  FakeNode node_;
  const ContainerKey key_ = TestKey(1);
};

TEST_F(ContainerManagerTest, AContainerGoesThroughItsLife) {
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
  EXPECT_NE(node_.reports[key_].invocation_id(), "");
  EXPECT_EQ(node_.containers().Used(), (Resources{100, 1 << 20, 10}));
  node_.EndPayload(key_, 4);
  node_.Run();
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::EXITED);
  EXPECT_EQ(node_.reports[key_].exit().exit_code(), 4);
  EXPECT_EQ(node_.containers().Used(), Resources{});
  ExpectGoneAfterStop(key_);
}

TEST_F(ContainerManagerTest, NothingOfThePayloadRunsBeforeTheDeltaIsDurable) {
  Start();
  node_.disk_stuck = true;
  node_.PostDelta(node_.RunDelta(key_));
  node_.Run();
  EXPECT_EQ(node_.payload_starts[key_], 0);
  EXPECT_TRUE(node_.shims[key_].alive) << "the start overlaps the sync";
  EXPECT_FALSE(node_.run[key_].created);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::CONTAINER_STATE_UNSPECIFIED);
  node_.disk_stuck = false;
  node_.Run();
  EXPECT_EQ(node_.payload_starts[key_], 1);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
}

TEST_F(ContainerManagerTest, AnExitIsReportedOnlyOnceItIsDurable) {
  Start();
  RunIt(key_);
  node_.disk_stuck = true;
  node_.EndPayload(key_, 0);
  node_.Run();
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
  node_.disk_stuck = false;
  node_.Run();
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::EXITED);
}

TEST_F(ContainerManagerTest, AScopeStartedUnheardIsReadBackAndUsed) {
  node_.start_scope_errors = {Error(Code::kDeadlineExceeded, "no word")};
  node_.start_scope_works_unheard = true;
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
  EXPECT_EQ(node_.reports[key_].invocation_id(), "invocation-1");
}

TEST_F(ContainerManagerTest, AScopeThatAnUnheardStartDidNotMakeIsMade) {
  node_.start_scope_errors = {Error(Code::kDeadlineExceeded, "no word")};
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
}

TEST_F(ContainerManagerTest, AScopeThatAppearsLateAfterAnUnheardStartIsOurs) {
  node_.start_scope_errors = {Error(Code::kDeadlineExceeded, "no word")};
  node_.start_scope_works_unheard = true;
  node_.get_unit_errors = {Error(Code::kNotFound, "not yet")};
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
  EXPECT_EQ(node_.reports[key_].invocation_id(), "invocation-1") << "the shim in it was not killed";
}

TEST_F(ContainerManagerTest, ABusThatIsAwayIsWaitedFor) {
  const Status away = Error(Code::kUnavailable, "no connection");
  node_.start_scope_errors = {away, away, Error(Code::kDeadlineExceeded, "broke")};
  node_.get_unit_errors = {away, Error(Code::kDeadlineExceeded, "broke")};
  node_.start_scope_works_unheard = true;
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
  EXPECT_EQ(node_.payload_starts[key_], 1);
}

TEST_F(ContainerManagerTest, AScopeLeftOfAnEarlierAttemptIsReplaced) {
  Start();
  node_.scopes[ScopeName(key_)] = {"old", key_};
  // Its processes are gone; only the unit lingers. The new shim must not be taken for its own.
  ASSERT_TRUE(node_.SendDelta(node_.RunDelta(key_)).has_value());
  node_.Run(seconds(60));
  EXPECT_LE(node_.payload_starts[key_], 1);
  EXPECT_TRUE(node_.ReportedState(key_) == isla::v1::RUNNING || node_.ReportedState(key_) == isla::v1::EXITED);
  ExpectGoneAfterStop(key_);
}

TEST_F(ContainerManagerTest, ARefusedScopeIsAStartErrorAndLeavesNoShim) {
  node_.start_scope_errors = {Error(Code::kFailedPrecondition, "the job ended 'failed'")};
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::EXITED);
  EXPECT_EQ(node_.reports[key_].exit().cause(), "start-error");
  EXPECT_EQ(node_.reports[key_].exit().reason(), "StartError");
  EXPECT_FALSE(node_.shims[key_].alive);
  EXPECT_EQ(node_.payload_starts[key_], 0);
}

TEST_F(ContainerManagerTest, ASystemdThatNeverAnswersEndsInAStartErrorOnceItIsBack) {
  for (int i = 0; i < 1000; ++i) node_.start_scope_errors.push_back(Error(Code::kUnavailable, "no connection"));
  Start();
  ASSERT_TRUE(node_.SendDelta(node_.RunDelta(key_)).has_value());
  node_.Run(seconds(60));
  EXPECT_EQ(node_.reports[key_].exit().cause(), "start-error");
  EXPECT_FALSE(node_.shims[key_].alive);
}

TEST_F(ContainerManagerTest, AShimThatCannotBeSpawnedIsAStartError) {
  node_.spawn_errors = {Error(Code::kResourceExhausted, "no memory")};
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.reports[key_].exit().cause(), "start-error");
  EXPECT_EQ(node_.reports[key_].exit().message(), "spawn the shim: no memory");
  ExpectGoneAfterStop(key_);
}

TEST_F(ContainerManagerTest, AFailedStepOfTheShimIsToldAsItWasWritten) {
  node_.payload_fails_to_start = true;
  Start();
  RunIt(key_);
  EXPECT_EQ(node_.reports[key_].exit().cause(), "start-error");
  EXPECT_EQ(node_.payload_starts[key_], 0);
}

TEST_F(ContainerManagerTest, AShimKilledBeforeGoIsAStartErrorAfterGoItIsLost) {
  Start();
  node_.disk_stuck = true;
  node_.PostDelta(node_.RunDelta(key_));
  node_.Run();
  node_.KillShim(key_);
  node_.disk_stuck = false;
  node_.Run(seconds(5));
  EXPECT_EQ(node_.reports[key_].exit().cause(), "start-error");
  const ContainerKey other = TestKey(2);
  RunIt(other);
  node_.KillShim(other);
  node_.Run(seconds(5));
  EXPECT_EQ(node_.reports[other].exit().cause(), "lost");
  EXPECT_EQ(node_.reports[other].exit().reason(), "ShimLost");
  EXPECT_FALSE(node_.scopes.contains(ScopeName(other)));
}

TEST_F(ContainerManagerTest, APayloadThatIgnoresItsStopIsKilledAfterGraceAndMargin) {
  Start();
  RunIt(key_);
  node_.shims[key_].hung = true;
  node_.SendDelta(node_.StopDelta(key_, 3000));
  node_.Run(milliseconds(7900));
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::RUNNING);
  node_.Run(seconds(1));
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::GONE);
  EXPECT_EQ(node_.reports[key_].exit().cause(), "stopped");
  EXPECT_EQ(node_.reports[key_].exit().signal(), 9);
  EXPECT_FALSE(node_.HasTrace(key_));
}

TEST_F(ContainerManagerTest, AShorterGraceWins) {
  Start();
  RunIt(key_);
  node_.shims[key_].hung = true;
  node_.SendDelta(node_.StopDelta(key_, 600'000));
  node_.Run(seconds(1));
  node_.SendDelta(node_.StopDelta(key_, 0));
  node_.Run(seconds(6));
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::GONE);
}

TEST_F(ContainerManagerTest, AFailedCleanupIsTriedAgainAndGoneIsNotClaimed) {
  Start();
  RunIt(key_);
  for (int i = 0; i < 5; ++i) node_.cleanup_errors.push_back(Error(Code::kFailedPrecondition, "busy"));
  node_.SendDelta(node_.StopDelta(key_));
  node_.Run();
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::EXITED);
  node_.Run(seconds(30));
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::GONE);
  EXPECT_FALSE(node_.HasTrace(key_));
}

TEST_F(ContainerManagerTest, ANewIncarnationWaitsForTheEndOfTheOld) {
  Start();
  RunIt(key_);
  const ContainerKey next = TestKey(1, 2);
  RunIt(next);
  EXPECT_EQ(node_.payload_starts[next], 0);
  EXPECT_EQ(node_.ReportedState(next), isla::v1::ACCEPTED);
  node_.SendDelta(node_.StopDelta(key_));
  node_.Run(seconds(5));
  EXPECT_EQ(node_.ReportedState(next), isla::v1::RUNNING);
  EXPECT_EQ(node_.ReportedState(key_), isla::v1::GONE);
}

TEST_F(ContainerManagerTest, OnlySoManyStartAtOnceAndAllStartInTheEnd) {
  ContainerManagerOptions options;
  options.max_starting = 2;
  node_.StartAgent({}, options);
  node_.Run();
  node_.Connect();
  isla::v1::Delta delta;
  for (int i = 1; i <= 20; ++i) delta.MergeFrom(node_.RunDelta(TestKey(i)));
  node_.PostDelta(delta);
  size_t most = 0;
  while (node_.Step()) {
    most = std::max(most, node_.containers().CountIn(Phase::kStarting) + node_.containers().CountIn(Phase::kCreated));
  }
  EXPECT_LE(most, 2u);
  for (int i = 1; i <= 20; ++i) EXPECT_EQ(node_.ReportedState(TestKey(i)), isla::v1::RUNNING) << i;
}

TEST_F(ContainerManagerTest, AnAgentThatCannotAskSystemdDecidesNothing) {
  Start();
  RunIt(key_);
  node_.KillAgent();
  for (int i = 0; i < 3; ++i) node_.list_errors.push_back(Error(Code::kUnavailable, "no connection"));
  node_.StartAgent();
  node_.Run();
  EXPECT_FALSE(node_.restored());
  node_.Run(seconds(5));
  EXPECT_TRUE(node_.restored());
  EXPECT_EQ(node_.containers().PhaseOf(key_), Phase::kRunning);
}

TEST_F(ContainerManagerTest, AContainerOfNobodyIsHeldAsAnOrphanUntilItIsToldToStop) {
  Start();
  RunIt(key_);
  // The journal is lost; the container runs.
  node_.KillAgent();
  node_.journal_bytes.clear();
  node_.synced_bytes = 0;
  node_.StartAgent();
  node_.Run(seconds(60));
  EXPECT_TRUE(node_.shims[key_].payload);
  EXPECT_EQ(node_.containers().PhaseOf(key_), Phase::kRunning);
  node_.Connect();
  isla::v1::Delta empty;
  empty.set_full(true);
  ASSERT_TRUE(node_.SendDelta(empty).has_value());
  node_.Run(seconds(60));
  EXPECT_TRUE(node_.shims[key_].payload);
  ExpectGoneAfterStop(key_);
}

TEST_F(ContainerManagerTest, AnUnknownScopeAloneIsHeldToo) {
  node_.scopes[ScopeName(key_)] = {"foreign", key_};
  node_.StartAgent();
  node_.Run(seconds(60));
  EXPECT_TRUE(node_.scopes.contains(ScopeName(key_)));
  node_.Connect();
  EXPECT_EQ(node_.sent.back().hello().inventory_size(), 1);
  ExpectGoneAfterStop(key_);
}

TEST_F(ContainerManagerTest, AnAdoptedShimThatIsDeafIsStillEndedByStop) {
  Start();
  RunIt(key_);
  node_.KillAgent();
  node_.shims[key_].deaf = true;
  node_.StartAgent();
  node_.Run();
  EXPECT_EQ(node_.containers().PhaseOf(key_), Phase::kRunning);
  node_.Connect();
  ExpectGoneAfterStop(key_);
}

TEST_F(ContainerManagerTest, RemnantsOfAStartThatWasNeverDurableAreRemoved) {
  Start();
  node_.disk_stuck = true;
  node_.PostDelta(node_.RunDelta(key_));
  node_.Run();
  ASSERT_TRUE(node_.HasTrace(key_));
  node_.KillAgent();
  node_.journal_bytes.resize(node_.synced_bytes);
  node_.disk_stuck = false;
  node_.Run();
  node_.StartAgent();
  node_.Run(seconds(5));
  EXPECT_FALSE(node_.HasTrace(key_));
  EXPECT_EQ(node_.containers().Count(), 0u);
}

}  // namespace
}  // namespace isla::agent
