#include "tests/conformance/decorators.h"

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "api/base/mutex.h"
#include "tests/unit/store/forwarding_store.h"

namespace isla::store {
namespace {

/// A seeded number for each call, from any thread.
class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  /// 0 to below - 1.
  int Roll(int below) {
    MutexLock lock(mu_);
    return std::uniform_int_distribution<int>(0, below - 1)(random_);
  }
  void Pause() { std::this_thread::sleep_for(std::chrono::microseconds(Roll(4) == 0 ? Roll(1000) : 0)); }

 private:
  Mutex mu_;
  std::mt19937_64 random_ GUARDED_BY(mu_);
};

class SlowWatch final : public Watch, public Watcher {
 public:
  SlowWatch(Dice& dice, Watcher& watcher) : dice_(dice), watcher_(watcher) {}
  void OnBatch(WatchBatch batch) override {
    dice_.Pause();
    watcher_.OnBatch(std::move(batch));
  }
  void OnEnd(const Status& status) override { watcher_.OnEnd(status); }

  std::unique_ptr<Watch> inner;

 private:
  Dice& dice_;
  Watcher& watcher_;
};

class SlowStore final : public ForwardingStore {
 public:
  SlowStore(Store& inner, uint64_t seed) : ForwardingStore(inner), dice_(seed) {}

  StatusOr<GetResult> Get(const Key& key, Deadline deadline) override {
    const Pauses pauses(dice_);
    return ForwardingStore::Get(key, deadline);
  }
  StatusOr<ListResult> List(const Prefix& prefix, const ListOptions& options, Deadline deadline) override {
    const Pauses pauses(dice_);
    return ForwardingStore::List(prefix, options, deadline);
  }
  StatusOr<TxnResult> Txn(const Transaction& txn, Deadline deadline) override {
    const Pauses pauses(dice_);
    return ForwardingStore::Txn(txn, deadline);
  }
  StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) override {
    const Pauses pauses(dice_);
    auto watch = std::make_unique<SlowWatch>(dice_, watcher);
    ASSIGN_OR_RETURN(watch->inner, ForwardingStore::StartWatch(options, *watch));
    return std::unique_ptr<Watch>(std::move(watch));
  }
  Status RevokeLease(LeaseId lease, Deadline deadline) override {
    const Pauses pauses(dice_);
    return ForwardingStore::RevokeLease(lease, deadline);
  }
  Status Compact(Revision revision, Deadline deadline) override {
    const Pauses pauses(dice_);
    return ForwardingStore::Compact(revision, deadline);
  }

 private:
  struct Pauses {
    explicit Pauses(Dice& in) : dice(in) { dice.Pause(); }
    ~Pauses() { dice.Pause(); }
    Dice& dice;
  };
  Dice dice_;
};

/// One watch to its user, one after the other to the store. Its thread breaks the running one off and starts the next.
class BreakingWatch final : public Watch, public Watcher {
 public:
  BreakingWatch(Store& store, Dice& dice, WatchOptions options, Watcher& watcher)
      : store_(store), dice_(dice), options_(std::move(options)), watcher_(watcher) {}
  ~BreakingWatch() override {
    {
      MutexLock lock(mu_);
      stop_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
    inner_.reset();
    if (!told_) watcher_.OnEnd(Error(Code::kCancelled, "the watch was cancelled"));
  }

  Status Start() {
    left_ = 1 + dice_.Roll(4);
    ASSIGN_OR_RETURN(inner_, store_.StartWatch(options_, *this));
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
    return OkStatus();
  }

  /// The user is told by the return value.
  Status NeverStarted(const Status& why) {
    told_ = true;
    return why;
  }

  void OnBatch(WatchBatch batch) override {
    const Revision revision = batch.revision;
    watcher_.OnBatch(std::move(batch));
    MutexLock lock(mu_);
    options_.start_revision = revision + 1;
    --left_;
    changed_.NotifyAll();
  }
  void OnEnd(const Status& status) override {
    if (status.code() == Code::kCancelled) return;  // by us: broken off, or the destructor, which tells
    {
      MutexLock lock(mu_);
      told_ = true;
      changed_.NotifyAll();
    }
    watcher_.OnEnd(status);
  }

 private:
  void Run() {
    for (;;) {
      {
        MutexLock lock(mu_);
        while (!stop_ && !told_ && left_ > 0) changed_.Wait(mu_);
        if (stop_ || told_) return;
      }
      inner_.reset();  // OnEnd has returned
      MutexLock lock(mu_);
      if (stop_ || told_) return;
      left_ = 1 + dice_.Roll(4);
      // The store may call us from another thread at once: it waits for this lock.
      auto next = store_.StartWatch(options_, *this);
      ISLA_CHECK_OK(next);
      inner_ = std::move(*next);
    }
  }

  Store& store_;
  Dice& dice_;
  WatchOptions options_;
  Watcher& watcher_;
  std::unique_ptr<Watch> inner_;
  Mutex mu_;
  CondVar changed_;
  int left_ = 0;  // batches until it is broken off
  bool stop_ = false;
  bool told_ = false;  // the user: OnEnd
  std::thread thread_;
};

class BreakingStore final : public ForwardingStore {
 public:
  BreakingStore(Store& inner, uint64_t seed) : ForwardingStore(inner), inner_(inner), dice_(seed) {}

  StatusOr<std::unique_ptr<Watch>> StartWatch(const WatchOptions& options, Watcher& watcher) override {
    auto watch = std::make_unique<BreakingWatch>(inner_, dice_, options, watcher);
    const Status started = watch->Start();
    if (!started.ok()) return watch->NeverStarted(started);
    return std::unique_ptr<Watch>(std::move(watch));
  }

 private:
  Store& inner_;
  Dice dice_;
};

}  // namespace

std::unique_ptr<Store> MakeSlow(Store& inner, uint64_t seed) { return std::make_unique<SlowStore>(inner, seed); }

std::unique_ptr<Store> MakeBreaking(Store& inner, uint64_t seed) { return std::make_unique<BreakingStore>(inner, seed); }

}  // namespace isla::store
