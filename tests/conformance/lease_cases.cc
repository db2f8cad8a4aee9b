// Leases. The times are real and short; etcd rounds a time to live up to 2 s.
#include <thread>

#include "tests/conformance/store_conformance.h"

namespace isla::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_P(StoreConformance, AKeyRemembersItsLease) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  EXPECT_NE(*lease, 0);
  Put("a", "1", *lease);
  EXPECT_EQ(There("a").lease, *lease);
  EXPECT_EQ(List().kvs[0]->lease, *lease);
}

TEST_P(StoreConformance, LeasesAreDistinct) {
  const auto one = store().GrantLease(seconds(60));
  const auto two = store().GrantLease(seconds(60));
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_NE(*one, *two);
}

TEST_P(StoreConformance, RevokingALeaseDeletesItsKeysInOneTransaction) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  Put("b", "1", *lease);
  Put("a", "1", *lease);
  const Revision before = Put("c", "1");
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, before + 1);
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_THAT(Texts(List()), ElementsAre("c=1"));
  EXPECT_THAT(Texts(watcher.WaitForEvents(2)), ElementsAre("a", "b"));
  EXPECT_EQ(watcher.batches().size(), 1U);
  EXPECT_EQ(Now(), before + 1);
}

TEST_P(StoreConformance, RevokingALeaseThatIsGoneIsOk) {
  EXPECT_TRUE(store().RevokeLease(987654321).ok());
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_TRUE(store().RevokeLease(*lease).ok());
}

TEST_P(StoreConformance, KeepingALeaseAliveGivesItsTimeToLive) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  const auto left = store().KeepAliveLease(*lease);
  ASSERT_TRUE(left.ok()) << ToString(left.status());
  EXPECT_EQ(*left, seconds(60));
}

TEST_P(StoreConformance, KeepingAliveALeaseThatIsGoneIsNotFound) {
  EXPECT_EQ(store().KeepAliveLease(987654321).status().code(), Code::kNotFound);
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_EQ(store().KeepAliveLease(*lease).status().code(), Code::kNotFound);
}

TEST_P(StoreConformance, ALeaseExpiresWithItsKeysUnlessItIsKeptAlive) {
  const auto dies = store().GrantLease(seconds(2));
  const auto lives = store().GrantLease(seconds(2));
  ASSERT_TRUE(dies.ok() && lives.ok());
  Put("dies", "1", *dies);
  const Revision before = Put("lives", "1", *lives);
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, before + 1);
  for (int i = 0; i < 40 && watcher.events().empty(); ++i) {
    ASSERT_TRUE(store().KeepAliveLease(*lives).ok());
    std::this_thread::sleep_for(milliseconds(150));
  }
  EXPECT_THAT(Texts(watcher.WaitForEvents(1)), ElementsAre("dies"));
  EXPECT_EQ(store().KeepAliveLease(*dies).status().code(), Code::kNotFound);
  EXPECT_THAT(Texts(List()), ElementsAre("lives=1"));
  EXPECT_TRUE(store().KeepAliveLease(*lives).ok());
}

TEST_P(StoreConformance, APutWithoutALeaseTakesTheKeyFromIt) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  Put("a", "1", *lease);
  Put("a", "2");
  EXPECT_EQ(There("a").lease, 0);
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_THAT(Texts(List()), ElementsAre("a=2"));
}

TEST_P(StoreConformance, APutWithAnotherLeaseMovesTheKey) {
  const auto one = store().GrantLease(seconds(60));
  const auto two = store().GrantLease(seconds(60));
  ASSERT_TRUE(one.ok() && two.ok());
  Put("a", "1", *one);
  Put("a", "2", *two);
  ASSERT_TRUE(store().RevokeLease(*one).ok());
  EXPECT_THAT(Texts(List()), ElementsAre("a=2"));
  ASSERT_TRUE(store().RevokeLease(*two).ok());
  EXPECT_THAT(Texts(List()), IsEmpty());
}

TEST_P(StoreConformance, ADeletedKeyHasLeftItsLease) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  Put("a", "1", *lease);
  Delete("a");
  const Revision again = Put("a", "2");
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_EQ(Now(), again);
  EXPECT_THAT(Texts(List()), ElementsAre("a=2"));
}

TEST_P(StoreConformance, ALeaseWithoutKeysIsRevokedWithoutARevision) {
  const Revision before = Put("a", "1");
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_EQ(Now(), before);
}

TEST_P(StoreConformance, ALeaseOfNoTimeIsRefused) {
  EXPECT_EQ(store().GrantLease(seconds(0)).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(store().GrantLease(seconds(-5)).status().code(), Code::kInvalidArgument);
}

TEST_P(StoreConformance, ManyKeysOfOneLeaseGoTogether) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  for (int i = 0; i < 300; ++i) Put("k" + std::to_string(i), "v", *lease);
  const Revision before = Now();
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_THAT(Texts(List()), IsEmpty());
  EXPECT_EQ(Now(), before + 1);
}

TEST_P(StoreConformance, ALeaseOutlivesItsKeys) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  Put("a", "1", *lease);
  Delete("a");
  EXPECT_TRUE(store().KeepAliveLease(*lease).ok());
  Put("b", "1", *lease);
  EXPECT_EQ(There("b").lease, *lease);
}

TEST_P(StoreConformance, ARevokedLeaseTakesNoMoreKeys) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  Transaction txn;
  txn.success = {Operation::Put(Key("a"), "1", *lease)};
  EXPECT_EQ(store().Txn(txn).status().code(), Code::kNotFound);
  EXPECT_EQ(Get("a"), nullptr);
}

TEST_P(StoreConformance, AnEventSaysWhichLeaseItsKeyHas) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1);
  Put("a", "1", *lease);
  Put("a", "2");
  const auto events = watcher.WaitForEvents(2);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kv->lease, *lease);
  EXPECT_EQ(events[1].kv->lease, 0);
}

TEST_P(StoreConformance, TheEndOfALeaseTellsPreviousValues) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  Put("a", "1", *lease);
  RecordingWatcher watcher;
  const auto watch = StartWatch(watcher, Now() + 1, true);
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  const auto events = watcher.WaitForEvents(1);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].type, Event::Type::kDelete);
  ASSERT_NE(events[0].previous, nullptr);
  EXPECT_EQ(events[0].previous->value, "1");
}

TEST_P(StoreConformance, AKeyCreatedAgainAfterItsLeaseEndedIsANewOne) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  Put("a", "1", *lease);
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  Transaction txn;
  txn.compares = {Compare::Missing(Key("a"))};
  txn.success = {Operation::Put(Key("a"), "2")};
  EXPECT_TRUE(Do(txn).succeeded);
  EXPECT_EQ(There("a").version, 1);
  EXPECT_EQ(There("a").lease, 0);
}

TEST_P(StoreConformance, OneTransactionMayPutKeysOfSeveralLeases) {
  const auto one = store().GrantLease(seconds(60));
  const auto two = store().GrantLease(seconds(60));
  ASSERT_TRUE(one.ok() && two.ok());
  Transaction txn;
  txn.success = {Operation::Put(Key("a"), "1", *one), Operation::Put(Key("b"), "1", *two), Operation::Put(Key("c"), "1")};
  Do(txn);
  ASSERT_TRUE(store().RevokeLease(*one).ok());
  EXPECT_THAT(Texts(List()), ElementsAre("b=1", "c=1"));
  ASSERT_TRUE(store().RevokeLease(*two).ok());
  EXPECT_THAT(Texts(List()), ElementsAre("c=1"));
}

TEST_P(StoreConformance, CompactionEndsNoLease) {
  const auto lease = store().GrantLease(seconds(60));
  ASSERT_TRUE(lease.ok());
  Put("a", "1", *lease);
  Put("a", "2", *lease);
  ASSERT_TRUE(store().Compact(Now()).ok());
  EXPECT_TRUE(store().KeepAliveLease(*lease).ok());
  ASSERT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_THAT(Texts(List()), IsEmpty());
}

}  // namespace
}  // namespace isla::store
