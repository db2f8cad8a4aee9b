// Threads of the gateway: a pool, strands on it, and timers.
//
// A Strand runs what it is given one after the other, in order, on whichever thread of its pool is free: state that
// only one strand touches needs no lock. There are two pools: one for what never blocks (messages, deltas), one for
// calls of the store, so that a store that is slow holds up no message.
// Threads: every method from any thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "api/base/clock.h"
#include "api/base/mutex.h"

namespace isla::controllers {

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool() { Stop(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// After Stop: dropped.
  void Post(std::function<void()> work);
  /// Runs all that was posted (and what that posts), then ends the threads. Idempotent; not from within.
  void Stop();

 private:
  void Run();

  Mutex mu_;
  CondVar filled_;
  std::deque<std::function<void()>> queue_ GUARDED_BY(mu_);
  size_t busy_ GUARDED_BY(mu_) = 0;
  bool stop_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
  std::vector<std::jthread> threads_;
};

class Strand {
 public:
  /// `pool` must outlive it. What is queued runs even if the Strand goes first.
  explicit Strand(Pool& pool) : state_(std::make_shared<State>(pool)) {}
  void Post(std::function<void()> work);

 private:
  struct State {
    explicit State(Pool& p) : pool(p) {}
    Pool& pool;
    Mutex mu;
    std::deque<std::function<void()>> queue GUARDED_BY(mu);
    bool scheduled GUARDED_BY(mu) = false;
  };
  static void RunSome(const std::shared_ptr<State>& state);
  const std::shared_ptr<State> state_;
};

/// Calls functions later, from one thread: they must only post.
class TimerThread {
 public:
  explicit TimerThread(const Clock& clock);
  ~TimerThread() { Stop(); }
  TimerThread(const TimerThread&) = delete;
  TimerThread& operator=(const TimerThread&) = delete;

  void After(Duration delay, std::function<void()> fn);
  /// Drops what isn't due yet; joins.
  void Stop();

 private:
  void Run();

  const Clock& clock_;
  Mutex mu_;
  CondVar changed_;
  std::multimap<MonotonicTime, std::function<void()>> timers_ GUARDED_BY(mu_);
  bool stop_ GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace isla::controllers
