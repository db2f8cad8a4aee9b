// The past: reading at old revisions, watching from them, and what compaction leaves of them. A list at a revision and a
// watch from the next one must fit together at every revision: that is what every cache is made of.
#include <map>
#include <thread>

#include "tests/conformance/store_conformance.h"

namespace isla::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Content = std::map<std::string, std::string>;

Content ContentOf(const ListResult& list) {
  Content content;
  for (const auto& kv : list.kvs) content[kv->key] = kv->value;
  return content;
}

void ApplyTo(Content& content, const Event& event) {
  if (event.type == Event::Type::kPut) {
    content[event.kv->key] = event.kv->value;
  } else {
    EXPECT_EQ(content.erase(event.kv->key), 1U) << "a delete of what was not there";
  }
}

ListOptions At(Revision revision, size_t page_size = 500) {
  ListOptions options;
  options.revision = revision;
  options.page_size = page_size;
  return options;
}

TEST_P(StoreHistory, EveryRevisionCanBeListedAsItWas) {
  for (const auto& [revision, content] : content_) EXPECT_EQ(ContentOf(List("", At(revision))), content) << revision;
}

TEST_P(StoreHistory, OldRevisionsAreTheSameInSmallPages) {
  for (const auto& [revision, content] : content_) EXPECT_EQ(ContentOf(List("", At(revision, 2))), content) << revision;
}

TEST_P(StoreHistory, AListAndAWatchFromTheNextRevisionFitTogetherAtEveryRevision) {
  for (const auto& [revision, content] : content_) {
    if (revision == last_) break;
    RecordingWatcher watcher;
    const auto watch = StartWatch(watcher, revision + 1);
    ASSERT_TRUE(watcher.WaitForRevision(last_));
    Content replayed = content;
    for (const Event& event : watcher.events()) {
      EXPECT_GT(event.kv->mod_revision, revision);
      ApplyTo(replayed, event);
    }
    EXPECT_EQ(replayed, content_[last_]) << revision;
  }
}

TEST_P(StoreHistory, AfterCompactionWhatIsLeftIsAsItWas) {
  const Revision middle = (first_ + last_) / 2;
  ASSERT_TRUE(store().Compact(middle).ok());
  for (const auto& [revision, content] : content_) {
    const auto list = store().List(prefix(), At(revision));
    if (revision < middle) {
      EXPECT_EQ(list.status().code(), Code::kOutOfRange) << revision;
    } else {
      ASSERT_TRUE(list.ok()) << revision;
      EXPECT_EQ(ContentOf(*list), content) << revision;
    }
  }
}

TEST_P(StoreHistory, CompactingRevisionByRevisionChangesNothingAtOrAbove) {
  for (const auto& [revision, content] : content_) {
    ASSERT_TRUE(store().Compact(revision).ok()) << revision;
    EXPECT_EQ(ContentOf(List("", At(revision))), content) << revision;
    EXPECT_EQ(ContentOf(List()), content_[last_]) << revision;
  }
}

TEST_P(StoreHistory, AfterCompactionAListAndAWatchStillFitTogether) {
  const Revision middle = (first_ + last_) / 2;
  ASSERT_TRUE(store().Compact(middle).ok());
  for (const auto& [revision, content] : content_) {
    if (revision < middle || revision == last_) continue;
    RecordingWatcher watcher;
    const auto watch = StartWatch(watcher, revision + 1);
    ASSERT_TRUE(watcher.WaitForRevision(last_));
    Content replayed = content;
    for (const Event& event : watcher.events()) ApplyTo(replayed, event);
    EXPECT_EQ(replayed, content_[last_]) << revision;
  }
}

TEST_P(StoreHistory, EventsOfThePastCarryWhatAListAtTheirRevisionGives) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, first_);
  ASSERT_TRUE(watcher.WaitForRevision(last_));
  for (const Event& event : watcher.events()) {
    const auto list = List("", At(event.kv->mod_revision));
    bool there = false;
    for (const auto& kv : list.kvs) {
      if (kv->key != event.kv->key) continue;
      there = true;
      EXPECT_EQ(kv->value, event.kv->value);
      EXPECT_EQ(kv->version, event.kv->version);
      EXPECT_EQ(kv->create_revision, event.kv->create_revision);
      EXPECT_EQ(kv->mod_revision, event.kv->mod_revision);
    }
    EXPECT_EQ(there, event.type == Event::Type::kPut);
  }
}

TEST_P(StoreHistory, PreviousValuesAreWhatAListOfTheRevisionBeforeGives) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, first_ + 1, true);
  ASSERT_TRUE(watcher.WaitForRevision(last_));
  for (const Event& event : watcher.events()) {
    const Content& before = content_[event.kv->mod_revision - 1];
    const auto was = before.find(event.kv->key);
    ASSERT_EQ(event.previous != nullptr, was != before.end()) << event.kv->mod_revision;
    if (event.previous != nullptr) {
      EXPECT_EQ(event.previous->value, was->second);
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreHistory);

TEST_P(StoreConformance, ADeletedKeyIsStillThereInThePast) {
  const Revision put = Put("a", "1");
  const Revision gone = Delete("a");
  EXPECT_THAT(Texts(List("", At(put))), ElementsAre("a=1"));
  EXPECT_THAT(Texts(List("", At(gone))), IsEmpty());
}

TEST_P(StoreConformance, AKeyThatCameBackHasBothItsLivesInThePast) {
  const Revision one = Put("a", "1");
  const Revision gone = Delete("a");
  const Revision two = Put("a", "2");
  EXPECT_EQ(List("", At(one)).kvs[0]->create_revision, one);
  EXPECT_THAT(Texts(List("", At(gone))), IsEmpty());
  EXPECT_EQ(List("", At(two)).kvs[0]->create_revision, two);
  EXPECT_EQ(List("", At(two)).kvs[0]->version, 1);
}

TEST_P(StoreConformance, KeysOnlyInThePastAreThoseOfThePast) {
  const Revision one = Put("a", "1");
  Put("b", "2");
  Delete("a");
  ListOptions options = At(one);
  options.keys_only = true;
  EXPECT_THAT(Texts(List("", options)), ElementsAre("a="));
}

TEST_P(StoreConformance, AListAtTheCompactedRevisionItselfIsWhole) {
  Put("a", "1");
  const Revision gone = Delete("a");
  const Revision now = Put("b", "1");
  ASSERT_TRUE(store().Compact(gone).ok());
  EXPECT_THAT(Texts(List("", At(gone))), IsEmpty());
  EXPECT_THAT(Texts(List("", At(now))), ElementsAre("b=1"));
}

TEST_P(StoreConformance, AKeyThatWasDeletedAndCompactedComesBackAsANewOne) {
  Put("a", "1");
  Put("a", "2");
  const Revision gone = Delete("a");
  ASSERT_TRUE(store().Compact(gone).ok());
  EXPECT_EQ(Get("a"), nullptr);
  const Revision again = Put("a", "3");
  EXPECT_EQ(There("a").version, 1);
  EXPECT_EQ(There("a").create_revision, again);
}

TEST_P(StoreConformance, CompactionKeepsVersionAndCreateRevisionOfWhatGoesOn) {
  const Revision created = Put("a", "1");
  for (int i = 2; i <= 5; ++i) ASSERT_TRUE(store().Compact(Put("a", std::to_string(i))).ok());
  Put("a", "6");
  EXPECT_EQ(There("a").version, 6);
  EXPECT_EQ(There("a").create_revision, created);
}

TEST_P(StoreConformance, ACompareSeesTheSameAfterCompaction) {
  const Revision created = Put("a", "1");
  const Revision modified = Put("a", "2");
  Put("b", "1");
  Delete("b");
  ASSERT_TRUE(store().Compact(Now()).ok());
  Transaction txn;
  txn.compares = {Compare::CreateRevision(Key("a"), created), Compare::ModRevision(Key("a"), modified),
                  Compare::Value(Key("a"), "2"), Compare::Missing(Key("b"))};
  EXPECT_TRUE(Do(txn).succeeded);
}

TEST_P(StoreConformance, CompactingTheNewestRevisionLeavesAWatchFromTheNextWhole) {
  const Revision now = Put("a", "1");
  ASSERT_TRUE(store().Compact(now).ok());
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, now + 1);
  Put("a", "2");
  Delete("a");
  EXPECT_THAT(Texts(watcher.WaitForEvents(2)), ElementsAre("a=2", "a"));
}

TEST_P(StoreConformance, AWatchFromTheFutureDoesNotMindCompactionBelowIt) {
  RecordingWatcher watcher;
  const Revision now = Put("a", "0");
  const auto watch = StartWatch(watcher, now + 3);
  Put("a", "1");
  ASSERT_TRUE(store().Compact(Put("a", "2")).ok());
  Put("a", "3");
  EXPECT_THAT(Texts(watcher.WaitForEvents(1)), ElementsAre("a=3"));
}

TEST_P(StoreConformance, AWatcherThatIsSlowGetsAllOrIsToldOfCompactionButNeverSkips) {
  RecordingWatcher slow;
  const Revision start = Now() + 1;
  const auto watch = StartWatch(slow, start);
  slow.Block(true);
  Revision last = 0;
  for (int i = 0; i < 300; ++i) last = Put("a", std::to_string(i));
  ASSERT_TRUE(store().Compact(last).ok());
  slow.Block(false);
  const Revision after = Put("a", "300");
  for (int i = 0; i < 1000 && !slow.ended() && (slow.batches().empty() || slow.batches().back().revision < after); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto texts = Texts(slow.events());
  for (size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(texts[i], "a=" + std::to_string(i));
  if (slow.ended()) {
    EXPECT_EQ(slow.WaitForEnd().code(), Code::kOutOfRange);
  } else {
    EXPECT_EQ(texts.size(), 301U);
  }
}

}  // namespace

void StoreHistory::SetUp() {
  StoreConformance::SetUp();
  first_ = Put("a", "1");
  last_ = first_;
  content_[last_] = {{Key("a"), "1"}};
  for (int i = 0; i < 40; ++i) {
    Content now = content_[last_];
    Transaction txn;
    const std::string one = Key("k" + std::to_string(i % 7)), other = Key("s" + std::to_string(i % 3));
    if (i % 5 == 4 && now.contains(one)) {
      txn.success.push_back(Operation::Delete(one));
      now.erase(one);
    } else {
      txn.success.push_back(Operation::Put(one, std::to_string(i)));
      now[one] = std::to_string(i);
    }
    if (i % 4 == 0) {
      txn.success.push_back(Operation::Put(other, "s" + std::to_string(i)));
      now[other] = "s" + std::to_string(i);
    }
    last_ = Do(txn).revision;
    content_[last_] = now;
  }
}

}  // namespace isla::store
