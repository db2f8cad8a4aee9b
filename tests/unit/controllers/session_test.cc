// The phase table, the status as a function of the facts, and the session controller's table of actions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/object/object.h"
#include "controllers/controllers.h"
#include "controllers/session/phase.h"
#include "controllers/session/status.h"
#include "tests/unit/controllers/session_life.h"

namespace isla::controllers {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(PhaseTable, RowsStandAtTheirPhase) {
  for (size_t i = 0; i < kPhases.size(); ++i) {
    EXPECT_EQ(static_cast<size_t>(kPhases[i].phase), i);
    EXPECT_EQ(ParsePhase(kPhases[i].name), kPhases[i].phase);
  }
  EXPECT_EQ(ParsePhase("Nonsense"), std::nullopt);
}

TEST(PhaseTable, EveryPhaseThatIsNotFinalHasADriverADeadlineAReasonAndAnExit) {
  for (const PhaseRow& row : kPhases) {
    if (row.final) continue;
    EXPECT_NE(row.driver, Driver::kNobody) << row.name;
    EXPECT_GT(row.deadline, Duration::zero()) << row.name;
    EXPECT_FALSE(row.overdue_reason.empty()) << row.name;
    EXPECT_FALSE(row.overdue_message.empty()) << row.name;
    bool exit = false;
    for (const Phase next : row.next) exit = exit || next != row.phase;
    EXPECT_TRUE(exit) << row.name;
    if (row.phase != Phase::kTerminating) {
      EXPECT_TRUE(CanFollow(row.phase, Phase::kTerminating)) << row.name;
    }
  }
}

TEST(PhaseTable, AFinalPhaseIsReachableFromEveryOther) {
  for (const PhaseRow& from : kPhases) {
    std::set<Phase> reached = {from.phase};
    for (size_t rounds = 0; rounds < kPhases.size(); ++rounds) {
      for (const Phase phase : std::set<Phase>(reached)) {
        for (const Phase next : RowOf(phase).next) reached.insert(next);
      }
    }
    EXPECT_TRUE(reached.contains(Phase::kFailed) || reached.contains(Phase::kCancelled)) << from.name;
  }
}

TEST_F(SessionLife, RunsFromPendingToSucceededAndReleasesWhatItHeld) {
  Place("a");
  EXPECT_EQ(world_.state.UsedOn("n1").cpu_millis, 1000);
  world_.Report("a", RunIn(RunState::kRunning));
  Settle();
  json::Value status = world_.StatusOf("a");
  EXPECT_EQ(status.StringAt({"phase"}), "Running");
  EXPECT_EQ(ConditionOf(status, "Ready").StringAt({"status"}), "True");
  EXPECT_THAT(HistoryOf(status), ElementsAre("Pending", "Scheduled", "Preparing", "Running"));
  world_.Report("a", Ended(RunState::kExited, 0));
  Settle();
  status = world_.StatusOf("a");
  EXPECT_EQ(status.StringAt({"phase"}), "Succeeded");
  EXPECT_EQ(status.StringAt({"result"}), "Succeeded");
  EXPECT_EQ(status.StringAt({"reason"}), "Completed");
  EXPECT_EQ(status.Int64At({"exitCode"}), 0);
  EXPECT_EQ(status.StringAt({"finishedAt"}), "2026-11-22T10:00:03.000000Z");
  EXPECT_EQ(ConditionOf(status, "Finished").StringAt({"status"}), "True");
  EXPECT_EQ(ConditionOf(status, "Ready").StringAt({"status"}), "False");
  EXPECT_TRUE(world_.BindOf("a").containers[0].released);
  EXPECT_EQ(world_.state.UsedOn("n1").cpu_millis, 0);
}

TEST_F(SessionLife, TheStatusIsAValidTypedStatus) {
  Place("a");
  world_.Report("a", Ended(RunState::kExited, 3));
  Settle();
  const StatusOr<isla::v1::SessionStatus> typed = api::ToSessionStatus(world_.StatusOf("a"));
  ASSERT_TRUE(typed.ok()) << typed.status();
  EXPECT_EQ(typed->phase(), "Failed");
  EXPECT_EQ(typed->exit_code(), 3);
  EXPECT_EQ(typed->containers_size(), 1);
  EXPECT_EQ(typed->containers(0).uid(), MainContainerUid(UidOf("a")));
  EXPECT_EQ(typed->history_size(), 5);
}

TEST_F(SessionLife, PhasesThatNobodySawAreInTheHistoryWithTheirOwnTimes) {
  Place("a");
  world_.Report("a", Ended(RunState::kExited, 1));
  Settle();
  const json::Value status = world_.StatusOf("a");
  EXPECT_THAT(HistoryOf(status), ElementsAre("Pending", "Scheduled", "Preparing", "Running", "Failed"));
  const json::Array& history = status.Find("history")->items();
  EXPECT_EQ(history[0].StringAt({"at"}), "2026-11-22T10:00:00Z");
  EXPECT_EQ(history[2].StringAt({"at"}), "2026-11-22T10:00:01.000000Z");
  EXPECT_EQ(history[3].StringAt({"at"}), "2026-11-22T10:00:02.000000Z");
  EXPECT_EQ(history[4].StringAt({"at"}), "2026-11-22T10:00:03.000000Z");
}

TEST_F(SessionLife, AStartThatFailsIsFailedWithItsReasonAndNeverRan) {
  Place("a");
  auto run = Ended(RunState::kExited, 0, "start-error", "StartError");
  run.started_at.clear();
  run.exit->message = "exec /bin/nothing: ENOENT";
  world_.Report("a", run);
  Settle();
  const json::Value status = world_.StatusOf("a");
  EXPECT_EQ(status.StringAt({"phase"}), "Failed");
  EXPECT_EQ(status.StringAt({"reason"}), "StartError");
  EXPECT_EQ(status.StringAt({"message"}), "exec /bin/nothing: ENOENT");
  EXPECT_EQ(status.Int64At({"exitCode"}), std::nullopt);
  EXPECT_EQ(status.Find("containers")->items().at(0).Int64At({"exitCode"}), std::nullopt);
  EXPECT_THAT(HistoryOf(status), ElementsAre("Pending", "Scheduled", "Preparing", "Failed"));
}

TEST_F(SessionLife, ReasonsOfTheNodeAreTheSessions) {
  for (const char* reason : {"OOMKilled", "Timeout", "ShimLost"}) {
    const std::string name = std::string("s-") + static_cast<char>(std::tolower(reason[0]));
    world_.AddNode("n1");
    world_.AddSession(name);
    Settle();
    world_.Report(name, Ended(RunState::kExited, 137, reason[0] == 'O' ? "oom" : "signal", reason));
    Settle();
    EXPECT_EQ(world_.PhaseOf(name), "Failed");
    EXPECT_EQ(world_.StatusOf(name).StringAt({"reason"}), reason);
  }
}

TEST_F(SessionLife, AContainerThatVanishedWithoutAnExitIsFailedAsLost) {
  Place("a");
  world_.Report("a", RunIn(RunState::kGone));
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Failed");
  EXPECT_EQ(world_.StatusOf("a").StringAt({"reason"}), "Lost");
  EXPECT_EQ(world_.StatusOf("a").Int64At({"exitCode"}), std::nullopt) << "nobody knows";
}

TEST_F(SessionLife, WhatEndedStaysEndedWhenItsRunRecordGoes) {
  Place("a");
  world_.Report("a", Ended(RunState::kExited, 0));
  Settle();
  const json::Value before = world_.StatusOf("a");
  const BindContainer container = world_.BindOf("a").containers[0];
  world_.Delete(world_.keys.Run(container.node, container.uid, container.incarnation));
  Settle();
  EXPECT_EQ(world_.StatusOf("a"), before);
}

TEST_F(SessionLife, NothingIsWrittenWhenNothingChanged) {
  Place("a");
  world_.Report("a", RunIn(RunState::kRunning));
  Settle();
  const store::Revision before = world_.store->Get("x").value().revision;
  set_->AddAll();
  Settle();
  EXPECT_EQ(world_.store->Get("x").value().revision, before);
}

TEST_F(SessionLife, PreparingIsWrittenOnlyIfItLasts) {
  Place("a");
  world_.Report("a", RunIn(RunState::kCreated));
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Scheduled");
  world_.clock.Advance(std::chrono::milliseconds(30));
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Preparing");
}

TEST_F(SessionLife, ADeletedSessionThatWasNeverPlacedGoesAtOnce) {
  world_.AddSession("a");
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Pending");
  MarkDeleted("a");
  Settle();
  EXPECT_FALSE(world_.Has(SpecKey("a")));
  EXPECT_FALSE(world_.Has(world_.keys.Status("session", "default", "a")));
  EXPECT_FALSE(world_.Has(world_.keys.Bind("default", "a")));
}

TEST_F(SessionLife, ADeletedSessionThatRunsIsStoppedWithItsGraceAndGoesWhenItIsGone) {
  Place("a");
  world_.Report("a", RunIn(RunState::kRunning));
  Settle();
  MarkDeleted("a", 7);
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Terminating");
  EXPECT_EQ(world_.BindOf("a").containers[0].desired, Desired::kStop);
  EXPECT_EQ(world_.BindOf("a").containers[0].grace_period_msec, 7000);
  EXPECT_EQ(world_.StatusOf("a").Int64At({"observedGeneration"}), 2);

  world_.Report("a", Ended(RunState::kExited, 143, "stopped", "Stopped"));
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Terminating");
  EXPECT_EQ(world_.StatusOf("a").StringAt({"result"}), "Cancelled");

  world_.Report("a", Ended(RunState::kGone, 143, "stopped", "Stopped"));
  const std::string run = world_.keys.Run("n1", MainContainerUid(UidOf("a")), 1);
  ASSERT_TRUE(world_.Has(run));
  const store::Revision before = world_.store->Get("x").value().revision;
  Settle();
  for (const std::string& key : {SpecKey("a"), world_.keys.Status("session", "default", "a").text(),
                                 world_.keys.Bind("default", "a").text(), run}) {
    EXPECT_FALSE(world_.Has(key)) << key;
  }
  EXPECT_EQ(world_.store->Get("x").value().revision, before + 1) << "all keys go in one transaction";
}

TEST_F(SessionLife, ASecondDeleteWithLessGraceShortensIt) {
  Place("a");
  MarkDeleted("a", 30);
  Settle();
  MarkDeleted("a", 1);
  Settle();
  EXPECT_EQ(world_.BindOf("a").containers[0].grace_period_msec, 1000);
  MarkDeleted("a", 60);
  Settle();
  EXPECT_EQ(world_.BindOf("a").containers[0].grace_period_msec, 1000);
}

TEST_F(SessionLife, AFinishedSessionThatIsDeletedKeepsItsResult) {
  Place("a");
  world_.Report("a", Ended(RunState::kExited, 0));
  Settle();
  MarkDeleted("a");
  Settle();
  const json::Value status = world_.StatusOf("a");
  EXPECT_EQ(status.StringAt({"phase"}), "Terminating");
  EXPECT_EQ(status.StringAt({"result"}), "Succeeded");
  EXPECT_EQ(HistoryOf(status).back(), "Terminating");
}

TEST_F(SessionLife, AnEndThatWasSeenOnlyAfterTheDeletionIsInTheHistory) {
  Place("a");
  world_.Report("a", Ended(RunState::kExited, 0));
  MarkDeleted("a");
  Settle();
  EXPECT_THAT(HistoryOf(world_.StatusOf("a")),
              ElementsAre("Pending", "Scheduled", "Preparing", "Running", "Succeeded", "Terminating"));
}

TEST_F(SessionLife, ARefusedSessionGoesBackToPendingAndTriesAgainElsewhere) {
  world_.AddNode("n2");
  Place("a");
  auto nack = RunIn(RunState::kGone);
  nack.accepted_at.clear();
  nack.nack = RunNack{"OutOfMemory", "someone was quicker"};
  world_.Report("a", nack);
  const std::string run = world_.keys.Run("n1", MainContainerUid(UidOf("a")), 1);
  Settle();
  const Bind bind = world_.BindOf("a");
  ASSERT_EQ(bind.containers.size(), 1U);
  EXPECT_EQ(bind.containers[0].node, "n2");
  EXPECT_EQ(bind.containers[0].incarnation, 2);
  EXPECT_FALSE(world_.Has(run));
  EXPECT_THAT(HistoryOf(world_.StatusOf("a")), ElementsAre("Pending", "Scheduled", "Pending", "Scheduled"));
}

TEST_F(SessionLife, OneThatMayHaveRunBeforeARestoreGetsTheNextIncarnationAtOnce) {
  Place("a");
  EXPECT_EQ(world_.BindOf("a").epoch, 1);
  world_.Put(world_.keys.Cluster(), R"({"id":"c1","epoch":2,"level":1})");
  auto nack = RunIn(RunState::kRunning);
  nack.nack = RunNack{std::string(kStoreRestored), "may have run"};
  world_.Report("a", nack);
  Settle();
  const Bind bind = world_.BindOf("a");
  ASSERT_EQ(bind.containers.size(), 1U);
  EXPECT_EQ(bind.containers[0].incarnation, kIncarnationsOfAnEpoch + 1) << "2 may have been given out in the history that is lost";
  EXPECT_EQ(bind.containers[0].node, "n1") << "it is not the node that refused";
  EXPECT_TRUE(bind.avoid.empty());
  EXPECT_EQ(bind.epoch, 2);
}

TEST_F(SessionLife, ARefusalByTheOnlyNodeIsToldAndTriedAgainLater) {
  Place("a");
  auto nack = RunIn(RunState::kGone);
  nack.accepted_at.clear();
  nack.nack = RunNack{"NotAllowed", "host network is off"};
  world_.Report("a", nack);
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Pending");
  EXPECT_EQ(world_.StatusOf("a").StringAt({"reason"}), "NotAllowed");
  EXPECT_THAT(world_.StatusOf("a").StringAt({"message"}), HasSubstr("host network is off"));
  world_.clock.Advance(seconds(6));
  Settle();
  EXPECT_EQ(world_.PhaseOf("a"), "Scheduled");
  EXPECT_EQ(world_.BindOf("a").containers[0].incarnation, 2);
}

TEST_F(SessionLife, ANodeThatDoesNotAnswerIsReportedAfterTheDeadline) {
  Place("a");
  EXPECT_EQ(ConditionOf(world_.StatusOf("a"), "Ready").StringAt({"reason"}), "WaitingForNode");
  world_.clock.Advance(seconds(16));
  Settle();
  const json::Value ready = ConditionOf(world_.StatusOf("a"), "Ready");
  EXPECT_EQ(ready.StringAt({"status"}), "False");
  EXPECT_EQ(ready.StringAt({"reason"}), "NodeNotResponding");
  const store::Revision before = world_.store->Get("x").value().revision;
  world_.clock.Advance(seconds(60));
  Settle();
  EXPECT_EQ(world_.store->Get("x").value().revision, before) << "said once";
}

TEST_F(SessionLife, ADisconnectedNodeMakesReadyUnknownAndItsReturnTrue) {
  Place("a");
  world_.Report("a", RunIn(RunState::kRunning));
  Settle();
  world_.Delete(world_.keys.Gateway("g1"));
  Settle();
  EXPECT_EQ(ConditionOf(world_.StatusOf("a"), "Ready").StringAt({"status"}), "Unknown");
  EXPECT_EQ(world_.PhaseOf("a"), "Running");
  EXPECT_EQ(world_.BindOf("a").containers[0].desired, Desired::kRun) << "absence is never a command";
  world_.Put(world_.keys.Gateway("g1"), "{}");
  Settle();
  EXPECT_EQ(ConditionOf(world_.StatusOf("a"), "Ready").StringAt({"status"}), "True");
}

TEST_F(SessionLife, ASpecThatVanishedStopsNothing) {
  Place("a");
  world_.Report("a", RunIn(RunState::kRunning));
  Settle();
  world_.Delete(SpecKey("a"));
  Settle();
  EXPECT_EQ(world_.BindOf("a").containers[0].desired, Desired::kRun);
}

TEST_F(SessionLife, ANameTakenAgainStopsTheOlderContainerBeforeItRuns) {
  Place("a");
  world_.Report("a", RunIn(RunState::kRunning));
  Settle();
  SessionOptions other;
  other.uid = UidOf("another");
  world_.Put(SpecKey("a"), json::Serialize(SessionJson("a", other)));
  Settle();
  EXPECT_EQ(world_.BindOf("a").uid, UidOf("a"));
  EXPECT_EQ(world_.BindOf("a").containers[0].desired, Desired::kStop);
  world_.Report("a", Ended(RunState::kGone, 143, "stopped"));
  Settle();
  EXPECT_EQ(world_.BindOf("a").uid, UidOf("another"));
  EXPECT_EQ(world_.BindOf("a").containers[0].uid, MainContainerUid(UidOf("another")));
  EXPECT_FALSE(world_.Has(world_.keys.Run("n1", MainContainerUid(UidOf("a")), 1)));
  EXPECT_THAT(HistoryOf(world_.StatusOf("a")), ElementsAre("Pending", "Scheduled"));
}

TEST_F(SessionLife, GarbageInOneKeyHoldsBackNoOther) {
  world_.AddNode("n1");
  world_.Put(SpecKey("bad1"), "{\"not\": json");
  world_.Put(SpecKey("bad2"), "[]");
  world_.Put(SpecKey("bad3"), "\xff\xfe");
  world_.Put(world_.keys.Bind("default", "bad4"), "garbage");
  world_.Put(world_.keys.Node("bad"), "garbage");
  world_.Put(world_.keys.Run("n1", "x", 1), "garbage");
  world_.AddSession("bad4");
  world_.AddSession("good");
  Settle();
  EXPECT_EQ(world_.PhaseOf("good"), "Scheduled");
  EXPECT_EQ(world_.Value(world_.keys.Bind("default", "bad4")), "garbage");
}

TEST_F(SessionLife, AnObjectThatCouldNotPassTheDoorIsToldWhyItDoesNotRun) {
  world_.AddNode("n1");
  json::Value object = SessionJson("odd");
  object.Member("spec").Member("resources").Set("cpu", "banana");
  world_.Put(SpecKey("odd"), json::Serialize(object));
  Settle();
  EXPECT_EQ(world_.PhaseOf("odd"), "Pending");
  EXPECT_EQ(world_.StatusOf("odd").StringAt({"reason"}), "InvalidSpec");
  EXPECT_THAT(world_.StatusOf("odd").StringAt({"message"}), HasSubstr("spec.resources.cpu"));
}

/// The history of a session that was created at `created` and is bound at `now`, as "phase at".
std::vector<std::string> HistoryAt(const std::string& created, const std::string& now) {
  json::Value object = SessionJson("a");
  object.Member("metadata").Set("creationTimestamp", created);
  const auto spec = DecodeSessionSpec(json::Serialize(object));
  ISLA_CHECK_OK(spec);
  Bind bind;
  bind.containers.emplace_back();
  bind.containers[0].node = "n1";
  StatusInput input;
  input.spec = &*spec;
  input.bind = &bind;
  input.now = ParseRfc3339(now).value();
  const json::Value status = NextStatus(input);
  std::vector<std::string> out;
  for (const json::Value& entry : status.Find("history")->items()) {
    out.push_back(entry.StringAt({"phase"}) + " " + entry.StringAt({"at"}));
  }
  return out;
}

TEST(History, BeginsWithTheExactTimeOfCreation) {
  EXPECT_THAT(HistoryAt("2026-11-22T10:00:00.123456Z", "2026-11-22T10:00:00.150000Z"),
              ElementsAre("Pending 2026-11-22T10:00:00.123456Z", "Scheduled 2026-11-22T10:00:00.150000Z"));
}

TEST(History, SchedulingIsNeverBeforeTheCreationWhateverTheLeadersClockSays) {
  EXPECT_THAT(HistoryAt("2026-11-22T10:00:00.123456Z", "2026-11-22T10:00:00.100000Z"),
              ElementsAre("Pending 2026-11-22T10:00:00.123456Z", "Scheduled 2026-11-22T10:00:00.123456Z"));
}

TEST_F(SessionLife, HistoryIsBoundedAndKeepsItsBeginning) {
  world_.AddNode("n1");
  world_.AddSession("a");
  for (int i = 0; i < 50; ++i) {
    Settle();
    ASSERT_EQ(world_.PhaseOf("a"), "Scheduled");
    auto nack = RunIn(RunState::kGone);
    nack.nack = RunNack{"NotAllowed", "never"};
    nack.accepted_at.clear();
    world_.Report("a", nack);
    Settle();
    world_.clock.Advance(std::chrono::minutes(6));
  }
  const json::Value status = world_.StatusOf("a");
  const json::Array& history = status.Find("history")->items();
  EXPECT_EQ(history.size(), kMaxHistory);
  EXPECT_EQ(history[0].StringAt({"at"}), "2026-11-22T10:00:00Z");
}

TEST_F(SessionLife, MembersThatANewerIsladWroteAreKept) {
  Place("a");
  json::Value bind = json::Parse(world_.Value(world_.keys.Bind("default", "a"))).value();
  bind.Set("gang", "g7");
  bind.Find("containers")->items()[0].Set("devices", json::Value::MakeArray({"gpu0"}));
  world_.Put(world_.keys.Bind("default", "a"), json::Serialize(bind));
  world_.Report("a", Ended(RunState::kExited, 0));
  Settle();
  const json::Value after = json::Parse(world_.Value(world_.keys.Bind("default", "a"))).value();
  EXPECT_EQ(after.StringAt({"gang"}), "g7");
  EXPECT_NE(after.Find("containers")->items()[0].Find("devices"), nullptr);
  EXPECT_TRUE(world_.BindOf("a").containers[0].released);
}

}  // namespace
}  // namespace isla::controllers
