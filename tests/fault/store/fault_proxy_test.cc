// What the proxy does to a client and a real etcd.
#include "tests/fault/store/fault_proxy.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "store/etcd/etcd_store.h"
#include "tests/cluster/etcd_process.h"

namespace isla::store {
namespace {

using isla::testing::EtcdProcess;
using isla::testing::FaultProxy;
using isla::testing::StreamFault;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clk = std::chrono::steady_clock;

class Proxied : public ::testing::Test {
 protected:
  void SetUp() override {
    etcd_.Start();
    proxy_ = std::make_unique<FaultProxy>(etcd_.folder() + "/proxy", etcd_.socket());
    store_ = Connect("unix://" + proxy_->path());
    direct_ = Connect(etcd_.endpoint());
    ASSERT_EQ(Put("0"), Code::kOk);
  }
  static std::unique_ptr<Store> Connect(const std::string& endpoint) {
    EtcdOptions options;
    options.endpoints = {endpoint};
    auto store = ConnectEtcd(options);
    ISLA_CHECK_OK(store);
    return std::move(*store);
  }
  Code Put(const std::string& value, milliseconds deadline = seconds(5)) {
    Transaction txn;
    txn.success.push_back(Operation::Put("/p/a", value));
    return store_->Txn(txn, deadline).status().code();
  }
  std::string Value() {
    const auto got = direct_->Get("/p/a");
    return got.ok() && got->kv != nullptr ? got->kv->value : "";
  }

  EtcdProcess etcd_;
  std::unique_ptr<FaultProxy> proxy_;
  std::unique_ptr<Store> store_, direct_;
};

TEST_F(Proxied, ACutAfterTheRequestExecutesItAndTheOutcomeIsUnknown) {
  for (const std::string value : {"1", "2", "3"}) {
    proxy_->Inject(StreamFault::kCutAfterRequest);
    EXPECT_EQ(Put(value), Code::kDeadlineExceeded);
    EXPECT_TRUE(isla::testing::Eventually([this, &value] { return Value() == value; }));
  }
  EXPECT_EQ(proxy_->done(StreamFault::kCutAfterRequest), 3U);
  EXPECT_EQ(direct_->Get("/p/a")->kv->version, 4);  // nothing was sent twice
  EXPECT_TRUE(isla::testing::Eventually([this] { return Put("4") == Code::kOk; }));
}

TEST_F(Proxied, ARequestCutInHalfIsNotExecuted) {
  proxy_->Inject(StreamFault::kTruncateRequest);
  EXPECT_EQ(Put("1"), Code::kDeadlineExceeded);  // which the client can't know
  EXPECT_EQ(Value(), "0");
  // The next may still go into the connection that is dying, and then its outcome is as unknown.
  EXPECT_TRUE(isla::testing::Eventually([this] { return Put("2") == Code::kOk; }));
}

TEST_F(Proxied, AMangledStreamIsAnErrorAndNothingWorse) {
  for (const StreamFault fault : {StreamFault::kGarbage, StreamFault::kDuplicate, StreamFault::kReorder, StreamFault::kTruncateAnswer}) {
    for (const uint32_t skipped : {0U, 1U, 2U}) {
      SCOPED_TRACE(std::string(isla::testing::StreamFaultName(fault)) + " " + std::to_string(skipped));
      const uint64_t before = proxy_->done(fault);
      proxy_->Inject(fault, skipped);
      const Code put = Put("1");
      EXPECT_TRUE(put == Code::kOk || put == Code::kDeadlineExceeded) << CodeName(put);
      while (proxy_->done(fault) == before) Put("2");
      EXPECT_TRUE(isla::testing::Eventually([this] { return Put("3") == Code::kOk; }));
    }
  }
}

TEST_F(Proxied, HeldBytesArriveWhenItIsHealed) {
  proxy_->Inject(StreamFault::kHoldAnswers);
  EXPECT_EQ(Put("1", milliseconds(300)), Code::kDeadlineExceeded);
  EXPECT_EQ(Value(), "1");
  proxy_->Heal();
  EXPECT_EQ(Put("2"), Code::kOk);
  proxy_->Inject(StreamFault::kHoldRequests);
  EXPECT_EQ(Put("3", milliseconds(300)), Code::kDeadlineExceeded);
  EXPECT_EQ(Value(), "2");
  proxy_->Heal();
  EXPECT_EQ(Put("4"), Code::kOk);
}

TEST_F(Proxied, AHalfOpenConnectionIsNoticedByPing) {
  proxy_->Inject(StreamFault::kHalfOpen);
  // Keepalive takes 10 s and 5 s; TCP alone would wait for a quarter of an hour.
  EXPECT_TRUE(isla::testing::Eventually([this] { return Put("1", seconds(2)) == Code::kOk; }, seconds(60)));
}

TEST_F(Proxied, ADelayDelays) {
  proxy_->Inject(StreamFault::kDelay, 100);
  const auto begin = Clk::now();
  EXPECT_EQ(Put("1"), Code::kOk);
  EXPECT_GE(Clk::now() - begin, milliseconds(200));
  proxy_->Heal();
  proxy_->Inject(StreamFault::kThrottle, 20'000);
  const auto slow = Clk::now();
  EXPECT_EQ(Put(std::string(10'000, 'x')), Code::kOk);
  EXPECT_GE(Clk::now() - slow, milliseconds(400));
}

TEST_F(Proxied, AResetAndARefusalAreSurvived) {
  for (int i = 0; i < 5; ++i) {
    proxy_->Inject(StreamFault::kReset);
    EXPECT_TRUE(isla::testing::Eventually([this] { return Put("1") == Code::kOk; }));
  }
  proxy_->Inject(StreamFault::kRefuse);
  proxy_->Inject(StreamFault::kReset);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(Put("2", milliseconds(500)), Code::kUnavailable);
  EXPECT_EQ(Value(), "1");
  proxy_->Heal();
  EXPECT_EQ(Put("3"), Code::kOk);
}

}  // namespace
}  // namespace isla::store
