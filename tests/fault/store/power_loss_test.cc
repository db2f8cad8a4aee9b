// Power failures at hundreds of moments of a run: of what was written and not synced, any sectors are there or not. What was
// acknowledged must be there whole, nothing half.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "store/embedded/embedded_store.h"
#include "tests/conformance/temporary_folder.h"
#include "tests/fault/store/faulty_vfs.h"
#include "tests/fault/store/workload.h"

namespace isla::store {
namespace {

using isla::testing::TemporaryFolder;

constexpr int kWriters = 4;

struct Acknowledged {
  std::array<std::atomic<int64_t>, kWriters> number{};
  std::atomic<Revision> revision{1};
};

void Write(Store& store, int writer, Acknowledged& acknowledged, const std::atomic<bool>& stop) {
  const Workload workload(writer);
  for (int64_t n = 1; !stop; ++n) {
    const auto result = store.Txn(workload.Make(n));
    ASSERT_TRUE(result.ok()) << ToString(result.status());
    ASSERT_TRUE(result->succeeded);
    acknowledged.number[static_cast<size_t>(writer)] = n;
    Revision last = acknowledged.revision;
    while (last < result->revision && !acknowledged.revision.compare_exchange_weak(last, result->revision)) {
    }
  }
}

/// One failure: what the disk might have had is opened and looked at.
void CutAndCheck(FaultyVfs& vfs, const Acknowledged& acknowledged, std::mt19937_64& random) {
  std::array<int64_t, kWriters> before{};
  for (size_t i = 0; i < kWriters; ++i) before[i] = acknowledged.number[i];
  const Revision revision = acknowledged.revision;
  TemporaryFolder disk;
  vfs.CutPower(disk.path(), random);
  // Nothing may be in flight any more than what is read now: writers go on.
  const auto store = EmbeddedStore::Open(disk.path());
  ASSERT_TRUE(store.ok()) << ToString(store.status());
  EXPECT_GE((*store)->Get("/")->revision, revision);
  for (int i = 0; i < kWriters; ++i) {
    Revision unused = 0;
    const auto number = Workload(i).Check(**store, unused);
    ASSERT_TRUE(number.ok()) << ToString(number.status());
    EXPECT_GE(*number, before[static_cast<size_t>(i)]) << "an acknowledged transaction is lost";
    EXPECT_LE(*number, acknowledged.number[static_cast<size_t>(i)] + 1);
  }
  Transaction txn;
  txn.success = {Operation::Put("/after", "1")};
  EXPECT_TRUE((*store)->Txn(txn).ok());
}

TEST(PowerLoss, WhatWasAcknowledgedIsThereAndNothingIsHalfThere) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  for (int run = 0; run < 4; ++run) {
    TemporaryFolder folder;
    FaultyVfs vfs;
    EmbeddedOptions options;
    options.vfs = vfs.name();
    const auto store = EmbeddedStore::Open(folder.path(), Clock::Real(), options);
    ASSERT_TRUE(store.ok()) << ToString(store.status());
    Acknowledged acknowledged;
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < kWriters; ++i) {
      threads.emplace_back([&store, i, &acknowledged, &stop] { Write(**store, i, acknowledged, stop); });
    }
    threads.emplace_back([&store, &acknowledged, &stop] {
      while (!stop) {
        if (acknowledged.revision > 100) (*store)->Compact(acknowledged.revision - 50).IgnoreError();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
    for (int cut = 0; cut < 25 && !HasFailure(); ++cut) {
      std::this_thread::sleep_for(std::chrono::microseconds(std::uniform_int_distribution<int>(0, 20'000)(random)));
      CutAndCheck(vfs, acknowledged, random);
    }
    stop = true;
    for (auto& thread : threads) thread.join();
    EXPECT_GT(acknowledged.revision, 100);
  }
}

}  // namespace
}  // namespace isla::store
