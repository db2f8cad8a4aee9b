// Many at once: what holds between calls that overlap.
#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "tests/conformance/store_conformance.h"

namespace isla::store {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Runs `body(i)` on `count` threads at once.
template <typename Body>
void OnThreads(int count, Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&body, i] { body(i); });
  for (auto& thread : threads) thread.join();
}

TEST_P(StoreConformance, EveryWriteHasARevisionOfItsOwnAndNoneIsMissing) {
  const Revision before = Now();
  std::vector<std::vector<Revision>> revisions(6);
  OnThreads(6, [this, &revisions](int t) {
    for (int i = 0; i < 30; ++i) revisions[static_cast<size_t>(t)].push_back(Put("k" + std::to_string(t), std::to_string(i)));
  });
  std::set<Revision> all;
  for (const auto& mine : revisions) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    all.insert(mine.begin(), mine.end());
  }
  EXPECT_EQ(all.size(), 180U);
  EXPECT_EQ(*all.begin(), before + 1);
  EXPECT_EQ(*all.rbegin(), before + 180);
  EXPECT_EQ(Now(), before + 180);
  // None was applied twice.
  for (int t = 0; t < 6; ++t) EXPECT_EQ(There("k" + std::to_string(t)).version, 30);
}

TEST_P(StoreConformance, WritersOfDifferentKeysAllSucceed) {
  OnThreads(8, [this](int t) {
    const std::string key = Key("k" + std::to_string(t));
    Revision last = 0;
    for (int i = 0; i < 20; ++i) {
      Transaction txn;
      txn.compares = {Compare::ModRevision(key, last)};
      txn.success = {Operation::Put(key, std::to_string(i))};
      const TxnResult result = Do(txn);
      EXPECT_TRUE(result.succeeded);
      last = result.revision;
    }
  });
  for (const auto& kv : List().kvs) EXPECT_EQ(kv->version, 20);
}

TEST_P(StoreConformance, MovingBetweenTwoKeysKeepsTheSum) {
  static constexpr int kAccounts = 4, kSum = 400;
  for (int i = 0; i < kAccounts; ++i) Put("account" + std::to_string(i), std::to_string(kSum / kAccounts));
  std::atomic<bool> stop{false};
  std::thread reader([this, &stop] {
    while (!stop) {
      int sum = 0;
      for (const auto& kv : List("account").kvs) sum += std::stoi(kv->value);
      EXPECT_EQ(sum, kSum);
    }
  });
  OnThreads(4, [this](int t) {
    for (int done = 0; done < 20;) {
      const std::string from = Key("account" + std::to_string((t + done) % kAccounts));
      const std::string to = Key("account" + std::to_string((t + done + 1) % kAccounts));
      const auto list = List("account");
      std::map<std::string, std::shared_ptr<const KeyValue>> now;
      for (const auto& kv : list.kvs) now[kv->key] = kv;
      Transaction txn;
      txn.compares = {Compare::ModRevision(from, now[from]->mod_revision), Compare::ModRevision(to, now[to]->mod_revision)};
      txn.success = {Operation::Put(from, std::to_string(std::stoi(now[from]->value) - 1)),
                     Operation::Put(to, std::to_string(std::stoi(now[to]->value) + 1))};
      if (Do(txn).succeeded) ++done;
    }
  });
  stop = true;
  reader.join();
}

TEST_P(StoreConformance, ALostRaceTellsWhatWon) {
  const Revision first = Put("a", "0");
  std::atomic<int> won{0};
  OnThreads(6, [this, first, &won](int t) {
    Transaction txn;
    txn.compares = {Compare::ModRevision(Key("a"), first)};
    txn.success = {Operation::Put(Key("a"), "by " + std::to_string(t))};
    txn.failure = {Operation::Get(Key("a"))};
    const TxnResult result = Do(txn);
    if (result.succeeded) {
      ++won;
      return;
    }
    ASSERT_EQ(result.gets.size(), 1U);
    ASSERT_NE(result.gets[0], nullptr);
    EXPECT_GT(result.gets[0]->mod_revision, first);
    EXPECT_GE(result.revision, result.gets[0]->mod_revision);
  });
  EXPECT_EQ(won, 1);
}

TEST_P(StoreConformance, RevisionsNeverFallForWhoeverReads) {
  std::atomic<bool> stop{false};
  std::thread writer([this, &stop] {
    for (int i = 0; !stop; ++i) Put("a", std::to_string(i));
  });
  OnThreads(3, [this](int) {
    Revision last = 0, last_of_key = 0;
    for (int i = 0; i < 100; ++i) {
      const auto result = store().Get(Key("a"));
      ASSERT_TRUE(result.ok());
      EXPECT_GE(result->revision, last);
      last = result->revision;
      if (result->kv == nullptr) continue;
      EXPECT_GE(result->kv->mod_revision, last_of_key);
      EXPECT_LE(result->kv->mod_revision, result->revision);
      last_of_key = result->kv->mod_revision;
    }
  });
  stop = true;
  writer.join();
}

TEST_P(StoreConformance, WhatOneThreadWroteAnotherReads) {
  for (int i = 0; i < 30; ++i) {
    Revision written = 0;
    std::thread([this, &written, i] { written = Put("a", std::to_string(i)); }).join();
    EXPECT_EQ(There("a").value, std::to_string(i));
    EXPECT_GE(List().revision, written);
  }
}

TEST_P(StoreConformance, WhatAWatcherHasSeenEveryReadSees) {
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  std::thread writer([this] {
    for (int i = 0; i < 100; ++i) Put("a", std::to_string(i));
  });
  for (size_t count = 1; count <= 100; count += 11) {
    const auto events = watcher.WaitForEvents(count);
    ASSERT_GE(events.size(), count);
    const auto now = store().Get(Key("a"));
    ASSERT_TRUE(now.ok());
    EXPECT_GE(now->kv->mod_revision, events.back().kv->mod_revision);
    EXPECT_GE(now->revision, events.back().kv->mod_revision);
  }
  writer.join();
}

TEST_P(StoreConformance, ListThenWatchMissesNothingWhileManyWrite) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (int t = 0; t < 3; ++t) {
    writers.emplace_back([this, t, &stop] {
      for (int i = 0; !stop; ++i) {
        const std::string name = "k" + std::to_string((t * 5 + i) % 9);
        i % 3 == 2 ? Delete(name) : Put(name, std::to_string(t) + "." + std::to_string(i));
      }
    });
  }
  std::vector<ListResult> lists;
  std::vector<std::unique_ptr<RecordingWatcher>> watchers;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 10; ++i) {
    lists.push_back(List());
    watchers.push_back(std::make_unique<RecordingWatcher>());
    watches.push_back(StartWatch(*watchers.back(), lists.back().revision + 1));
    std::this_thread::sleep_for(milliseconds(5));
  }
  stop = true;
  for (auto& writer : writers) writer.join();
  const Revision last = Put("end", "");
  std::map<std::string, std::string> end;
  for (const auto& kv : List().kvs) end[kv->key] = kv->value;
  for (size_t i = 0; i < lists.size(); ++i) {
    ASSERT_TRUE(watchers[i]->WaitForRevision(last));
    std::map<std::string, std::string> content;
    for (const auto& kv : lists[i].kvs) content[kv->key] = kv->value;
    for (const Event& event : watchers[i]->events()) {
      if (event.type == Event::Type::kPut) {
        content[event.kv->key] = event.kv->value;
      } else {
        EXPECT_EQ(content.erase(event.kv->key), 1U);
      }
    }
    EXPECT_EQ(content, end);
  }
  watches.clear();
}

TEST_P(StoreConformance, ManyWatchesComeAndGoWhileManyWrite) {
  std::atomic<bool> stop{false};
  std::thread writer([this, &stop] {
    for (int i = 0; !stop; ++i) Put("k" + std::to_string(i % 5), std::to_string(i));
  });
  OnThreads(4, [this](int t) {
    for (int i = 0; i < 8; ++i) {
      RecordingWatcher watcher;
      auto watch = StartWatch(watcher, 0, t % 2 == 0, t % 3 == 0 ? "k1" : "");
      watcher.WaitForEvents(2);
      watch.reset();
      EXPECT_EQ(watcher.WaitForEnd().code(), Code::kCancelled);
    }
  });
  stop = true;
  writer.join();
}

TEST_P(StoreConformance, CancellingOneWatchDisturbsNoOther) {
  RecordingWatcher kept, cancelled;
  const Revision start = Now() + 1;
  const auto kept_watch = StartWatch(kept, start);
  auto cancelled_watch = StartWatch(cancelled, start);
  Put("a", "1");
  cancelled.WaitForEvents(1);
  cancelled_watch.reset();
  Put("a", "2");
  Put("a", "3");
  EXPECT_THAT(Texts(kept.WaitForEvents(3)), ElementsAre("a=1", "a=2", "a=3"));
  EXPECT_FALSE(kept.ended());
}

TEST_P(StoreConformance, CompactionGoesOnUnderWritersReadersAndWatchers) {
  std::atomic<bool> stop{false};
  RecordingWatcher watcher;
  const Revision start = Now() + 1;
  const auto watch = StartWatch(watcher, start);
  std::thread compactor([this, &stop] {
    while (!stop) {
      const Revision now = Now();
      const Status status = store().Compact(now > 50 ? now - 50 : 1);
      EXPECT_TRUE(status.ok() || status.code() == Code::kOutOfRange) << ToString(status);
      std::this_thread::sleep_for(milliseconds(2));
    }
  });
  OnThreads(3, [this](int t) {
    for (int i = 0; i < 60; ++i) {
      const std::string name = "k" + std::to_string(t);
      const Revision revision = i % 10 == 9 ? Delete(name) : Put(name, std::to_string(i));
      const auto kv = Get(name);
      EXPECT_EQ(kv == nullptr, i % 10 == 9);
      if (kv != nullptr) {
        EXPECT_EQ(kv->mod_revision, revision);
      }
    }
  });
  stop = true;
  compactor.join();
  // Each writer's last was a delete.
  EXPECT_THAT(Texts(List()), IsEmpty());
  // The watch saw all of it, or was told that compaction overtook it, which it may at any moment: never a hole.
  if (watcher.WaitForRevision(Now())) {
    EXPECT_EQ(watcher.events().size(), 180U);
  } else {
    EXPECT_EQ(watcher.WaitForEnd().code(), Code::kOutOfRange);
  }
}

TEST_P(StoreConformance, ASlowReaderOfThePastGetsItWholeOrIsToldOfCompaction) {
  for (int i = 0; i < 60; ++i) Put("k" + std::to_string(i), "old");
  const Revision old = Now();
  for (int i = 0; i < 60; ++i) Put("k" + std::to_string(i), "new");
  std::thread compactor([this, old] {
    std::this_thread::sleep_for(milliseconds(3));
    EXPECT_TRUE(store().Compact(old + 30).ok());
  });
  ListOptions options;
  options.revision = old;
  options.page_size = 1;
  bool told = false;
  for (int i = 0; i < 200 && !told; ++i) {
    const auto list = store().List(prefix(), options);
    if (list.ok()) {
      EXPECT_EQ(list->kvs.size(), 60U);
      for (const auto& kv : list->kvs) EXPECT_EQ(kv->value, "old");
    } else {
      EXPECT_EQ(list.status().code(), Code::kOutOfRange);
      told = true;
    }
  }
  compactor.join();
  EXPECT_EQ(store().List(prefix(), options).status().code(), Code::kOutOfRange);
}

TEST_P(StoreConformance, NoKeyOutlivesALeaseThatIsRevokedWhileItIsUsed) {
  const auto lease = store().GrantLease(std::chrono::seconds(60));
  ASSERT_TRUE(lease.ok());
  std::atomic<int> written{0};
  std::thread revoker([this, &lease, &written] {
    while (written < 20) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_TRUE(store().RevokeLease(*lease).ok());
  });
  OnThreads(4, [this, &lease, &written](int t) {
    for (int i = 0; i < 1000; ++i) {
      Transaction txn;
      txn.success = {Operation::Put(Key("k" + std::to_string(t) + "." + std::to_string(i)), "v", *lease)};
      const auto result = store().Txn(txn);
      if (!result.ok()) {
        EXPECT_EQ(result.status().code(), Code::kNotFound);
        return;
      }
      ++written;
    }
  });
  revoker.join();
  EXPECT_THAT(Texts(List()), IsEmpty());
}

}  // namespace
}  // namespace isla::store
