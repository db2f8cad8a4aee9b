#include "controllers/runtime/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>

namespace isla::controllers {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

WorkQueueOptions Options() {
  WorkQueueOptions options;
  options.name = "test";
  options.park_after = 3;
  return options;
}

TEST(WorkQueue, ManyAddsAreOneRun) {
  FakeClock clock;
  WorkQueue queue(clock, Options());
  queue.Add("a");
  queue.Add("a");
  queue.Add("b");
  EXPECT_EQ(queue.TryGet(), "a");
  EXPECT_EQ(queue.TryGet(), "b");
  EXPECT_EQ(queue.TryGet(), std::nullopt);
}

TEST(WorkQueue, KeyAddedWhileProcessingRunsAgainAfterDoneAndNotBefore) {
  FakeClock clock;
  WorkQueue queue(clock, Options());
  queue.Add("a");
  ASSERT_EQ(queue.TryGet(), "a");
  queue.Add("a");
  EXPECT_EQ(queue.TryGet(), std::nullopt);
  queue.Done("a");
  EXPECT_EQ(queue.TryGet(), "a");
  queue.Done("a");
  EXPECT_EQ(queue.TryGet(), std::nullopt);
}

TEST(WorkQueue, DelayedKeysComeWhenTheyAreDueTheEarliestDelayWins) {
  FakeClock clock;
  WorkQueue queue(clock, Options());
  queue.AddAfter("a", seconds(10));
  queue.AddAfter("a", seconds(5));
  queue.AddAfter("a", seconds(20));
  EXPECT_EQ(queue.NextDelay(), Duration(seconds(5)));
  clock.Advance(milliseconds(4999));
  EXPECT_EQ(queue.TryGet(), std::nullopt);
  clock.Advance(milliseconds(1));
  EXPECT_EQ(queue.TryGet(), "a");
  EXPECT_EQ(queue.NextDelay(), std::nullopt);
}

TEST(WorkQueue, BackOffDoublesFromBaseToCapWithJitterAndForgetEndsIt) {
  FakeClock clock;
  WorkQueue queue(clock, Options());
  Duration whole = milliseconds(5);
  for (int i = 0; i < 40; ++i) {
    const Duration delay = queue.AddRateLimited("a");
    EXPECT_GE(delay, whole / 2);
    EXPECT_LE(delay, whole);
    whole = std::min<Duration>(whole * 2, seconds(60));
    clock.Advance(seconds(61));
    ASSERT_EQ(queue.TryGet(), "a");
    queue.Done("a");
  }
  EXPECT_TRUE(queue.parked("a"));
  queue.Forget("a");
  EXPECT_FALSE(queue.parked("a"));
  EXPECT_LE(queue.AddRateLimited("a"), Duration(milliseconds(5)));
}

TEST(WorkQueue, MetricsCountDepthAddsRetriesAndParkedKeys) {
  FakeClock clock;
  Metrics metrics;
  WorkQueue queue(clock, Options(), &metrics);
  queue.Add("a");
  queue.Add("b");
  for (int i = 0; i < 3; ++i) queue.AddRateLimited("c");
  const std::string text = metrics.Serialize();
  EXPECT_NE(text.find("isla_workqueue_depth{queue=\"test\"} 2"), std::string::npos) << text;
  EXPECT_NE(text.find("isla_workqueue_retries_total{queue=\"test\"} 3"), std::string::npos) << text;
  EXPECT_NE(text.find("isla_workqueue_parked{queue=\"test\"} 1"), std::string::npos) << text;
  ASSERT_EQ(queue.TryGet(), "a");
  clock.Advance(seconds(2));
  ASSERT_EQ(queue.TryGet(), "b");
  EXPECT_NE(metrics.Serialize().find("isla_workqueue_longest_running_seconds{queue=\"test\"} 2"), std::string::npos);
}

TEST(WorkQueue, ShutDownWakesWorkersAndIgnoresAdds) {
  WorkQueue queue(Clock::Real(), Options());
  std::jthread worker([&queue] { EXPECT_EQ(queue.Get(), std::nullopt); });
  queue.ShutDown();
  worker.join();
  queue.Add("late");
  EXPECT_EQ(queue.Get(), std::nullopt);
}

TEST(WorkQueue, ADelayedKeyWakesASleepingWorker) {
  WorkQueue queue(Clock::Real(), Options());
  std::jthread worker([&queue] { EXPECT_EQ(queue.Get(), "a"); });
  queue.AddAfter("a", milliseconds(20));
  worker.join();
}

// Never two workers on a key; every Add after a Get leads to a later run.
TEST(WorkQueue, ManyWorkersAndAddersKeepTheInvariants) {
  WorkQueue queue(Clock::Real(), Options());
  constexpr int kKeys = 5;
  constexpr int kAdds = 4000;
  std::array<std::atomic<int>, kKeys> busy{};
  std::array<std::atomic<int>, kKeys> wanted{};  // raised before each Add
  std::array<std::atomic<int>, kKeys> seen{};    // the value of wanted at the last run
  std::atomic<int> overlaps{0};
  std::vector<std::jthread> workers;
  for (int w = 0; w < 4; ++w) {
    workers.emplace_back([&] {
      while (const auto key = queue.Get()) {
        const size_t k = static_cast<size_t>(std::stoi(*key));
        if (busy[k].fetch_add(1) != 0) ++overlaps;
        seen[k] = wanted[k].load();
        --busy[k];
        queue.Done(*key);
      }
    });
  }
  {
    std::vector<std::jthread> adders;
    for (uint64_t a = 0; a < 2; ++a) {
      adders.emplace_back([&, a] {
        std::mt19937_64 random(a);
        for (int i = 0; i < kAdds; ++i) {
          const size_t k = random() % kKeys;
          ++wanted[k];
          queue.Add(std::to_string(k));
        }
      });
    }
  }
  queue.ShutDown();  // what is queued is still handed out
  workers.clear();
  EXPECT_EQ(overlaps, 0);
  for (size_t k = 0; k < kKeys; ++k) EXPECT_EQ(seen[k], wanted[k]) << k;
}

}  // namespace
}  // namespace isla::controllers
