// Fencing, the gate of a controller set, the joined state, the records.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include "controllers/runtime/controller_set.h"
#include "controllers/runtime/fenced_writer.h"
#include "controllers/runtime/leadership.h"
#include "tests/unit/controllers/world.h"
#include "tests/unit/store/forwarding_store.h"

namespace isla::controllers {
namespace {

using store::Compare;
using store::Operation;

/// A store whose next transactions fail in a chosen way.
class FaultyStore : public store::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  enum class Fault { kNone, kDropped, kUnknownDone, kUnknownNotDone };

  StatusOr<store::TxnResult> Txn(const store::Transaction& txn, store::Deadline deadline) override {
    const Fault fault = next;
    next = Fault::kNone;
    if (fault == Fault::kDropped) return Error(Code::kUnavailable, "dropped");
    if (fault == Fault::kUnknownNotDone) return Error(Code::kDeadlineExceeded, "lost");
    StatusOr<store::TxnResult> result = ForwardingStore::Txn(txn, deadline);
    if (fault == Fault::kUnknownDone) return Error(Code::kDeadlineExceeded, "lost");
    return result;
  }
  StatusOr<store::GetResult> Get(const store::Key& key, store::Deadline deadline) override {
    if (get_fails) return Error(Code::kUnavailable, "away");
    return ForwardingStore::Get(key, deadline);
  }

  Fault next = Fault::kNone;
  bool get_fails = false;
};

class FencedWriterTest : public testing::Test {
 protected:
  store::Transaction PutAt(store::Revision expected) {
    return {{Compare::ModRevision(key_, expected)}, {Operation::Put(key_, "value")}, {}};
  }
  World world_;
  FaultyStore store_{*world_.store};
  FencedWriter writer_{store_, world_.keys, world_.token()};
  const std::string key_ = world_.keys.Bind("default", "s");
};

TEST_F(FencedWriterTest, CommitsWhileItLeads) {
  const FencedWriter::Outcome outcome = writer_.Commit(PutAt(0), world_.state.cluster_revision());
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(world_.store->Get(key_).value().kv->mod_revision, outcome.revision);
}

TEST_F(FencedWriterTest, AStaleDecisionIsAbortedWithTheRevisionToWaitFor) {
  const store::Revision newer = world_.Put(key_, "other");
  const FencedWriter::Outcome outcome = writer_.Commit(PutAt(0), world_.state.cluster_revision());
  EXPECT_EQ(outcome.status.code(), Code::kAborted);
  EXPECT_EQ(outcome.revision, newer);
  EXPECT_FALSE(outcome.fenced_off);
}

TEST_F(FencedWriterTest, AnOldLeaderWritesNothing) {
  world_.Delete(world_.keys.Lead());
  EXPECT_TRUE(writer_.Commit(PutAt(0), world_.state.cluster_revision()).fenced_off);
  world_.Put(world_.keys.Lead(), R"({"id":"leader"})");  // the same words, another term
  EXPECT_TRUE(writer_.Commit(PutAt(0), world_.state.cluster_revision()).fenced_off);
  EXPECT_FALSE(world_.Has(key_));
}

TEST_F(FencedWriterTest, AChangedClusterRecordAborts) {
  const store::Revision before = world_.state.cluster_revision();
  world_.Put(world_.keys.Cluster(), R"({"id":"c1","epoch":2,"level":1})");
  const FencedWriter::Outcome outcome = writer_.Commit(PutAt(0), before);
  EXPECT_EQ(outcome.status.code(), Code::kAborted);
  EXPECT_FALSE(outcome.fenced_off);
  EXPECT_EQ(writer_.Commit(PutAt(0), 0).status.code(), Code::kAborted);
}

TEST_F(FencedWriterTest, AClosedStoreIsNotWrittenTo) {
  for (const char* closed : {R"({"id":"c1","epoch":2,"level":1,"closed":{"reason":"import","by":"ann","at":"t"}})",
                             R"({"id":"c1","epoch":2,"level":1,"closed":{"reason":"seal"}})",
                             R"({"id":"c1","epoch":2,"level":1,"closed":true})"}) {
    world_.Put(world_.keys.Cluster(), closed);
    world_.Sync();
    EXPECT_FALSE(world_.state.CheckOpen().ok()) << closed;
    EXPECT_EQ(world_.state.cluster_revision(), 0);
    EXPECT_EQ(world_.state.epoch(), 2);
    EXPECT_EQ(writer_.Commit(PutAt(0), world_.state.cluster_revision()).status.code(), Code::kAborted);
    EXPECT_FALSE(world_.Has(key_));
  }
  world_.Put(world_.keys.Cluster(), R"({"id":"c1","epoch":2,"level":1})");
  world_.Sync();
  EXPECT_TRUE(world_.state.CheckOpen().ok());
  EXPECT_TRUE(writer_.Commit(PutAt(0), world_.state.cluster_revision()).status.ok());
}

TEST_F(FencedWriterTest, AnUnknownOutcomeIsReadBack) {
  store_.next = FaultyStore::Fault::kUnknownDone;
  const FencedWriter::Outcome done = writer_.Commit(PutAt(0), world_.state.cluster_revision());
  EXPECT_TRUE(done.status.ok());
  EXPECT_EQ(done.revision, world_.store->Get(key_).value().kv->mod_revision);

  store_.next = FaultyStore::Fault::kUnknownNotDone;
  EXPECT_EQ(writer_.Commit(PutAt(done.revision), world_.state.cluster_revision()).status.code(),
            Code::kDeadlineExceeded)
      << "the same bytes at the old revision are not ours";

  store_.next = FaultyStore::Fault::kUnknownDone;
  store_.get_fails = true;
  EXPECT_EQ(writer_.Commit(PutAt(done.revision), world_.state.cluster_revision()).status.code(),
            Code::kDeadlineExceeded);
}

TEST_F(FencedWriterTest, AnUnknownDeletionIsReadBack) {
  const store::Revision at = world_.Put(key_, "x");
  store_.next = FaultyStore::Fault::kUnknownDone;
  EXPECT_TRUE(writer_
                  .Commit({{Compare::ModRevision(key_, at)}, {Operation::Delete(key_)}, {}},
                          world_.state.cluster_revision())
                  .status.ok());
}

/// Counts its runs; writes once for each key that it is asked about.
class Counting final : public Reconciler {
 public:
  explicit Counting(store::Keys keys) : keys_(std::move(keys)) {}
  std::string_view name() const override { return "counting"; }
  std::vector<std::string> AllKeys(const ClusterState&) const override { return {"k"}; }
  void KeysFor(const Change&, const ClusterState&, std::vector<std::string>& keys) const override {
    keys.push_back("k");
  }
  Decision Reconcile(const std::string& key, const ClusterState& state) const override {
    ++runs;
    Decision decision;
    decision.what = "put";
    decision.cluster_revision = state.cluster_revision();
    decision.txn = store::Transaction{{}, {Operation::Put(keys_.Bind("default", key), std::to_string(runs))}, {}};
    return decision;
  }
  mutable int runs = 0;

 private:
  const store::Keys keys_;
};

class ControllerSetTest : public testing::Test {
 protected:
  ControllerSetTest() {
    auto counting = std::make_unique<Counting>(world_.keys);
    counting_ = counting.get();
    reconcilers_.push_back(std::move(counting));
    ControllerSetOptions options;
    options.on_fenced = [this] { ++fenced_; };
    set_ = std::make_unique<ControllerSet>(reconcilers_, world_.state, store_, world_.token(), world_.clock,
                                           std::move(options));
  }
  World world_;
  FaultyStore store_{*world_.store};
  std::vector<std::unique_ptr<Reconciler>> reconcilers_;
  Counting* counting_ = nullptr;
  int fenced_ = 0;
  std::unique_ptr<ControllerSet> set_;
};

TEST_F(ControllerSetTest, AKeyWaitsUntilTheCacheHasItsLastWrite) {
  set_->AddAll();
  ASSERT_TRUE(set_->Step(0));
  set_->AddAll();
  EXPECT_TRUE(set_->Step(0));  // held back
  EXPECT_EQ(counting_->runs, 1);
  set_->OnChanges({}, world_.state.revision());  // progress, but not far enough
  EXPECT_FALSE(set_->Step(0));
  world_.Sync();
  set_->OnChanges({}, world_.state.revision());
  EXPECT_TRUE(set_->Step(0));
  EXPECT_EQ(counting_->runs, 2);
}

TEST_F(ControllerSetTest, ANewListOpensTheGate) {
  set_->AddAll();
  set_->Step(0);
  set_->OnReset();
  EXPECT_TRUE(set_->Step(0));
  EXPECT_EQ(counting_->runs, 2);
}

TEST_F(ControllerSetTest, BeingFencedOffEndsTheTermOnce) {
  world_.Delete(world_.keys.Lead());
  set_->AddAll();
  set_->Step(0);
  EXPECT_EQ(fenced_, 1);
  set_->AddAll();
  set_->Step(0);
  EXPECT_EQ(counting_->runs, 1) << "decides nothing more";
  EXPECT_EQ(fenced_, 1);
}

TEST_F(ControllerSetTest, AFailureIsTriedAgainAfterABackOff) {
  store_.next = FaultyStore::Fault::kDropped;
  set_->AddAll();
  set_->Step(0);
  EXPECT_FALSE(set_->Step(0));
  world_.clock.Advance(std::chrono::milliseconds(5));
  EXPECT_TRUE(set_->Step(0));
  EXPECT_EQ(counting_->runs, 2);
}

TEST(ClusterStateTest, AChangedUidIsADeletionThenAnAddition) {
  World world;
  world.AddSession("s");
  world.Sync();
  SessionOptions other;
  other.uid = UidOf("other");
  world.AddSession("s", other);
  const std::vector<Change> changes = world.Sync();
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].type, Change::Type::kDeleted);
  EXPECT_EQ(changes[1].type, Change::Type::kAdded);
}

TEST(ClusterStateTest, WhoSawARevisionElsewhereWaitsForIt) {
  World world;
  const store::Revision ahead = world.state.revision() + 1;
  EXPECT_EQ(world.state.WaitFor(ahead, Duration::zero()).code(), Code::kDeadlineExceeded);
  std::thread informer([&world, ahead] { world.state.Apply({ahead, {}}); });
  EXPECT_TRUE(world.state.WaitFor(ahead, std::chrono::seconds(30)).ok());
  informer.join();
}

TEST(ClusterStateTest, ANewListTellsDeletionsToo) {
  World world;
  world.AddSession("s");
  world.AddSession("t");
  world.Sync();
  world.Delete(world.keys.Spec("session", "default", "s"));
  const std::vector<Change> changes = world.Sync();
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].type, Change::Type::kDeleted);
  EXPECT_EQ(changes[0].session, "default/s");
  EXPECT_TRUE(world.Sync().empty());
}

TEST(ClusterStateTest, ALongListIsTheSameAsItsKeysOneByOne) {
  World world;
  constexpr int kSessions = 700;  // enough that several threads decode
  for (int i = 0; i < kSessions; ++i) {
    const std::string name = fmt::format("s{:03}", i);
    const std::string key = world.keys.Spec("session", "default", name);
    if (i % 100 == 7) world.Put(key, "no JSON");
    else if (i % 100 == 8) world.Put(key, json::Serialize(SessionJson("another")));
    else world.AddSession(name);
  }
  store::ListResult list = world.store->List(world.keys.prefix()).value();
  ClusterState one_by_one(world.keys, world.clock);
  for (const auto& kv : list.kvs) one_by_one.Apply({kv->mod_revision, {{store::Event::Type::kPut, kv, nullptr}}});
  const std::vector<Change> changes = world.state.Reset(list);
  EXPECT_EQ(changes.size(), static_cast<size_t>(kSessions));
  EXPECT_EQ(world.state.SessionKeys(), one_by_one.SessionKeys());
  for (const std::string& key : world.state.SessionKeys()) {
    const SessionView view = world.state.Session(key), expected = one_by_one.Session(key);
    ASSERT_NE(view.spec, nullptr);
    EXPECT_EQ(view.spec->kv, expected.spec->kv);
    EXPECT_EQ(view.spec->error, expected.spec->error);
    EXPECT_EQ(view.spec->value.meta.uid, expected.spec->value.meta.uid);
  }
  EXPECT_EQ(Message(world.state.Session("default/s107").spec->error).substr(0, 32), "the stored object can't be read:");
  EXPECT_EQ(Message(world.state.Session("default/s108").spec->error), "the stored object can't be read: metadata.name is not the key's");
  std::vector<std::string> pending, expected;
  for (const PendingSession& session : world.state.Scheduling().pending) pending.push_back(session.name);
  for (const PendingSession& session : one_by_one.Scheduling().pending) expected.push_back(session.name);
  EXPECT_EQ(pending, expected);
  EXPECT_EQ(pending.size(), static_cast<size_t>(kSessions - 14));
  std::reverse(list.kvs.begin(), list.kvs.end());
  EXPECT_TRUE(world.state.Reset(list).empty());
}

TEST(ClusterStateTest, WhatPointsToASessionGoesWithIt) {
  World world;
  // Of one transaction, so that both are of the same age.
  world.Commit({{}, {store::Operation::Put(world.keys.Spec("session", "default", "a"), json::Serialize(SessionJson("a"))),
                     store::Operation::Put(world.keys.Spec("session", "default", "b"), json::Serialize(SessionJson("b")))}, {}});
  world.Sync();
  const std::string container = MainContainerUid(UidOf("a"));
  EXPECT_EQ(world.state.OwnerOf(container), "default/a");
  ASSERT_EQ(world.state.Scheduling().pending.size(), 2U);
  EXPECT_EQ(world.state.Scheduling().pending[0].name, "a");
  world.Delete(world.keys.Spec("session", "default", "a"));
  world.Sync();
  EXPECT_EQ(world.state.OwnerOf(container), "");
  ASSERT_EQ(world.state.Scheduling().pending.size(), 1U);
  EXPECT_EQ(world.state.Scheduling().pending[0].name, "b");
  // Another session may have the container then; and the first one again.
  SessionOptions options;
  options.uid = UidOf("a");
  world.AddSession("c", options);
  world.Sync();
  EXPECT_EQ(world.state.OwnerOf(container), "default/c");
  world.AddSession("a");
  world.Delete(world.keys.Spec("session", "default", "c"));
  world.Sync();
  EXPECT_EQ(world.state.OwnerOf(container), "default/a");
}

TEST(ClusterStateTest, ASessionWaitsOnceWhateverBecomesOfItsSpec) {
  World world;
  world.AddSession("a");
  world.AddSession("b");
  const auto pending = [&world] {
    world.Sync();
    std::vector<std::string> names;
    for (const PendingSession& session : world.state.Scheduling().pending) names.push_back(session.name);
    return names;
  };
  const std::vector<std::string> both = {"a", "b"};
  EXPECT_EQ(pending(), both);
  json::Value later = SessionJson("a");
  later.Member("metadata").Set("creationTimestamp", "2038-01-01T00:00:00.000000Z");
  const std::string key = world.keys.Spec("session", "default", "a");
  world.Put(key, json::Serialize(later));
  EXPECT_EQ(pending(), both) << "its create_revision is the same";
  world.Put(key, "no JSON");
  EXPECT_EQ(pending(), std::vector<std::string>{"b"});
  world.AddSession("a");
  EXPECT_EQ(pending(), both);
  world.Delete(key);
  EXPECT_EQ(pending(), std::vector<std::string>{"b"});
}

TEST(ClusterStateTest, ASpecThatCantRunStillHasItsTimes) {
  json::Value object = SessionJson("s");
  object.Member("spec").Set("timeout", "90s");
  object.Member("spec").Set("terminationGracePeriod", "7s");
  object.Member("spec").Set("command", json::Value::MakeArray());
  const SessionSpec spec = DecodeSessionSpec(json::Serialize(object)).value();
  EXPECT_FALSE(spec.valid.ok());
  EXPECT_EQ(spec.timeout, Duration(std::chrono::seconds(90)));
  EXPECT_EQ(spec.termination_grace_period, Duration(std::chrono::seconds(7)));
}

TEST(ClusterStateTest, SumsAreThoseOfTheBindingsThatHold) {
  World world;
  Bind bind;
  bind.uid = UidOf("s");
  bind.incarnation = 1;
  BindContainer container;
  container.name = "main";
  container.uid = MainContainerUid(bind.uid);
  container.incarnation = 1;
  container.node = "n";
  container.resources = {700, 10, 3};
  bind.containers = {container};
  world.Put(world.keys.Bind("default", "s"), Encode(bind));
  world.Put(world.keys.Bind("default", "t"), Encode(bind));
  world.Sync();
  EXPECT_EQ(world.state.UsedOn("n"), (Resources{1400, 20, 6}));
  bind.containers[0].released = true;
  world.Put(world.keys.Bind("default", "t"), Encode(bind));
  world.Sync();
  EXPECT_EQ(world.state.UsedOn("n"), (Resources{700, 10, 3}));
  world.Delete(world.keys.Bind("default", "s"));
  world.Delete(world.keys.Bind("default", "t"));
  world.Sync();
  EXPECT_EQ(world.state.UsedOn("n"), Resources{});
  EXPECT_TRUE(world.state.SessionsOnNode("n").empty());
}

TEST(Records, WrongTypesAreRefusedMissingMembersAreNot) {
  EXPECT_TRUE(DecodeRun(R"({"state":"Running"})").ok());
  EXPECT_FALSE(DecodeRun(R"({"state":"Dancing"})").ok());
  EXPECT_FALSE(DecodeRun(R"({"state":"Running","sequence":"x"})").ok());
  EXPECT_FALSE(DecodeBind(R"({"uid":"u","containers":{}})").ok());
  EXPECT_FALSE(DecodeBind(R"({"uid":"u","containers":[{"uid":"c","node":"n","incarnation":1,"desired":"Dance"}]})").ok());
  EXPECT_FALSE(DecodeBind(
                   R"({"uid":"u","containers":[{"uid":"c","node":"n","incarnation":1,"resources":{"cpuMillis":-5}}]})")
                   .ok())
      << "a negative sum would make room that isn't there";
  EXPECT_FALSE(DecodeNode("[]").ok());
  EXPECT_TRUE(DecodeNode("{}").ok());
}

TEST(Records, ARunComesBackAsItWasWritten) {
  auto run = Ended(RunState::kExited, 137, "oom", "OOMKilled");
  run.sequence = 42;
  run.exit->oom_kills = 2;
  run.exit->signal = 9;
  run.nack = RunNack{"r", "m"};
  EXPECT_EQ(Encode(DecodeRun(Encode(run)).value()), Encode(run));
}

TEST(Records, AReportBecomesARunRecord) {
  isla::v1::Report report;
  report.set_sequence(7);
  report.set_session("s");
  report.set_state(isla::v1::EXITED);
  report.set_accepted_at_ns(1'763'805'600'123'456'789);
  report.mutable_exit()->set_exit_code(3);
  report.mutable_exit()->set_cause("exited");
  const auto run = RunFromReport(report);
  EXPECT_EQ(run.state, RunState::kExited);
  EXPECT_EQ(run.accepted_at, "2025-11-22T10:00:00.123456Z");
  EXPECT_EQ(run.started_at, "");
  EXPECT_EQ(run.exit->exit_code, 3);
}

TEST(Lead, ADeadProcessOfThisMachineIsKnownAsDead) {
  const LeadRecord own = OwnLeadRecord("a");
  ASSERT_FALSE(own.host.empty());
  EXPECT_FALSE(IsDead(own, own));
  LeadRecord other = own;
  other.pid = 1;
  EXPECT_FALSE(IsDead(other, own));
  other.pid = 4'194'305;  // above the kernel's greatest pid
  EXPECT_TRUE(IsDead(other, own));
  other.host = "another machine";
  EXPECT_FALSE(IsDead(other, own));
}

}  // namespace
}  // namespace isla::controllers
