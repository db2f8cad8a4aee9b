// Transactions.
#include <thread>

#include "tests/conformance/store_conformance.h"

namespace isla::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_P(StoreConformance, AllChangesOfATransactionHaveOneRevisionTheNext) {
  const Revision before = Put("a", "1");
  Transaction txn;
  txn.success = {Operation::Put(Key("a"), "2"), Operation::Put(Key("b"), "2"), Operation::Put(Key("c"), "2")};
  const TxnResult result = Do(txn);
  EXPECT_TRUE(result.succeeded);
  EXPECT_EQ(result.revision, before + 1);
  for (const auto& kv : List().kvs) EXPECT_EQ(kv->mod_revision, before + 1);
  EXPECT_EQ(Now(), before + 1);
}

TEST_P(StoreConformance, ATransactionThatChangesNothingTakesNoRevision) {
  const Revision before = Put("a", "1");
  Transaction read;
  read.success = {Operation::Get(Key("a"))};
  EXPECT_EQ(Do(read).revision, before);
  Transaction miss;
  miss.success = {Operation::Delete(Key("missing")), Operation::DeletePrefix(Prefix(Key("none/")))};
  EXPECT_EQ(Do(miss).revision, before);
  Transaction refused;
  refused.compares = {Compare::Missing(Key("a"))};
  refused.success = {Operation::Put(Key("a"), "2")};
  const TxnResult result = Do(refused);
  EXPECT_FALSE(result.succeeded);
  EXPECT_EQ(result.revision, before);
  EXPECT_EQ(Now(), before);
  EXPECT_EQ(There("a").value, "1");
}

TEST_P(StoreConformance, AnEmptyTransactionSucceeds) {
  const Revision before = Put("a", "1");
  const TxnResult result = Do({});
  EXPECT_TRUE(result.succeeded);
  EXPECT_EQ(result.revision, before);
}

TEST_P(StoreConformance, CompareAndSetWritesOnlyOverWhatWasRead) {
  const Revision first = Put("a", "1");
  Transaction set;
  set.compares = {Compare::ModRevision(Key("a"), first)};
  set.success = {Operation::Put(Key("a"), "2")};
  EXPECT_TRUE(Do(set).succeeded);
  EXPECT_FALSE(Do(set).succeeded);
  EXPECT_EQ(There("a").version, 2);
}

TEST_P(StoreConformance, CreateOnlyIfMissing) {
  Transaction create;
  create.compares = {Compare::Missing(Key("a"))};
  create.success = {Operation::Put(Key("a"), "1")};
  EXPECT_TRUE(Do(create).succeeded);
  EXPECT_FALSE(Do(create).succeeded);
  Delete("a");
  EXPECT_TRUE(Do(create).succeeded);
}

TEST_P(StoreConformance, EveryCompareMeansWhatItSays) {
  using Target = Compare::Target;
  using Op = Compare::Op;
  const Revision created = Put("a", "m");
  const Revision modified = Put("a", "m");
  const auto holds = [this](const std::string& name, Target target, Op op, int64_t number, const std::string& value = {}) {
    Transaction txn;
    txn.compares = {Compare{Key(name), target, op, number, value}};
    return Do(txn).succeeded;
  };
  struct Number {
    Target target;
    int64_t is;
  };
  for (const Number& number : {Number{Target::kVersion, 2}, Number{Target::kCreateRevision, created}, Number{Target::kModRevision, modified}}) {
    for (const int64_t with : {number.is - 1, number.is, number.is + 1}) {
      EXPECT_EQ(holds("a", number.target, Op::kEqual, with), number.is == with);
      EXPECT_EQ(holds("a", number.target, Op::kNotEqual, with), number.is != with);
      EXPECT_EQ(holds("a", number.target, Op::kLess, with), number.is < with);
      EXPECT_EQ(holds("a", number.target, Op::kGreater, with), number.is > with);
    }
    // A missing key has 0 everywhere.
    EXPECT_TRUE(holds("missing", number.target, Op::kEqual, 0));
    EXPECT_FALSE(holds("missing", number.target, Op::kNotEqual, 0));
    EXPECT_TRUE(holds("missing", number.target, Op::kLess, 1));
    EXPECT_FALSE(holds("missing", number.target, Op::kGreater, 0));
  }
  for (const std::string with : {"l", "m", "mm", "n", ""}) {
    EXPECT_EQ(holds("a", Target::kValue, Op::kEqual, 0, with), "m" == with) << with;
    EXPECT_EQ(holds("a", Target::kValue, Op::kNotEqual, 0, with), "m" != with) << with;
    EXPECT_EQ(holds("a", Target::kValue, Op::kLess, 0, with), "m" < with) << with;
    EXPECT_EQ(holds("a", Target::kValue, Op::kGreater, 0, with), "m" > with) << with;
  }
}

TEST_P(StoreConformance, ACompareOfTheValueOfAMissingKeyFailsWhateverItAsks) {
  for (const auto op : {Compare::Op::kEqual, Compare::Op::kNotEqual, Compare::Op::kLess, Compare::Op::kGreater}) {
    Transaction txn;
    txn.compares = {Compare{Key("missing"), Compare::Target::kValue, op, 0, ""}};
    EXPECT_FALSE(Do(txn).succeeded);
  }
}

TEST_P(StoreConformance, ValuesAreComparedAsUnsignedBytes) {
  Put("a", "\x80");
  Transaction txn;
  txn.compares = {Compare{Key("a"), Compare::Target::kValue, Compare::Op::kGreater, 0, "\x7f"}};
  EXPECT_TRUE(Do(txn).succeeded);
}

TEST_P(StoreConformance, OneCompareThatFailsFailsAll) {
  Put("a", "1");
  Transaction txn;
  txn.compares = {Compare::Exists(Key("a")), Compare::Missing(Key("b")), Compare::Value(Key("a"), "2")};
  txn.success = {Operation::Put(Key("b"), "1")};
  EXPECT_FALSE(Do(txn).succeeded);
  EXPECT_EQ(Get("b"), nullptr);
  txn.compares.back() = Compare::Value(Key("a"), "1");
  EXPECT_TRUE(Do(txn).succeeded);
}

TEST_P(StoreConformance, TheFailureBranchTellsWhatIsThere) {
  Put("a", "1");
  Transaction txn;
  txn.compares = {Compare::Missing(Key("a"))};
  txn.success = {Operation::Put(Key("a"), "2")};
  txn.failure = {Operation::Get(Key("a")), Operation::Get(Key("missing"))};
  const TxnResult result = Do(txn);
  EXPECT_FALSE(result.succeeded);
  ASSERT_EQ(result.gets.size(), 2U);
  ASSERT_NE(result.gets[0], nullptr);
  EXPECT_EQ(result.gets[0]->value, "1");
  EXPECT_EQ(result.gets[1], nullptr);
}

TEST_P(StoreConformance, OperationsRunInOrderAndReadsSeeTheWritesBefore) {
  Put("a", "1");
  Transaction txn;
  txn.success = {Operation::Get(Key("a")), Operation::Put(Key("a"), "2"), Operation::Get(Key("a")), Operation::Delete(Key("b")),
                 Operation::Get(Key("b"))};
  const TxnResult result = Do(txn);
  ASSERT_EQ(result.gets.size(), 3U);
  EXPECT_EQ(result.gets[0]->value, "1");
  EXPECT_EQ(result.gets[1]->value, "2");
  EXPECT_EQ(result.gets[1]->mod_revision, result.revision);
  EXPECT_EQ(result.gets[2], nullptr);
}

TEST_P(StoreConformance, WritingAKeyTwiceIsRefusedAndChangesNothing) {
  const Revision before = Put("a/x", "1");
  const auto refused = [this](std::vector<Operation> operations) {
    Transaction txn;
    txn.success = std::move(operations);
    return store().Txn(txn).status().code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused({Operation::Put(Key("k"), "1"), Operation::Put(Key("k"), "2")}));
  EXPECT_TRUE(refused({Operation::Put(Key("k"), "1"), Operation::Delete(Key("k"))}));
  EXPECT_TRUE(refused({Operation::Delete(Key("k")), Operation::Put(Key("k"), "1")}));
  EXPECT_TRUE(refused({Operation::Delete(Key("k")), Operation::Delete(Key("k"))}));
  EXPECT_TRUE(refused({Operation::DeletePrefix(Prefix(Key("a/"))), Operation::Put(Key("a/y"), "1")}));
  EXPECT_TRUE(refused({Operation::Put(Key("a/y"), "1"), Operation::Put(Key("b"), "1"), Operation::DeletePrefix(Prefix(Key("a/")))}));
  EXPECT_TRUE(refused({Operation::DeletePrefix(Prefix(Key("a/"))), Operation::DeletePrefix(Prefix(Key("a/b/")))}));
  EXPECT_FALSE(refused({Operation::DeletePrefix(Prefix(Key("none/"))), Operation::Get(Key("none/x")), Operation::Get(Key("none/x"))}));
  EXPECT_EQ(Now(), before);
}

TEST_P(StoreConformance, WritesInTheFailureBranchAreRefused) {
  Transaction txn;
  txn.failure = {Operation::Put(Key("a"), "1")};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kInvalidArgument);
  txn.failure = {Operation::DeletePrefix(Prefix(Key("a")))};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kInvalidArgument);
}

TEST_P(StoreConformance, EmptyKeysAreRefused) {
  Transaction txn;
  txn.success = {Operation::Put("", "1")};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kInvalidArgument);
  txn.success = {Operation::Get("")};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kInvalidArgument);
  txn.success = {};
  txn.compares = {Compare::Missing("")};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kInvalidArgument);
}

TEST_P(StoreConformance, ATransactionHasAtMost128PartsOfAKind) {
  Transaction txn;
  for (int i = 0; i < 128; ++i) {
    txn.compares.push_back(Compare::Missing(Key("k" + std::to_string(i))));
    txn.success.push_back(Operation::Put(Key("k" + std::to_string(i)), "v"));
    txn.failure.push_back(Operation::Get(Key("k" + std::to_string(i))));
  }
  EXPECT_TRUE(Do(txn).succeeded);
  EXPECT_EQ(List().kvs.size(), 128U);
  EXPECT_EQ(Do(txn).gets.size(), 128U);
  Transaction compares = txn;
  compares.compares.push_back(Compare::Missing(Key("more")));
  EXPECT_EQ(store().Txn(compares).status().code(), Code::kResourceExhausted);
  Transaction success = txn;
  success.success.push_back(Operation::Put(Key("more"), "v"));
  EXPECT_EQ(store().Txn(success).status().code(), Code::kResourceExhausted);
  Transaction failure = txn;
  failure.failure.push_back(Operation::Get(Key("more")));
  EXPECT_EQ(store().Txn(failure).status().code(), Code::kResourceExhausted);
}

TEST_P(StoreConformance, ATransactionHasAtMost1536KiB) {
  Transaction txn;
  for (int i = 0; i < 11; ++i) txn.success.push_back(Operation::Put(Key("k" + std::to_string(i)), std::string(128 * 1024, 'x')));
  txn.success.push_back(Operation::Put(Key("last"), std::string(125 * 1024, 'x')));
  EXPECT_TRUE(Do(txn).succeeded);
  txn.success.back().value = std::string(160 * 1024, 'x');
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kResourceExhausted);
  EXPECT_EQ(There("last").value.size(), 125U * 1024);
}

TEST_P(StoreConformance, DeletePrefixDeletesAllUnderItAndNothingElse) {
  for (const char* name : {"a", "a/", "a/x", "a/y/z", "a0"}) Put(name, "v");
  Transaction txn;
  txn.success = {Operation::DeletePrefix(Prefix(Key("a/")))};
  const TxnResult result = Do(txn);
  EXPECT_THAT(Texts(List()), ElementsAre("a=v", "a0=v"));
  EXPECT_EQ(Now(), result.revision);
}

TEST_P(StoreConformance, APutWithALeaseThatIsNotThereDoesNothing) {
  const Revision before = Put("a", "1");
  Transaction txn;
  txn.success = {Operation::Put(Key("b"), "1"), Operation::Put(Key("c"), "1", 987654321)};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kNotFound);
  EXPECT_EQ(Now(), before);
  EXPECT_THAT(Texts(List("b")), IsEmpty());
}

TEST_P(StoreConformance, ConcurrentCompareAndSetLosesNoUpdate) {
  constexpr int kThreads = 4, kIncrements = 25;
  Put("counter", "0");
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this] {
      for (int done = 0; done < kIncrements;) {
        const auto now = store().Get(Key("counter"));
        ASSERT_TRUE(now.ok());
        Transaction txn;
        txn.compares = {Compare::ModRevision(Key("counter"), now->kv->mod_revision)};
        txn.success = {Operation::Put(Key("counter"), std::to_string(std::stoi(now->kv->value) + 1))};
        const auto result = store().Txn(txn);
        ASSERT_TRUE(result.ok());
        if (result->succeeded) ++done;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(There("counter").value, std::to_string(kThreads * kIncrements));
  EXPECT_EQ(There("counter").version, kThreads * kIncrements + 1);
}

TEST_P(StoreConformance, OfManyWhoCreateExactlyOneDoes) {
  std::atomic<int> created{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([this, t, &created] {
      Transaction txn;
      txn.compares = {Compare::Missing(Key("a"))};
      txn.success = {Operation::Put(Key("a"), std::to_string(t))};
      const auto result = store().Txn(txn);
      ASSERT_TRUE(result.ok());
      if (result->succeeded) ++created;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(created, 1);
  EXPECT_EQ(There("a").version, 1);
}

TEST_P(StoreConformance, AReadAfterAWriteSeesIt) {
  for (int i = 0; i < 50; ++i) {
    const Revision revision = Put("a", std::to_string(i));
    const auto now = store().Get(Key("a"));
    ASSERT_TRUE(now.ok());
    EXPECT_EQ(now->kv->value, std::to_string(i));
    EXPECT_GE(now->revision, revision);
  }
}

TEST_P(StoreConformance, ADeleteOfWhatWasReadLosesAgainstAnUpdate) {
  const Revision read = Put("a", "1");
  Put("a", "2");
  Transaction txn;
  txn.compares = {Compare::ModRevision(Key("a"), read)};
  txn.success = {Operation::Delete(Key("a"))};
  txn.failure = {Operation::Get(Key("a"))};
  const TxnResult lost = Do(txn);
  EXPECT_FALSE(lost.succeeded);
  ASSERT_NE(lost.gets[0], nullptr);
  txn.compares = {Compare::ModRevision(Key("a"), lost.gets[0]->mod_revision)};
  EXPECT_TRUE(Do(txn).succeeded);
  EXPECT_EQ(Get("a"), nullptr);
}

TEST_P(StoreConformance, ADeleteHasTheNextRevisionAndASecondOneNone) {
  const Revision put = Put("a", "1");
  EXPECT_EQ(Delete("a"), put + 1);
  EXPECT_EQ(Delete("a"), put + 1);
  EXPECT_EQ(Now(), put + 1);
}

TEST_P(StoreConformance, AnUpdateThatLostItsRaceSucceedsOnWhatItWasTold) {
  Put("a", "1");
  Transaction txn;
  txn.compares = {Compare::ModRevision(Key("a"), 1)};
  txn.success = {Operation::Put(Key("a"), "mine")};
  txn.failure = {Operation::Get(Key("a"))};
  const TxnResult lost = Do(txn);
  ASSERT_FALSE(lost.succeeded);
  txn.compares = {Compare::ModRevision(Key("a"), lost.gets[0]->mod_revision)};
  EXPECT_TRUE(Do(txn).succeeded);
  EXPECT_EQ(There("a").value, "mine");
}

TEST_P(StoreConformance, ComparesSeeTheStateBeforeTheTransaction) {
  Transaction txn;
  txn.compares = {Compare::Missing(Key("a")), Compare::Missing(Key("b"))};
  txn.success = {Operation::Put(Key("a"), "1"), Operation::Put(Key("b"), "1")};
  EXPECT_TRUE(Do(txn).succeeded);
}

TEST_P(StoreConformance, ATransactionOfPutsAndDeletesIsOneChange) {
  Put("old", "1");
  const Revision before = Now();
  Transaction txn;
  txn.success = {Operation::Delete(Key("old")), Operation::Put(Key("new"), "1"), Operation::Get(Key("old")), Operation::Get(Key("new"))};
  const TxnResult result = Do(txn);
  EXPECT_EQ(result.revision, before + 1);
  EXPECT_EQ(result.gets[0], nullptr);
  ASSERT_NE(result.gets[1], nullptr);
  EXPECT_EQ(result.gets[1]->create_revision, before + 1);
  EXPECT_THAT(Texts(List()), ElementsAre("new=1"));
}

TEST_P(StoreConformance, AfterADeletedPrefixReadsOfTheTransactionSeeNothingUnderIt) {
  Put("a/1", "1");
  Put("b", "1");
  Transaction txn;
  txn.success = {Operation::DeletePrefix(Prefix(Key("a/"))), Operation::Get(Key("a/1")), Operation::Get(Key("b"))};
  const TxnResult result = Do(txn);
  EXPECT_EQ(result.gets[0], nullptr);
  EXPECT_NE(result.gets[1], nullptr);
}

TEST_P(StoreConformance, AnEmptyValueIsAValue) {
  Put("a", "");
  Transaction txn;
  txn.compares = {Compare::Value(Key("a"), ""), Compare::Exists(Key("a"))};
  EXPECT_TRUE(Do(txn).succeeded);
  txn.compares = {Compare::Value(Key("missing"), "")};
  EXPECT_FALSE(Do(txn).succeeded);
}

TEST_P(StoreConformance, AllOf128ComparesCount) {
  Transaction txn;
  for (int i = 0; i < 128; ++i) txn.compares.push_back(Compare::Missing(Key("k" + std::to_string(i))));
  EXPECT_TRUE(Do(txn).succeeded);
  Put("k127", "1");
  EXPECT_FALSE(Do(txn).succeeded);
}

TEST_P(StoreConformance, OneKeyMayBeComparedInSeveralWays) {
  Put("a", "1");
  Transaction txn;
  txn.compares = {Compare::Exists(Key("a")), Compare::Value(Key("a"), "1"),
                  Compare{Key("a"), Compare::Target::kVersion, Compare::Op::kLess, 2, ""},
                  Compare{Key("a"), Compare::Target::kVersion, Compare::Op::kGreater, 0, ""}};
  EXPECT_TRUE(Do(txn).succeeded);
}

TEST_P(StoreConformance, TheLeaseOfAPutThatIsNotDoneDoesNotMatter) {
  Put("a", "1");
  Transaction txn;
  txn.compares = {Compare::Missing(Key("a"))};
  txn.success = {Operation::Put(Key("a"), "2", 987654321)};
  const auto result = store().Txn(txn);
  ASSERT_TRUE(result.ok()) << ToString(result.status());
  EXPECT_FALSE(result->succeeded);
}

TEST_P(StoreConformance, ARefusedTransactionDoesNoneOfItsParts) {
  const Revision before = Put("a", "1");
  Transaction txn;
  txn.success = {Operation::Put(Key("b"), "1"), Operation::Delete(Key("a")), Operation::Put(Key("c"), "1", 987654321)};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kNotFound);
  EXPECT_THAT(Texts(List()), ElementsAre("a=1"));
  EXPECT_EQ(Now(), before);
}

TEST_P(StoreConformance, ReadsInATransactionAreAtItsRevision) {
  Put("a", "1");
  Transaction txn;
  txn.success = {Operation::Get(Key("a")), Operation::Put(Key("b"), "1")};
  const TxnResult result = Do(txn);
  EXPECT_LT(result.gets[0]->mod_revision, result.revision);
  EXPECT_EQ(There("b").mod_revision, result.revision);
}

}  // namespace
}  // namespace isla::store
