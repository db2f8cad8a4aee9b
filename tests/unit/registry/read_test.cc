// Get, list, watch: joined objects, revisions, garbage in the store.
#include <atomic>
#include <thread>

#include "api/object/object.h"

#include "tests/unit/registry/registry_fixture.h"

namespace isla::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Match = ListOptions::Match;

TEST_F(RegistryTest, ResourceVersionIsTheGreaterOfTheTwoKeys) {
  const ObjectPtr object = MustCreate("a");
  const store::Revision status = PutStatus(object, "Running");
  EXPECT_EQ(Rv(MustGet("a")), std::to_string(status));
  EXPECT_EQ(Phase(MustGet("a")), "Running");
  EXPECT_EQ(MustGet("a")->Int64At({"status", "observedGeneration"}), 1);
  const auto patched = Patch("a", R"({"metadata":{"labels":{"x":"y"}}})");
  ASSERT_TRUE(patched.ok());
  EXPECT_EQ(Rv(*patched), std::to_string(status + 1));
  EXPECT_EQ(Phase(*patched), "Running");
}

TEST_F(RegistryTest, AStatusOfAnotherUidIsIgnored) {
  MustCreate("a");
  PutRaw(keys_.Status("session", "default", "a"), R"({"uid":"gone","status":{"phase":"Running"}})");
  EXPECT_EQ(Phase(MustGet("a")), "Pending");
}

TEST_F(RegistryTest, AnUnreadableStatusIsSaidToBeOne) {
  MustCreate("a");
  PutRaw(keys_.Status("session", "default", "a"), "{");
  EXPECT_EQ(Phase(MustGet("a")), "Unknown");
}

TEST_F(RegistryTest, GetReadsTheStoreAndListSeesOnesOwnWrites) {
  for (int i = 0; i < 30; ++i) {
    const std::string name = "s" + std::to_string(i);
    MustCreate(name);
    EXPECT_EQ(MustGet(name)->StringAt({"metadata", "name"}), name);
    for (const Match match : {Match::kNewest, Match::kAny}) {
      ListOptions options;
      options.fields.name = name;
      options.match = match;
      const auto list = registry_->List(session(), "default", options);
      ASSERT_TRUE(list.ok()) << ToString(list.status());
      EXPECT_THAT(Names(*list), ElementsAre(name));
    }
  }
}

TEST_F(RegistryTest, ListSeesWhatAnotherIsladWrote) {
  // Written past this registry: only the barrier can know.
  json::Value object = *MustCreate("a");
  object.Member("metadata").Set("name", "b");
  PutRaw(keys_.Spec("session", "default", "b"), json::Serialize(object));
  const auto list = registry_->List(session(), "default", {});
  ASSERT_TRUE(list.ok());
  EXPECT_THAT(Names(*list), ElementsAre("a", "b"));
}

TEST_F(RegistryTest, ListsAreSortedAndSelected) {
  ASSERT_TRUE(registry_->Create(project(), "", ProjectManifest("another"), As("x")).ok());
  MustCreate("b");
  MustCreate("a");
  MustCreate("c", "another");
  ASSERT_TRUE(Patch("a", R"({"metadata":{"labels":{"x":"y"}}})").ok());
  EXPECT_THAT(Names(*registry_->List(session(), "", {})), ElementsAre("c", "a", "b"));
  EXPECT_THAT(Names(*registry_->List(session(), "default", {})), ElementsAre("a", "b"));
  ListOptions labels;
  labels.labels = *api::LabelSelector::Parse("x=y");
  EXPECT_THAT(Names(*registry_->List(session(), "", labels)), ElementsAre("a"));
  ListOptions name;
  name.fields.name = "b";
  EXPECT_THAT(Names(*registry_->List(session(), "", name)), ElementsAre("b"));
  EXPECT_THAT(Names(*registry_->List(project(), "", {})), ElementsAre("another", "default"));
}

TEST_F(RegistryTest, ARevisionThatTheStoreHasNotReachedIsToldAtOnceAndWhy) {
  Restart(WithReadTimeout(seconds(60)));
  const MonotonicTime begin = Clock::Real().Monotonic();
  ListOptions options;
  options.match = Match::kNotOlderThan;
  options.revision = StoreRevision();
  EXPECT_TRUE(registry_->List(session(), "", options).ok());
  options.revision += 1000;
  const auto list = registry_->List(session(), "", options);
  EXPECT_EQ(list.status().code(), Code::kDeadlineExceeded);
  EXPECT_THAT(Message(list.status()), HasSubstr("Too large resource version: "));
  const api::FieldErrors causes = api::FieldErrorsOf(list.status());
  ASSERT_EQ(causes.size(), 1U);
  EXPECT_EQ(causes[0].reason, "ResourceVersionTooLarge");
  EXPECT_EQ(registry_->Watch(session(), "", {}, StoreRevision() + 1000).status().code(), Code::kOutOfRange);
  EXPECT_LT(Clock::Real().Monotonic() - begin, seconds(30)) << "waiting brings no revision";
}

TEST_F(RegistryTest, ARevisionThatTheCacheHasCostsNoCallOfTheStore) {
  MustCreate("a");
  ListOptions options;
  options.match = Match::kNotOlderThan;
  options.revision = registry_->List(session(), "", {})->revision;
  store_.ResetCounts();
  EXPECT_TRUE(registry_->List(session(), "", options).ok());
  EXPECT_TRUE(registry_->Watch(session(), "", {}, options.revision).ok());
  EXPECT_EQ(store_.gets(), 0);
  EXPECT_EQ(store_.txns(), 0);
}

TEST_F(RegistryTest, EachRevisionOfAnObjectIsOneObjectForAll) {
  MustCreate("a");
  const auto a = registry_->List(session(), "", {});
  const auto b = registry_->List(session(), "default", {});
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->items[0].get(), b->items[0].get());
  EXPECT_EQ(MustGet("a").get(), a->items[0].get());
  EXPECT_EQ(a->items[0]->Encoded(), json::Serialize(*a->items[0]));
}

TEST_F(RegistryTest, GarbageIsServedAsInvalidAndDisturbsNothing) {
  MustCreate("good");
  const json::Value good = Read(Stored(keys_.Spec("session", "default", "good")));
  auto but = [&good](const auto& change) {
    json::Value copy = good;
    change(copy);
    return json::Serialize(copy);
  };
  const std::vector<std::pair<std::string, std::string>> garbage = {
      {"broken-json", "{\"metadata\":"},
      {"array", "[]"},
      {"empty", ""},
      {"no-metadata", R"({"apiVersion":"isla/v1","kind":"Session"})"},
      {"other-name", json::Serialize(good)},
      {"wrong-type", but([](json::Value& v) {
         v.Member("metadata").Set("name", "wrong-type");
         v.Member("spec").Set("command", 5);
       })},
      {"other-kind", but([](json::Value& v) { v.Set("kind", "Project"); })},
      {"binary", std::string("\0\xff\xfe", 3)},
      {"deep", std::string(1000, '[')},
  };
  for (const auto& [name, value] : garbage) PutRaw(keys_.Spec("session", "default", name), value);
  PutRaw(keys_.prefix() + "spec/session/default/a/b", "x");
  PutRaw(keys_.prefix() + "spec/session/", "x");
  PutRaw(keys_.prefix() + "spec/unknown/default/x", "x");
  PutRaw(keys_.Spec("session", "_", "x"), "x");
  const auto list = registry_->List(session(), "default", {});
  ASSERT_TRUE(list.ok()) << ToString(list.status());
  EXPECT_EQ(list->items.size(), garbage.size() + 1);
  for (const auto& [name, value] : garbage) {
    const ObjectPtr object = MustGet(name);
    EXPECT_EQ(Phase(object), "Invalid") << name;
    EXPECT_EQ(object->StringAt({"metadata", "name"}), name);
    EXPECT_EQ(object->StringAt({"metadata", "namespace"}), "default");
    EXPECT_FALSE(object->StringAt({"status", "message"}).empty());
    EXPECT_EQ(Patch(name, R"({"metadata":{"labels":{"a":"b"}}})").status().code(), Code::kFailedPrecondition);
    const auto gone = Delete(name);
    ASSERT_TRUE(gone.ok()) << name << ToString(gone.status());
    EXPECT_TRUE(gone->gone);
    EXPECT_EQ(registry_->Get(session(), "default", name).status().code(), Code::kNotFound);
  }
  EXPECT_EQ(Phase(MustGet("good")), "Pending");
}

TEST_F(RegistryTest, GarbageInPlaceOfAPlacedSessionIsNotForgotten) {
  const ObjectPtr object = MustCreate("a");
  PutBind(object);
  PutRaw(keys_.Spec("session", "default", "a"), "garbage");
  EXPECT_EQ(Delete("a").status().code(), Code::kFailedPrecondition);
  EXPECT_NE(Stored(keys_.Bind("default", "a")), "");
}

TEST_F(RegistryTest, NodesComeFromTheirOwnKeys) {
  PutRaw(keys_.Node("n1"), R"({"uid":"u","bootId":"b","connected":true,"createdAt":"2026-01-02T03:04:05.678901Z",
      "lastChange":"2026-01-02T03:04:06.000000Z","labels":{"zone":"x"},"term":3,
      "capacity":{"cpuMillis":1500,"memoryBytes":1073741824,"tasks":100},"features":["cgroup=v2"]})");
  PutRaw(keys_.Node("n2"), "garbage");
  const auto n1 = registry_->Get(node(), "", "n1");
  ASSERT_TRUE(n1.ok()) << ToString(n1.status());
  EXPECT_EQ((*n1)->StringAt({"metadata", "creationTimestamp"}), "2026-01-02T03:04:05Z");
  EXPECT_EQ((*n1)->StringAt({"metadata", "labels", "zone"}), "x");
  EXPECT_EQ((*n1)->StringAt({"status", "capacity", "cpu"}), "1500m");
  EXPECT_EQ((*n1)->StringAt({"status", "capacity", "memory"}), "1Gi");
  EXPECT_EQ((*n1)->FindPath({"status", "conditions"})->items()[0].StringAt({"status"}), "True");
  EXPECT_TRUE(api::ToNode(**n1).ok());
  EXPECT_THAT(Names(*registry_->List(node(), "", {})), ElementsAre("n1", "n2"));
  EXPECT_EQ(Phase(*registry_->Get(node(), "", "n2")), "Invalid");
}

// ---- watch

TEST_F(RegistryTest, WatchFromARevisionDeliversEveryEventInOrder) {
  const store::Revision from = StoreRevision();
  const ObjectPtr a = MustCreate("a");
  const store::Revision running = PutStatus(a, "Running");
  const ObjectPtr b = MustCreate("b");
  auto watch = registry_->Watch(session(), "default", {}, from);
  ASSERT_TRUE(watch.ok()) << ToString(watch.status());
  const store::Revision gone =
      DeleteRaw({keys_.Spec("session", "default", "a"), keys_.Status("session", "default", "a")});
  EXPECT_THAT(Take(**watch, 4),
              ElementsAre("ADDED a@" + Rv(a) + " Pending", fmt::format("MODIFIED a@{} Running", running),
                          "ADDED b@" + Rv(b) + " Pending", fmt::format("DELETED a@{} Running", gone)));
}

TEST_F(RegistryTest, WatchFromZeroBeginsWithWhatIsThere) {
  const ObjectPtr a = MustCreate("a");
  ListOptions options;
  options.match = Match::kAny;
  auto watch = registry_->Watch(session(), "default", options, 0);
  ASSERT_TRUE(watch.ok());
  const ObjectPtr b = MustCreate("b");
  EXPECT_THAT(Take(**watch, 2), ElementsAre("ADDED a@" + Rv(a) + " Pending", "ADDED b@" + Rv(b) + " Pending"));
}

TEST_F(RegistryTest, TwoKeysOfOneTransactionAreOneEvent) {
  const ObjectPtr a = MustCreate("a");
  auto watch = registry_->Watch(session(), "default", {}, StoreRevision());
  ASSERT_TRUE(watch.ok());
  json::Value stored = Read(Stored(keys_.Spec("session", "default", "a")));
  stored.Member("metadata").Set("labels", json::Value::MakeObject({{"x", "y"}}));
  store::Transaction txn;
  txn.success.push_back(store::Operation::Put(keys_.Spec("session", "default", "a"), json::Serialize(stored)));
  txn.success.push_back(store::Operation::Put(
      keys_.Status("session", "default", "a"),
      fmt::format(R"({{"uid":"{}","status":{{"phase":"Running"}}}})", a->StringAt({"metadata", "uid"}))));
  const store::Revision both = memory_->Txn(txn)->revision;
  const store::Revision next = PutStatus(a, "Succeeded");
  EXPECT_THAT(Take(**watch, 2),
              ElementsAre(fmt::format("MODIFIED a@{} Running", both), fmt::format("MODIFIED a@{} Succeeded", next)));
}

TEST_F(RegistryTest, ANameMadeAnewIsADeleteAndAnAdd) {
  const ObjectPtr old = MustCreate("a");
  auto watch = registry_->Watch(session(), "default", {}, StoreRevision());
  ASSERT_TRUE(watch.ok());
  json::Value fresh = Read(Stored(keys_.Spec("session", "default", "a")));
  fresh.Member("metadata").Set("uid", NewUuid());
  const store::Revision at = PutRaw(keys_.Spec("session", "default", "a"), json::Serialize(fresh));
  EXPECT_THAT(Take(**watch, 2),
              ElementsAre(fmt::format("DELETED a@{} Pending", at), fmt::format("ADDED a@{} Pending", at)));
}

TEST_F(RegistryTest, SelectorsHoldForEvents) {
  ListOptions options;
  options.labels = *api::LabelSelector::Parse("x=y");
  auto watch = registry_->Watch(session(), "default", options, StoreRevision());
  ASSERT_TRUE(watch.ok());
  MustCreate("a");
  const auto added = Patch("a", R"({"metadata":{"labels":{"x":"y"}}})");
  const auto changed = Patch("a", R"({"metadata":{"labels":{"z":"1"}}})");
  const auto removed = Patch("a", R"({"metadata":{"labels":{"x":null}}})");
  ASSERT_TRUE(added.ok() && changed.ok() && removed.ok());
  EXPECT_THAT(Take(**watch, 3), ElementsAre("ADDED a@" + Rv(*added) + " Pending",
                                            "MODIFIED a@" + Rv(*changed) + " Pending",
                                            "DELETED a@" + Rv(*removed) + " Pending"));
}

TEST_F(RegistryTest, AWatchOfANameSeesNoStrangers) {
  ListOptions options;
  options.fields.name = "b";
  auto watch = registry_->Watch(session(), "default", options, StoreRevision());
  ASSERT_TRUE(watch.ok());
  MustCreate("a");
  const ObjectPtr b = MustCreate("b");
  EXPECT_THAT(Take(**watch, 1), ElementsAre("ADDED b@" + Rv(b) + " Pending"));
}

TEST_F(RegistryTest, AWatchThatFallsBehindEndsWithOutOfRangeAndOthersGoOn) {
  Restart(WithHistory(16));
  const ObjectPtr a = MustCreate("a");
  auto slow = registry_->Watch(session(), "default", {}, StoreRevision());
  auto quick = registry_->Watch(session(), "default", {}, StoreRevision());
  ASSERT_TRUE(slow.ok() && quick.ok());
  for (int i = 0; i < 40; ++i) {
    const store::Revision at = PutStatus(a, "P" + std::to_string(i));
    EXPECT_THAT(Take(**quick, 1), ElementsAre(fmt::format("MODIFIED a@{} P{}", at, i)));
  }
  EXPECT_THAT(Take(**slow, 1), ElementsAre("OUT_OF_RANGE"));
}

TEST_F(RegistryTest, AWatchFromBeforeHistoryIsOutOfRange) {
  Restart(WithHistory(4));
  const ObjectPtr a = MustCreate("a");
  const store::Revision from = StoreRevision();
  for (int i = 0; i < 10; ++i) PutStatus(a, "P" + std::to_string(i));
  ASSERT_TRUE(registry_->List(session(), "", {}).ok());
  EXPECT_EQ(registry_->Watch(session(), "default", {}, from).status().code(), Code::kOutOfRange);
  EXPECT_TRUE(registry_->Watch(session(), "default", {}, StoreRevision()).ok());
}

TEST_F(RegistryTest, AnIdleWatchTellsHowFarItIs) {
  auto watch = registry_->Watch(session(), "default", {}, StoreRevision());
  ASSERT_TRUE(watch.ok());
  const auto made = registry_->Create(project(), "", ProjectManifest("p"), As("x"));
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(registry_->List(session(), "", {}).ok());
  const auto events = (*watch)->Next(Duration::zero());
  ASSERT_TRUE(events.ok()) << ToString(events.status());
  ASSERT_EQ(events->size(), 1U);
  EXPECT_EQ((*events)[0].type, ObjectEvent::Type::kBookmark);
  EXPECT_GE((*events)[0].revision, std::stoll(Rv(*made)));
  EXPECT_EQ((*watch)->Next(Duration::zero()).status().code(), Code::kDeadlineExceeded);
}

TEST_F(RegistryTest, NotifyRingsForWhatTheWatchSees) {
  ListOptions options;
  options.fields.name = "b";
  auto watch = registry_->Watch(session(), "default", options, StoreRevision());
  ASSERT_TRUE(watch.ok());
  std::atomic<int> rung = 0;
  (*watch)->Notify([&rung] { ++rung; });
  MustCreate("a");
  ASSERT_TRUE(registry_->List(session(), "", {}).ok());
  EXPECT_EQ(rung, 0);
  MustCreate("b");
  const MonotonicTime until = Clock::Real().Monotonic() + seconds(5);
  while (rung == 0 && Clock::Real().Monotonic() < until) std::this_thread::yield();
  EXPECT_EQ(rung, 1);
}

TEST_F(RegistryTest, AWatchOutlivesItsRegistryAndSaysSo) {
  auto watch = registry_->Watch(session(), "default", {}, StoreRevision());
  ASSERT_TRUE(watch.ok());
  registry_.reset();
  EXPECT_EQ((*watch)->Next(Duration::zero()).status().code(), Code::kCancelled);
}

TEST_F(RegistryTest, GarbageArrivesInWatchesAsInvalid) {
  auto watch = registry_->Watch(session(), "default", {}, StoreRevision());
  ASSERT_TRUE(watch.ok());
  const store::Revision at = PutRaw(keys_.Spec("session", "default", "bad"), "{");
  const ObjectPtr good = MustCreate("good");
  EXPECT_THAT(Take(**watch, 2), ElementsAre(fmt::format("ADDED bad@{} Invalid", at), "ADDED good@" + Rv(good) + " Pending"));
}

}  // namespace
}  // namespace isla::registry
