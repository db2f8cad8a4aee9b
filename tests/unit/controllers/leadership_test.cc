#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <future>
#include <thread>
#include <utility>

#include "controllers/runtime/held_lease.h"
#include "controllers/runtime/leadership.h"
#include "tests/unit/controllers/islad_fixture.h"
#include "tests/unit/store/forwarding_store.h"

namespace isla::controllers {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using LeadershipTest = IsladTest;

store::Revision Token(store::Store& store, const store::Keys& keys) {
  const auto lead = store.Get(keys.Lead()).value().kv;
  return lead == nullptr ? 0 : lead->create_revision;
}

TEST_F(LeadershipTest, OneLeadsAndTheOtherTakesOverAtOnceWhenItStops) {
  auto a = std::make_unique<TestIslad>(*store_, "a", seconds(30));
  ASSERT_TRUE(a->Eventually([&a] { return a->controllers->leading(); }));
  TestIslad b(*store_, "b", seconds(30));
  ASSERT_TRUE(b.Eventually([&b] { return b.state->lead() != nullptr; }));
  EXPECT_FALSE(b.controllers->leading());
  const store::Revision before = Token(*store_, keys_);
  a.reset();
  // Its lease would have run for 30 s.
  ASSERT_TRUE(b.Eventually([&b] { return b.controllers->leading(); }));
  EXPECT_GT(Token(*store_, keys_), before);
}

TEST_F(LeadershipTest, ALeaderWhoseKeyIsGoneStopsAndCampaignsAgain) {
  TestIslad a(*store_, "a");
  ASSERT_TRUE(a.Eventually([&a] { return a.controllers->leading(); }));
  const store::Revision before = Token(*store_, keys_);
  a.Delete(keys_.Lead());
  ASSERT_TRUE(a.Eventually([&] { return Token(*store_, keys_) > before && a.controllers->leading(); }));
}

TEST_F(LeadershipTest, NobodyLeadsWhileTheStoreIsClosed) {
  TestIslad a(*store_, "a");
  ASSERT_TRUE(a.Eventually([&a] { return a.controllers->leading(); }));
  const store::Revision before = Token(*store_, keys_);
  const std::string open = a.Value(keys_.Cluster());
  a.Put(keys_.Cluster(), R"({"id":"c","epoch":2,"level":1,"closed":{"reason":"import"}})");
  ASSERT_TRUE(a.Eventually([&] { return !a.controllers->leading() && Token(*store_, keys_) == 0; }));
  a.Put(keys_.Gateway("g1"), "{}");
  a.Put(keys_.Node("n1"), Encode(NodeOf("n1")));
  a.Put(keys_.Spec("session", "default", "one"), json::Serialize(SessionJson("one")));
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(a.Value(keys_.Bind("default", "one")), "");
  EXPECT_EQ(Token(*store_, keys_), 0);
  a.Put(keys_.Cluster(), open);
  ASSERT_TRUE(a.Eventually([&] { return a.controllers->leading() && !a.Value(keys_.Bind("default", "one")).empty(); }));
  EXPECT_GT(Token(*store_, keys_), before);
}

TEST_F(LeadershipTest, AKeyThatAnotherHoldsIsLeftAlone) {
  TestIslad a(*store_, "a");
  ASSERT_TRUE(a.Eventually([&a] { return a.controllers->leading(); }));
  ASSERT_TRUE(store_->Txn({{},
                           {store::Operation::Delete(keys_.Lead())},
                           {}})
                  .ok());
  // Somebody on another machine may have been quicker; then its key stays.
  const StatusOr<store::TxnResult> won = store_->Txn(
      {{store::Compare::Missing(keys_.Lead())},
       {store::Operation::Put(keys_.Lead(), R"({"id":"z","instance":"i","host":"elsewhere","pid":1})")},
       {}});
  ASSERT_TRUE(won.ok());
  if (!won->succeeded) return;  // `a` was quicker
  ASSERT_TRUE(a.Eventually([&] { return a.state->revision() >= won->revision && !a.controllers->leading(); }));
  EXPECT_EQ(Token(*store_, keys_), won->revision);
}

TEST_F(LeadershipTest, TheKeyOfADeadProcessOfThisMachineIsTakenWithoutWaiting) {
  LeadRecord dead = OwnLeadRecord("dead");
  dead.pid = 4'194'305;
  const store::LeaseId lease = store_->GrantLease(seconds(3600)).value();
  ASSERT_TRUE(store_->Txn({{}, {store::Operation::Put(keys_.Lead(), Encode(dead), lease)}, {}}).ok());
  const store::Revision before = Token(*store_, keys_);
  TestIslad a(*store_, "a");
  ASSERT_TRUE(a.Eventually([&a] { return a.controllers->leading(); }));
  EXPECT_GT(Token(*store_, keys_), before) << "the token must change: it is what fences the dead one off";
}

TEST_F(LeadershipTest, OneElectedWhileALeaseWasAskedForIsLeftAlone) {
  // Another is elected after the key was seen to be missing, and the cache knows it before the campaign begins.
  class SlowLease final : public store::ForwardingStore {
   public:
    using ForwardingStore::ForwardingStore;
    StatusOr<store::LeaseId> GrantLease(seconds ttl, store::Deadline deadline) override {
      if (on_grant) std::exchange(on_grant, nullptr)();
      return ForwardingStore::GrantLease(ttl, deadline);
    }
    std::function<void()> on_grant;
  };
  SlowLease store(*store_);
  std::unique_ptr<TestIslad> a;
  std::promise<void> made, elected;
  store::Revision token = 0;
  store.on_grant = [&] {
    made.get_future().wait();
    LeadRecord living = OwnLeadRecord("living");
    living.pid = getppid();
    ASSERT_TRUE(store_->Txn({{}, {store::Operation::Put(keys_.Lead(), Encode(living))}, {}}).ok());
    token = Token(*store_, keys_);
    ASSERT_TRUE(a->Eventually([&] { return a->state->lead() != nullptr && a->state->lead()->create_revision == token; }));
    elected.set_value();
  };
  a = std::make_unique<TestIslad>(store, "a", seconds(30));
  made.set_value();
  elected.get_future().wait();
  // It campaigns with what it saw, is told that it lost, and waits.
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(Token(*store_, keys_), token);
  EXPECT_FALSE(a->controllers->leading());
}

TEST_F(LeadershipTest, TheNewLeaderDoesTheWorkThatTheOldOneLeft) {
  auto a = std::make_unique<TestIslad>(*store_, "a");
  TestIslad b(*store_, "b");
  ASSERT_TRUE(a->Eventually([&] { return a->controllers->leading() || b.controllers->leading(); }));
  b.Put(keys_.Gateway("g1"), "{}");
  b.Put(keys_.Node("n1"), Encode(NodeOf("n1")));
  b.Put(keys_.Spec("session", "default", "one"), json::Serialize(SessionJson("one")));
  ASSERT_TRUE(b.Eventually([&] { return !b.Value(keys_.Bind("default", "one")).empty(); }));
  a.reset();
  b.Put(keys_.Spec("session", "default", "two"), json::Serialize(SessionJson("two")));
  ASSERT_TRUE(b.Eventually([&] { return !b.Value(keys_.Bind("default", "two")).empty(); }));
}

TEST(HeldLease, ItIsLostWhenTheStoreForgotIt) {
  auto store = store::EmbeddedStore::InMemory();
  Mutex mu;
  CondVar changed;
  bool lost = false;
  auto lease = HeldLease::Grant(*store, Clock::Real(), seconds(1), [&] {
    MutexLock lock(mu);
    lost = true;
    changed.NotifyAll();
  });
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE((*lease)->held());
  ASSERT_TRUE(store->RevokeLease((*lease)->id()).ok());
  {
    MutexLock lock(mu);
    while (!lost && changed.WaitFor(mu, seconds(5))) {
    }
    EXPECT_TRUE(lost);
  }
  EXPECT_FALSE((*lease)->held());
}

/// Renewals fail while it is away.
class AwayStore final : public store::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  StatusOr<std::chrono::seconds> KeepAliveLease(store::LeaseId lease, store::Deadline deadline) override {
    if (away) return Error(Code::kUnavailable, "away");
    return ForwardingStore::KeepAliveLease(lease, deadline);
  }
  std::atomic<bool> away{false};
};

TEST(HeldLease, ItCountsAsHeldForTwoThirdsOfItsTimeAndThatIsToldBefore) {
  FakeClock clock;
  auto memory = store::EmbeddedStore::InMemory(clock);
  AwayStore store(*memory);
  store.away = true;
  const MonotonicTime begin = clock.Monotonic();
  auto lease = HeldLease::Grant(store, clock, seconds(9), [] {});
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ((*lease)->held_until(), begin + seconds(6));
  clock.Advance(milliseconds(5999));
  EXPECT_TRUE((*lease)->held());
  clock.Advance(milliseconds(1));
  EXPECT_FALSE((*lease)->held()) << "the store keeps it for three more seconds: that is the margin";
}

TEST(HeldLease, OneThatLapsedIsHeldAgainByARenewalAndLostOnlyWhenItsWholeTimeHasPassed) {
  FakeClock clock;
  auto memory = store::EmbeddedStore::InMemory(clock);
  AwayStore store(*memory);
  std::atomic<bool> lost{false};
  auto lease = HeldLease::Grant(store, clock, seconds(1), [&lost] { lost = true; });
  ASSERT_TRUE(lease.ok());
  const auto eventually = [](const std::function<bool()>& holds) {
    for (int i = 0; i < 2000 && !holds(); ++i) std::this_thread::sleep_for(milliseconds(5));
    return holds();
  };
  clock.Advance(milliseconds(700));  // it has lapsed, until the renewal that is due
  const MonotonicTime sent = clock.Monotonic();
  EXPECT_TRUE(eventually([&] { return (*lease)->held(); }));
  EXPECT_EQ((*lease)->held_until(), sent + Duration(seconds(1)) / 3 * 2);
  store.away = true;
  clock.Advance(milliseconds(999));
  EXPECT_FALSE((*lease)->held());
  EXPECT_FALSE(lost);
  EXPECT_TRUE(eventually([&] {
    clock.Advance(milliseconds(10));
    return lost.load();
  }));
}

TEST(HeldLease, ReleasingEndsItsKeys) {
  auto store = store::EmbeddedStore::InMemory();
  auto lease = HeldLease::Grant(*store, Clock::Real(), seconds(30), [] {});
  ASSERT_TRUE(lease.ok());
  ASSERT_TRUE(store->Txn({{}, {store::Operation::Put("k", "v", (*lease)->id())}, {}}).ok());
  (*lease)->Release();
  EXPECT_EQ(store->Get("k").value().kv, nullptr);
  EXPECT_FALSE((*lease)->held());
}

}  // namespace
}  // namespace isla::controllers
