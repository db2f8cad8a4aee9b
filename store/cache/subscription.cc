#include "store/cache/subscription.h"

#include <utility>

namespace isla::store {

SubscriptionQueue::Pushed SubscriptionQueue::Push(std::shared_ptr<const CacheBatch> batch) {
  MutexLock lock(mu_);
  if (!end_.ok()) return Pushed::kQuiet;
  if (Waiting() >= limit_) {
    batches_.clear();
    taken_ = 0;
    end_ = Errorf(Code::kOutOfRange, "fell behind by {} changes", limit_);
    filled_.NotifyAll();
    return Pushed::kOverflow;
  }
  const bool was_empty = Waiting() == 0;
  batches_.push_back(std::move(batch));
  if (!was_empty) return Pushed::kQuiet;
  filled_.NotifyAll();
  return Pushed::kWake;
}

void SubscriptionQueue::End(const Status& status) {
  MutexLock lock(mu_);
  if (!end_.ok()) return;
  batches_.clear();
  taken_ = 0;
  end_ = status;
  filled_.NotifyAll();
}

void SubscriptionQueue::Wake() {
  MutexLock lock(ready_mu_);
  if (ready_) ready_();
}

std::shared_ptr<const CacheBatch> SubscriptionQueue::Take() {
  std::shared_ptr<const CacheBatch> batch = std::move(batches_[taken_++]);
  if (taken_ == batches_.size()) {
    batches_.clear();
    taken_ = 0;
  } else if (taken_ > limit_) {
    batches_.erase(batches_.begin(), batches_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
  }
  return batch;
}

StatusOr<CacheBatch> SubscriptionQueue::Next(std::chrono::nanoseconds wait) {
  // Read before the queue is seen empty: everything up to here has then been pushed, and taken.
  Revision progress = progress_.load(std::memory_order_acquire);
  MutexLock lock(mu_);
  while (!Ready() && wait.count() > 0) {
    if (!filled_.WaitFor(mu_, wait)) wait = {};
    if (!Ready()) progress = progress_.load(std::memory_order_acquire);
  }
  if (!end_.ok()) return end_;
  if (Waiting() > 0) {
    const std::shared_ptr<const CacheBatch> batch = Take();
    told_ = batch->revision;
    return *batch;
  }
  // The answer to every subscriber after every change: made once.
  static const Status nothing = Error(Code::kDeadlineExceeded, "no change");
  if (progress <= told_) return nothing;
  told_ = progress;
  return CacheBatch{progress, {}};
}

void SubscriptionQueue::Notify(std::function<void()> ready) {
  MutexLock ready_lock(ready_mu_);
  ready_ = std::move(ready);
  bool now = false;
  {
    MutexLock lock(mu_);
    now = Ready();
  }
  if (now && ready_) ready_();
}

}  // namespace isla::store
