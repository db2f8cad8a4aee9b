#include "controllers/gateway/strand.h"

#include <utility>

namespace isla::controllers {

namespace {
constexpr int kRunAtOnce = 16;  // then others get their turn
}

Pool::Pool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

void Pool::Post(std::function<void()> work) {
  MutexLock lock(mu_);
  if (stopped_) return;
  queue_.push_back(std::move(work));
  filled_.NotifyOne();
}

void Pool::Stop() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    filled_.NotifyAll();
  }
  threads_.clear();
  MutexLock lock(mu_);
  stopped_ = true;
  queue_.clear();
}

void Pool::Run() {
  while (true) {
    std::function<void()> work;
    {
      MutexLock lock(mu_);
      while (queue_.empty()) {
        if (stop_ && busy_ == 0) {
          filled_.NotifyAll();
          return;
        }
        filled_.Wait(mu_);
      }
      work = std::move(queue_.front());
      queue_.pop_front();
      ++busy_;
    }
    work();
    work = nullptr;
    MutexLock lock(mu_);
    --busy_;
    if (stop_ && busy_ == 0) filled_.NotifyAll();
  }
}

void Strand::Post(std::function<void()> work) {
  {
    MutexLock lock(state_->mu);
    state_->queue.push_back(std::move(work));
    if (std::exchange(state_->scheduled, true)) return;
  }
  state_->pool.Post([state = state_] { RunSome(state); });
}

void Strand::RunSome(const std::shared_ptr<State>& state) {
  for (int i = 0;; ++i) {
    std::function<void()> work;
    {
      MutexLock lock(state->mu);
      if (state->queue.empty()) {
        state->scheduled = false;
        return;
      }
      if (i == kRunAtOnce) break;
      work = std::move(state->queue.front());
      state->queue.pop_front();
    }
    work();
  }
  state->pool.Post([state] { RunSome(state); });
}

TimerThread::TimerThread(const Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}

void TimerThread::After(Duration delay, std::function<void()> fn) {
  MutexLock lock(mu_);
  timers_.emplace(clock_.Monotonic() + delay, std::move(fn));
  changed_.NotifyOne();
}

void TimerThread::Stop() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mu_);
  timers_.clear();
}

void TimerThread::Run() {
  while (true) {
    std::function<void()> fn;
    {
      MutexLock lock(mu_);
      while (true) {
        if (stop_) return;
        if (timers_.empty()) {
          changed_.Wait(mu_);
          continue;
        }
        const Duration left = timers_.begin()->first - clock_.Monotonic();
        if (left <= Duration::zero()) break;
        changed_.WaitFor(mu_, left);
      }
      fn = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
    }
    fn();
  }
}

}  // namespace isla::controllers
