// One or more islads without their servers, in one process over one store: watch cache, registry, informer,
// controllers, on real threads. Waits are for events.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "api/base/log.h"
#include "api/registry/registry.h"
#include "controllers/controllers.h"
#include "controllers/runtime/informer.h"
#include "store/cache/watch_cache.h"
#include "store/embedded/embedded_store.h"
#include "tests/unit/controllers/world.h"

namespace isla::controllers {

class TestIslad : public ChangeListener {
 public:
  TestIslad(store::Store& store, const std::string& id, std::chrono::seconds ttl = std::chrono::seconds(5))
      : store_(store) {
    cache_ = store::StartWatchCache(store, Clock::Real(), {.keys = keys, .barrier_id = id});
    registry = registry::MakeRegistry(store, *cache_, Clock::Real(), Random::Real(), {.keys = keys});
    state = std::make_unique<ClusterState>(keys, Clock::Real());
    listeners_.Add(*this);
    informer_ = std::make_unique<Informer>(*cache_, *state, listeners_);
    controllers = StartControllers(store, *state, listeners_, *registry, Clock::Real(), nullptr, {id, ttl});
  }
  ~TestIslad() override {
    controllers.reset();
    registry.reset();  // its thread reads the cache, which is declared after it
  }

  void OnChanges(const std::vector<Change>&, store::Revision) override { Wake(); }
  void OnReset() override { Wake(); }

  /// False if it doesn't become true within ten seconds. Asked at each change, and now and then.
  bool Eventually(const std::function<bool()>& holds) {
    const MonotonicTime until = Clock::Real().Monotonic() + std::chrono::seconds(10);
    while (!holds()) {
      if (Clock::Real().Monotonic() > until) return false;
      MutexLock lock(mu_);
      if (!woken_) wake_.WaitFor(mu_, std::chrono::milliseconds(20));
      woken_ = false;
    }
    return true;
  }
  std::string Value(const std::string& key) {
    const StatusOr<store::GetResult> result = store_.Get(key);
    return result.ok() && result->kv != nullptr ? result->kv->value : std::string();
  }
  void Put(const std::string& key, const std::string& value) {
    ISLA_CHECK_OK(store_.Txn({{}, {store::Operation::Put(key, value)}, {}}));
  }
  void Delete(const std::string& key) { ISLA_CHECK_OK(store_.Txn({{}, {store::Operation::Delete(key)}, {}})); }

  const store::Keys keys;
  std::unique_ptr<registry::Registry> registry;
  std::unique_ptr<ClusterState> state;
  std::unique_ptr<Controllers> controllers;

 private:
  void Wake() {
    MutexLock lock(mu_);
    woken_ = true;
    wake_.NotifyAll();
  }

  store::Store& store_;
  std::unique_ptr<store::WatchCache> cache_;
  Listeners listeners_;
  Mutex mu_;
  CondVar wake_;
  bool woken_ GUARDED_BY(mu_) = false;
  std::unique_ptr<Informer> informer_;
};

class IsladTest : public testing::Test {
 protected:
  IsladTest() : store_(store::EmbeddedStore::InMemory()) {
    SetLogLevel(LogLevel::kError);
    ISLA_CHECK_OK(registry::Bootstrap(*store_, keys_, Clock::Real(), Random::Real()));
  }
  const store::Keys keys_;
  std::unique_ptr<store::EmbeddedStore> store_;
};

}  // namespace isla::controllers
