// Watches.
#include <map>
#include <thread>

#include "tests/conformance/store_conformance.h"

namespace isla::store {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_P(StoreConformance, AWatchFromNowSeesWhatComesAndNothingBefore) {
  const Revision before = Put("a", "0");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, 0);
  ASSERT_TRUE(watcher.WaitForRevision(before));
  Put("a", "1");
  Put("b", "1");
  EXPECT_THAT(Texts(watcher.WaitForEvents(2)), ElementsAre("a=1", "b=1"));
}

TEST_P(StoreConformance, TheFirstBatchOfAWatchFromNowSaysWhereItBegan) {
  const Revision before = Put("a", "0");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, 0);
  ASSERT_TRUE(watcher.WaitForRevision(before));
  EXPECT_EQ(watcher.batches()[0].revision, before);
  EXPECT_THAT(watcher.batches()[0].events, IsEmpty());
}

TEST_P(StoreConformance, AWatchFromThePastDeliversHistoryThenTheNew) {
  Put("a", "0");
  const Revision start = Put("a", "1");
  Put("b", "2");
  Delete("a");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, start);
  EXPECT_THAT(Texts(watcher.WaitForEvents(3)), ElementsAre("a=1", "b=2", "a"));
  Put("c", "3");
  EXPECT_THAT(Texts(watcher.WaitForEvents(4)), ElementsAre("a=1", "b=2", "a", "c=3"));
}

TEST_P(StoreConformance, AnEventCarriesWhatAGetWouldGive) {
  const Revision created = Put("a", "1");
  const Revision modified = Put("a", "2");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, modified);
  const auto events = watcher.WaitForEvents(1);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kv->key, Key("a"));
  EXPECT_EQ(events[0].kv->create_revision, created);
  EXPECT_EQ(events[0].kv->mod_revision, modified);
  EXPECT_EQ(events[0].kv->version, 2);
  EXPECT_EQ(watcher.batches().back().revision, modified);
}

TEST_P(StoreConformance, ADeleteEventHasTheDeletesRevisionAndNoValue) {
  Put("a", "1");
  const Revision gone = Delete("a");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, gone);
  const auto events = watcher.WaitForEvents(1);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].type, Event::Type::kDelete);
  EXPECT_EQ(events[0].kv->key, Key("a"));
  EXPECT_EQ(events[0].kv->mod_revision, gone);
  EXPECT_EQ(events[0].kv->value, "");
  EXPECT_EQ(events[0].previous, nullptr);
}

TEST_P(StoreConformance, ATransactionComesInOneBatchInTheOrderOfItsOperations) {
  Put("old", "1");
  Transaction txn;
  txn.success = {Operation::Put(Key("z"), "1"), Operation::Delete(Key("old")), Operation::Put(Key("a"), "1")};
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  const Revision revision = Do(txn).revision;
  EXPECT_THAT(Texts(watcher.WaitForEvents(3)), ElementsAre("z=1", "old", "a=1"));
  ASSERT_EQ(watcher.batches().size(), 1U);
  EXPECT_EQ(watcher.batches()[0].revision, revision);
}

TEST_P(StoreConformance, ATransactionOf128OperationsComesInOneBatch) {
  RecordingWatcher live, later;
  const Revision start = Now() + 1;
  const auto watch = StartWatch(live, start);
  Transaction txn;
  for (int i = 0; i < 128; ++i) txn.success.push_back(Operation::Put(Key("k" + std::to_string(i)), "v"));
  Do(txn);
  EXPECT_EQ(live.WaitForEvents(128).size(), 128U);
  EXPECT_EQ(live.batches().size(), 1U);
  const auto watch_later = StartWatch(later, start);
  EXPECT_EQ(later.WaitForEvents(128).size(), 128U);
  EXPECT_EQ(later.batches().size(), 1U);
}

TEST_P(StoreConformance, DeletePrefixIsOneTransactionOfDeletes) {
  for (const char* name : {"a/3", "a/1", "a/2"}) Put(name, "v");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  Transaction txn;
  txn.success = {Operation::DeletePrefix(Prefix(Key("a/")))};
  Do(txn);
  EXPECT_THAT(Texts(watcher.WaitForEvents(3)), ElementsAre("a/1", "a/2", "a/3"));
  EXPECT_EQ(watcher.batches().size(), 1U);
}

TEST_P(StoreConformance, AWatchSeesItsPrefixOnly) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1, false, "a/");
  Put("a", "x");
  Put("a0", "x");
  Transaction mixed;
  mixed.success = {Operation::Put(Key("b"), "x"), Operation::Put(Key("a/1"), "1"), Operation::Put(Key("c"), "x")};
  Do(mixed);
  Put("a/2", "2");
  EXPECT_THAT(Texts(watcher.WaitForEvents(2)), ElementsAre("a/1=1", "a/2=2"));
}

TEST_P(StoreConformance, AWatchOfTheWholeStoreSeesThisKey) {
  RecordingWatcher watcher;
  const Revision start = Now() + 1;
  const auto watch = store().StartWatch({"", start, false}, watcher);
  ASSERT_TRUE(watch.ok());
  Put("a", "1");
  const auto events = watcher.WaitForEvents(1);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kv->key, Key("a"));
}

TEST_P(StoreConformance, PreviousValuesComeIfAskedFor) {
  const Revision start = Put("a", "1");
  Put("a", "2");
  Delete("a");
  RecordingWatcher with, without;
  const auto watch_with = StartWatch(with, start, true);
  const auto watch_without = StartWatch(without, start, false);
  const auto events = with.WaitForEvents(3);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].previous, nullptr);
  ASSERT_NE(events[1].previous, nullptr);
  EXPECT_EQ(events[1].previous->value, "1");
  EXPECT_EQ(events[1].previous->mod_revision, start);
  ASSERT_NE(events[2].previous, nullptr);
  EXPECT_EQ(events[2].previous->value, "2");
  for (const Event& event : without.WaitForEvents(3)) EXPECT_EQ(event.previous, nullptr);
}

TEST_P(StoreConformance, AWatchFromTheFutureBeginsThere) {
  RecordingWatcher watcher;
  const Revision now = Now();
  const auto watch = StartWatch(watcher, now + 3);
  Put("a", "1");
  Put("a", "2");
  Put("a", "3");
  Put("a", "4");
  EXPECT_THAT(Texts(watcher.WaitForEvents(2)), ElementsAre("a=3", "a=4"));
}

TEST_P(StoreConformance, AWatchFromACompactedRevisionEndsWithOutOfRange) {
  const Revision start = Put("a", "1");
  Put("a", "2");
  ASSERT_TRUE(store().Compact(Put("a", "3")).ok());
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, start);
  EXPECT_EQ(watcher.WaitForEnd().code(), Code::kOutOfRange);
  EXPECT_THAT(watcher.events(), IsEmpty());
}

// etcd before 3.4.36 has lost the delete, and says nothing.
TEST_P(StoreConformance, AWatchFromTheCompactedRevisionItselfEndsWithOutOfRange) {
  Put("a", "1");
  Put("b", "1");
  Transaction txn;
  txn.success = {Operation::Delete(Key("a")), Operation::Put(Key("b"), "2")};
  const Revision both = Do(txn).revision;
  ASSERT_TRUE(store().Compact(both).ok());
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, both);
  EXPECT_EQ(watcher.WaitForEnd().code(), Code::kOutOfRange);
  EXPECT_THAT(watcher.events(), IsEmpty());
}

TEST_P(StoreConformance, AWatchFromBeyondTheCompactedRevisionIsWhole) {
  Put("a", "1");
  const Revision compacted = Put("a", "2");
  Put("b", "3");
  Delete("a");
  Put("a", "4");
  ASSERT_TRUE(store().Compact(compacted).ok());
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, compacted + 1);
  EXPECT_THAT(Texts(watcher.WaitForEvents(3)), ElementsAre("b=3", "a", "a=4"));
}

TEST_P(StoreConformance, CompactionDoesNotDisturbAWatchThatIsUpToDate) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  for (int i = 0; i < 20; ++i) {
    const Revision revision = Put("a", std::to_string(i));
    ASSERT_TRUE(watcher.WaitForRevision(revision));
    ASSERT_TRUE(store().Compact(revision).ok());
  }
  Delete("a");
  EXPECT_EQ(watcher.WaitForEvents(21).size(), 21U);
  EXPECT_FALSE(watcher.ended());
}

TEST_P(StoreConformance, PreviousValuesAreThereFromJustAboveTheCompactedRevision) {
  Put("a", "1");
  const Revision changed = Put("a", "2");
  ASSERT_TRUE(store().Compact(changed).ok());
  Put("a", "3");
  Put("a", "4");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, changed + 1, true);
  const auto events = watcher.WaitForEvents(2);
  ASSERT_EQ(events.size(), 2U);
  ASSERT_NE(events[0].previous, nullptr);
  EXPECT_EQ(events[0].previous->value, "2");
  ASSERT_NE(events[1].previous, nullptr);
  EXPECT_EQ(events[1].previous->value, "3");
}

TEST_P(StoreConformance, ANegativeStartIsRefused) {
  RecordingWatcher watcher;
  EXPECT_EQ(store().StartWatch({prefix(), -1, false}, watcher).status().code(), Code::kInvalidArgument);
  EXPECT_FALSE(watcher.ended());
}

TEST_P(StoreConformance, DestroyingAWatchEndsItOnceWithCancelled) {
  RecordingWatcher watcher;
  auto watch = StartWatch(watcher, Now() + 1);
  Put("a", "1");
  watcher.WaitForEvents(1);
  watch.reset();
  EXPECT_TRUE(watcher.ended());
  EXPECT_EQ(watcher.WaitForEnd().code(), Code::kCancelled);
  Put("a", "2");
  EXPECT_EQ(watcher.events().size(), 1U);
}

TEST_P(StoreConformance, DestroyingAWatchAtOnceIsFine) {
  for (int i = 0; i < 20; ++i) {
    RecordingWatcher watcher;
    auto watch = StartWatch(watcher, i % 2 == 0 ? 0 : 1000000);
    watch.reset();
    EXPECT_TRUE(watcher.ended());
  }
}

TEST_P(StoreConformance, DestroyingAWatchWhileEventsFlowIsFine) {
  std::atomic<bool> stop{false};
  std::thread writer([this, &stop] {
    for (int i = 0; !stop; ++i) Put("a", std::to_string(i));
  });
  const Revision start = Now();
  for (int i = 0; i < 30; ++i) {
    RecordingWatcher watcher;
    auto watch = StartWatch(watcher, start + 1);
    watcher.WaitForEvents(static_cast<size_t>(i % 3));
    watch.reset();
    EXPECT_TRUE(watcher.ended());
  }
  stop = true;
  writer.join();
}

TEST_P(StoreConformance, AWatcherThatBlocksStopsNeitherWritersNorOtherWatchers) {
  RecordingWatcher slow, quick;
  slow.Block(true);
  const Revision start = Now() + 1;
  const auto slow_watch = StartWatch(slow, start);
  const auto quick_watch = StartWatch(quick, start);
  for (int i = 0; i < 200; ++i) Put("a", std::to_string(i));
  EXPECT_EQ(quick.WaitForEvents(200).size(), 200U);
  EXPECT_FALSE(slow.ended());
  slow.Block(false);
  EXPECT_EQ(slow.WaitForEvents(200).size(), 200U);
}

TEST_P(StoreConformance, AllWatchersSeeTheSame) {
  const Revision start = Now() + 1;
  std::vector<std::unique_ptr<RecordingWatcher>> watchers;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 8; ++i) {
    watchers.push_back(std::make_unique<RecordingWatcher>());
    watches.push_back(StartWatch(*watchers.back(), start));
  }
  for (int i = 0; i < 50; ++i) Put("k" + std::to_string(i % 5), std::to_string(i));
  const auto first = Texts(watchers[0]->WaitForEvents(50));
  ASSERT_EQ(first.size(), 50U);
  for (const auto& watcher : watchers) EXPECT_EQ(Texts(watcher->WaitForEvents(50)), first);
  watches.clear();
}

TEST_P(StoreConformance, ReplayingAWatchGivesTheStoreWhileManyWrite) {
  const Revision start = Now() + 1;
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, start);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 60; ++i) {
        Transaction txn;
        const std::string mine = "k" + std::to_string((t * 7 + i) % 13), other = "s" + std::to_string(i % 5);
        txn.success.push_back(i % 4 == 3 ? Operation::Delete(Key(mine)) : Operation::Put(Key(mine), std::to_string(i)));
        txn.success.push_back(Operation::Put(Key(other), std::to_string(t)));
        Do(txn);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  const auto list = List();
  ASSERT_TRUE(watcher.WaitForRevision(list.revision));
  std::map<std::string, std::string> replayed;
  Revision last = start - 1;
  for (const Event& event : watcher.events()) {
    EXPECT_LE(event.kv->mod_revision - last, 1) << "a revision is missing";
    last = event.kv->mod_revision;
    if (event.type == Event::Type::kPut) {
      replayed[event.kv->key] = event.kv->value;
    } else {
      EXPECT_EQ(replayed.erase(event.kv->key), 1U) << "a delete of what was not there";
    }
  }
  EXPECT_EQ(last, list.revision);
  std::map<std::string, std::string> listed;
  for (const auto& kv : list.kvs) listed[kv->key] = kv->value;
  EXPECT_EQ(replayed, listed);
}

TEST_P(StoreConformance, AWatchResumedAfterTheLastBatchMissesAndRepeatsNothing) {
  const Revision start = Now() + 1;
  std::thread writer([this] {
    for (int i = 0; i < 150; ++i) Put("k" + std::to_string(i % 3), std::to_string(i));
  });
  std::vector<std::string> seen;
  for (Revision next = start; seen.size() < 150;) {
    RecordingWatcher watcher;
    auto watch = StartWatch(watcher, next);
    ASSERT_FALSE(watcher.WaitForEvents(1).empty());
    watch.reset();
    for (const std::string& text : Texts(watcher.events())) seen.push_back(text);
    next = watcher.batches().back().revision + 1;
  }
  writer.join();
  ASSERT_EQ(seen.size(), 150U);
  for (size_t i = 0; i < 150; ++i) EXPECT_EQ(seen[i], "k" + std::to_string(i % 3) + "=" + std::to_string(i));
}

TEST_P(StoreConformance, MegabytesOfHistoryArriveWhole) {
#ifdef ISLA_TSAN
  // In gRPC, which isn't instrumented, tsan sees a race on each buffer, and to name one takes it the square of the size.
  constexpr size_t kBytes = 10'000;
#else
  constexpr size_t kBytes = 300'000;
#endif
  const Revision start = Now() + 1;
  for (int i = 0; i < 8; ++i) {
    Transaction txn;
    for (int k = 0; k < 4; ++k) txn.success.push_back(Operation::Put(Key("k" + std::to_string(k)), std::string(kBytes, static_cast<char>('a' + i))));
    Do(txn);
  }
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, start);
  const auto events = watcher.WaitForEvents(32);
  ASSERT_EQ(events.size(), 32U);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(events[i].kv->value, std::string(kBytes, static_cast<char>('a' + i / 4)));
  for (const auto& batch : watcher.batches()) EXPECT_EQ(batch.events.size() % 4, 0U);
}

TEST_P(StoreConformance, ThousandsOfRevisionsOfHistoryArriveInOrder) {
  const Revision start = Now() + 1;
  for (int i = 0; i < 1500; ++i) Put("k" + std::to_string(i % 100), std::to_string(i));
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, start);
  const auto events = watcher.WaitForEvents(1500);
  ASSERT_EQ(events.size(), 1500U);
  for (size_t i = 0; i < 1500; ++i) EXPECT_EQ(events[i].kv->value, std::to_string(i));
}

TEST_P(StoreConformance, AKeyThatComesBackIsThreeEvents) {
  const Revision start = Put("a", "1");
  Delete("a");
  const Revision again = Put("a", "2");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, start, true);
  const auto events = watcher.WaitForEvents(3);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_THAT(Texts(events), ElementsAre("a=1", "a", "a=2"));
  EXPECT_EQ(events[2].kv->create_revision, again);
  EXPECT_EQ(events[2].kv->version, 1);
  EXPECT_EQ(events[2].previous, nullptr);
}

TEST_P(StoreConformance, WhatChangesNothingIsNoEvent) {
  Put("a", "1");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  Delete("missing");
  Transaction refused;
  refused.compares = {Compare::Missing(Key("a"))};
  refused.success = {Operation::Put(Key("a"), "2")};
  Do(refused);
  Transaction read;
  read.success = {Operation::Get(Key("a"))};
  Do(read);
  Put("end", "1");
  EXPECT_THAT(Texts(watcher.WaitForEvents(1)), ElementsAre("end=1"));
}

TEST_P(StoreConformance, WatchesFromDifferentRevisionsEachBeginAtTheirs) {
  const Revision one = Put("a", "1");
  const Revision two = Put("a", "2");
  RecordingWatcher from_one, from_two, from_now;
  const auto watch_one = StartWatch(from_one, one);
  const auto watch_two = StartWatch(from_two, two);
  const auto watch_now = StartWatch(from_now, 0);
  ASSERT_TRUE(from_now.WaitForRevision(two));
  Put("a", "3");
  EXPECT_THAT(Texts(from_one.WaitForEvents(3)), ElementsAre("a=1", "a=2", "a=3"));
  EXPECT_THAT(Texts(from_two.WaitForEvents(2)), ElementsAre("a=2", "a=3"));
  EXPECT_THAT(Texts(from_now.WaitForEvents(1)), ElementsAre("a=3"));
}

TEST_P(StoreConformance, AWatchOfAKeysNameSeesTheKeyAndThoseThatBeginWithIt) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1, false, "a");
  Put("a", "1");
  Put("ab", "2");
  Put("b", "3");
  Put("a/c", "4");
  EXPECT_THAT(Texts(watcher.WaitForEvents(3)), ElementsAre("a=1", "ab=2", "a/c=4"));
}

TEST_P(StoreConformance, AWatchOfAPrefixThatEndsInTheLastByte) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1, false, "a\xff");
  Put("a", "1");
  Put("a\xff", "2");
  Put("a\xff\xff", "3");
  Put("b", "4");
  Put("a\xff" "c", "5");
  EXPECT_THAT(Texts(watcher.WaitForEvents(3)), ElementsAre("a\xff=2", "a\xff\xff=3", "a\xff" "c=5"));
}

TEST_P(StoreConformance, TwoTransactionsAreNeverOneBatchOfOneRevision) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  for (int i = 0; i < 20; ++i) {
    Transaction txn;
    txn.success = {Operation::Put(Key("a"), std::to_string(i)), Operation::Put(Key("b"), std::to_string(i))};
    Do(txn);
  }
  const auto events = watcher.WaitForEvents(40);
  ASSERT_EQ(events.size(), 40U);
  for (size_t i = 0; i < 40; i += 2) {
    EXPECT_EQ(events[i].kv->mod_revision, events[i + 1].kv->mod_revision);
    EXPECT_EQ(events[i].kv->value, events[i + 1].kv->value);
    if (i > 0) {
      EXPECT_EQ(events[i].kv->mod_revision, events[i - 1].kv->mod_revision + 1);
    }
  }
}

TEST_P(StoreConformance, PreviousValuesOfATransactionAreThoseBeforeIt) {
  Put("a", "a1");
  Put("b", "b1");
  Transaction txn;
  txn.success = {Operation::Put(Key("b"), "b2"), Operation::Delete(Key("a")), Operation::Put(Key("c"), "c1")};
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1, true);
  Do(txn);
  const auto events = watcher.WaitForEvents(3);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].previous->value, "b1");
  EXPECT_EQ(events[1].previous->value, "a1");
  EXPECT_EQ(events[2].previous, nullptr);
}

TEST_P(StoreConformance, EmptyAndBinaryValuesComeAsEvents) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  const std::string binary("\0\xff\n", 3);
  Put("empty", "");
  Put("binary", binary);
  const auto events = watcher.WaitForEvents(2);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].type, Event::Type::kPut);
  EXPECT_EQ(events[0].kv->value, "");
  EXPECT_EQ(events[1].kv->value, binary);
}

TEST_P(StoreConformance, AWatchThatSawNothingEndsWithCancelledToo) {
  RecordingWatcher watcher;
  auto watch = StartWatch(watcher, Now() + 1, false, "none/");
  Put("a", "1");
  watch.reset();
  EXPECT_EQ(watcher.WaitForEnd().code(), Code::kCancelled);
  EXPECT_THAT(watcher.events(), IsEmpty());
}

TEST_P(StoreConformance, ADeletedPrefixWithPreviousValuesHasThemAll) {
  for (int i = 0; i < 5; ++i) Put("a/" + std::to_string(i), std::to_string(i));
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1, true);
  Transaction txn;
  txn.success = {Operation::DeletePrefix(Prefix(Key("a/")))};
  Do(txn);
  const auto events = watcher.WaitForEvents(5);
  ASSERT_EQ(events.size(), 5U);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(events[i].previous->value, std::to_string(i));
}

}  // namespace
}  // namespace isla::store
