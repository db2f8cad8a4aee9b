#include "controllers/runtime/work_queue.h"

#include <algorithm>

namespace isla::controllers {
namespace {

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// Handles made by default count nothing, so a queue without metrics needs no ifs.
Gauge QueueGauge(Metrics* metrics, const WorkQueueOptions& options, const char* name, const char* help) {
  return metrics == nullptr ? Gauge() : metrics->AddGauge(name, help, {{"queue", options.name}});
}
Counter QueueCounter(Metrics* metrics, const WorkQueueOptions& options, const char* name, const char* help) {
  return metrics == nullptr ? Counter() : metrics->AddCounter(name, help, {{"queue", options.name}});
}
Histogram QueueHistogram(Metrics* metrics, const WorkQueueOptions& options, const char* name, const char* help) {
  return metrics == nullptr ? Histogram() : metrics->AddHistogram(name, help, {{"queue", options.name}});
}

}  // namespace

WorkQueue::WorkQueue(const Clock& clock, WorkQueueOptions options, Metrics* metrics)
    : clock_(clock),
      options_(std::move(options)),
      depth_(QueueGauge(metrics, options_, "isla_workqueue_depth", "keys that wait")),
      unfinished_seconds_(QueueGauge(metrics, options_, "isla_workqueue_unfinished_work_seconds", "sum of the time that keys in work have been in work")),
      longest_running_seconds_(QueueGauge(metrics, options_, "isla_workqueue_longest_running_seconds", "time that the key longest in work has been in work")),
      parked_(QueueGauge(metrics, options_, "isla_workqueue_parked", "keys that failed so often that they are tried only rarely")),
      adds_(QueueCounter(metrics, options_, "isla_workqueue_adds_total", "keys added")),
      retries_(QueueCounter(metrics, options_, "isla_workqueue_retries_total", "keys added again after a failure")),
      queue_seconds_(QueueHistogram(metrics, options_, "isla_workqueue_queue_seconds", "time from add to get")),
      work_seconds_(QueueHistogram(metrics, options_, "isla_workqueue_work_seconds", "time from get to done")),
      jitter_(options_.seed) {}

void WorkQueue::Add(const std::string& key) {
  MutexLock lock(mu_);
  AddLocked(key);
}

void WorkQueue::AddLocked(const std::string& key) {
  if (shut_down_) return;
  const MonotonicTime now = clock_.Monotonic();
  if (!dirty_.emplace(key, now).second) return;
  adds_.Increment();
  if (processing_.contains(key)) return;
  queue_.push_back(key);
  depth_.Set(static_cast<double>(queue_.size()));
  ready_.NotifyOne();
}

void WorkQueue::AddAfter(const std::string& key, Duration delay) {
  MutexLock lock(mu_);
  if (shut_down_) return;
  if (delay <= Duration::zero()) return AddLocked(key);
  const MonotonicTime at = clock_.Monotonic() + delay;
  const auto found = delayed_by_key_.find(key);
  if (found != delayed_by_key_.end()) {
    if (found->second <= at) return;
    delayed_.erase({found->second, key});
    found->second = at;
  } else {
    delayed_by_key_.emplace(key, at);
  }
  delayed_.emplace(at, key);
  // A sleeping worker may have to wake earlier than it meant to.
  ready_.NotifyOne();
}

Duration WorkQueue::AddRateLimited(const std::string& key) {
  Duration delay = Duration::zero();
  {
    MutexLock lock(mu_);
    int& failures = failures_[key];
    const int shift = std::min(failures, 30);
    ++failures;
    if (failures == options_.park_after) parked_.Set(++parked_count_);
    const Duration whole = std::min(options_.max_delay, Duration(options_.base_delay.count() << shift));
    // Full delay to half of it: spreads a crowd without making anyone hot.
    std::uniform_int_distribution<int64_t> spread(whole.count() / 2, whole.count());
    delay = Duration(spread(jitter_));
    retries_.Increment();
  }
  AddAfter(key, delay);
  return delay;
}

void WorkQueue::Forget(const std::string& key) {
  MutexLock lock(mu_);
  const auto found = failures_.find(key);
  if (found == failures_.end()) return;
  if (found->second >= options_.park_after) parked_.Set(--parked_count_);
  failures_.erase(found);
}

int WorkQueue::failures(const std::string& key) const {
  MutexLock lock(mu_);
  const auto found = failures_.find(key);
  return found == failures_.end() ? 0 : found->second;
}

bool WorkQueue::parked(const std::string& key) const { return failures(key) >= options_.park_after; }

void WorkQueue::PromoteDue(MonotonicTime now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const std::string key = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    delayed_by_key_.erase(key);
    AddLocked(key);
  }
}

std::optional<std::string> WorkQueue::TakeLocked() {
  if (queue_.empty()) return std::nullopt;
  std::string key = std::move(queue_.front());
  queue_.pop_front();
  const MonotonicTime now = clock_.Monotonic();
  const auto dirty = dirty_.find(key);
  queue_seconds_.Observe(Seconds(now - dirty->second));
  dirty_.erase(dirty);
  processing_.emplace(key, now);
  UpdateGauges(now);
  return key;
}

std::optional<std::string> WorkQueue::Get() {
  MutexLock lock(mu_);
  while (true) {
    PromoteDue(clock_.Monotonic());
    if (auto key = TakeLocked()) return key;
    if (shut_down_) return std::nullopt;
    if (delayed_.empty()) {
      ready_.Wait(mu_);
    } else {
      ready_.WaitFor(mu_, delayed_.begin()->first - clock_.Monotonic());
    }
  }
}

std::optional<std::string> WorkQueue::TryGet() {
  MutexLock lock(mu_);
  PromoteDue(clock_.Monotonic());
  return TakeLocked();
}

void WorkQueue::Done(const std::string& key) {
  MutexLock lock(mu_);
  const auto found = processing_.find(key);
  if (found == processing_.end()) return;
  const MonotonicTime now = clock_.Monotonic();
  work_seconds_.Observe(Seconds(now - found->second));
  processing_.erase(found);
  if (dirty_.contains(key)) {
    queue_.push_back(key);
    ready_.NotifyOne();
  }
  UpdateGauges(now);
}

void WorkQueue::UpdateGauges(MonotonicTime now) {
  depth_.Set(static_cast<double>(queue_.size()));
  double sum = 0;
  double longest = 0;
  for (const auto& [key, since] : processing_) {
    const double seconds = Seconds(now - since);
    sum += seconds;
    longest = std::max(longest, seconds);
  }
  unfinished_seconds_.Set(sum);
  longest_running_seconds_.Set(longest);
}

void WorkQueue::ShutDown() {
  MutexLock lock(mu_);
  shut_down_ = true;
  delayed_.clear();
  delayed_by_key_.clear();
  ready_.NotifyAll();
}

size_t WorkQueue::depth() const {
  MutexLock lock(mu_);
  return queue_.size();
}

std::optional<Duration> WorkQueue::NextDelay() const {
  MutexLock lock(mu_);
  if (delayed_.empty()) return std::nullopt;
  return std::max(Duration::zero(), Duration(delayed_.begin()->first - clock_.Monotonic()));
}

}  // namespace isla::controllers
