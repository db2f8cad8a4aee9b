#include "controllers/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/object/object.h"
#include "tests/unit/controllers/world.h"

namespace isla::controllers {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;

class SchedulerTest : public testing::Test {
 protected:
  /// One decision on the present state, committed. Its name, "" for nothing.
  std::string Run() {
    world_.Sync();
    last_ = scheduler_.Reconcile(Scheduler::kKey, world_.state);
    if (last_.nothing()) return "";
    world_.Commit(*last_.txn);
    world_.Sync();
    return last_.what;
  }
  std::string NodeFor(const std::string& name) {
    const Bind bind = world_.BindOf(name);
    return bind.containers.empty() ? "" : bind.containers[0].node;
  }

  World world_;
  Scheduler scheduler_{world_.keys, world_.clock};
  Decision last_;
};

TEST_F(SchedulerTest, PlacesInOrderOfCreationOnTheFirstNodeByName) {
  world_.AddNode("b");
  world_.AddNode("a");
  world_.AddSession("zz");
  world_.AddSession("aa");
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(NodeFor("zz"), "a");
  EXPECT_FALSE(world_.Has(world_.keys.Bind("default", "aa")));
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(NodeFor("aa"), "a");
  EXPECT_EQ(Run(), "");
}

TEST_F(SchedulerTest, WhatOneTransactionCreatedIsPlacedInOrderOfItsTimes) {
  world_.AddNode("a");
  store::Transaction txn;
  for (const auto& [name, at] : {std::pair("a", "2026-11-22T10:00:00.000003Z"), std::pair("b", "2026-11-22T10:00:00.000001Z"),
                                 std::pair("c", "2026-11-22T10:00:00.000002Z")}) {
    json::Value session = SessionJson(name);
    session.Member("metadata").Set("creationTimestamp", at);
    txn.success.push_back(store::Operation::Put(world_.keys.Spec("session", "default", name), json::Serialize(session)));
  }
  world_.Commit(txn);
  for (const char* name : {"b", "c", "a"}) {
    EXPECT_EQ(Run(), "bind");
    EXPECT_EQ(NodeFor(name), "a") << name;
  }
}

TEST_F(SchedulerTest, AfterARestoreWhatWasThereGetsIncarnationsOfTheEpochsOwn) {
  world_.AddNode("a");
  world_.AddSession("old");
  world_.Put(world_.keys.Cluster(), R"({"id":"c1","epoch":3,"level":1})");
  world_.AddSession("new");
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(world_.BindOf("old").containers.at(0).incarnation, 2 * kIncarnationsOfAnEpoch + 1);
  EXPECT_EQ(world_.BindOf("new").containers.at(0).incarnation, 1) << "nobody can have given out one of it before";
  EXPECT_EQ(world_.BindOf("new").epoch, 3);
}

TEST_F(SchedulerTest, BeforeTheEpochOfARestoreIsWrittenAllThatIsThereIsOlder) {
  world_.AddNode("a");
  world_.AddSession("s");
  world_.Sync();
  world_.state.Reset(world_.store->List(world_.keys.prefix()).value(), 1);
  const Decision decision = scheduler_.Reconcile(Scheduler::kKey, world_.state);
  ASSERT_TRUE(decision.txn.has_value());
  world_.Commit(*decision.txn);
  EXPECT_EQ(world_.BindOf("s").containers.at(0).incarnation, kIncarnationsOfAnEpoch + 1);
}

TEST_F(SchedulerTest, WritesBindAndStatusInOneTransaction) {
  world_.AddNode("a");
  world_.AddSession("s");
  const store::Revision before = world_.store->Get("x").value().revision;
  Run();
  EXPECT_EQ(world_.store->Get("x").value().revision, before + 1);
  EXPECT_EQ(world_.PhaseOf("s"), "Scheduled");
  EXPECT_EQ(ConditionOf(world_.StatusOf("s"), "Scheduled").StringAt({"status"}), "True");
  const BindContainer container = world_.BindOf("s").containers.at(0);
  EXPECT_EQ(container.uid, DerivedUuid(UidOf("s"), "main/0").value());
  EXPECT_EQ(container.incarnation, 1);
  EXPECT_EQ(container.node_uid, UidOf("node/a"));
  EXPECT_EQ(container.desired, Desired::kRun);
  EXPECT_EQ(container.resources, (Resources{1000, int64_t{64} << 20, 64}));
}

TEST_F(SchedulerTest, TheLaunchDocumentHasEveryDefaultAndItsHash) {
  world_.AddNode("a");
  json::Value object = SessionJson("s");
  json::Value& spec = object.Member("spec");
  spec.Set("args", json::Value::MakeArray({"-x"}));
  spec.Set("env", json::Value::MakeArray({json::Value::MakeObject({{"name", "A"}, {"value", "1"}})}));
  spec.Set("mounts", json::Value::MakeArray({json::Value::MakeObject({{"hostPath", "/srv"}, {"mountPath", "/m"}}),
                                             json::Value::MakeObject({{"hostPath", "/w"}, {"mountPath", "/w"}, {"readOnly", false}})}));
  spec.Set("timeout", "1h");
  for (const char* name : {"image", "workingDir", "network", "terminationGracePeriod"}) spec.Remove(name);
  world_.Put(world_.keys.Spec("session", "default", "s"), json::Serialize(object));
  Run();
  const BindContainer container = world_.BindOf("s").containers.at(0);
  isla::v1::LaunchSpec launch;
  ASSERT_TRUE(api::ToMessage(container.launch, launch).ok());
  EXPECT_EQ(launch.session(), "s");
  EXPECT_EQ(launch.image(), "host");
  EXPECT_EQ(launch.argv_size(), 2);
  EXPECT_EQ(launch.env(0), "A=1");
  EXPECT_EQ(launch.working_dir(), "/");
  EXPECT_EQ(launch.network(), "none");
  EXPECT_EQ(launch.timeout_msec(), 3'600'000);
  EXPECT_EQ(launch.grace_period_msec(), 30'000);
  EXPECT_EQ(launch.memory_bytes(), int64_t{64} << 20);
  EXPECT_EQ(launch.sandbox_policy(), "default");
  EXPECT_TRUE(launch.mounts(0).read_only());
  EXPECT_FALSE(launch.mounts(1).read_only());
  EXPECT_EQ(container.hash, Sha256Hex(json::Serialize(container.launch)));
}

json::Value PolicyJson(const std::string& name, const std::string& mode = "enforce") {
  using json::Value;
  return Value::MakeObject({{"apiVersion", "isla/v1"},
                            {"kind", "SandboxPolicy"},
                            {"metadata", Value::MakeObject({{"name", name}, {"namespace", "default"}, {"uid", UidOf("policy/" + name)},
                                                            {"generation", 1}, {"creationTimestamp", "2026-11-22T10:00:00Z"}})},
                            {"spec", Value::MakeObject({{"mode", mode}, {"base", Value::MakeObject({{"groups", Value::MakeArray({"@container"})}})}})}});
}

TEST_F(SchedulerTest, ASessionWaitsForItsSandboxPolicyAndIsBoundWithItsVersion) {
  world_.AddNode("a");
  json::Value session = SessionJson("s");
  session.Member("spec").Set("sandbox", json::Value::MakeObject({{"policy", "web"}}));
  world_.Put(world_.keys.Spec("session", "default", "s"), json::Serialize(session));
  EXPECT_EQ(Run(), "verdict");
  EXPECT_EQ(world_.BindOf("s").verdict->reason, "SandboxPolicyNotFound");
  EXPECT_EQ(world_.BindOf("s").verdict->message, "there is no SandboxPolicy 'web' in namespace 'default'");
  EXPECT_EQ(Run(), "") << "said once";
  world_.Put(world_.keys.Spec("sandboxpolicy", "other", "web"), json::Serialize(PolicyJson("web")));
  EXPECT_EQ(Run(), "") << "another namespace's";
  std::vector<std::string> keys;
  world_.Put(world_.keys.Spec("sandboxpolicy", "default", "web"), json::Serialize(PolicyJson("web")));
  for (const Change& change : world_.Sync()) scheduler_.KeysFor(change, world_.state, keys);
  EXPECT_FALSE(keys.empty()) << "it is looked at again when there is one";
  EXPECT_EQ(Run(), "bind");
  isla::v1::LaunchSpec launch;
  ASSERT_TRUE(api::ToMessage(world_.BindOf("s").containers.at(0).launch, launch).ok());
  EXPECT_EQ(launch.sandbox_policy(), "web");
  EXPECT_EQ(launch.sandbox_policy_text(), "") << "texts aren't repeated for each session";
  const auto text = world_.state.PolicyText("default", "web", launch.sandbox_policy_hash());
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(Sha256Hex(*text), launch.sandbox_policy_hash());
  // What makes no difference to a node is no other version; a change of spec is.
  json::Value labelled = PolicyJson("web");
  labelled.Member("metadata").Set("labels", json::Value::MakeObject({{"x", "y"}}));
  world_.Put(world_.keys.Spec("sandboxpolicy", "default", "web"), json::Serialize(labelled));
  world_.Sync();
  EXPECT_NE(world_.state.PolicyText("default", "web", launch.sandbox_policy_hash()), nullptr);
  world_.Put(world_.keys.Spec("sandboxpolicy", "default", "web"), json::Serialize(PolicyJson("web", "warn")));
  world_.Sync();
  EXPECT_EQ(world_.state.PolicyText("default", "web", launch.sandbox_policy_hash()), nullptr);
}

TEST_F(SchedulerTest, APolicyThatCantBeReadIsInNobodysWayButItsSessions) {
  world_.AddNode("a");
  world_.Put(world_.keys.Spec("sandboxpolicy", "default", "web"), "{");
  json::Value session = SessionJson("s");
  session.Member("spec").Set("sandbox", json::Value::MakeObject({{"policy", "web"}}));
  world_.Put(world_.keys.Spec("session", "default", "s"), json::Serialize(session));
  world_.AddSession("t");
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(NodeFor("t"), "a");
  EXPECT_EQ(Run(), "verdict");
  EXPECT_EQ(world_.BindOf("s").verdict->reason, "SandboxPolicyUnreadable");
}

TEST_F(SchedulerTest, WhatAPolicysProgramAddsToTheGrantIsCountedOnTheNode) {
  using json::Value;
  const auto put_policy = [this](Value program) {
    Value policy = PolicyJson("web");
    policy.Member("spec").Set("program", std::move(program));
    world_.Put(world_.keys.Spec("sandboxpolicy", "default", "web"), json::Serialize(policy));
  };
  // Each asks for 64 MiB.
  const auto put_session = [this](const std::string& name) {
    Value session = SessionJson(name);
    session.Member("spec").Set("sandbox", Value::MakeObject({{"policy", "web"}}));
    world_.Put(world_.keys.Spec("session", "default", name), json::Serialize(session));
  };
  world_.AddNode("a", {100'000, int64_t{150} << 20, 10'000});
  put_policy(Value::MakeObject({{"source", "function f() end"}, {"memory", "8Mi"}}));
  put_session("s");
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(world_.state.UsedOn("a").memory_bytes, int64_t{64 + 10} << 20);
  isla::v1::LaunchSpec launch;
  ASSERT_TRUE(api::ToMessage(world_.BindOf("s").containers.at(0).launch, launch).ok());
  EXPECT_EQ(launch.memory_bytes(), int64_t{64} << 20) << "the grant is what was asked for";
  // Without a word on it a program has 16 MiB: 64 + 20 don't fit beside, 64 and less would.
  put_policy(Value::MakeObject({{"source", "function f() end"}}));
  put_session("t");
  EXPECT_EQ(Run(), "verdict");
  EXPECT_EQ(world_.BindOf("t").verdict->message, "0/1 nodes fit: 1 out of memory");
  put_policy(Value::MakeObject({{"source", "function f() end"}, {"memory", 4 << 20}}));  // a number, as it may be written
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(world_.state.UsedOn("a").memory_bytes, int64_t{74 + 69} << 20);
}

TEST_F(SchedulerTest, NeverPlacesMoreThanANodeHas) {
  world_.AddNode("a", {2500, int64_t{1} << 30, 1000});
  for (int i = 0; i < 4; ++i) world_.AddSession("s" + std::to_string(i));
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(Run(), "verdict");
  EXPECT_EQ(Run(), "verdict");
  EXPECT_EQ(Run(), "");
  EXPECT_EQ(world_.state.UsedOn("a").cpu_millis, 2000);
  EXPECT_EQ(world_.PhaseOf("s2"), "Pending");
  EXPECT_THAT(world_.StatusOf("s2").StringAt({"message"}), HasSubstr("0/1 nodes fit: 1 out of cpu"));
  EXPECT_EQ(ConditionOf(world_.StatusOf("s2"), "Scheduled").StringAt({"reason"}), "Unschedulable");
}

TEST_F(SchedulerTest, ABindingComesBeforeAnyVerdict) {
  world_.AddNode("a");
  SessionOptions big;
  big.cpu = "100";
  world_.AddSession("big", big);
  world_.AddSession("small");
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(NodeFor("small"), "a");
  EXPECT_EQ(Run(), "verdict");
}

TEST_F(SchedulerTest, AVerdictCountsTheReasonsAndIsWrittenOnlyWhenItChanges) {
  world_.AddNode("a", {500, int64_t{1} << 30, 1000});
  world_.AddNode("b", {4000, 1 << 20, 1000});
  Node away = NodeOf("c");
  away.connected = false;
  world_.Put(world_.keys.Node("c"), Encode(away));
  Node orphaned = NodeOf("d");
  orphaned.gateway = "g-dead";
  world_.Put(world_.keys.Node("d"), Encode(orphaned));
  world_.AddSession("s");
  EXPECT_EQ(Run(), "verdict");
  EXPECT_EQ(world_.BindOf("s").verdict->message,
            "0/4 nodes fit: 2 not connected, 1 out of cpu, 1 out of memory");
  world_.clock.Advance(minutes(1));
  EXPECT_EQ(Run(), "");
}

TEST_F(SchedulerTest, WithoutNodesItSaysSo) {
  world_.AddSession("s");
  EXPECT_EQ(Run(), "verdict");
  EXPECT_EQ(world_.BindOf("s").verdict->message, "0/0 nodes fit: no node has registered");
}

TEST_F(SchedulerTest, CapacityThatIsReleasedIsGivenAgain) {
  world_.AddNode("a", {1000, int64_t{1} << 30, 1000});
  world_.AddSession("s1");
  world_.AddSession("s2");
  Run();
  Run();
  ASSERT_EQ(NodeFor("s2"), "");
  Bind bind = world_.BindOf("s1");
  bind.containers[0].released = true;
  world_.Put(world_.keys.Bind("default", "s1"), Encode(bind));
  EXPECT_EQ(Run(), "bind");
  EXPECT_EQ(NodeFor("s2"), "a");
  EXPECT_EQ(world_.BindOf("s2").verdict, std::nullopt);
}

TEST_F(SchedulerTest, OnlyNodesWithTheLabelsAskedFor) {
  Node gpu = NodeOf("z");
  gpu.labels = {{"gpu", "yes"}, {"rack", "1"}};
  world_.AddNode("a");
  world_.Put(world_.keys.Node("z"), Encode(gpu));
  SessionOptions options;
  options.node_selector = json::Value::MakeObject({{"gpu", "yes"}});
  world_.AddSession("s", options);
  Run();
  EXPECT_EQ(NodeFor("s"), "z");
  options.node_selector = json::Value::MakeObject({{"gpu", "no"}});
  world_.AddSession("t", options);
  Run();
  EXPECT_THAT(world_.BindOf("t").verdict->message, HasSubstr("2 without the labels asked for"));
}

TEST_F(SchedulerTest, ADeletedSessionIsNotPlaced) {
  world_.AddNode("a");
  world_.Put(world_.keys.Spec("session", "default", "s"), json::Serialize(Deleted(SessionJson("s"))));
  EXPECT_EQ(Run(), "");
}

TEST_F(SchedulerTest, ADeleteMarkThatCameAfterTheDecisionWins) {
  world_.AddNode("a");
  world_.AddSession("s");
  world_.Sync();
  const Decision decision = scheduler_.Reconcile(Scheduler::kKey, world_.state);
  world_.Put(world_.keys.Spec("session", "default", "s"), json::Serialize(Deleted(SessionJson("s"))));
  const StatusOr<store::TxnResult> result = world_.store->Txn(*decision.txn);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->succeeded);
}

TEST_F(SchedulerTest, AMalformedBindIsNeverOverwritten) {
  world_.AddNode("a");
  world_.AddSession("s");
  world_.Put(world_.keys.Bind("default", "s"), "{\"uid\": 7}");
  EXPECT_EQ(Run(), "");
}

TEST(Scheduler, ANodeThatRefusedIsAvoidedLongerEachTimeAtMostFiveMinutes) {
  EXPECT_EQ(AvoidFor(1), Duration(seconds(5)));
  EXPECT_EQ(AvoidFor(2), Duration(seconds(10)));
  EXPECT_EQ(AvoidFor(7), Duration(minutes(5)));
  EXPECT_EQ(AvoidFor(1'000'000), Duration(minutes(5)));
  EXPECT_EQ(AvoidFor(-3), Duration(seconds(5)));
}

TEST(Scheduler, AClockThatWasSetBackEndsTheAvoidance) {
  FakeClock clock;
  const SessionSpec spec = DecodeSessionSpec(json::Serialize(SessionJson("s"))).value();
  Bind bind;
  bind.avoid = {{"a", 9, RecordTime(clock.Wall())}};
  auto node = std::make_shared<Stored<Node>>();
  node->value = NodeOf("a");
  const std::vector<CandidateNode> nodes = {{"a", node, true, {}}};
  clock.Advance(seconds(1));
  EXPECT_EQ(Place(spec, {1, 1, 1}, &bind, nodes, clock.Wall()).node, nullptr);
  clock.StepWall(-std::chrono::hours(24));
  EXPECT_NE(Place(spec, {1, 1, 1}, &bind, nodes, clock.Wall()).node, nullptr);
}

}  // namespace
}  // namespace isla::controllers
