// std::mutex with clang's thread-safety annotations, so that "guarded by" is checked and not a comment.
//
// absl::Mutex is not used: under ThreadSanitizer Debian's uninstrumented build of it reports races in
// correct code. Never call out (user code, I/O) while holding a lock.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define ISLA_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define ISLA_THREAD_ATTRIBUTE(x)
#endif
// absl's headers (by way of status.h) define some of these names too, without a prefix; whichever header
// comes first, ours hold.
#undef GUARDED_BY
#undef NO_THREAD_SAFETY_ANALYSIS
#define CAPABILITY(x) ISLA_THREAD_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY ISLA_THREAD_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) ISLA_THREAD_ATTRIBUTE(guarded_by(x))
#define REQUIRES(...) ISLA_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) ISLA_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) ISLA_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) ISLA_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS ISLA_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace isla {

class CondVar;

class CAPABILITY("mutex") Mutex {
 public:
  void Lock() ACQUIRE() { mu_.lock(); }
  void Unlock() RELEASE() { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ACQUIRE(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() RELEASE() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

/// A condition variable for Mutex. Waits may wake for no reason: always wait in a loop on the condition.
class CondVar {
 public:
  void Wait(Mutex& mu) REQUIRES(mu) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  /// False if `timeout` passed first. A timeout of more than a year may end after a year.
  bool WaitFor(Mutex& mu, std::chrono::nanoseconds timeout) REQUIRES(mu) NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    const bool woken = cv_.wait_for(lock, std::min(timeout, kLongest)) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  // The end of the wait is a point in time: nanoseconds::max() from now would overflow into the past.
  static constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(24 * 365);
  std::condition_variable cv_;
};

}  // namespace isla
