#include "api/server/worker_pool.h"

#include <utility>

namespace isla::server {

WorkerPool::WorkerPool(int threads, size_t max_queued) : max_queued_(max_queued) {
  threads_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

bool WorkerPool::Submit(std::function<void()> work) {
  MutexLock lock(mu_);
  if (stopped_ || queue_.size() >= max_queued_) return false;
  queue_.push_back(std::move(work));
  changed_.NotifyOne();
  return true;
}

void WorkerPool::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    dropped.swap(queue_);
    changed_.NotifyAll();
  }
  threads_.clear();
}

void WorkerPool::Run() {
  for (;;) {
    std::function<void()> work;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stopped_) changed_.Wait(mu_);
      if (stopped_) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace isla::server
