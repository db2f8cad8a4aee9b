// From a put to its handlers: what measures events shares.
#pragma once

#include <atomic>
#include <functional>
#include <semaphore>
#include <vector>

#include "bench/store/bench.h"

namespace isla::bench {

/// One put after another, each when the one before has been handled by all of `handlers`.
class Stopwatch {
 public:
  explicit Stopwatch(int handlers) : handlers_(handlers) {}

  /// A handler has an event.
  void Handle() {
    const int64_t took = (Clk::now() - begin_.load()).count();
    const int index = handled_.fetch_add(1);
    if (index < handlers_) took_[static_cast<size_t>(index)] = took;
    if (index + 1 == handlers_) all_.release();
  }
  /// Runs `put`; appends the times of its handlers, in the order of their coming, in microseconds.
  void Time(const std::function<void()>& put, std::vector<double>& times) {
    took_.resize(static_cast<size_t>(handlers_));
    handled_ = 0;
    begin_ = Clk::now();
    put();
    all_.acquire();
    for (const int64_t took : took_) times.push_back(static_cast<double>(took) / 1e3);
  }

 private:
  const int handlers_;
  std::atomic<Clk::time_point> begin_{};
  std::atomic<int> handled_{0};
  std::vector<int64_t> took_;
  std::binary_semaphore all_{0};
};

}  // namespace isla::bench
