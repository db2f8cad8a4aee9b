// A gateway over a real gRPC unix socket, a store in memory that can be made to fail, and agents that say what the test says.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <isla/v1/agent.grpc.pb.h>

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/base/mutex.h"
#include "api/base/unique_fd.h"
#include "api/base/uuid.h"
#include "api/object/object.h"
#include "api/registry/registry.h"
#include "controllers/gateway/gateway.h"
#include "controllers/runtime/informer.h"
#include "store/cache/watch_cache.h"
#include "store/embedded/embedded_store.h"
#include "tests/unit/gateway/fake_agent.h"
#include "tests/unit/store/forwarding_store.h"

namespace isla::controllers {

/// The embedded store, with faults on the way to it.
class FaultyStore final : public store::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  /// Every call fails, nothing is done.
  std::atomic<bool> down{false};
  /// So many of the next transactions that put something are done, and answered with DEADLINE_EXCEEDED.
  std::atomic<int> lose_answers{0};
  std::atomic<int> writes{0};

  StatusOr<store::GetResult> Get(const store::Key& key, store::Deadline deadline) override {
    if (down) return Down();
    return ForwardingStore::Get(key, deadline);
  }
  StatusOr<store::ListResult> List(const store::Prefix& prefix, const store::ListOptions& options,
                                   store::Deadline deadline) override {
    if (down) return Down();
    return ForwardingStore::List(prefix, options, deadline);
  }
  StatusOr<store::TxnResult> Txn(const store::Transaction& txn, store::Deadline deadline) override {
    if (down) return Down();
    bool puts = false;
    for (const auto& operation : txn.success) puts = puts || operation.kind == store::Operation::Kind::kPut;
    if (puts) ++writes;
    StatusOr<store::TxnResult> result = ForwardingStore::Txn(txn, deadline);
    if (puts && lose_answers > 0) {
      --lose_answers;
      return Error(Code::kDeadlineExceeded, "the answer was lost");
    }
    return result;
  }
  StatusOr<store::LeaseId> GrantLease(std::chrono::seconds ttl, store::Deadline deadline) override {
    if (down) return Down();
    return ForwardingStore::GrantLease(ttl, deadline);
  }
  StatusOr<std::chrono::seconds> KeepAliveLease(store::LeaseId lease, store::Deadline deadline) override {
    if (down) return Down();
    return ForwardingStore::KeepAliveLease(lease, deadline);
  }
  Status RevokeLease(store::LeaseId lease, store::Deadline deadline) override {
    if (down) return Down();
    return ForwardingStore::RevokeLease(lease, deadline);
  }

 private:
  static Status Down() { return Error(Code::kUnavailable, "the store is down"); }
};

class GatewayTest : public ::testing::Test {
 protected:
  GatewayTest() {
    char name[] = "/tmp/isla-gateway-XXXXXX";
    folder_ = mkdtemp(name);
    EXPECT_TRUE(registry::Bootstrap(*memory_, keys_, Clock::Real(), Random::Real()).ok());
    store::CacheOptions cache;
    cache.keys = keys_;
    cache_ = store::StartWatchCache(*memory_, Clock::Real(), cache);
    EXPECT_TRUE(cache_->WaitSynced(kSoon).ok());
    state_ = std::make_unique<ClusterState>(keys_, Clock::Real());
    informer_ = std::make_unique<Informer>(*cache_, *state_, listeners_);
    EXPECT_TRUE(Eventually([this] { return state_->cluster_revision() != 0; }));
    options_.id = "gw1";
    options_.listen.socket_path = Socket();
    options_.lease_ttl = std::chrono::seconds(10);
    options_.sweep_every = std::chrono::milliseconds(100);
  }
  ~GatewayTest() override {
    gateway_.reset();
    informer_.reset();
    state_.reset();
    cache_.reset();
    EXPECT_TRUE(RemoveTree(folder_).ok());
  }

  std::string Socket() const { return folder_ + "/gateway/gateway.sock"; }
  std::string Target() const { return "unix://" + Socket(); }
  void StartGateway() {
    auto gateway = Gateway::Start(options_, store_, *state_, listeners_, Clock::Real());
    ASSERT_TRUE(gateway.ok()) << gateway.status();
    gateway_ = *std::move(gateway);
    ASSERT_TRUE(Eventually([this] { return gateway_->fresh(); }));
  }

  template <typename Fn>
  static bool Eventually(const Fn& fn, Duration timeout = kSoon) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    while (!fn()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  static BindContainer Container(int n, const std::string& node = "n1", Desired desired = Desired::kRun,
                                 int64_t incarnation = 1) {
    isla::v1::LaunchSpec launch;
    launch.set_namespace_("default");
    launch.set_session("s" + std::to_string(n));
    launch.add_argv("/bin/true");
    BindContainer container;
    container.name = "main";
    container.role = "main";
    container.uid = Uid(n);
    container.incarnation = incarnation;
    container.node = node;
    container.desired = desired;
    container.grace_period_msec = 1000;
    container.launch = api::FromMessage(launch);
    container.hash = "hash-" + std::to_string(n);
    return container;
  }
  void Put(const std::string& key, const std::string& value) {
    store::Transaction txn;
    txn.success = {store::Operation::Put(key, value)};
    ASSERT_TRUE(memory_->Txn(txn).ok());
  }
  void Delete(const std::string& key) {
    store::Transaction txn;
    txn.success = {store::Operation::Delete(key)};
    ASSERT_TRUE(memory_->Txn(txn).ok());
  }
  void PutBind(int n, const BindContainer& container) {
    Bind bind;
    bind.uid = Uid(1000 + n);
    bind.generation = 1;
    bind.incarnation = container.incarnation;
    bind.containers = {container};
    Put(BindKey(n), Encode(bind));
  }
  void PutBind(int n) { PutBind(n, Container(n)); }
  std::string BindKey(int n) const { return keys_.Bind("default", "s" + std::to_string(n)); }
  std::string RunKeyOf(int n, int64_t incarnation = 1) const { return keys_.Run("n1", Uid(n), incarnation); }

  std::shared_ptr<const store::KeyValue> Read(const std::string& key) { return memory_->Get(key)->kv; }
  std::optional<controllers::Run> ReadRun(int n, int64_t incarnation = 1) {
    const auto kv = Read(RunKeyOf(n, incarnation));
    if (kv == nullptr) return std::nullopt;
    return DecodeRun(kv->value).value();
  }
  Node ReadNode(const std::string& name = "n1") {
    const auto kv = Read(keys_.Node(name));
    return kv == nullptr ? Node() : DecodeNode(kv->value).value();
  }

  const store::Keys keys_{std::string(store::kDefaultPrefix)};
  const std::unique_ptr<store::EmbeddedStore> memory_ = store::EmbeddedStore::InMemory();
  FaultyStore store_{*memory_};
  std::string folder_;
  std::unique_ptr<store::WatchCache> cache_;
  std::unique_ptr<ClusterState> state_;
  Listeners listeners_;
  std::unique_ptr<Informer> informer_;
  GatewayOptions options_;
  std::unique_ptr<Gateway> gateway_;
};

}  // namespace isla::controllers
