#include "api/base/mutex.h"

#include <gtest/gtest.h>

#include <thread>

namespace isla {
namespace {

using namespace std::chrono_literals;

TEST(CondVar, AnEndlessTimeoutDoesNotEndAtOnce) {
  Mutex mu;
  CondVar changed;
  bool set = false, returned_early = false;
  std::jthread waiter([&mu, &changed, &set, &returned_early] {
    MutexLock lock(mu);
    while (!set) returned_early = !changed.WaitFor(mu, std::chrono::nanoseconds::max()) && !set;
  });
  {
    MutexLock lock(mu);
    set = true;
  }
  changed.NotifyAll();
  waiter.join();
  EXPECT_FALSE(returned_early);
}

TEST(CondVar, ATimeoutEndsTheWait) {
  Mutex mu;
  CondVar changed;
  MutexLock lock(mu);
  EXPECT_FALSE(changed.WaitFor(mu, 1ns));
}

}  // namespace
}  // namespace isla
