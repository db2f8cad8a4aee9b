// New versions of a SandboxPolicy: what bind/ tells the node of a session that runs, and what the session's status says.
#include <gmock/gmock.h>

#include "api/object/object.h"
#include "controllers/session/policy_status.h"
#include "controllers/session/status.h"
#include "tests/unit/controllers/session_life.h"

namespace isla::controllers {
namespace {

using testing::HasSubstr;

json::Value PolicyJson(const std::string& mode, int64_t generation) {
  using json::Value;
  return Value::MakeObject({{"apiVersion", "isla/v1"},
                            {"kind", "SandboxPolicy"},
                            {"metadata", Value::MakeObject({{"name", "web"}, {"namespace", "default"}, {"uid", UidOf("policy/web")},
                                                            {"generation", generation}, {"creationTimestamp", "2026-11-22T10:00:00Z"}})},
                            {"spec", Value::MakeObject({{"mode", mode}, {"base", Value::MakeObject({{"groups", Value::MakeArray({"@container"})}})}})}});
}

class PolicyLife : public SessionLife {
 protected:
  /// A session that runs under the first version.
  void Begin(std::vector<std::string> features = {std::string(kPolicyUpdates)}) {
    Node node = NodeOf("n1");
    node.features = std::move(features);
    world_.Put(world_.keys.Node("n1"), Encode(node));
    one_ = Apply("enforce");
    json::Value session = SessionJson("s");
    session.Member("spec").Set("sandbox", json::Value::MakeObject({{"policy", "web"}}));
    world_.Put(SpecKey("s"), json::Serialize(session));
    Settle();
    ASSERT_EQ(world_.PhaseOf("s"), "Scheduled");
    Say({one_});
    ASSERT_EQ(world_.PhaseOf("s"), "Running");
  }
  /// Its hash.
  std::string Apply(const std::string& mode) {
    world_.Put(PolicyKey(), json::Serialize(PolicyJson(mode, ++generation_)));
    Settle();
    return DecodeStoredPolicy(*world_.store->Get(PolicyKey()).value().kv)->hash;
  }
  void Say(RunPolicy policy) {
    controllers::Run run = RunIn(RunState::kRunning);
    run.policy = std::move(policy);
    world_.Report("s", run);
    Settle();
  }
  store::Key PolicyKey() { return world_.keys.Spec("sandboxpolicy", "default", "web"); }
  std::string Wanted() { return world_.BindOf("s").containers.at(0).WantedPolicy(); }
  std::string TellHash() { return world_.BindOf("s").containers.at(0).hash; }
  json::Value Condition() { return ConditionOf(world_.StatusOf("s"), "PolicyCurrent"); }
  std::string Reason() { return Condition().StringAt({"reason"}); }
  std::vector<std::string> Events() {
    std::vector<std::string> reasons;
    const json::Value status = world_.StatusOf("s");
    for (const json::Value& entry : status.Find("history")->items()) {
      if (entry.StringAt({"reason"}).starts_with("Policy")) reasons.push_back(entry.StringAt({"reason"}));
    }
    return reasons;
  }

  std::string one_;
  int64_t generation_ = 0;
};

TEST_F(PolicyLife, ANewVersionIsToldToTheNodeAndCurrentOnceItIsInForce) {
  Begin();
  EXPECT_EQ(Reason(), "InForce");
  EXPECT_EQ(Condition().StringAt({"status"}), "True");
  EXPECT_EQ(Wanted(), one_);
  const std::string hash = TellHash();
  const std::string two = Apply("warn");
  EXPECT_EQ(Wanted(), two);
  EXPECT_NE(TellHash(), hash) << "or no agent would hear of it";
  EXPECT_EQ(world_.BindOf("s").containers.at(0).launch.StringAt({"sandboxPolicyHash"}), one_) << "a launch is frozen";
  EXPECT_EQ(Reason(), "Updating");
  EXPECT_THAT(Condition().StringAt({"message"}), HasSubstr("version " + ShortVersion(one_) + " is until then"));
  Say({two});
  EXPECT_EQ(Reason(), "InForce");
  EXPECT_THAT(Condition().StringAt({"message"}), HasSubstr("generation 2, version " + ShortVersion(two)));
  EXPECT_EQ(world_.StatusOf("s").FindPath({"containers"})->items().at(0).StringAt({"policyVersion"}), two);
  EXPECT_THAT(Events(), testing::ElementsAre("PolicyUpdated"));
  isla::v1::SessionStatus typed;
  EXPECT_TRUE(api::ToMessage(world_.StatusOf("s"), typed).ok());
  EXPECT_EQ(Settle(), 0) << "and then nothing is written";
}

TEST_F(PolicyLife, AVersionThatTakesARestartIsToldWithTheReasonAndAnEntryOfTheHistory) {
  Begin();
  const std::string two = Apply("warn");
  Say({one_, two, "PolicyRestartRequired", "it changes: mode"});
  EXPECT_EQ(Reason(), "PolicyRestartRequired");
  EXPECT_EQ(Condition().StringAt({"status"}), "False");
  EXPECT_THAT(Condition().StringAt({"message"}), HasSubstr("it changes: mode; version " + ShortVersion(one_) + " stays in force"));
  EXPECT_EQ(world_.StatusOf("s").FindPath({"containers"})->items().at(0).StringAt({"policyRefused"}), two);
  EXPECT_THAT(Events(), testing::ElementsAre("PolicyRestartRequired"));
  // Another that is refused is another entry; going back is none.
  const std::string three = Apply("learn");
  EXPECT_EQ(Reason(), "Updating");
  Say({one_, three, "PolicyRestartRequired", "it changes: mode"});
  EXPECT_THAT(Events(), testing::ElementsAre("PolicyRestartRequired", "PolicyRestartRequired"));
  EXPECT_EQ(Apply("enforce"), one_);
  EXPECT_EQ(Reason(), "InForce");
  EXPECT_EQ(Wanted(), one_);
}

TEST_F(PolicyLife, ADeletedPolicyStaysInForceAndTheConditionSaysSo) {
  Begin();
  world_.Delete(PolicyKey());
  Settle();
  EXPECT_EQ(Wanted(), one_);
  EXPECT_EQ(Reason(), "PolicyDeleted");
  EXPECT_THAT(Condition().StringAt({"message"}), HasSubstr("no SandboxPolicy 'web' any more; version " + ShortVersion(one_) + " stays in force"));
  EXPECT_THAT(Events(), testing::ElementsAre("PolicyDeleted"));
  Apply("enforce");
  EXPECT_EQ(Reason(), "InForce");
}

TEST_F(PolicyLife, APolicyThatCannotBeReadChangesNothing) {
  Begin();
  world_.Put(PolicyKey(), "{");
  Settle();
  EXPECT_EQ(Wanted(), one_);
  EXPECT_EQ(Reason(), "PolicyUnreadable");
}

TEST_F(PolicyLife, AnAgentThatCannotIsNamed) {
  Begin({});
  EXPECT_EQ(Reason(), "InForce");
  controllers::Run run = RunIn(RunState::kRunning);
  world_.Report("s", run);
  Apply("warn");
  EXPECT_EQ(Reason(), "AgentTooOld");
  EXPECT_THAT(Condition().StringAt({"message"}), HasSubstr(ShortVersion(one_) + " stays in force"));
}

TEST_F(PolicyLife, WhatIsPlacedAndHasNotStartedIsToldTooAndWhatEndedIsNot) {
  Begin();
  world_.Report("s", Ended(RunState::kExited, 0));
  Settle();
  Apply("warn");
  EXPECT_EQ(Wanted(), one_);
  EXPECT_EQ(Condition(), json::Value());
  json::Value session = SessionJson("t");
  session.Member("spec").Set("sandbox", json::Value::MakeObject({{"policy", "web"}}));
  world_.Put(SpecKey("t"), json::Serialize(session));
  Settle();
  const std::string bound = world_.BindOf("t").containers.at(0).WantedPolicy();
  const std::string two = Apply("learn");
  EXPECT_NE(bound, two);
  EXPECT_EQ(world_.BindOf("t").containers.at(0).WantedPolicy(), two);
}

TEST_F(PolicyLife, WhatALaterVersionsProgramTakesIsCountedForWhatHasNotStarted) {
  Begin();
  const auto apply = [this](const std::string& memory) {
    json::Value policy = PolicyJson("enforce", ++generation_);
    policy.Member("spec").Set("program", json::Value::MakeObject({{"source", "function f() end"}, {"memory", memory}}));
    world_.Put(PolicyKey(), json::Serialize(policy));
    Settle();
  };
  const auto memory = [this](const std::string& name) { return world_.BindOf(name).containers.at(0).resources.memory_bytes >> 20; };
  json::Value session = SessionJson("t");
  session.Member("spec").Set("sandbox", json::Value::MakeObject({{"policy", "web"}}));
  world_.Put(SpecKey("t"), json::Serialize(session));
  Settle();
  ASSERT_EQ(memory("t"), 64);
  apply("16Mi");
  EXPECT_EQ(memory("t"), 64 + 20) << "it may start with this version";
  EXPECT_EQ(memory("s"), 64) << "it runs, and its scope has no room for that: the version takes a restart";
  apply("8Mi");
  EXPECT_EQ(memory("t"), 64 + 20) << "which one it starts with is its node's to say";
}

TEST_F(PolicyLife, ManyVersionsPushNoPhaseOutOfTheHistory) {
  Begin();
  for (int i = 0; i < 100; ++i) Say({Apply(i % 2 == 0 ? "warn" : "enforce")});
  EXPECT_THAT(Events(), testing::SizeIs(kMaxPolicyHistory));
  std::vector<std::string> phases = HistoryOf(world_.StatusOf("s"));
  phases.resize(4);
  EXPECT_THAT(phases, testing::ElementsAre("Pending", "Scheduled", "Preparing", "Running"));
}

TEST_F(PolicyLife, ADecisionUponAnotherVersionThanThePresentDoesNotHold) {
  Begin();
  world_.Put(PolicyKey(), json::Serialize(PolicyJson("warn", 2)));
  world_.Sync();
  const Decision decision = SessionController(world_.keys, world_.clock).Reconcile("default/s", world_.state);
  ASSERT_TRUE(decision.txn.has_value());
  world_.Put(PolicyKey(), json::Serialize(PolicyJson("learn", 3)));
  EXPECT_FALSE(world_.store->Txn(*decision.txn)->succeeded);
}

}  // namespace
}  // namespace isla::controllers
