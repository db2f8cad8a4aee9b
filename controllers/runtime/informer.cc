#include "controllers/runtime/informer.h"

#include <algorithm>

namespace isla::controllers {

void Listeners::Add(ChangeListener& listener) {
  MutexLock lock(mu_);
  listeners_.push_back(&listener);
}

void Listeners::Remove(ChangeListener& listener) {
  MutexLock lock(mu_);
  std::erase(listeners_, &listener);
}

void Listeners::OnChanges(const std::vector<Change>& changes, store::Revision revision) {
  MutexLock lock(mu_);
  for (ChangeListener* listener : listeners_) listener->OnChanges(changes, revision);
}

void Listeners::OnReset() {
  MutexLock lock(mu_);
  for (ChangeListener* listener : listeners_) listener->OnReset();
}

Informer::Informer(store::WatchCache& cache, ClusterState& state, Listeners& listeners, Metrics* metrics)
    : cache_(cache),
      state_(state),
      listeners_(listeners),
      relists_(metrics == nullptr ? Counter()
                                  : metrics->AddCounter("isla_controllers_informer_relists_total",
                                                        "times that the informer listed everything")),
      thread_([this](std::stop_token stop) { Run(std::move(stop)); }) {}

Informer::~Informer() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
}

bool Informer::Responds(Duration timeout) {
  const auto call = std::make_shared<RollCall>(1);
  {
    MutexLock lock(mu_);
    calls_.push_back(call);
    ready_ = true;
    wake_.NotifyOne();
  }
  return call->Wait(timeout);
}

void Informer::Run(std::stop_token) {
  while (true) {
    std::vector<std::shared_ptr<RollCall>> calls;
    {
      MutexLock lock(mu_);
      while (!ready_ && !stop_) {
        if (subscription_ != nullptr) {
          wake_.Wait(mu_);
        } else if (!wake_.WaitFor(mu_, std::chrono::milliseconds(50))) {
          break;  // try to subscribe again
        }
      }
      if (stop_) break;
      ready_ = false;
      calls.swap(calls_);
    }
    if (subscription_ != nullptr || Resubscribe()) Drain();
    for (const auto& call : calls) call->Answer();
  }
  subscription_.reset();
}

bool Informer::Resubscribe() {
  // Wakes when the cache has its first list; the short wait bounds the time to stop.
  if (!cache_.WaitSynced(std::chrono::milliseconds(200)).ok()) return false;
  const store::ListResult list = cache_.List(state_.keys().prefix());
  StatusOr<std::unique_ptr<store::Subscription>> subscription =
      cache_.Subscribe(state_.keys().prefix(), list.revision);
  if (!subscription.ok()) {
    log_.Warn("subscription refused", "error='{}', listing again", Message(subscription.status()));
    return false;
  }
  relists_.Increment();
  subscription_ = std::move(subscription).value();
  subscription_->Notify([this] {
    MutexLock lock(mu_);
    ready_ = true;
    wake_.NotifyOne();
  });
  // Read after the list: the cache raises it before it has the other history's keys.
  const std::vector<Change> changes = state_.Reset(list, cache_.epoch());
  listeners_.OnReset();
  listeners_.OnChanges(changes, list.revision);
  return true;
}

void Informer::Drain() {
  while (true) {
    const StatusOr<store::CacheBatch> batch = subscription_->Next(std::chrono::nanoseconds(0));
    if (batch.ok()) {
      const std::vector<Change> changes = state_.Apply(*batch);
      listeners_.OnChanges(changes, batch->revision);
      continue;
    }
    if (batch.status().code() == Code::kDeadlineExceeded) return;
    if (batch.status().code() != Code::kCancelled) {
      log_.Warn("subscription ended", "error='{}', listing again", Message(batch.status()));
    }
    subscription_.reset();
    MutexLock lock(mu_);
    ready_ = true;
    return;
  }
}

}  // namespace isla::controllers
