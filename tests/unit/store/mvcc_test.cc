// The data of the embedded store against a model of it that is too simple to be wrong: a copy of everything for each revision.
#include "store/embedded/mvcc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace isla::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Content = std::map<std::string, std::string>;

Content ListAt(const Mvcc& mvcc, Revision at, size_t page = 3) {
  std::vector<Mvcc::Version> kvs;
  std::string from;
  while (mvcc.List("", from, at, page, kvs)) {
  }
  Content content;
  for (const auto& kv : kvs) content[kv->key] = kv->value;
  EXPECT_EQ(content.size(), kvs.size());
  return content;
}

Transaction Puts(std::initializer_list<std::pair<std::string, std::string>> puts) {
  Transaction txn;
  for (const auto& [key, value] : puts) txn.success.push_back(Operation::Put(key, value));
  return txn;
}

class MvccTest : public ::testing::Test {
 protected:
  TxnResult Apply(const Transaction& txn) {
    std::vector<Event> changes;
    return mvcc_.Apply(txn, changes);
  }
  void PruneAll(size_t step) {
    std::vector<Mvcc::Version> garbage;
    while (mvcc_.Prune(step, garbage)) {
    }
  }
  std::vector<std::string> Texts(Revision next) {
    WatchBatch batch;
    mvcc_.Collect(next, {"", 0, false}, 1000, batch);
    std::vector<std::string> texts;
    for (const Event& event : batch.events) texts.push_back(event.kv->key + "=" + event.kv->value);
    return texts;
  }

  Mvcc mvcc_;
};

TEST_F(MvccTest, WhatIsNotCommittedIsSeenAtTheHeadOnly) {
  Apply(Puts({{"a", "1"}}));
  mvcc_.Commit();
  Apply(Puts({{"a", "2"}, {"b", "1"}}));
  EXPECT_EQ(mvcc_.committed(), 2);
  EXPECT_EQ(mvcc_.head(), 3);
  EXPECT_EQ(mvcc_.Get("a", mvcc_.committed())->value, "1");
  EXPECT_EQ(mvcc_.Get("a", Mvcc::kHead)->value, "2");
  EXPECT_EQ(mvcc_.Get("b", mvcc_.committed()), nullptr);
  EXPECT_EQ(mvcc_.CheckRevision(3).code(), Code::kOutOfRange);
  EXPECT_THAT(Texts(2), ElementsAre("a=1"));
  mvcc_.Commit();
  EXPECT_THAT(Texts(2), ElementsAre("a=1", "a=2", "b=1"));
}

TEST_F(MvccTest, UndoLeavesNoTrace) {
  Apply(Puts({{"a", "1"}, {"c", "1"}}));
  mvcc_.Commit();
  for (int i = 0; i < 3; ++i) {
    Apply(Puts({{"a", "x"}, {"b", "x"}}));
    Transaction txn;
    txn.success = {Operation::DeletePrefix(""), Operation::Get("a")};
    EXPECT_EQ(Apply(txn).gets[0], nullptr);
    Apply(Puts({{"a", "y"}}));
    EXPECT_EQ(mvcc_.head(), 5);
    mvcc_.Undo();
    EXPECT_EQ(mvcc_.head(), 2);
    EXPECT_EQ(ListAt(mvcc_, Mvcc::kHead), (Content{{"a", "1"}, {"c", "1"}}));
    EXPECT_EQ(mvcc_.keys(), 2U);
    EXPECT_EQ(mvcc_.Get("a", Mvcc::kHead)->version, 1);
  }
  EXPECT_EQ(Apply(Puts({{"b", "1"}})).revision, 3);
}

TEST_F(MvccTest, UndoAfterCompactionOfWhatIsUnderneath) {
  Apply(Puts({{"a", "1"}}));
  Transaction gone;
  gone.success = {Operation::Delete("a")};
  Apply(gone);
  mvcc_.Commit();
  Apply(Puts({{"a", "2"}}));
  mvcc_.Compact(3);
  PruneAll(1);
  mvcc_.Undo();
  EXPECT_EQ(mvcc_.Get("a", Mvcc::kHead), nullptr);
  EXPECT_EQ(mvcc_.keys(), 0U);
}

TEST_F(MvccTest, CollectEndsAtWholeTransactionsAndSaysWhereToGoOn) {
  for (int i = 0; i < 5; ++i) Apply(Puts({{"a", std::to_string(i)}, {"b", std::to_string(i)}, {"c", std::to_string(i)}}));
  mvcc_.Commit();
  Revision next = 2;
  for (int i = 0; i < 5; ++i) {
    WatchBatch batch;
    next = mvcc_.Collect(next, {"", 0, false}, 2, batch);
    EXPECT_EQ(batch.events.size(), 3U);
    EXPECT_EQ(batch.revision, i + 2);
    EXPECT_EQ(next, i + 3);
  }
  WatchBatch nothing;
  EXPECT_EQ(mvcc_.Collect(2, {"z", 0, false}, 2, nothing), 3) << "it goes on where it looked, though nothing fitted";
  EXPECT_THAT(nothing.events, IsEmpty());
}

TEST_F(MvccTest, LoadingRefusesWhatDoesNotFollow) {
  const auto kv = [](const std::string& key, Revision created, Revision modified, int64_t version) {
    return std::make_shared<KeyValue>(KeyValue{key, "v", created, modified, version, 0});
  };
  mvcc_.Restore({kv("b", 3, 7, 4), kv("a", 2, 2, 1)}, 10);
  EXPECT_EQ(mvcc_.Replay(12, {kv("c", 12, 12, 1)}).code(), Code::kDataLoss) << "11 is missing";
  EXPECT_EQ(mvcc_.Replay(11, {kv("b", 3, 11, 6)}).code(), Code::kDataLoss) << "version 5 is missing";
  EXPECT_EQ(mvcc_.Replay(11, {kv("b", 4, 11, 5)}).code(), Code::kDataLoss) << "another creation";
  EXPECT_EQ(mvcc_.Replay(11, {kv("c", 9, 11, 1)}).code(), Code::kDataLoss) << "created before it was there";
  auto gone = kv("c", 0, 11, 0);
  gone->value.clear();
  EXPECT_EQ(mvcc_.Replay(11, {gone}).code(), Code::kDataLoss) << "a delete of what is not there";
  EXPECT_TRUE(mvcc_.Replay(11, {kv("b", 3, 11, 5), kv("c", 11, 11, 1)}).ok());
  EXPECT_EQ(mvcc_.committed(), 11);
  EXPECT_EQ(ListAt(mvcc_, 11).size(), 3U);
  EXPECT_EQ(ListAt(mvcc_, 10).size(), 2U);
}

TEST_F(MvccTest, DoesWhatTheModelDoes) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    const auto roll = [&random](int below) { return std::uniform_int_distribution<int>(0, below - 1)(random); };
    Mvcc mvcc;
    std::map<Revision, Content> model{{1, {}}};  // applied; those above `committed` may be undone
    std::vector<Mvcc::Version> garbage;
    for (int step = 0; step < 300; ++step) {
      const int what = roll(20);
      if (what < 12) {
        Content now = model.rbegin()->second;
        Transaction txn;
        const int first = roll(6), second = 6 + roll(3);
        const std::string one = "k" + std::to_string(first), two = "k" + std::to_string(second), value = std::to_string(step);
        if (roll(3) == 0) {
          txn.success.push_back(Operation::Delete(one));
          now.erase(one);
        } else {
          txn.success.push_back(Operation::Put(one, value));
          now[one] = value;
        }
        if (roll(4) == 0) {
          txn.success.push_back(Operation::Put(two, value));
          now[two] = value;
        }
        std::vector<Event> changes;
        const bool changed = mvcc.Apply(txn, changes).revision == model.rbegin()->first + 1;
        EXPECT_EQ(changed, !changes.empty());
        if (changed) model[mvcc.head()] = now;
      } else if (what < 15) {
        mvcc.Commit();
      } else if (what == 15) {
        mvcc.Undo();
        model.erase(model.upper_bound(mvcc.committed()), model.end());
      } else if (what == 16) {
        const Revision mark = mvcc.compacted() + 1 + roll(10);
        if (mvcc.CheckCompact(mark).ok()) mvcc.Compact(mark);
      } else {
        mvcc.Prune(static_cast<size_t>(roll(4)), garbage);
      }
      EXPECT_EQ(mvcc.head(), model.rbegin()->first);
      for (const auto& [revision, content] : model) {
        if (revision < mvcc.compacted()) continue;
        ASSERT_EQ(ListAt(mvcc, revision), content) << "step " << step << " revision " << revision;
      }
      // A list and what comes after it give the committed state, from wherever that may still begin.
      const Revision from = std::max<Revision>({1, mvcc.compacted(), mvcc.committed() - roll(8)});
      Content replayed = model[from];
      WatchBatch batch;
      for (Revision next = from + 1; next <= mvcc.committed();) next = mvcc.Collect(next, {"", 0, false}, 2, batch);
      for (const Event& event : batch.events) {
        if (event.type == Event::Type::kPut) {
          replayed[event.kv->key] = event.kv->value;
        } else {
          ASSERT_EQ(replayed.erase(event.kv->key), 1U);
        }
      }
      ASSERT_EQ(replayed, model[mvcc.committed()]) << "step " << step;
    }
    mvcc.Commit();
    if (mvcc.CheckCompact(mvcc.head()).ok()) mvcc.Compact(mvcc.head());
    while (mvcc.Prune(5, garbage)) {
    }
    EXPECT_EQ(mvcc.keys(), model.rbegin()->second.size()) << "nothing but what is there is left";
  }
}

}  // namespace
}  // namespace isla::store
