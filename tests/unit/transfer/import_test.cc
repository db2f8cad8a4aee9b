#include "tests/unit/transfer/transfer_fixture.h"

namespace isla::transfer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ImportTest : public TransferTest {
 protected:
  ImportTest() : file_(Export(*source_)), target_(Fresh()) {}

  /// The target has what the file has, but for what an import changes, and is open under a greater epoch.
  void ExpectImported(store::Store& store, int64_t epoch = 2) {
    Content expected = ContentOf(file_);
    Content content = ContentOf(store);
    for (const char* name : {"manifest-status/default/old", "manifest-status/default/new"}) {
      EXPECT_EQ(expected.erase(name) + content.erase(name), 2U);
    }
    EXPECT_EQ(content, expected);
    const registry::ClusterRecord cluster = Cluster(store);
    EXPECT_FALSE(cluster.closed.has_value());
    EXPECT_EQ(cluster.id, Cluster(*source_).id);
    EXPECT_EQ(cluster.epoch, epoch);
    // The verdict that held speaks of its manifest as it is here, the other one of none.
    const auto manifest = store.Get(keys_.Manifest("default", "old")).value().kv;
    ASSERT_NE(manifest, nullptr);
    EXPECT_EQ(controllers::DecodeManifestVerdict(Value(store, keys_.ManifestStatus("default", "old")))->revision,
              manifest->mod_revision);
    EXPECT_EQ(controllers::DecodeManifestVerdict(Value(store, keys_.ManifestStatus("default", "new")))->revision, 0);
  }

  std::string file_;
  std::unique_ptr<store::EmbeddedStore> target_;
};

TEST_F(ImportTest, PutsWhatWasExportedIntoAFreshStore) {
  const auto result = Import(*target_, file_);
  ASSERT_TRUE(result.ok()) << ToString(result.status());
  ExpectImported(*target_);
  EXPECT_EQ(result->written, 15U) << "the first project too: it is another one";
  EXPECT_EQ(result->deleted, 0U);
  EXPECT_EQ(result->epoch, 2);
  EXPECT_EQ(result->classes.at("spec"), 4U);
  EXPECT_FALSE(result->resumed || result->already || result->dry_run);
}

TEST_F(ImportTest, ThereAndBackItIsTheSame) {
  ASSERT_TRUE(Import(*target_, file_).ok());
  const std::string second = Export(*target_);
  auto back = Fresh();
  ASSERT_TRUE(Import(*back, second).ok());
  Content first = ContentOf(file_), last = ContentOf(Export(*back));
  for (Content* content : {&first, &last}) {
    content->erase("manifest-status/default/old");  // speaks of a revision
    content->erase("manifest-status/default/new");
  }
  EXPECT_EQ(first, last);
  EXPECT_EQ(Cluster(*back).epoch, 3);
}

TEST_F(ImportTest, SessionsWaitInLineAsBefore) {
  ASSERT_TRUE(Import(*target_, file_).ok());
  controllers::ClusterState state(keys_, clock_);
  state.Reset(target_->List(keys_.prefix()).value());
  std::vector<std::string> waiting;
  for (const auto& session : state.Scheduling().pending) waiting.push_back(session.name);
  EXPECT_THAT(waiting, ElementsAre("apple", "mango")) << "zebra, the oldest, is placed";
  Delete(*target_, keys_.Bind("default", "zebra"));
  state.Reset(target_->List(keys_.prefix()).value());
  EXPECT_EQ(state.Scheduling().pending.front().name, "zebra");
}

TEST_F(ImportTest, AStoreThatIsntEmptyIsLeftAlone) {
  PutSession(*target_, "mine", "2026-11-22T10:00:00.000001Z");
  const store::Revision before = target_->Get("x")->revision;
  const auto result = Import(*target_, file_);
  EXPECT_EQ(result.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(result.status()), HasSubstr("spec/session/default/mine"));
  EXPECT_EQ(target_->Get("x")->revision, before);
}

TEST_F(ImportTest, ReplacingDeletesWhatIsntInTheFileButTheNodesThatRegistered) {
  PutSession(*target_, "mine", "2026-11-22T10:00:00.000001Z");
  PutSession(*target_, "apple", "2026-11-22T09:00:00.000001Z");
  Put(*target_, keys_.Status("session", "default", "mine"), "{}");
  Put(*target_, keys_.Bind("default", "mine"), "{}");
  Put(*target_, keys_.Manifest("default", "theirs"), "{}");
  Put(*target_, keys_.Node("n2"), controllers::Encode(controllers::NodeOf("n2")));
  Put(*target_, keys_.NodeTerm("n2"), R"({"term":1})");
  const auto result = Import(*target_, file_, Replacing());
  ASSERT_TRUE(result.ok()) << ToString(result.status());
  EXPECT_EQ(result->deleted, 4U);
  EXPECT_NE(Value(*target_, keys_.Node("n2")), "");
  Delete(*target_, keys_.Node("n2"));
  Delete(*target_, keys_.NodeTerm("n2"));
  ExpectImported(*target_);
}

TEST_F(ImportTest, ABackupIsRestoredOverItsOwnCluster) {
  // As many keys are the same as can be: what speaks of revisions has to be right all the same.
  Put(*source_, keys_.Manifest("default", "old"), "put again since");
  PutSession(*source_, "later", "2026-11-22T11:00:00.000001Z");
  const auto result = Import(*source_, file_, Replacing());
  ASSERT_TRUE(result.ok()) << ToString(result.status());
  ExpectImported(*source_);
}

TEST_F(ImportTest, NodesThatRegisteredAreNoObstacleAndTermsNeverFall) {
  controllers::Node node = controllers::NodeOf("n1");
  node.gateway = "g9";
  Put(*target_, keys_.Node("n1"), controllers::Encode(node));
  Put(*target_, keys_.NodeTerm("n1"), R"({"term":9,"owner":"g9","stream":"t"})");
  ASSERT_TRUE(Import(*target_, file_).ok());
  EXPECT_EQ(TermOf(Value(*target_, keys_.NodeTerm("n1"))), 9);
  EXPECT_FALSE(controllers::DecodeNode(Value(*target_, keys_.Node("n1")))->connected);
}

TEST_F(ImportTest, AnotherMachineUnderTheNameOfANodeIsAnObstacle) {
  controllers::Node node = controllers::NodeOf("n1");
  node.uid = controllers::UidOf("another machine");
  Put(*target_, keys_.Node("n1"), controllers::Encode(node));
  const auto refused = Import(*target_, file_);
  EXPECT_EQ(refused.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(refused.status()), HasSubstr("node 'n1' has registered here with uid"));
  ASSERT_TRUE(Import(*target_, file_, Replacing()).ok());
  ExpectImported(*target_);
}

TEST_F(ImportTest, ADryRunSaysWhatItWouldDoAndWritesNothing) {
  PutSession(*target_, "mine", "2026-11-22T10:00:00.000001Z");
  const store::Revision before = target_->Get("x")->revision;
  EXPECT_EQ(Import(*target_, file_, DryRun()).status().code(), Code::kFailedPrecondition);
  ImportOptions options = DryRun();
  options.replace = true;
  const auto result = Import(*target_, file_, options);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->dry_run);
  EXPECT_EQ(result->written, 15U);
  EXPECT_EQ(result->deleted, 1U);
  EXPECT_EQ(target_->Get("x")->revision, before);
}

TEST_F(ImportTest, TheSameFileAgainChangesNothing) {
  ASSERT_TRUE(Import(*target_, file_).ok());
  PutSession(*target_, "since", "2026-11-22T10:00:00.000001Z");
  const store::Revision before = target_->Get("x")->revision;
  const auto again = Import(*target_, file_);
  ASSERT_TRUE(again.ok()) << "its answer may have been lost: " << ToString(again.status());
  EXPECT_TRUE(again->already);
  EXPECT_EQ(target_->Get("x")->revision, before);
}

TEST_F(ImportTest, DiesAfterAnyWriteAndARepeatFinishesIt) {
  for (int i = 0; i < 250; ++i) {  // several batches
    PutSession(*source_, "s" + std::to_string(i), "2026-11-22T10:00:01.000001Z");
    Put(*source_, keys_.Manifest("default", "m" + std::to_string(i)), std::to_string(i));
  }
  file_ = Export(*source_);
  int writes = 0;
  {
    auto store = Fresh();
    CountingStore counting(*store);
    ASSERT_TRUE(Import(counting, file_).ok());
    writes = counting.writes();
    ExpectImported(*store);
  }
  ASSERT_GT(writes, 8);
  for (const bool done : {false, true}) {
    for (int last = 1; last <= writes; ++last) {
      auto store = Fresh();
      CountingStore counting(*store);
      const auto die = [last](int number) { return number >= last ? Error(Code::kInternal, "died") : OkStatus(); };
      (done ? counting.after : counting.before) = die;
      ASSERT_FALSE(Import(counting, file_).ok()) << last;
      const registry::ClusterRecord half = Cluster(*store);
      const bool begun = done || last > 1, opened = done && last == writes;
      if (begun && !opened) {
        ASSERT_TRUE(half.closed.has_value()) << last;
        EXPECT_EQ(registry::CheckOpen(half).code(), Code::kUnavailable);
        EXPECT_EQ(half.epoch, 2);
      }
      const auto again = Import(*store, file_);
      ASSERT_TRUE(again.ok()) << last << " " << done << ": " << ToString(again.status());
      EXPECT_EQ(again->already, opened);
      // The first closing and the second say whether anything was looked at and written.
      ExpectImported(*store, opened || !begun ? 2 : 3);
      if (HasFailure()) FAIL() << last << " " << done;
    }
  }
}

TEST_F(ImportTest, LostAnswersAreNoHarm) {
  CountingStore counting(*target_);
  counting.after = [](int number) { return number % 2 == 0 ? Error(Code::kDeadlineExceeded, "lost") : OkStatus(); };
  ASSERT_TRUE(Import(counting, file_).ok());
  ExpectImported(*target_);
}

TEST_F(ImportTest, WhoeverTakesOverFencesTheFirstOff) {
  CountingStore counting(*target_);
  StatusOr<ImportResult> second = Error(Code::kInternal, "not run");
  counting.before = [&](int number) {
    if (number == 4) second = Import(*target_, file_);
    return OkStatus();
  };
  const auto first = Import(counting, file_);
  EXPECT_EQ(first.status().code(), Code::kAborted) << ToString(first.status());
  ASSERT_TRUE(second.ok()) << ToString(second.status());
  EXPECT_TRUE(second->resumed);
  ExpectImported(*target_, 3);
}

TEST_F(ImportTest, WhatIsWrittenBetweenTheFirstLookAndTheClosingIsKept) {
  CountingStore counting(*target_);
  counting.before = [this](int number) {
    if (number == 1) PutSession(*target_, "mine", "2026-11-22T10:00:00.000001Z");
    return OkStatus();
  };
  const auto result = Import(counting, file_);
  EXPECT_EQ(result.status().code(), Code::kFailedPrecondition) << ToString(result.status());
  EXPECT_FALSE(Cluster(*target_).closed.has_value()) << "nothing was written, so it is open again";
  EXPECT_NE(Value(*target_, keys_.Spec("session", "default", "mine")), "");
  EXPECT_EQ(Value(*target_, keys_.Spec("session", "default", "zebra")), "");
}

TEST_F(ImportTest, DiesBetweenTheClosingAndTheLookAndARepeatLooksAgain) {
  CountingStore counting(*target_);
  counting.before = [this](int number) {
    if (number == 1) PutSession(*target_, "mine", "2026-11-22T10:00:00.000001Z");
    return number == 1 ? OkStatus() : Error(Code::kInternal, "died");
  };
  ASSERT_FALSE(Import(counting, file_).ok());
  ASSERT_TRUE(Cluster(*target_).closed.has_value());
  EXPECT_EQ(Import(*target_, file_).status().code(), Code::kFailedPrecondition);
  EXPECT_FALSE(Cluster(*target_).closed.has_value());
  EXPECT_NE(Value(*target_, keys_.Spec("session", "default", "mine")), "");
}

TEST_F(ImportTest, HalfOfAnotherFileIsReplacedOnlyIfThatIsAskedFor) {
  CountingStore counting(*target_);
  counting.before = [](int number) { return number >= 4 ? Error(Code::kInternal, "died") : OkStatus(); };
  ASSERT_FALSE(Import(counting, file_).ok());
  Delete(*source_, keys_.Spec("session", "default", "apple"));
  const std::string other = Export(*source_);
  const auto refused = Import(*target_, other);
  EXPECT_EQ(refused.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(refused.status()), HasSubstr("half of another import"));
  ASSERT_TRUE(Import(*target_, other, Replacing()).ok());
  file_ = other;
  ExpectImported(*target_, 3);
}

TEST_F(ImportTest, AReplacingImportThatBrokeOffIsFinishedAsSuch) {
  PutSession(*target_, "mine", "2026-11-22T10:00:00.000001Z");
  CountingStore counting(*target_);
  counting.before = [](int number) { return number >= 2 ? Error(Code::kInternal, "died") : OkStatus(); };
  ASSERT_FALSE(Import(counting, file_, Replacing()).ok());
  ASSERT_TRUE(Import(*target_, file_).ok()) << "without being told again";
  EXPECT_EQ(Value(*target_, keys_.Spec("session", "default", "mine")), "");
}

TEST_F(ImportTest, WhatPeoplePutInTheInboxMeanwhileIsTheirs) {
  CountingStore counting(*target_);
  counting.before = [this](int number) {
    if (number == 4) Put(*target_, keys_.Manifest("default", "theirs"), "{}");
    return OkStatus();
  };
  ASSERT_TRUE(Import(counting, file_).ok());
  EXPECT_EQ(Value(*target_, keys_.Manifest("default", "theirs")), "{}");
}

TEST_F(ImportTest, TheEpochIsAboveAllThatWasEverBound) {
  file_ = Edited(file_, [](archive::Entry& entry) {
    if (entry.key != "bind/default/zebra") return true;
    controllers::Bind bind = *controllers::DecodeBind(entry.value);
    bind.epoch = 8;
    entry.value = controllers::Encode(bind);
    return true;
  });
  Put(*target_, keys_.Cluster(), R"({"id":"t","epoch":5,"level":1,"ofANewerIslad":true})");
  ASSERT_TRUE(Import(*target_, file_).ok());
  EXPECT_EQ(Cluster(*target_).epoch, 9);
  EXPECT_THAT(Value(*target_, keys_.Cluster()), HasSubstr("ofANewerIslad"));
}

TEST_F(ImportTest, WhatIsPlacedAnewGetsAnIncarnationThatWasNeverGivenOut) {
  ASSERT_TRUE(Import(*target_, file_).ok());
  controllers::ClusterState state(keys_, clock_);
  state.Reset(target_->List(keys_.prefix()).value());
  const auto view = state.Scheduling();
  EXPECT_EQ(view.epoch, 2);
  for (const auto& session : view.pending) EXPECT_LT(session.spec->kv->create_revision, view.epoch_began);
  EXPECT_EQ(controllers::NextIncarnation(nullptr, view.epoch), controllers::kIncarnationsOfAnEpoch + 1);
}

TEST_F(ImportTest, AFileThatIsntWholeWritesNothing) {
  const store::Revision before = target_->Get("x")->revision;
  for (const std::string& bad : {file_.substr(0, file_.size() / 2), file_.substr(0, file_.size() - 1), std::string(),
                                 std::string("hello\n"), file_ + "\n"}) {
    const auto result = Import(*target_, bad);
    EXPECT_EQ(result.status().code(), Code::kInvalidArgument) << ToString(result.status());
    EXPECT_THAT(Message(result.status()), StartsWith("line "));
  }
  std::string edited = file_;
  edited.replace(edited.find("apple"), 5, "grape");
  EXPECT_THAT(Message(Import(*target_, edited).status()), HasSubstr("the checksum doesn't fit"));
  EXPECT_EQ(target_->Get("x")->revision, before);
}

TEST_F(ImportTest, AnExportThatBrokeOffIsRefusedWithItsReason) {
  archive::Writer writer;
  archive::Header header;
  header.cluster_id = "c";
  header.revision = 1;
  std::string text = writer.Begin(header);
  text += writer.Fail("compacted", true);
  const auto result = Import(*target_, text);
  EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Message(result.status()), "line 2: the export broke off: compacted");
}

TEST_F(ImportTest, ValuesThatMakeNoSenseAreToldWithTheirLinesAndTakenOnlyIfAsked) {
  Put(*source_, keys_.Spec("session", "default", "broken"), "{\"half\":");
  Put(*source_, keys_.Bind("default", "broken"), "[]");
  file_ = Export(*source_);
  const store::Revision before = target_->Get("x")->revision;
  const auto refused = Import(*target_, file_);
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(Message(refused.status()), HasSubstr("2 values of the file make no sense"));
  EXPECT_THAT(Message(refused.status()), HasSubstr("line 2: key 'bind/default/broken'"));
  EXPECT_THAT(Message(refused.status()), HasSubstr("key 'spec/session/default/broken'"));
  EXPECT_EQ(target_->Get("x")->revision, before);
  ImportOptions options;
  options.keep_invalid = true;
  ASSERT_TRUE(Import(*target_, file_, options).ok());
  ExpectImported(*target_);
}

TEST_F(ImportTest, KeysThatNoExportHasAreRefused) {
  for (const char* key : {"lead/controllers", "meta/cluster", "gateway/g", "barrier/a"}) {
    archive::Writer writer;
    archive::Header header;
    header.cluster_id = "c";
    header.revision = 1;
    std::string text = writer.Begin(header);
    text += writer.Add({key, "other", 1, 1, "{}"}).value();
    text += writer.Finish();
    const auto result = Import(*target_, text);
    EXPECT_EQ(result.status().code(), Code::kInvalidArgument) << key;
    EXPECT_THAT(Message(result.status()), StartsWith("line 2: key '"));
  }
}

TEST_F(ImportTest, AFileOrAStoreOfAnotherLevelIsRefused) {
  Put(*target_, keys_.Cluster(), R"({"id":"t","epoch":1,"level":2})");
  EXPECT_EQ(Import(*target_, file_).status().code(), Code::kFailedPrecondition);
  archive::Writer writer;
  archive::Header header;
  header.cluster_id = "c";
  header.revision = 1;
  header.level = 2;
  std::string text = writer.Begin(header);
  text += writer.Finish();
  EXPECT_EQ(Import(*Fresh(), text).status().code(), Code::kInvalidArgument);
}

TEST_F(ImportTest, IsStoppedBetweenTwoTransactions) {
  CountingStore counting(*target_);
  counting.before = [this](int number) {
    if (number == 3) stop_.Request();
    return OkStatus();
  };
  EXPECT_EQ(Import(counting, file_).status().code(), Code::kCancelled);
  EXPECT_TRUE(Cluster(*target_).closed.has_value());
}

}  // namespace
}  // namespace isla::transfer
