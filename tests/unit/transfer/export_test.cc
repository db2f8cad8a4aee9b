#include "tests/unit/transfer/transfer_fixture.h"

namespace isla::transfer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ExportTest : public TransferTest {};

TEST_F(ExportTest, HasAllContentAndNothingOfProcesses) {
  archive::Header header;
  std::map<std::string, std::string> classes;
  const std::string text = Export(*source_);
  ASSERT_TRUE(Read(text, [&classes](const archive::Entry& entry) { classes[entry.key] = entry.key_class; }, &header).ok());
  const std::string container = controllers::MainContainerUid(controllers::UidOf("zebra"));
  const std::map<std::string, std::string> expected = {
      {"bind/default/zebra", "bind"},
      {"config/agent/log/level", "config"},
      {"manifest-status/default/new", "manifest-status"},
      {"manifest-status/default/old", "manifest-status"},
      {"manifest/default/new", "manifest"},
      {"manifest/default/old", "manifest"},
      {"node/n1", "node"},
      {"nodeterm/n1", "nodeterm"},
      {"of/a/newer/islad", "other"},
      {"run/n1/" + container + "/1", "run"},
      {"spec/project/_/default", "spec"},
      {"spec/session/default/apple", "spec"},
      {"spec/session/default/mango", "spec"},
      {"spec/session/default/zebra", "spec"},
      {"status/session/default/zebra", "status"},
  };
  EXPECT_EQ(classes, expected);
  EXPECT_EQ(header.cluster_id, Cluster(*source_).id);
  EXPECT_EQ(header.epoch, 1);
  EXPECT_EQ(header.revision, source_->Get("x")->revision);
  EXPECT_EQ(header.by, "ann");
  EXPECT_FALSE(header.sealed);
}

TEST_F(ExportTest, ANodeIsExportedAsIfNobodyServedIt) {
  const Content content = ContentOf(Export(*source_));
  const auto node = controllers::DecodeNode(content.at("node/n1"));
  ASSERT_TRUE(node.ok());
  EXPECT_FALSE(node->connected);
  EXPECT_EQ(node->gateway, "");
  EXPECT_TRUE(node->orphans.empty());
  EXPECT_EQ(node->uid, controllers::NodeOf("n1").uid);
  EXPECT_EQ(content.at("nodeterm/n1"), R"({"term":7,"owner":"","stream":""})");
}

TEST_F(ExportTest, IsTheSameInWhateverPieces) {
  const std::string whole = Export(*source_);
  for (const size_t piece : {1, 2, 5, 17}) EXPECT_EQ(Export(*source_, piece), whole) << piece;
}

TEST_F(ExportTest, DoesntSeeWhatIsWrittenMeanwhile) {
  const Content before = ContentOf(Export(*source_));
  CountingStore store(*source_);
  store.before_list = [this](int number) {
    if (number < 3) return;
    Put(*source_, keys_.prefix() + "spec/session/default/zz" + std::to_string(number), "{}");
    Put(*source_, keys_.Status("session", "default", "zebra"), std::to_string(number));
  };
  // Pieces are of 16 keys at least.
  for (int i = 0; i < 50; ++i) Put(*source_, keys_.prefix() + "config/a" + std::to_string(i), "1");
  Content with = ContentOf(Export(store, 1));
  EXPECT_EQ(std::erase_if(with, [](const auto& item) { return item.first.starts_with("config/a") && item.second == "1"; }), 50U);
  EXPECT_EQ(with, before);
}

TEST_F(ExportTest, WhatWasCompactedUnderASlowReaderIsSaidSoInPlaceOfTheEnd) {
  for (int i = 0; i < 50; ++i) Put(*source_, keys_.prefix() + "config/a" + std::to_string(i), "1");
  CountingStore store(*source_);
  store.before_list = [this](int number) {
    if (number == 4) ISLA_CHECK_OK(source_->Compact(Put(*source_, "/x", "")));
  };
  const auto text = TryExport(store, 1);
  ASSERT_TRUE(text.ok());
  const Status status = Read(*text, [](const archive::Entry&) {});
  EXPECT_EQ(status.code(), Code::kAborted) << "worth another try";
  EXPECT_THAT(Message(status), HasSubstr("was compacted before all of it was read"));
}

TEST_F(ExportTest, PagesOfTwoHistoriesAreNoExport) {
  // The store is replaced by a backup between two pages; the revision of the export is there in both.
  class Switching final : public store::ForwardingStore {
   public:
    Switching(store::Store& first, store::Store& second) : ForwardingStore(first), second_(second) {}
    StatusOr<store::ListResult> List(const store::Prefix& prefix, const store::ListOptions& options,
                                     store::Deadline deadline) override {
      return ++lists_ < 4 ? ForwardingStore::List(prefix, options, deadline) : second_.List(prefix, options, deadline);
    }

   private:
    store::Store& second_;
    int lists_ = 0;
  };
  auto other = store::EmbeddedStore::InMemory();
  Fill(*other);
  for (int i = 0; i < 50; ++i) {
    Put(*source_, keys_.prefix() + "config/a" + std::to_string(i), "1");
    Put(*other, keys_.prefix() + "config/a" + std::to_string(i), "2");
  }
  Put(*source_, keys_.Bind("default", "aaa"), "{}");  // the newest is read before
  Put(*other, keys_.Bind("default", "bbb"), "{}");
  Switching store(*source_, *other);
  const auto text = TryExport(store, 1);
  ASSERT_TRUE(text.ok());
  const Status status = Read(*text, [](const archive::Entry&) {});
  EXPECT_EQ(status.code(), Code::kAborted);
  EXPECT_THAT(Message(status), HasSubstr("restored from a backup"));
}

TEST_F(ExportTest, WhoWatchesTheStoreTellsThatItsHistoryIsAnother) {
  int asked = 0;
  history_ = [&asked] { return StatusOr<int64_t>(++asked == 1 ? 4 : 5); };
  EXPECT_EQ(Read(Export(*source_), [](const archive::Entry&) {}).code(), Code::kAborted);
  asked = 0;
  history_ = [&asked] { return ++asked == 1 ? StatusOr<int64_t>(4) : StatusOr<int64_t>(Error(Code::kDeadlineExceeded, "?")); };
  EXPECT_EQ(Read(Export(*source_), [](const archive::Entry&) {}).code(), Code::kAborted);
  history_ = [] { return StatusOr<int64_t>(4); };
  EXPECT_TRUE(Read(Export(*source_), [](const archive::Entry&) {}).ok());
}

TEST_F(ExportTest, AStoreThatIsHalfOfAnImportHasNone) {
  Put(*source_, keys_.Cluster(), R"({"id":"c","epoch":2,"level":1,"closed":{"reason":"import","sha256":"x","at":"t","by":"ann"}})");
  EXPECT_EQ(TryExport(*source_).status().code(), Code::kUnavailable);
}

TEST_F(ExportTest, ASealedStoreIsExportedAsSuchAndOpensAgain) {
  const registry::ClusterRecord before = Cluster(*source_);
  const auto sealed = Seal(*source_, keys_, clock_, "ann");
  ASSERT_TRUE(sealed.ok()) << ToString(sealed.status());
  EXPECT_EQ(sealed->epoch, before.epoch + 1) << "streams of agents end by it";
  EXPECT_EQ(registry::CheckOpen(*sealed).code(), Code::kFailedPrecondition);
  EXPECT_EQ(Seal(*source_, keys_, clock_, "bob")->mod_revision, sealed->mod_revision) << "it is sealed already";
  archive::Header header;
  ASSERT_TRUE(Read(Export(*source_), [](const archive::Entry&) {}, &header).ok());
  EXPECT_TRUE(header.sealed);
  EXPECT_EQ(header.epoch, 2);
  const auto opened = Unseal(*source_, keys_);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(registry::CheckOpen(*opened).ok());
  EXPECT_EQ(opened->epoch, 2) << "what was bound before is of an older epoch";
  EXPECT_EQ(opened->id, before.id);
  EXPECT_TRUE(Unseal(*source_, keys_).ok());
}

TEST_F(ExportTest, AnAnswerThatWasLostDoesntTakeTheSealBack) {
  CountingStore store(*source_);
  store.after = [](int) { return Error(Code::kDeadlineExceeded, "lost"); };
  const auto sealed = Seal(store, keys_, clock_, "ann");
  ASSERT_TRUE(sealed.ok()) << ToString(sealed.status());
  EXPECT_TRUE(Cluster(*source_).closed.has_value());
  store.after = nullptr;
  store.before = [](int) { return Error(Code::kDeadlineExceeded, "lost"); };
  EXPECT_EQ(Unseal(store, keys_).status().code(), Code::kDeadlineExceeded);
}

TEST_F(ExportTest, AHalfImportIsNeitherSealedNorOpened) {
  Put(*source_, keys_.Cluster(), R"({"id":"c","epoch":2,"level":1,"closed":{"reason":"import","sha256":"x","at":"t","by":"ann"}})");
  EXPECT_EQ(Seal(*source_, keys_, clock_, "ann").status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(Unseal(*source_, keys_).status().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace isla::transfer
