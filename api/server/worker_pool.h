// A bounded pool of threads for calls that block. Any thread may submit; at the bound it is told so.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "api/base/mutex.h"

namespace isla::server {

class WorkerPool {
 public:
  WorkerPool(int threads, size_t max_queued);
  ~WorkerPool() { Stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// False: the queue is full, or the pool has stopped; `work` isn't run then.
  bool Submit(std::function<void()> work);
  /// Finishes what runs, drops what is queued, joins. Idempotent; not from a worker.
  void Stop();

 private:
  void Run();

  const size_t max_queued_;
  Mutex mu_;
  CondVar changed_;
  bool stopped_ GUARDED_BY(mu_) = false;
  std::deque<std::function<void()>> queue_ GUARDED_BY(mu_);
  std::vector<std::jthread> threads_;
};

}  // namespace isla::server
