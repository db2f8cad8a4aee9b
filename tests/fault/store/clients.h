// Those who use the store under torture, each a thread with its own random numbers, and its part of the history: writers,
// readers, holders of leases, watchers, subscribers and readers of caches.
//
// A round: all are started; writers, readers and holders are stopped; one more transaction writes under every prefix; watchers
// and subscribers must reach it (Finish). Then their records are collected.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "store/cache/watch_cache.h"
#include "store/store.h"
#include "tests/fault/store/history.h"

namespace isla::store::torture {

Nanos Now();

class Client {
 public:
  Client(std::string name, uint64_t seed) : name_(std::move(name)), random_(seed) {}
  virtual ~Client() = default;

  void Start() {
    thread_ = std::thread([this] { Run(); });
  }
  /// Returns when its thread has ended. Before the destructor.
  void Stop();
  /// Adds what was recorded, and what it found wrong by itself. Once, after it has stopped.
  void Collect(History& history, std::vector<std::string>& complaints);
  const std::string& name() const { return name_; }

 protected:
  virtual void Run() = 0;
  bool stopping() const { return stop_.load(std::memory_order_acquire); }
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  /// For a random time below `most`; less if it is to stop.
  void Pause(std::chrono::microseconds most);
  /// A value that no other transaction puts; now and then a large one.
  std::string UniqueValue();

  // Calls that are recorded. The references hold until the next call.
  const Op& Txn(Store& store, Transaction txn);
  const Op& Get(Store& store, const std::string& key);
  const Op& List(Store& store, const std::string& prefix);

  const std::string name_;
  std::mt19937_64 random_;
  std::vector<Op> ops_;
  std::vector<Segment> segments_;
  std::vector<Belief> beliefs_;
  std::vector<std::string> complaints_;

 private:
  Op Begin(Op::Kind kind, const std::string& key) const;
  const Op& End(Op op, const Status& status);

  std::atomic<bool> stop_{false};
  uint64_t values_ = 0;
  std::thread thread_;
};

/// Transactions of all shapes, on keys that all writers share and on its own.
class WriterClient final : public Client {
 public:
  WriterClient(std::string name, uint64_t seed, Store& store) : Client(std::move(name), seed), store_(store) {}

 private:
  void Run() override;
  std::string SharedKey();
  std::string OwnKey();
  Transaction CompareAndSwap();
  Transaction Several();
  Transaction Clear();

  Store& store_;
};

class ReaderClient final : public Client {
 public:
  ReaderClient(std::string name, uint64_t seed, Store& store) : Client(std::move(name), seed), store_(store) {}

 private:
  void Run() override;
  Store& store_;
};

/// Takes a lease, puts its key, renews, and counts itself the holder for two thirds of the time to live after the last renewal
/// was asked for.
class HolderClient final : public Client {
 public:
  HolderClient(std::string name, uint64_t seed, Store& store) : Client(std::move(name), seed), store_(store) {}

 private:
  void Run() override;
  Store& store_;
};

/// Those who follow, and end only when they have got somewhere.
class Follower : public Client {
 public:
  using Client::Client;
  /// Ends once everything up to `revision` has come.
  void Finish(Revision revision) { finish_.store(revision, std::memory_order_release); }
  bool finished() const { return finished_.load(std::memory_order_acquire); }
  Revision upto() const { return upto_.load(std::memory_order_acquire); }

 protected:
  bool Reached() const {
    const Revision finish = finish_.load(std::memory_order_acquire);
    return finish != 0 && upto() >= finish;
  }
  std::atomic<Revision> finish_{0}, upto_{0};
  std::atomic<bool> finished_{false};
};

struct WatchPlan {
  std::string prefix;
  Revision after = 0;
  bool previous_values = false;
  bool restless = true;  // cancels its watch now and then, and watches again from there or from before
};

/// A watch of the store, started again where it ended; a list when the store says that it must.
class WatcherClient final : public Follower, private Watcher {
 public:
  WatcherClient(std::string name, uint64_t seed, Store& store, WatchPlan plan)
      : Follower(std::move(name), seed), store_(store), plan_(std::move(plan)) {
    upto_ = plan_.after;
  }

 private:
  void Run() override;
  Revision WatchOnce(Revision after);
  void OnBatch(WatchBatch batch) override;
  void OnEnd(const Status& status) override;

  Store& store_;
  const WatchPlan plan_;
  std::mutex mu_;
  std::condition_variable changed_;
  Segment segment_;
  bool ended_ = false;
  Status end_;
};

/// A subscription to a cache: list, subscribe from there; again when told to.
class SubscriberClient final : public Follower {
 public:
  SubscriberClient(std::string name, uint64_t seed, WatchCache& cache, std::string prefix, bool slow)
      : Follower(std::move(name), seed), cache_(cache), prefix_(std::move(prefix)), slow_(slow) {}

 private:
  void Run() override;
  void Follow(Subscription& subscription, Segment& segment);

  WatchCache& cache_;
  const std::string prefix_;
  const bool slow_;
};

/// Reads a cache, behind its barrier and without it.
class CacheReaderClient final : public Client {
 public:
  CacheReaderClient(std::string name, uint64_t seed, WatchCache& cache, std::string prefix)
      : Client(std::move(name), seed), cache_(cache), prefix_(std::move(prefix)) {}
  /// One read behind the barrier, recorded; false if the barrier failed.
  bool ReadOnce(bool barrier);

 private:
  void Run() override;

  WatchCache& cache_;
  const std::string prefix_;
};

}  // namespace isla::store::torture
