#include "store/cache/watch_cache.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <optional>
#include <thread>
#include <utility>

#include "api/base/log.h"
#include "api/base/mutex.h"
#include "store/cache/barrier.h"
#include "store/cache/cache_state.h"
#include "store/get_at.h"

namespace isla::store {
namespace {

using std::chrono::milliseconds;

constexpr Duration kFirstBackoff = milliseconds(50);
constexpr Duration kLastBackoff = std::chrono::seconds(5);
constexpr Duration kListDeadline = std::chrono::seconds(15);
constexpr Duration kCallDeadline = std::chrono::seconds(3);
constexpr Revision kNever = std::numeric_limits<Revision>::max();
constexpr Duration kFutureWait = std::chrono::seconds(1);  // Subscribe from a revision that is about to come

const Logger& Log() {
  static const Logger log("store");
  return log;
}

class CacheSubscription final : public Subscription {
 public:
  CacheSubscription(std::shared_ptr<CacheState> state, std::shared_ptr<SubscriptionQueue> queue)
      : state_(std::move(state)), queue_(std::move(queue)) {}
  ~CacheSubscription() override {
    queue_->Notify({});
    state_->Unsubscribe(queue_);
  }
  StatusOr<CacheBatch> Next(std::chrono::nanoseconds wait) override { return queue_->Next(wait); }
  void Notify(std::function<void()> ready) override { queue_->Notify(std::move(ready)); }

 private:
  const std::shared_ptr<CacheState> state_;  // shared: a subscription may outlive its cache, which has then ended it
  const std::shared_ptr<SubscriptionQueue> queue_;
};

/// Drives CacheState: list, watch, watch again, compare. What it does next follows from the signals and the clock alone
/// (Step), so a thread and a simulation run the same code.
class Cache final : public WatchCache, private Watcher {
 public:
  Cache(Store& store, const Clock& clock, CacheOptions options);
  ~Cache() override;

  void StartThread() { thread_ = std::thread(&Cache::Run, this); }

  Status WaitSynced(std::chrono::nanoseconds timeout) override;
  bool synced() const override { return synced_.load(std::memory_order_acquire); }
  Revision watermark() const override { return state_->watermark(); }
  int64_t epoch() const override { return epoch_.load(std::memory_order_acquire); }
  std::shared_ptr<const KeyValue> Get(const Key& key) const override { return state_->Get(key); }
  ListResult List(const Prefix& prefix) const override { return state_->List(prefix); }
  Status WaitFor(Revision revision, std::chrono::nanoseconds timeout) override;
  Status ReadBarrier(std::chrono::nanoseconds timeout) override { return barrier_.Pass(timeout); }
  StatusOr<std::unique_ptr<Subscription>> Subscribe(const Prefix& prefix, Revision from) override;
  size_t Pump() override;

 private:
  // Watcher; on the store's thread.
  void OnBatch(WatchBatch batch) override;
  void OnEnd(const Status& status) override;

  void Run();
  /// Does what is due. How long until something else is, or nothing: only a signal changes that.
  std::optional<Duration> Step();
  void TakeSignals();
  Status ListAgain();
  Status StartToWatch();
  Status ProbeHistory();
  void BeginToCompare();
  void Compare(const ListResult& list);
  void BackOff(const Status& error, const char* what);
  void RequestList(const char* reason);

  Store& store_;
  const Clock& clock_;
  const CacheOptions options_;
  Random& random_;
  const std::shared_ptr<CacheState> state_;
  class ReadBarrier barrier_;
  Counter restarts_, divergence_, compares_;
  std::atomic<bool> synced_{false};
  std::atomic<int64_t> epoch_{0};
  std::atomic<bool> progressed_{false};  // a batch has come since the last backoff
  std::atomic<Revision> wake_at_{kNever};  // Step waits for the watermark to reach this

  Mutex mu_;
  CondVar signal_;
  std::optional<Status> watch_ended_ GUARDED_BY(mu_);
  const char* list_wanted_ GUARDED_BY(mu_) = nullptr;  // why
  bool stop_ GUARDED_BY(mu_) = false;
  CondVar synced_changed_;

  // Of the one that runs Step.
  std::unique_ptr<Watch> watch_;
  const char* list_reason_ = "first";  // null: no list is needed
  bool history_changed_ = false;       // the list to come is of another history
  uint64_t identity_ = 0;              // of the store that was listed
  MonotonicTime not_before_{};
  MonotonicTime compare_at_{};
  std::optional<ListResult> compare_with_;  // once the watermark is there
  MonotonicTime compare_until_{};
  Duration backoff_ = kFirstBackoff;
  size_t steps_ = 0;
  std::thread thread_;
};

Cache::Cache(Store& store, const Clock& clock, CacheOptions options)
    : store_(store),
      clock_(clock),
      options_(std::move(options)),
      random_(options_.random != nullptr ? *options_.random : Random::Real()),
      state_(std::make_shared<CacheState>(clock, options_.history, options_.subscriber_queue, options_.metrics)),
      barrier_(store, clock, *state_, options_.barrier_id.empty() ? "" : options_.keys.Barrier(options_.barrier_id),
               !options_.manual, [this] { RequestList("revision went back"); }, options_.metrics) {
  if (options_.metrics == nullptr) return;
  restarts_ = options_.metrics->AddCounter("isla_store_cache_watch_restarts_total", "Watches begun again.");
  divergence_ = options_.metrics->AddCounter("isla_store_cache_divergence_total",
                                             "Keys in which the cache differed from the store; must stay 0.");
  compares_ = options_.metrics->AddCounter("isla_store_cache_compares_total", "Comparisons of cache and store.");
}

Cache::~Cache() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    signal_.NotifyAll();
    synced_changed_.NotifyAll();
  }
  state_->Stop();
  if (thread_.joinable()) thread_.join();
  watch_.reset();
}

Status Cache::WaitSynced(std::chrono::nanoseconds timeout) {
  const MonotonicTime until = clock_.Monotonic() + timeout;
  MutexLock lock(mu_);
  while (!synced()) {
    const Duration left = until - clock_.Monotonic();
    if (stop_ || options_.manual || left <= Duration::zero() || !synced_changed_.WaitFor(mu_, left)) {
      return synced() ? OkStatus() : Error(Code::kDeadlineExceeded, "the cache has not listed the store yet");
    }
  }
  return OkStatus();
}

Status Cache::WaitFor(Revision revision, std::chrono::nanoseconds timeout) {
  if (state_->WaitFor(revision, options_.manual ? Duration::zero() : timeout)) return OkStatus();
  return Errorf(Code::kDeadlineExceeded, "the cache is at revision {}, not yet at {}", state_->watermark(), revision);
}

StatusOr<std::unique_ptr<Subscription>> Cache::Subscribe(const Prefix& prefix, Revision from) {
  if (from < 0) return Error(Code::kInvalidArgument, "a revision can't be negative");
  if (from > state_->watermark()) state_->WaitFor(from, options_.manual ? Duration::zero() : kFutureWait);
  ASSIGN_OR_RETURN(auto queue, state_->Subscribe(prefix, from));
  return std::unique_ptr<Subscription>(std::make_unique<CacheSubscription>(state_, std::move(queue)));
}

void Cache::OnBatch(WatchBatch batch) {
  if (!state_->ApplyBatch(batch)) {
    divergence_.Increment();
    RequestList("an event was missed");
  }
  progressed_.store(true, std::memory_order_relaxed);
  if (batch.revision < wake_at_.load(std::memory_order_acquire)) return;
  MutexLock lock(mu_);
  signal_.NotifyAll();
}

void Cache::OnEnd(const Status& status) {
  MutexLock lock(mu_);
  watch_ended_ = status;
  signal_.NotifyAll();
}

void Cache::RequestList(const char* reason) {
  MutexLock lock(mu_);
  list_wanted_ = reason;
  signal_.NotifyAll();
}

void Cache::Run() {
  for (;;) {
    const std::optional<Duration> wait = Step();
    MutexLock lock(mu_);
    if (stop_) return;
    if (watch_ended_ || list_wanted_ != nullptr || state_->watermark() >= wake_at_.load(std::memory_order_acquire)) continue;
    if (wait) {
      if (*wait > Duration::zero()) signal_.WaitFor(mu_, *wait);
    } else {
      signal_.Wait(mu_);
    }
    if (stop_) return;
  }
}

size_t Cache::Pump() {
  ISLA_CHECK(options_.manual);
  const size_t before = steps_;
  for (size_t last = steps_;; last = steps_) {
    Step();
    if (steps_ == last) return steps_ - before;
  }
}

void Cache::TakeSignals() {
  std::optional<Status> ended;
  const char* wanted = nullptr;
  {
    MutexLock lock(mu_);
    ended = std::exchange(watch_ended_, std::nullopt);
    wanted = std::exchange(list_wanted_, nullptr);
  }
  if (!ended && wanted == nullptr) return;
  ++steps_;
  watch_.reset();
  compare_with_.reset();
  wake_at_.store(kNever, std::memory_order_release);
  {
    MutexLock lock(mu_);  // of the watch that has just been cancelled
    watch_ended_.reset();
  }
  if (wanted != nullptr) list_reason_ = wanted;
  if (ended && ended->code() == Code::kOutOfRange) list_reason_ = "compacted";
  restarts_.Increment();
  BackOff(ended ? *ended : Errorf(Code::kOutOfRange, "{}", wanted), "watch ended");
}

void Cache::BackOff(const Status& error, const char* what) {
  if (progressed_.exchange(false, std::memory_order_relaxed)) backoff_ = kFirstBackoff;
  uint32_t fraction = 0;
  random_.Fill(&fraction, sizeof(fraction));
  const Duration wait(static_cast<int64_t>(static_cast<double>(backoff_.count()) * (fraction / 4294967296.0)));
  not_before_ = clock_.Monotonic() + wait;
  Log().Warn(what, "revision={} error='{}' retry_in_ms={}", state_->watermark(), ToString(error),
             std::chrono::duration_cast<milliseconds>(wait).count());
  backoff_ = std::min(backoff_ * 2, kLastBackoff);
}

std::optional<Duration> Cache::Step() {
  TakeSignals();
  const MonotonicTime now = clock_.Monotonic();
  if (watch_ == nullptr) {
    if (now < not_before_) return not_before_ - now;
    ++steps_;
    if (list_reason_ == nullptr && identity_ != 0 && store_.Identity() != identity_) list_reason_ = "another store";
    const Status status = list_reason_ != nullptr ? ListAgain() : StartToWatch();
    if (!status.ok()) BackOff(status, list_reason_ != nullptr ? "list failed" : "watch not started");
    return Duration::zero();
  }
  if (options_.compare_every <= Duration::zero()) return std::nullopt;
  if (compare_with_) {
    const bool reached = state_->watermark() >= compare_with_->revision;
    if (!reached && now < compare_until_) return compare_until_ - now;
    ++steps_;
    if (reached) Compare(*compare_with_);
    compare_with_.reset();
    wake_at_.store(kNever, std::memory_order_release);
    return Duration::zero();
  }
  if (now < compare_at_) return compare_at_ - now;
  ++steps_;
  compare_at_ = now + options_.compare_every;
  BeginToCompare();
  return Duration::zero();
}

Status Cache::ListAgain() {
  // Only a list that replaces another needs to know whether the history is still the same.
  if (synced()) {
    if (const Status probe = ProbeHistory(); probe.code() == Code::kAborted) {
      history_changed_ = true;
    } else if (!probe.ok() && probe.code() != Code::kOutOfRange) {
      return probe;
    }
  }
  ASSIGN_OR_RETURN(ListResult list, store_.List(options_.keys.prefix(), {}, kListDeadline));
  const uint64_t identity = store_.Identity();
  const Revision revision = list.revision;
  const Revision before = state_->watermark();
  if (synced() && (history_changed_ || revision < before || identity != identity_)) {
    epoch_.fetch_add(1, std::memory_order_acq_rel);
    Log().Error("the store's history is another one: a backup was restored", "revision_before={} revision={} epoch={}",
                before, revision, epoch());
  }
  identity_ = identity;
  const auto difference = state_->ApplyList(std::move(list));
  if (options_.metrics != nullptr) {
    options_.metrics
        ->AddCounter("isla_store_cache_relists_total", "Whole lists made by the watch cache.", {{"reason", list_reason_}})
        .Increment();
  }
  Log().Info("listed the store", "reason='{}' revision={} added={} changed={} removed={}", list_reason_, revision,
             difference.added, difference.changed, difference.removed);
  list_reason_ = nullptr;
  history_changed_ = false;
  compare_at_ = clock_.Monotonic() + options_.compare_every;
  {
    MutexLock lock(mu_);
    synced_.store(true, std::memory_order_release);
    synced_changed_.NotifyAll();
  }
  ASSIGN_OR_RETURN(watch_, store_.StartWatch({options_.keys.prefix(), revision + 1, false}, *this));
  return OkStatus();
}

Status Cache::StartToWatch() {
  if (const Status probe = ProbeHistory(); !probe.ok()) {
    if (probe.code() == Code::kAborted) history_changed_ = true;
    if (probe.code() != Code::kAborted && probe.code() != Code::kOutOfRange) return probe;
    list_reason_ = history_changed_ ? "history changed" : "compacted";
    return OkStatus();
  }
  ASSIGN_OR_RETURN(watch_, store_.StartWatch({options_.keys.prefix(), state_->watermark() + 1, false}, *this));
  return OkStatus();
}

/// Is what we know still a part of the store's history? ABORTED: no. OUT_OF_RANGE: can't be told, compacted. A store restored
/// from a backup may keep its cluster id and have caught up with our revision, so the last put that we saw is read
/// back at its own revision.
Status Cache::ProbeHistory() {
  const Revision watermark = state_->watermark();
  const auto last = state_->LastPut();
  const Key probed = last != nullptr ? Key(last->key) : options_.keys.Cluster();
  ASSIGN_OR_RETURN(const GetResult now, store_.Get(probed, kCallDeadline));
  if (now.revision < watermark) {
    return Errorf(Code::kAborted, "the store's revision went back from {} to {}", watermark, now.revision);
  }
  if (last == nullptr) return OkStatus();
  if (now.kv != nullptr && now.kv->mod_revision == last->mod_revision && now.kv->value == last->value) return OkStatus();
  ASSIGN_OR_RETURN(const GetResult then, GetAt(store_, last->key, last->mod_revision, kCallDeadline));
  if (then.kv != nullptr && then.kv->mod_revision == last->mod_revision && then.kv->value == last->value) return OkStatus();
  return Errorf(Code::kAborted, "revision {} of the store is not the one that was seen", last->mod_revision);
}

/// The list is compared when the watermark has reached it; the watch must not be left alone until then, so this
/// doesn't wait.
void Cache::BeginToCompare() {
  ListOptions keys;
  keys.keys_only = true;
  auto list = store_.List(options_.keys.prefix(), keys, kListDeadline);
  if (!list.ok()) {
    Log().Debug("comparison not made", "error='{}'", ToString(list.status()));
    return;
  }
  wake_at_.store(list->revision, std::memory_order_release);
  compare_until_ = clock_.Monotonic() + kCallDeadline;
  // Others may have raised the revision by keys that we don't watch.
  if (state_->watermark() < list->revision) barrier_.Put(kCallDeadline).status().IgnoreError();
  compare_with_ = std::move(*list);
}

void Cache::Compare(const ListResult& list) {
  compares_.Increment();
  std::string example;
  const size_t differing = state_->CountDivergence(list, example);
  if (differing == 0) return;
  divergence_.Increment(static_cast<double>(differing));
  Log().Error("the cache differs from the store, listing again", "keys={} example='{}' revision={}", differing, example,
              list.revision);
  RequestList("diverged");
}

}  // namespace

std::unique_ptr<WatchCache> StartWatchCache(Store& store, const Clock& clock, CacheOptions options) {
  const bool manual = options.manual;
  auto cache = std::make_unique<Cache>(store, clock, std::move(options));
  if (!manual) cache->StartThread();
  return cache;
}

}  // namespace isla::store
