#include "store/compactor.h"

#include <gtest/gtest.h>

#include "store/embedded/embedded_store.h"
#include "store/get_at.h"
#include "tests/unit/store/faulty_store.h"

namespace isla::store {
namespace {

using std::chrono::minutes;

class CompactorTest : public ::testing::Test {
 protected:
  Revision Put(const std::string& key, const std::string& value = "v") {
    Transaction txn;
    txn.success.push_back(Operation::Put(key, value));
    return store_->Txn(txn)->revision;
  }
  Revision Tick(const std::vector<Compare>& fence = {}, Revision not_above = 0) {
    const auto result = compactor_.Tick(fence, not_above);
    EXPECT_TRUE(result.ok()) << ToString(result.status());
    return result.ok() ? *result : -1;
  }
  bool Readable(Revision revision) {
    ListOptions options;
    options.revision = revision;
    return store_->List("/", options).ok();
  }

  /// The newest revision at which the mark was written.
  Revision Marked() { return store_->Get(keys_.Compacted())->kv->mod_revision; }

  FakeClock clock_;
  const Keys keys_{"/t/"};
  std::unique_ptr<EmbeddedStore> store_ = EmbeddedStore::InMemory(clock_, {.manual_delivery = true});
  FaultyStore faulty_{*store_};
  Compactor compactor_{faulty_, keys_, clock_};
};

TEST_F(CompactorTest, CompactsToWhatWasTheNewestTenMinutesAgo) {
  Put("/t/a");
  EXPECT_EQ(Tick(), 0);
  const Revision old = Marked();
  clock_.Advance(minutes(5));
  Put("/t/a");
  EXPECT_EQ(Tick(), 0);
  const Revision newer = Marked();
  Put("/t/a");
  clock_.Advance(minutes(5));
  EXPECT_EQ(Tick(), old);
  EXPECT_FALSE(Readable(old - 1));
  EXPECT_TRUE(Readable(old));
  clock_.Advance(minutes(5));
  EXPECT_EQ(Tick(), newer);
  EXPECT_FALSE(Readable(old));
  const auto mark = store_->Get(keys_.Compacted());
  EXPECT_TRUE(mark->kv->value.starts_with("{\"revision\":" + std::to_string(newer) + ",\"at\":\"20")) << mark->kv->value;
}

TEST_F(CompactorTest, CompactsToNoRevisionThatHoldsADelete) {
  Put("/t/a");
  EXPECT_EQ(Tick(), 0);
  Transaction gone;
  gone.success.push_back(Operation::Delete("/t/a"));
  ASSERT_TRUE(store_->Txn(gone).ok());
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(minutes(5));
    const Revision target = Tick();
    Put("/t/a");
    ASSERT_TRUE(store_->Txn(gone).ok());
    if (target == 0) continue;
    const auto mark = GetAt(*store_, keys_.Compacted(), target);
    ASSERT_TRUE(mark.ok() && mark->kv != nullptr);
    EXPECT_EQ(mark->kv->mod_revision, target);
  }
}

TEST_F(CompactorTest, HowLongHistoryIsKeptChangesWhileItRuns) {
  compactor_.SetKeep(minutes(20));
  EXPECT_EQ(Tick(), 0);
  const Revision first = Marked();
  Revision newest = 0;
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(minutes(5));
    EXPECT_EQ(Tick(), 0) << i;  // ten minutes are over, twenty are not
    newest = Marked();
  }
  clock_.Advance(minutes(5));
  EXPECT_EQ(Tick(), first);
  compactor_.SetKeep(minutes(10));
  clock_.Advance(minutes(5));
  EXPECT_EQ(Tick(), newest);
}

TEST_F(CompactorTest, AsksTheStoreNothingBeforeItIsDue) {
  Tick();
  const int calls = faulty_.calls();
  for (int i = 0; i < 100; ++i) {
    clock_.Advance(std::chrono::seconds(2));
    Tick();
  }
  EXPECT_EQ(faulty_.calls(), calls);
}

TEST_F(CompactorTest, AnOldLeaderCompactsNothing) {
  Put("/t/lead/controllers");
  const Revision old = Put("/t/a");
  const std::vector<Compare> fence = {Compare::CreateRevision(keys_.Lead(), 2)};
  EXPECT_EQ(Tick(fence), 0);
  const Revision marked = Marked();
  Transaction takeover;
  takeover.success.push_back(Operation::Delete(keys_.Lead()));
  ASSERT_TRUE(store_->Txn(takeover).ok());
  clock_.Advance(minutes(10));
  EXPECT_EQ(compactor_.Tick(fence).status().code(), Code::kAborted);
  EXPECT_TRUE(Readable(old - 1));
  EXPECT_EQ(Marked(), marked);
}

TEST_F(CompactorTest, HistoryThatIsStillReadIsKept) {
  Put("/t/a");
  EXPECT_EQ(Tick(), 0);
  const Revision before = Marked();
  const Revision needed = Put("/t/a");
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(minutes(5));
    EXPECT_EQ(Tick({}, needed), i == 1 ? before : 0);
  }
  EXPECT_TRUE(Readable(needed));
  clock_.Advance(minutes(5));
  EXPECT_GT(Tick(), needed);
  EXPECT_FALSE(Readable(needed));
}

TEST_F(CompactorTest, WhatAnotherLeaderHasDoneIsNotDoneAgain) {
  Put("/t/a");
  Tick();
  const Revision theirs = Put("/t/a");
  Put(keys_.Compacted(), fmt::format("{{\"revision\":{}}}", theirs));
  clock_.Advance(minutes(10));
  EXPECT_EQ(Tick(), 0);
  EXPECT_TRUE(store_->Get(keys_.Compacted())->kv->value.starts_with(fmt::format("{{\"revision\":{},", theirs)));
}

TEST_F(CompactorTest, GarbageInTheMarkIsOverwritten) {
  Put(keys_.Compacted(), "{not json");
  Tick();
  const Revision old = Marked();
  clock_.Advance(minutes(10));
  EXPECT_EQ(Tick(), old);
  Put(keys_.Compacted(), "{\"revision\":999999999}");
  clock_.Advance(minutes(5));
  Tick();
  clock_.Advance(minutes(10));
  EXPECT_GT(Tick(), old);
}

TEST_F(CompactorTest, ACompactionLostBetweenMarkAndStoreIsMadeUpNextTime) {
  Tick();
  const Revision first = Marked();
  Put("/t/a");
  clock_.Advance(minutes(5));
  Tick();
  clock_.Advance(minutes(5));
  // The mark is moved, then the process dies.
  Put(keys_.Compacted(), "{\"revision\":" + std::to_string(first) + "}");
  clock_.Advance(minutes(5));
  EXPECT_GT(Tick(), first);
  EXPECT_FALSE(Readable(first));
}

TEST_F(CompactorTest, ARestoredBackupStartsTheCountAgain) {
  for (int i = 0; i < 20; ++i) Put("/t/a");
  Tick();
  auto restored = EmbeddedStore::InMemory(clock_, {.manual_delivery = true});
  faulty_.SwitchTo(*restored);
  clock_.Advance(minutes(10));
  EXPECT_EQ(Tick(), 0);
  clock_.Advance(minutes(5));
  EXPECT_EQ(Tick(), 0);  // of this history, nothing is ten minutes old
}

}  // namespace
}  // namespace isla::store
