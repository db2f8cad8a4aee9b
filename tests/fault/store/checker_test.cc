// The checker accepts a good history, and refuses it with any one thing made wrong.
#include "tests/fault/store/checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "store/embedded/embedded_store.h"

namespace isla::store::torture {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Put = Operation;

/// Makes a history by doing things to a store one after the other; every call takes ten ticks, and ten lie between calls.
class Checker : public ::testing::Test, private Watcher {
 protected:
  Checker() : store_(EmbeddedStore::InMemory(clock_, {.manual_delivery = true})) {
    history_.prefix = "/t/";
    history_.base = 1;
    history_.reference = "reference";
    history_.unclaimed_prefix = "/t/barrier/";
    history_.segments.push_back({.client = "reference", .prefix = "/t/", .after = 1, .previous_required = true, .batches = {}, .end = {}});
    watch_ = *store_->StartWatch({"/t/", 2, true}, *this);
  }
  ~Checker() override { watch_.reset(); }

  size_t Txn(const std::string& client, std::vector<Compare> compares, std::vector<Operation> success, std::vector<Operation> failure = {}) {
    Op op = Begin(client, Op::Kind::kTxn);
    op.txn = {std::move(compares), std::move(success), std::move(failure)};
    const auto result = store_->Txn(op.txn);
    ISLA_CHECK_OK(result);
    op.succeeded = result->succeeded;
    op.revision = result->revision;
    op.kvs = result->gets;
    return End(std::move(op));
  }
  size_t Get(const std::string& client, const std::string& key) {
    Op op = Begin(client, Op::Kind::kGet);
    op.key = key;
    const auto got = store_->Get(key);
    op.revision = got->revision;
    op.kvs = {got->kv};
    return End(std::move(op));
  }
  size_t List(const std::string& client, const std::string& prefix, Op::Kind kind = Op::Kind::kList) {
    Op op = Begin(client, kind);
    op.key = prefix;
    const auto list = store_->List(Prefix(prefix));
    op.revision = list->revision;
    op.kvs = list->kvs;
    return End(std::move(op));
  }

  /// Some of everything; and a second watch, of a part.
  void MakeGood() {
    Txn("w1", {}, {Operation::Put("/t/a", "1"), Operation::Put("/t/b", "1")});
    Txn("w2", {}, {Operation::Put("/t/c/x", "2"), Operation::Put("/t/a", "2")});
    Txn("w1", {Compare::Value("/t/a", "2")}, {Operation::Put("/t/a", "3"), Operation::Delete("/t/b")}, {Operation::Get("/t/a")});
    refused_compare_ = Txn("w2", {Compare::Missing("/t/a")}, {Operation::Put("/t/a", "4")}, {Operation::Get("/t/a")});
    get_ = Get("r", "/t/a");
    list_ = List("r", "/t/");
    cached_ = List("cache", "/t/", Op::Kind::kCacheList);
    history_.ops[cached_].linearizable = false;
    lease_ = *store_->GrantLease(std::chrono::seconds(5));
    Txn("holder", {}, {Operation::Put("/t/lease", "5", lease_)});
    history_.beliefs.push_back({"holder", "/t/lease", history_.ops.back().revision, now_ + 35});
    Txn("w1", {}, {Operation::DeletePrefix("/t/c/"), Operation::Put("/t/d", "6")});
    Txn("w1", {}, {Operation::Put("/t/b", "7")});
    now_ += 20;
    EXPECT_TRUE(store_->RevokeLease(lease_).ok());
    store_->Txn({{}, {Operation::Put("/t/barrier/me", "n")}, {}}).status().IgnoreError();
    store_->DeliverPending();
    last_txn_ = Txn("w2", {}, {Operation::Put("/t/a", "8"), Operation::Put("/t/c/y", "8")});
    List("r", "/t/");
    history_.last = history_.ops.back().revision;
    Segment part{.client = "part", .prefix = "/t/c/", .after = 1, .previous_required = false, .batches = {}, .end = {}};
    for (const auto& batch : reference().batches) {
      Segment::Batch copy{batch.at, batch.revision, {}};
      for (const Event& event : batch.events) {
        if (event.kv->key.starts_with("/t/c/")) copy.events.push_back(event);
      }
      if (!copy.events.empty()) part.batches.push_back(copy);
    }
    history_.segments.push_back(part);
    ASSERT_THAT(Check(history_), IsEmpty());
    ASSERT_EQ(part.batches.size(), 3U);
  }

  void ExpectRefused(const std::string& text) { EXPECT_THAT(Check(history_), Contains(HasSubstr(text))); }
  Segment& reference() { return history_.segments[0]; }
  Segment& part() { return history_.segments[1]; }
  static std::shared_ptr<const KeyValue> Changed(const std::shared_ptr<const KeyValue>& kv, const std::function<void(KeyValue&)>& change) {
    auto copy = std::make_shared<KeyValue>(*kv);
    change(*copy);
    return copy;
  }

  FakeClock clock_;
  std::unique_ptr<EmbeddedStore> store_;
  std::unique_ptr<Watch> watch_;
  History history_;
  Nanos now_ = 0;
  size_t refused_compare_ = 0, get_ = 0, list_ = 0, cached_ = 0, last_txn_ = 0;
  LeaseId lease_ = 0;

 private:
  void OnBatch(WatchBatch batch) override { reference().batches.push_back({now_, batch.revision, std::move(batch.events)}); }
  void OnEnd(const Status&) override {}

  Op Begin(const std::string& client, Op::Kind kind) {
    Op op;
    op.client = client;
    op.kind = kind;
    op.called = now_ += 10;
    return op;
  }
  size_t End(Op op) {
    store_->DeliverPending();
    op.ended = now_ += 10;
    op.outcome = Op::Outcome::kOk;
    history_.ops.push_back(std::move(op));
    return history_.ops.size() - 1;
  }
};

TEST_F(Checker, RefusesALostEvent) {
  MakeGood();
  part().batches.erase(part().batches.begin() + 1);
  ExpectRefused("was lost");
}

TEST_F(Checker, RefusesAnEventLostByTheReferenceItself) {
  MakeGood();
  reference().batches.erase(reference().batches.begin() + 1);  // then versions skip one, and a write isn't seen
  ExpectRefused("an event was lost");
  ExpectRefused("nobody saw it");
}

TEST_F(Checker, RefusesALostDelete) {
  MakeGood();
  auto& events = reference().batches[2].events;  // put a, delete b
  ASSERT_EQ(events.size(), 2U);
  events.erase(std::find_if(events.begin(), events.end(), [](const Event& event) { return event.type == Event::Type::kDelete; }));
  ExpectRefused("is torn");
}

TEST_F(Checker, RefusesALossAtTheEndOfWhatWasDelivered) {
  MakeGood();
  part().batches.back().events.clear();  // says that it has delivered all up to here
  ExpectRefused("was lost");
}

TEST_F(Checker, RefusesADuplicate) {
  MakeGood();
  part().batches.insert(part().batches.begin() + 1, part().batches[0]);
  ExpectRefused("again, or out of order");
}

TEST_F(Checker, RefusesADuplicateWithinABatch) {
  MakeGood();
  part().batches[0].events.push_back(part().batches[0].events[0]);
  ExpectRefused("twice");
}

TEST_F(Checker, RefusesReorderedBatches) {
  MakeGood();
  std::swap(part().batches[0], part().batches[1]);
  ExpectRefused("again, or out of order");
}

TEST_F(Checker, RefusesReorderedEventsWithinABatch) {
  MakeGood();
  Segment::Batch joined{part().batches[1].at, part().batches[1].revision, part().batches[1].events};
  joined.events.push_back(part().batches[0].events[0]);
  part().batches.erase(part().batches.begin());
  part().batches[0] = joined;
  ExpectRefused("within a batch");
}

TEST_F(Checker, RefusesAResumedWatchThatSendsTheOldAgain) {
  MakeGood();
  Segment resumed{.client = "part", .prefix = "/t/c/", .after = part().batches[0].revision, .previous_required = false, .batches = part().batches, .end = {}};
  history_.segments.push_back(resumed);
  ExpectRefused("had been delivered");
}

TEST_F(Checker, RefusesATransactionTornInAWatch) {
  MakeGood();
  Segment whole = reference();
  whole.client = "whole";
  whole.batches[0].events.pop_back();
  history_.segments.push_back(whole);
  ExpectRefused("is torn");
}

TEST_F(Checker, RefusesATransactionSplitOverTwoBatches) {
  MakeGood();
  auto& batches = reference().batches;
  Segment::Batch second = batches[0];
  second.events.erase(second.events.begin());
  batches[0].events.pop_back();
  batches.insert(batches.begin() + 1, second);
  ExpectRefused("again, or out of order");
}

TEST_F(Checker, RefusesATransactionTornInTheStore) {
  MakeGood();
  history_.ops[last_txn_].txn.success.push_back(Operation::Put("/t/e", "8"));
  ExpectRefused("is torn");
}

TEST_F(Checker, RefusesMoreThanATransactionAsked) {
  MakeGood();
  history_.ops[last_txn_].txn.success.pop_back();
  ExpectRefused("which it was not to");
}

TEST_F(Checker, RefusesAWrongPreviousValue) {
  MakeGood();
  Event& event = reference().batches.back().events[0];
  ASSERT_NE(event.previous, nullptr);
  event.previous = Changed(event.previous, [](KeyValue& kv) { kv.value = "other"; });
  ExpectRefused("replaced");
}

TEST_F(Checker, RefusesAStaleRead) {
  MakeGood();
  Op stale = history_.ops[get_];  // true at its revision, and begun when newer ones were known
  stale.called = now_ + 10;
  stale.ended = now_ + 20;
  stale.client = "late";
  history_.ops.push_back(stale);
  ExpectRefused("stale");
}

TEST_F(Checker, AcceptsAStaleReadOfACacheWithoutABarrier) {
  MakeGood();
  Op stale = history_.ops[cached_];
  stale.called = now_ + 10;
  stale.ended = now_ + 20;
  history_.ops.push_back(stale);
  EXPECT_THAT(Check(history_), IsEmpty());
  history_.ops.back().linearizable = true;
  ExpectRefused("stale");
}

TEST_F(Checker, RefusesACacheThatGoesBack) {
  MakeGood();
  Op newer = history_.ops.back(), older = history_.ops[cached_];
  newer.client = older.client = "cache";
  newer.kind = Op::Kind::kCacheList;
  newer.linearizable = older.linearizable = false;
  newer.called = now_ + 10, newer.ended = now_ + 20, older.called = now_ + 30, older.ended = now_ + 40;
  history_.ops.push_back(newer);
  history_.ops.push_back(older);
  ExpectRefused("after");
}

TEST_F(Checker, RefusesAReadOfWhatNeverWas) {
  MakeGood();
  history_.ops[get_].kvs[0] = Changed(history_.ops[get_].kvs[0], [](KeyValue& kv) { kv.value = "other"; });
  ExpectRefused("gave");
}

TEST_F(Checker, RefusesAListWithoutAKey) {
  MakeGood();
  for (const size_t op : {list_, cached_}) {
    auto kvs = history_.ops[op].kvs;
    history_.ops[op].kvs.erase(history_.ops[op].kvs.begin());
    ExpectRefused("gave");
    history_.ops[op].kvs = kvs;
  }
}

TEST_F(Checker, RefusesAWriteThatWasAcknowledgedAndLost) {
  MakeGood();
  Op lost = history_.ops[last_txn_];
  lost.txn.success = {Operation::Put("/t/z", "lost")};
  history_.ops.push_back(lost);
  ExpectRefused("nobody saw it");
}

TEST_F(Checker, RefusesAWriteThatIsDoneTwice) {
  MakeGood();
  Txn("w1", {}, {Operation::Put("/t/a", "9")});
  Txn("w1", {}, {Operation::Put("/t/a", "9")});
  history_.ops.pop_back();
  ExpectRefused("and again at");
}

TEST_F(Checker, AcceptsAnUnknownWriteOnceOrNever) {
  MakeGood();
  Op never = history_.ops[last_txn_];
  never.outcome = Op::Outcome::kUnknown;
  never.txn.success = {Operation::Put("/t/z", "never")};
  history_.ops.push_back(never);
  history_.ops[last_txn_].outcome = Op::Outcome::kUnknown;  // and once
  EXPECT_THAT(Check(history_), IsEmpty());
}

TEST_F(Checker, RefusesAnUnknownWriteThatIsDoneTwice) {
  MakeGood();
  Txn("w1", {}, {Operation::Put("/t/a", "9")});
  Txn("w1", {}, {Operation::Put("/t/a", "9")});
  history_.ops.pop_back();
  history_.ops.back().outcome = Op::Outcome::kUnknown;
  ExpectRefused("and again at");
}

TEST_F(Checker, RefusesAWriteThatWasRefusedAndHappened) {
  MakeGood();
  history_.ops[last_txn_].outcome = Op::Outcome::kRefused;
  ExpectRefused("was refused");
}

TEST_F(Checker, RefusesAWriteOfNobody) {
  MakeGood();
  history_.ops.erase(history_.ops.begin() + static_cast<ptrdiff_t>(last_txn_));
  ExpectRefused("nobody put");
}

TEST_F(Checker, RefusesADeleteOfNobody) {
  MakeGood();
  store_->Txn({{}, {Operation::Delete("/t/d")}, {}}).status().IgnoreError();
  store_->DeliverPending();
  ExpectRefused("nobody deleted");
}

TEST_F(Checker, RefusesASuccessAgainstItsCompares) {
  MakeGood();
  history_.ops[last_txn_].txn.compares = {Compare::Missing("/t/a")};
  ExpectRefused("doesn't hold");
}

TEST_F(Checker, RefusesAFailureWhoseComparesHold) {
  MakeGood();
  history_.ops[refused_compare_].txn.compares = {Compare::Exists("/t/a")};
  ExpectRefused("though its compares hold");
}

TEST_F(Checker, RefusesAFailedTransactionsWrongRead) {
  MakeGood();
  history_.ops[refused_compare_].kvs[0] = nullptr;
  ExpectRefused("gave nothing");
}

TEST_F(Checker, RefusesAnEffectBeforeItsCall) {
  MakeGood();
  history_.ops[last_txn_].called = now_ + 100;
  history_.ops[last_txn_].ended = now_ + 110;
  ExpectRefused("before it was asked for");
}

TEST_F(Checker, RefusesWritesAgainstRealTime) {
  MakeGood();
  // w1's second write began before its first, by revision, had ended; now say that it began long after w2's, which is later.
  Op& early = history_.ops[0];
  Op& late = history_.ops[1];
  std::swap(early.called, late.called);
  std::swap(early.ended, late.ended);
  ExpectRefused("stale");
}

TEST_F(Checker, RefusesALeasedKeyThatIsGoneWhileItsHolderIsSure) {
  MakeGood();
  history_.beliefs[0].until = now_ + 1000;
  ExpectRefused("was seen gone");
}

TEST_F(Checker, RefusesAReferenceWithAHole) {
  MakeGood();
  history_.last += 10;
  ExpectRefused("got to revision");
  history_.last -= 10;
  Segment resumed = reference();
  resumed.after = reference().upto() + 5;
  resumed.batches.clear();
  history_.segments.push_back(resumed);
  ExpectRefused("expected");
}

}  // namespace
}  // namespace isla::store::torture
