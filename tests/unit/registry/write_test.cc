// Create, update, patch, delete: what is admitted, what is stored, and what a lost race does.
#include <thread>

#include "tests/unit/registry/registry_fixture.h"

namespace isla::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(RegistryTest, CreateStampsWhatTheServerKnows) {
  const auto object = Create(Manifest("a"));
  ASSERT_TRUE(object.ok()) << ToString(object.status());
  const json::Value& metadata = *(*object)->Find("metadata");
  EXPECT_TRUE(IsUuid(metadata.StringAt({"uid"})));
  EXPECT_EQ(metadata.StringAt({"namespace"}), "default");
  EXPECT_EQ(metadata.StringAt({"createdBy"}), "ann");
  EXPECT_EQ(metadata.StringAt({"creationTimestamp"}), FormatRfc3339(clock_.Wall()));
  EXPECT_EQ(metadata.Int64At({"generation"}), 1);
  EXPECT_EQ(json::Serialize(*metadata.Find("finalizers")), R"(["isla/session"])");
  EXPECT_EQ(Rv(*object), std::to_string(StoreRevision()));
  EXPECT_EQ(Phase(*object), "Pending");
  EXPECT_EQ((*object)->StringAt({"spec", "image"}), "host") << "defaults are added";
}

TEST_F(RegistryTest, WrongTypesAndWrongValuesAreToldTogether) {
  const auto fields = [](const Status& status) {
    std::vector<std::string> out;
    for (const api::FieldError& error : api::FieldErrorsOf(status)) out.push_back(error.field);
    return out;
  };
  const std::string_view spec = R"({"command":["true"],"workingDir":"tmp","resources":{"cpu":2,"memory":"much"},"mounts":["/a"],"timeout":"soon"})";
  EXPECT_THAT(fields(Create(Manifest("A", spec)).status()),
              ElementsAre("spec.resources.cpu", "spec.mounts[0]", "metadata.name", "spec.workingDir", "spec.resources.memory", "spec.timeout"));
  // What the first explains isn't told twice.
  EXPECT_THAT(fields(Create(Manifest("a", R"({"comand":["true"],"network":"some"})")).status()), ElementsAre("spec.comand", "spec.network"));
  EXPECT_THAT(fields(Create(Manifest("a", R"({"command":"true"})")).status()), ElementsAre("spec.command"));
  EXPECT_THAT(fields(Create(Manifest("a", R"("none")")).status()), ElementsAre("spec"));
  MustCreate("b");
  json::Value update = Manifest("b", R"({"command":["true"],"image":1,"network":"some"})");
  update.Member("metadata").Remove("name");  // the URL has it
  EXPECT_THAT(fields(registry_->Update(session(), "default", "b", update, As("ann")).status()), ElementsAre("spec.image", "spec.network"));
}

TEST_F(RegistryTest, TheStoredObjectHasNeitherStatusNorResourceVersion) {
  MustCreate("a");
  const json::Value stored = Read(Stored(keys_.Spec("session", "default", "a")));
  EXPECT_EQ(stored.Find("status"), nullptr);
  EXPECT_EQ(stored.FindPath({"metadata", "resourceVersion"}), nullptr);
}

TEST_F(RegistryTest, TheStoreKeepsTheExactTimeOfCreationAndTheApiShowsWholeSeconds) {
  clock_.Advance(std::chrono::microseconds(123'456));
  const std::string shown = FormatRfc3339(clock_.Wall());
  const std::string exact = FormatRfc3339(clock_.Wall(), 6);
  const auto at = [this] {
    return Read(Stored(keys_.Spec("session", "default", "a"))).StringAt({"metadata", "creationTimestamp"});
  };
  EXPECT_EQ(MustCreate("a")->StringAt({"metadata", "creationTimestamp"}), shown);
  EXPECT_EQ(at(), exact);
  // What a client got and sends back changes nothing of it.
  json::Value object = *MustGet("a");
  EXPECT_EQ(object.StringAt({"metadata", "creationTimestamp"}), shown);
  object.Member("metadata").Set("labels", json::Value::MakeObject({{"x", "y"}}));
  const auto updated = registry_->Update(session(), "default", "a", object, As("ann"));
  ASSERT_TRUE(updated.ok()) << ToString(updated.status());
  EXPECT_EQ((*updated)->StringAt({"metadata", "creationTimestamp"}), shown);
  EXPECT_EQ(at(), exact);
  const auto listed = registry_->List(session(), "default", {});
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(listed->items[0]->StringAt({"metadata", "creationTimestamp"}), shown);
}

TEST_F(RegistryTest, ForgedServerFieldsAreReplacedAtCreation) {
  json::Value manifest = Manifest("a");
  manifest.Member("metadata").Set("uid", "11111111-1111-4111-8111-111111111111");
  manifest.Member("metadata").Set("createdBy", "root");
  manifest.Member("metadata").Set("generation", 7);
  manifest.Member("metadata").Set("deletionTimestamp", "2020-01-01T00:00:00Z");
  manifest.Set("status", json::Value::MakeObject({{"phase", "Running"}}));
  const auto object = Create(manifest);
  ASSERT_TRUE(object.ok()) << ToString(object.status());
  EXPECT_NE((*object)->StringAt({"metadata", "uid"}), "11111111-1111-4111-8111-111111111111");
  EXPECT_EQ((*object)->StringAt({"metadata", "createdBy"}), "ann");
  EXPECT_EQ((*object)->Int64At({"metadata", "generation"}), 1);
  EXPECT_EQ((*object)->FindPath({"metadata", "deletionTimestamp"}), nullptr);
  EXPECT_EQ(Phase(*object), "Pending");
}

TEST_F(RegistryTest, FinalizersAreNotTheUsers) {
  json::Value manifest = Manifest("a");
  manifest.Member("metadata").Set("finalizers", json::Value::MakeArray({"me/mine"}));
  EXPECT_THAT(Fields(Create(manifest).status()), ElementsAre("metadata.finalizers"));
  manifest.Member("metadata").Set("finalizers", json::Value::MakeArray({"isla/session"}));
  EXPECT_TRUE(Create(manifest).ok()) << "what `get -o json` printed may be created again";
  EXPECT_THAT(Fields(Patch("a", R"({"metadata":{"finalizers":null}})").status()), ElementsAre("metadata.finalizers"));
  EXPECT_THAT(Fields(Patch("a", R"({"metadata":{"finalizers":[]}})").status()), ElementsAre("metadata.finalizers"));
}

TEST_F(RegistryTest, UserJsonIsKeptAsTyped) {
  const auto object = Create(Manifest("a", R"({"command":["true"],"args":[],"resources":{"cpu":"1.0","tasks":64}})"));
  ASSERT_TRUE(object.ok()) << ToString(object.status());
  const json::Value* spec = (*object)->Find("spec");
  EXPECT_EQ(json::Serialize(*spec->Find("args")), "[]");
  EXPECT_EQ(spec->StringAt({"resources", "cpu"}), "1.0");
}

TEST_F(RegistryTest, EveryErrorOfAManifestIsReportedAndNothingIsStored) {
  const store::Revision before = StoreRevision();
  const auto object = Create(Manifest("a", R"({"comand":["x"],"timeout":5,"command":["true"]})"));
  EXPECT_EQ(object.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(Fields(object.status()), ElementsAre("spec.comand", "spec.timeout"));
  EXPECT_EQ(StoreRevision(), before);
}

TEST_F(RegistryTest, ABodyThatIsNoObjectIsRefused) {
  for (const char* text : {"null", "[]", "\"x\"", "3"}) {
    EXPECT_EQ(Create(Read(text)).status().code(), Code::kInvalidArgument) << text;
  }
}

TEST_F(RegistryTest, CreateTakesOneRoundTrip) {
  store_.ResetCounts();
  MustCreate("a");
  EXPECT_EQ(store_.txns(), 1);
  EXPECT_EQ(store_.gets(), 0);
}

TEST_F(RegistryTest, CreateOfWhatExistsSaysSo) {
  MustCreate("a");
  EXPECT_EQ(Create(Manifest("a")).status().code(), Code::kAlreadyExists);
}

TEST_F(RegistryTest, GeneratedNamesAreUniqueAndValid) {
  json::Value manifest = Manifest("x");
  manifest.Member("metadata").Remove("name");
  manifest.Member("metadata").Set("generateName", "run-");
  const auto a = Create(manifest);
  const auto b = Create(manifest);
  ASSERT_TRUE(a.ok() && b.ok()) << ToString(a.status());
  const std::string name = (*a)->StringAt({"metadata", "name"});
  EXPECT_EQ(name.size(), 9U);
  EXPECT_THAT(name, ::testing::StartsWith("run-"));
  EXPECT_NE(name, (*b)->StringAt({"metadata", "name"}));
}

TEST_F(RegistryTest, NamespaceOfTheManifestMustBeTheRequests) {
  json::Value manifest = Manifest("a");
  manifest.Member("metadata").Set("namespace", "other");
  const auto object = Create(manifest);
  EXPECT_EQ(object.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(Fields(object.status()), IsEmpty()) << "400, not 422";
}

TEST_F(RegistryTest, CreateInAMissingProjectIsForbidden) {
  const auto object = Create(Manifest("a"), "nowhere");
  EXPECT_EQ(object.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(object.status()), HasSubstr("project 'nowhere' does not exist"));
}

TEST_F(RegistryTest, ANamespaceThatIsNoNameNeverReachesAKey) {
  const store::Revision before = StoreRevision();
  for (const char* bad : {"_", "a/b", "", "..\n", "default/"}) EXPECT_FALSE(Create(Manifest("a"), bad).ok()) << bad;
  EXPECT_EQ(StoreRevision(), before);
}

TEST_F(RegistryTest, CreateInAProjectMadeAMomentAgoWorks) {
  for (int i = 0; i < 20; ++i) {
    const std::string name = "p" + std::to_string(i);
    ASSERT_TRUE(registry_->Create(project(), "", ProjectManifest(name), As("ann")).ok());
    EXPECT_TRUE(Create(Manifest("a"), name).ok());
  }
}

TEST_F(RegistryTest, ProjectThatGoesBetweenReadAndTransactionRefusesTheSession) {
  ASSERT_TRUE(registry_->Create(project(), "", ProjectManifest("p"), As("ann")).ok());
  ASSERT_TRUE(cache_->ReadBarrier(seconds(5)).ok());
  store_.BeforeWrite([this] {
    const auto going = registry_->Delete(project(), "", "p", {});
    ASSERT_TRUE(going.ok() && !going->gone);
  });
  const auto object = Create(Manifest("a"), "p");
  EXPECT_EQ(object.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(object.status()), HasSubstr("because it is being terminated"));
  EXPECT_EQ(Stored(keys_.Spec("session", "p", "a")), "");
}

TEST_F(RegistryTest, ProjectThatOnlyChangesBetweenReadAndTransactionLetsItThrough) {
  ASSERT_TRUE(registry_->Create(project(), "", ProjectManifest("p"), As("ann")).ok());
  ASSERT_TRUE(cache_->ReadBarrier(seconds(5)).ok());
  store_.BeforeWrite([this] {
    ASSERT_TRUE(registry_->MergePatch(project(), "", "p", Read(R"({"metadata":{"labels":{"a":"b"}}})"), As("ann")).ok());
  });
  EXPECT_TRUE(Create(Manifest("a"), "p").ok());
}

TEST_F(RegistryTest, LostAnswerOfACreateIsReadBack) {
  store_.LoseAnswer();
  const auto object = Create(Manifest("a"));
  ASSERT_TRUE(object.ok()) << ToString(object.status());
  EXPECT_EQ((*object)->StringAt({"metadata", "uid"}), MustGet("a")->StringAt({"metadata", "uid"}));
}

TEST_F(RegistryTest, LostRequestOfACreateIsAnUnknownOutcome) {
  store_.LoseRequest();
  EXPECT_EQ(Create(Manifest("a")).status().code(), Code::kDeadlineExceeded);
}

TEST_F(RegistryTest, AWriteWithAnOldClusterRecordWaitsForTheCacheAndThenGoesThrough) {
  store_.BeforeWrite([this] { PutRaw(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1})"); });
  EXPECT_TRUE(Create(Manifest("a")).ok());
  EXPECT_EQ(store_.writes(), 2);
}

TEST_F(RegistryTest, AClusterOfANewerLevelIsNotWritten) {
  const store::Revision at = PutRaw(keys_.Cluster(), R"({"id":"c","epoch":1,"level":2})");
  ASSERT_TRUE(cache_->WaitFor(at, seconds(5)).ok());
  const auto object = Create(Manifest("a"));
  EXPECT_EQ(object.status().code(), Code::kUnavailable);
  EXPECT_THAT(Message(object.status()), HasSubstr("level 2"));
}

TEST_F(RegistryTest, AClosedStoreIsReadAndNotWritten) {
  MustCreate("a");
  const std::string open = Stored(keys_.Cluster());
  const auto close = [this](const std::string& why) {
    const store::Revision at = PutRaw(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1,"closed":)" + why + "}");
    ASSERT_TRUE(cache_->WaitFor(at, seconds(5)).ok());
  };
  close(R"({"reason":"import","at":"T1","by":"ann"})");
  const auto importing = Create(Manifest("b"));
  EXPECT_EQ(importing.status().code(), Code::kUnavailable) << "it will end";
  EXPECT_THAT(Message(importing.status()), HasSubstr("an import, begun at T1 by 'ann', isn't finished"));
  EXPECT_EQ(Delete("a").status().code(), Code::kUnavailable);
  EXPECT_NE(MustGet("a"), nullptr);
  close(R"({"reason":"seal","at":"T2","by":"bob"})");
  const auto sealed = Create(Manifest("b"));
  EXPECT_EQ(sealed.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(sealed.status()), HasSubstr("isla store unseal"));
  close(R"("a newer islad's word")");
  EXPECT_EQ(Create(Manifest("b")).status().code(), Code::kUnavailable);
  const store::Revision opened = PutRaw(keys_.Cluster(), open);
  ASSERT_TRUE(cache_->WaitFor(opened, seconds(5)).ok());
  EXPECT_TRUE(Create(Manifest("b")).ok());
}

TEST_F(RegistryTest, AWriteThatWasDecidedBeforeTheStoreWasClosedIsRefused) {
  store_.BeforeWrite([this] { PutRaw(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1,"closed":{"reason":"import"}})"); });
  EXPECT_EQ(Create(Manifest("a")).status().code(), Code::kUnavailable);
  EXPECT_EQ(Stored(keys_.Spec("session", "default", "a")), "");
}

TEST_F(RegistryTest, BootstrapAddsNothingToAClosedStore) {
  DeleteRaw({keys_.Spec("project", "_", "default")});
  PutRaw(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1,"closed":{"reason":"import"}})");
  ASSERT_TRUE(Bootstrap(*memory_, keys_, clock_, Random::Real()).ok());
  EXPECT_EQ(Stored(keys_.Spec("project", "_", "default")), "");
}

TEST_F(RegistryTest, BootstrapTwiceChangesNothing) {
  const store::Revision before = StoreRevision();
  ASSERT_TRUE(Bootstrap(*memory_, keys_, clock_, Random::Real()).ok());
  EXPECT_EQ(StoreRevision(), before);
  const auto cluster = ReadCluster(*memory_, keys_);
  ASSERT_TRUE(cluster.ok());
  EXPECT_EQ(cluster->epoch, 1);
  EXPECT_EQ(cluster->level, 1);
  EXPECT_TRUE(IsUuid(cluster->id));
}

// ---- update and patch

TEST_F(RegistryTest, APatchOfLabelsKeepsTheGeneration) {
  MustCreate("a");
  const auto object = Patch("a", R"({"metadata":{"labels":{"x":"y"}}})");
  ASSERT_TRUE(object.ok()) << ToString(object.status());
  EXPECT_EQ((*object)->Int64At({"metadata", "generation"}), 1);
  EXPECT_EQ((*object)->StringAt({"metadata", "labels", "x"}), "y");
  EXPECT_EQ(*MustGet("a"), **object);
}

TEST_F(RegistryTest, APatchOfSpecRaisesTheGeneration) {
  MustCreate("a");
  const auto object = Patch("a", R"({"spec":{"command":["false"]}})");
  ASSERT_TRUE(object.ok()) << ToString(object.status());
  EXPECT_EQ((*object)->Int64At({"metadata", "generation"}), 2);
}

TEST_F(RegistryTest, AnUpdateThatChangesNothingWritesNothing) {
  MustCreate("a");
  const ObjectPtr before = MustGet("a");
  const store::Revision at = StoreRevision();
  const auto same = registry_->Update(session(), "default", "a", *before, As("bob"));
  ASSERT_TRUE(same.ok()) << ToString(same.status());
  EXPECT_EQ(**same, *before);
  const auto patched = Patch("a", R"({"spec":{"command":["true"]}})");
  ASSERT_TRUE(patched.ok());
  EXPECT_EQ(Rv(*patched), Rv(before));
  EXPECT_EQ(StoreRevision(), at);
}

TEST_F(RegistryTest, UpdateWithAnOldResourceVersionIsAConflict) {
  const ObjectPtr old = MustCreate("a");
  ASSERT_TRUE(Patch("a", R"({"metadata":{"labels":{"x":"y"}}})").ok());
  json::Value manifest = *old;
  manifest.Member("metadata").Set("labels", json::Value::MakeObject({{"x", "z"}}));
  EXPECT_EQ(registry_->Update(session(), "default", "a", manifest, As("bob")).status().code(), Code::kAborted);
  EXPECT_EQ(Patch("a", R"({"metadata":{"resourceVersion":"1","labels":{"x":"z"}}})").status().code(), Code::kAborted);
}

TEST_F(RegistryTest, UpdateWithAResourceVersionLosesToAStatusThatCameBetween) {
  const ObjectPtr old = MustCreate("a");
  json::Value manifest = *old;
  manifest.Member("metadata").Set("labels", json::Value::MakeObject({{"x", "z"}}));
  store_.BeforeWrite([this, &old] { PutStatus(old, "Running"); });
  EXPECT_EQ(registry_->Update(session(), "default", "a", manifest, As("bob")).status().code(), Code::kAborted);
}

TEST_F(RegistryTest, ImmutableFieldsAreRefusedOrKept) {
  const ObjectPtr object = MustCreate("a");
  EXPECT_THAT(Fields(Patch("a", R"({"metadata":{"uid":"x"}})").status()), ElementsAre("metadata.uid"));
  EXPECT_THAT(Fields(Patch("a", R"({"metadata":{"createdBy":"bob"}})").status()), ElementsAre("metadata.createdBy"));
  EXPECT_EQ(Patch("a", R"({"metadata":{"name":"b"}})").status().code(), Code::kInvalidArgument);
  const auto kept = Patch("a", R"({"metadata":{"generation":9,"deletionTimestamp":"2020-01-01T00:00:00Z"},
                                   "status":{"phase":"Failed"}})");
  ASSERT_TRUE(kept.ok()) << ToString(kept.status());
  EXPECT_EQ(Rv(*kept), Rv(object)) << "nothing of it counts";
}

TEST_F(RegistryTest, ConcurrentPatchesOfDifferentLabelsAllLand) {
  MustCreate("a");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 10; ++i) {
        StatusOr<ObjectPtr> done = Error(Code::kAborted, "");
        while (!done.ok() && done.status().code() == Code::kAborted) {
          done = Patch("a", fmt::format(R"({{"metadata":{{"labels":{{"l{}-{}":"x"}}}}}})", t, i));
        }
        EXPECT_TRUE(done.ok()) << ToString(done.status());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(MustGet("a")->FindPath({"metadata", "labels"})->members().size(), 40U);
}

TEST_F(RegistryTest, APlacedSessionIsFrozen) {
  const ObjectPtr object = MustCreate("a");
  PutBind(object);
  EXPECT_THAT(Fields(Patch("a", R"({"spec":{"command":["false"]}})").status()), ElementsAre("spec.command"));
  EXPECT_TRUE(Patch("a", R"({"metadata":{"labels":{"x":"y"}}})").ok());
}

TEST_F(RegistryTest, ASessionPlacedBetweenReadAndTransactionIsFrozen) {
  const ObjectPtr object = MustCreate("a");
  store_.BeforeWrite([this, &object] { PutBind(object); });
  EXPECT_THAT(Fields(Patch("a", R"({"spec":{"command":["false"]}})").status()), ElementsAre("spec.command"));
  EXPECT_EQ(json::Serialize(*MustGet("a")->FindPath({"spec", "command"})), R"(["true"])");
}

TEST_F(RegistryTest, AVerdictAloneFreezesNothing) {
  const ObjectPtr object = MustCreate("a");
  PutRaw(keys_.Bind("default", "a"), R"({"uid":"x","verdict":{"reason":"NoNode"}})");
  EXPECT_TRUE(Patch("a", R"({"spec":{"command":["false"]}})").ok());
}

TEST_F(RegistryTest, FieldsOfANewerIsladSurviveAPatchAndAreNotTheUsersFault) {
  const ObjectPtr object = MustCreate("a");
  json::Value stored = Read(Stored(keys_.Spec("session", "default", "a")));
  stored.Member("spec").Set("fromTheFuture", 1);
  PutRaw(keys_.Spec("session", "default", "a"), json::Serialize(stored));
  const auto patched = Patch("a", R"({"metadata":{"labels":{"x":"y"}}})");
  ASSERT_TRUE(patched.ok()) << ToString(patched.status());
  EXPECT_EQ((*patched)->Int64At({"spec", "fromTheFuture"}), 1);
  EXPECT_THAT(Fields(Patch("a", R"({"spec":{"unknown":1}})").status()), ElementsAre("spec.unknown"));
}

TEST_F(RegistryTest, LostAnswerOfAPatchIsReadBack) {
  MustCreate("a");
  store_.LoseAnswer();
  const auto object = Patch("a", R"({"metadata":{"labels":{"x":"y"}}})");
  ASSERT_TRUE(object.ok()) << ToString(object.status());
  EXPECT_EQ(Rv(*object), Rv(MustGet("a")));
}

TEST_F(RegistryTest, PatchingWhatIsNotThereIsNotFound) {
  EXPECT_EQ(Patch("a", "{}").status().code(), Code::kNotFound);
  EXPECT_EQ(registry_->Update(session(), "default", "a", Manifest("a"), As("x")).status().code(), Code::kNotFound);
  EXPECT_EQ(Delete("a").status().code(), Code::kNotFound);
  EXPECT_EQ(registry_->Get(session(), "_", "a").status().code(), Code::kNotFound);
  EXPECT_EQ(registry_->Get(session(), "default", "a/b").status().code(), Code::kNotFound);
}

TEST_F(RegistryTest, AnObjectThatIsTooLargeIsRefused) {
  const std::string big(200 << 10, 'x');
  MustCreate("a");
  EXPECT_TRUE(Patch("a", R"({"metadata":{"annotations":{"a":")" + big + "\"}}}").ok());
  EXPECT_THAT(Fields(Patch("a", R"({"metadata":{"annotations":{"b":")" + big + "\"}}}").status()), ElementsAre("spec"));
}

TEST_F(RegistryTest, AConditionOfTheLeaderThatFailsAbortsAndIsNotTriedAgain) {
  const store::Revision lead = PutRaw(keys_.Lead(), R"({"id":"one"})");
  WriteOptions leader = As("isla");
  leader.conditions.push_back(store::Compare::CreateRevision(keys_.Lead(), lead));
  ASSERT_TRUE(registry_->Create(session(), "default", Manifest("a"), leader).ok());
  store_.BeforeWrite([this] {
    DeleteRaw({keys_.Lead()});
    PutRaw(keys_.Lead(), R"({"id":"two"})");
  });
  store_.ResetCounts();
  EXPECT_EQ(registry_->Create(session(), "default", Manifest("b"), leader).status().code(), Code::kAborted);
  EXPECT_EQ(store_.writes(), 1);
  EXPECT_EQ(registry_->MergePatch(session(), "default", "a", Read(R"({"metadata":{"labels":{"x":"y"}}})"), leader)
                .status().code(), Code::kAborted);
  DeleteOptions going;
  going.conditions = leader.conditions;
  EXPECT_EQ(Delete("a", going).status().code(), Code::kAborted);
  EXPECT_EQ(MustGet("a")->Int64At({"metadata", "generation"}), 1);
}

// ---- delete

TEST_F(RegistryTest, DeleteMarksAndRaisesTheGeneration) {
  MustCreate("a");
  clock_.Advance(seconds(5));
  const auto result = Delete("a");
  ASSERT_TRUE(result.ok()) << ToString(result.status());
  EXPECT_FALSE(result->gone);
  EXPECT_EQ(result->object->StringAt({"metadata", "deletionTimestamp"}), FormatRfc3339(clock_.Wall()));
  EXPECT_EQ(result->object->Int64At({"metadata", "deletionGracePeriodSeconds"}), 30);
  EXPECT_EQ(result->object->Int64At({"metadata", "generation"}), 2);
  EXPECT_EQ(*MustGet("a"), *result->object);
}

TEST_F(RegistryTest, DeletingWhatIsMarkedChangesNothingButAShorterGrace) {
  MustCreate("a");
  ASSERT_TRUE(Delete("a").ok());
  const store::Revision at = StoreRevision();
  EXPECT_TRUE(Delete("a").ok());
  EXPECT_TRUE(Delete("a", WithGrace(60)).ok());
  EXPECT_EQ(StoreRevision(), at);
  const auto shorter = Delete("a", WithGrace(0));
  ASSERT_TRUE(shorter.ok());
  EXPECT_EQ(shorter->object->Int64At({"metadata", "deletionGracePeriodSeconds"}), 0);
  EXPECT_EQ(shorter->object->Int64At({"metadata", "generation"}), 2);
}

TEST_F(RegistryTest, DeletePreconditionsHold) {
  const ObjectPtr object = MustCreate("a");
  EXPECT_EQ(Delete("a", If("other", "")).status().code(), Code::kAborted);
  EXPECT_EQ(Delete("a", If("", "1")).status().code(), Code::kAborted);
  store_.BeforeWrite([this, &object] { PutStatus(object, "Running"); });
  EXPECT_EQ(Delete("a", If("", Rv(object))).status().code(), Code::kAborted);
  EXPECT_TRUE(Delete("a", If(object->StringAt({"metadata", "uid"}), Rv(MustGet("a")))).ok());
}

TEST_F(RegistryTest, DeleteOfANameThatWasMadeAnewMeanwhileDoesNotHitTheNewOne) {
  const ObjectPtr old = MustCreate("a");
  store_.BeforeWrite([this] {
    DeleteRaw({keys_.Spec("session", "default", "a")});
    MustCreate("a");
  });
  EXPECT_EQ(Delete("a", If(old->StringAt({"metadata", "uid"}), "")).status().code(), Code::kAborted);
  EXPECT_EQ(MustGet("a")->FindPath({"metadata", "deletionTimestamp"}), nullptr);
}

TEST_F(RegistryTest, DryRunsShowWhatWouldBeAndWriteNothing) {
  MustCreate("a");
  const store::Revision at = StoreRevision();
  const auto created = Create(Manifest("b"), "default", true);
  ASSERT_TRUE(created.ok()) << ToString(created.status());
  EXPECT_EQ((*created)->FindPath({"metadata", "resourceVersion"}), nullptr);
  EXPECT_EQ(Phase(*created), "Pending");
  EXPECT_EQ(Create(Manifest("a"), "default", true).status().code(), Code::kAlreadyExists);
  EXPECT_EQ(Create(Manifest("b"), "nowhere", true).status().code(), Code::kFailedPrecondition);
  const auto patched = Patch("a", R"({"spec":{"command":["false"]}})", true);
  ASSERT_TRUE(patched.ok());
  EXPECT_EQ((*patched)->Int64At({"metadata", "generation"}), 2);
  const auto deleted = Delete("a", DryRun());
  ASSERT_TRUE(deleted.ok());
  EXPECT_NE(deleted->object->FindPath({"metadata", "deletionTimestamp"}), nullptr);
  EXPECT_EQ(StoreRevision(), at);
  EXPECT_EQ(MustGet("a")->Int64At({"metadata", "generation"}), 1);
}

TEST_F(RegistryTest, TheDefaultProjectStays) {
  EXPECT_EQ(registry_->Delete(project(), "", "default", {}).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(registry_->Delete(project(), "", "default", DryRun()).status().code(), Code::kFailedPrecondition);
}

TEST_F(RegistryTest, ADeletedProjectWaitsForItsController) {
  ASSERT_TRUE(registry_->Create(project(), "", ProjectManifest("p"), As("ann")).ok());
  const auto result = registry_->Delete(project(), "", "p", {});
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->gone);
  EXPECT_EQ(Phase(result->object), "Terminating");
}

TEST_F(RegistryTest, NodesAreReadOnly) {
  EXPECT_EQ(registry_->Create(node(), "", Manifest("n"), As("x")).status().code(), Code::kUnimplemented);
  EXPECT_EQ(registry_->MergePatch(node(), "", "n", Read("{}"), As("x")).status().code(), Code::kUnimplemented);
  EXPECT_EQ(registry_->Delete(node(), "", "n", {}).status().code(), Code::kUnimplemented);
}

constexpr const char* kPolicy = R"({
  "apiVersion": "isla/v1",
  "kind": "SandboxPolicy",
  "metadata": {"name": "web"},
  "spec": {
    "base": {"groups": ["@container"]},
    "rules": [{"syscalls": ["openat"], "when": "path under '/etc'", "action": "deny"}]
  }
})";

TEST_F(RegistryTest, ASandboxPolicyIsAnObjectLikeOthers) {
  const api::Kind& kind = api::SandboxPolicyKind();
  json::Value manifest = Read(kPolicy);
  manifest.Member("spec").Set("rules", json::Value::MakeArray());
  const auto made = registry_->Create(kind, "default", manifest, As("ann"));
  ASSERT_TRUE(made.ok()) << ToString(made.status());
  EXPECT_EQ((*made)->FindPath({"metadata", "finalizers"}), nullptr) << "nothing waits for its end";
  EXPECT_EQ(json::Serialize(*(*made)->Find("spec")), json::Serialize(*manifest.Find("spec"))) << "as it was typed";
  const auto patched = registry_->MergePatch(kind, "default", "web", Read(R"({"spec": {"mode": "warn"}})"), As("ann"));
  ASSERT_TRUE(patched.ok()) << ToString(patched.status());
  EXPECT_EQ((*patched)->Int64At({"metadata", "generation"}), 2);
  EXPECT_TRUE(registry_->Delete(kind, "default", "web", {}).ok());
  EXPECT_EQ(registry_->Get(kind, "default", "web").status().code(), Code::kNotFound);
}

TEST_F(RegistryTest, MistakesInASandboxPolicyAreToldWithTheirPlace) {
  const api::Kind& kind = api::SandboxPolicyKind();
  const auto errors = [&](const std::string& text) { return api::FieldErrorsOf(registry_->Create(kind, "default", Read(text), As("ann")).status()); };
  std::string text = kPolicy;
  // Refused by path where others go on: the kernel would look again.
  const auto contradiction = errors(text);
  ASSERT_EQ(contradiction.size(), 1u);
  EXPECT_THAT(contradiction[0].field, HasSubstr("spec.rules[0]"));
  EXPECT_EQ(contradiction[0].position.line, 7u);
  text.replace(text.find("path under"), 4, "pth ");
  const auto unknown = errors(text);
  ASSERT_EQ(unknown.size(), 1u);
  EXPECT_EQ(unknown[0].field, "spec.rules[0].when");
  EXPECT_EQ(unknown[0].position.line, 7u);
  EXPECT_EQ(unknown[0].position.column, text.find("pth") - text.rfind('\n', text.find("pth")));
  std::string misspelt = kPolicy;
  misspelt.replace(misspelt.find("\"rules\""), 7, "\"ruels\"");
  EXPECT_THAT(errors(misspelt).at(0).detail, HasSubstr("did you mean 'rules'?"));
  std::string reserved = kPolicy;
  reserved.replace(reserved.find("\"web\""), 5, "\"default\"");
  EXPECT_EQ(errors(reserved).at(0).field, "metadata.name");
  EXPECT_EQ(errors(R"({"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{"name":"x"},"spec":7})").at(0).field, "spec");
}

}  // namespace
}  // namespace isla::registry
