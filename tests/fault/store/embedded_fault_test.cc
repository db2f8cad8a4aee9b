// The embedded store on disks that are slow, full, or fail: what is answered, what is seen, what is there afterwards.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/conformance/store_conformance.h"
#include "tests/fault/store/disk_fixture.h"
#include "tests/fault/store/faulty_vfs.h"
#include "tests/fault/store/in_child.h"

namespace isla::store {
namespace {

using isla::testing::RunInChild;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- slow disks ------------------------------------------------------------------------------------------

class FaultyDisk : public EmbeddedDisk {
 protected:
  void SetUp() override { Open(); }
  void TearDown() override {
    vfs_.BlockSyncs(false);
    store_.reset();
  }
  void Open() {
    EmbeddedOptions options;
    options.vfs = vfs_.name();
    options.on_failure = [this](const Status&) { ++failures_; };
    store_ = MustOpen(folder(), options);
  }
  Store& store() { return *store_; }

  FaultyVfs vfs_;
  std::atomic<int> failures_{0};
  std::unique_ptr<EmbeddedStore> store_;
};

TEST_F(FaultyDisk, NobodySeesAWriteBeforeItIsOnTheDisk) {
  Put(store(), "/a", "1");
  RecordingWatcher watcher;
  const auto watch = store().StartWatch({"/", 3, false}, watcher);
  vfs_.BlockSyncs(true);
  std::atomic<bool> done{false};
  std::thread writer([this, &done] {
    Put(store(), "/a", "2");
    done = true;
  });
  vfs_.WaitForSync();
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(done);
  EXPECT_EQ(store().Get("/a")->kv->value, "1");
  EXPECT_EQ(store().Get("/a")->revision, 2);
  EXPECT_THAT(Keys(store()), ElementsAre("/a"));
  ListOptions future;
  future.revision = 3;
  EXPECT_EQ(store().List("", future).status().code(), Code::kOutOfRange);
  EXPECT_THAT(watcher.events(), IsEmpty());
  // A read in a transaction, and one that is refused already, don't wait.
  Transaction read;
  read.success = {Operation::Get("/a")};
  EXPECT_EQ(store().Txn(read)->gets[0]->value, "1");
  Transaction refused;
  refused.compares = {Compare::Missing("/a")};
  refused.success = {Operation::Put("/a", "3")};
  EXPECT_FALSE(store().Txn(refused)->succeeded);
  vfs_.BlockSyncs(false);
  writer.join();
  EXPECT_EQ(store().Get("/a")->kv->value, "2");
  EXPECT_EQ(watcher.WaitForEvents(1).size(), 1U);
}

TEST_F(FaultyDisk, AtTheDeadlineAWriteThatWaitsIsNotDoneAndOneThatIsBeingWrittenIsUnknown) {
  vfs_.BlockSyncs(true);
  Status first, second;
  std::thread begun([this, &first] { first = TryPut(store(), "/begun", "1", 0, milliseconds(150)).status(); });
  vfs_.WaitForSync();
  second = TryPut(store(), "/waiting", "1", 0, milliseconds(50)).status();
  begun.join();
  EXPECT_EQ(first.code(), Code::kDeadlineExceeded) << ToString(first);
  EXPECT_EQ(second.code(), Code::kUnavailable) << ToString(second);
  vfs_.BlockSyncs(false);
  Put(store(), "/after", "1");
  EXPECT_THAT(Keys(store()), ElementsAre("/after", "/begun"));
}

TEST_F(FaultyDisk, WritersThatWaitShareOneSync) {
  constexpr int kWriters = 32;
  vfs_.BlockSyncs(true);
  std::vector<std::thread> writers;
  std::atomic<int> started{0};
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([this, i, &started] {
      ++started;
      Put(store(), "/k" + std::to_string(i), "v");
    });
  }
  while (started < kWriters) std::this_thread::yield();
  std::this_thread::sleep_for(milliseconds(50));
  const int before = vfs_.syncs();
  vfs_.BlockSyncs(false);
  for (auto& writer : writers) writer.join();
  EXPECT_LE(vfs_.syncs() - before, 4);
  EXPECT_EQ(Keys(store()).size(), static_cast<size_t>(kWriters));
}

// ---- full and failing disks ------------------------------------------------------------------------------

TEST_F(FaultyDisk, AFullDiskRefusesWritesAndLosesNothing) {
  const auto lease = store().GrantLease(seconds(3600));
  Put(store(), "/a", "1");
  Put(store(), "/leased", "1", *lease);
  const auto before = Content(store());
  RecordingWatcher watcher;
  auto watch = store().StartWatch({"/", 4, false}, watcher);
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    for (const int after : {0, 1, 2, 3}) {
      vfs_.FailWrites(code, after);
      Status status;
      for (int i = 0; i < 5 && status.ok(); ++i) status = TryPut(store(), "/a", std::string(20'000, 'x')).status();
      EXPECT_EQ(status.code(), Code::kUnavailable) << ToString(status);
      EXPECT_THAT(Message(status), HasSubstr("nothing was written"));
      EXPECT_EQ(Content(store()), before) << "code " << code << " after " << after;
      EXPECT_EQ(store().RevokeLease(*lease).code(), Code::kUnavailable);
      EXPECT_TRUE(store().KeepAliveLease(*lease).ok()) << "a revocation that failed has not happened";
      EXPECT_EQ(store().Compact(2).code(), Code::kUnavailable);
    }
  }
  EXPECT_THAT(watcher.events(), IsEmpty());
  vfs_.FailWrites(SQLITE_OK);
  EXPECT_EQ(Put(store(), "/a", "2"), 4);
  EXPECT_TRUE(store().RevokeLease(*lease).ok());
  EXPECT_EQ(watcher.WaitForEvents(2).size(), 2U);
  const auto after = Content(store());
  EXPECT_EQ(failures_, 0);
  watch->reset();
  store_.reset();
  Open();
  EXPECT_EQ(Content(store()), after);
}

TEST_F(FaultyDisk, TransactionsOfABatchThatFailsAreAllUndoneAlsoThoseThatBuiltOnAnother) {
  Put(store(), "/counter", "0");
  const auto before = Content(store());
  vfs_.BlockSyncs(true);
  std::thread first([this] { Put(store(), "/first", "1"); });
  vfs_.WaitForSync();
  // These gather behind it, into one batch.
  std::vector<std::thread> writers;
  std::atomic<int> refused{0};
  for (int i = 0; i < 8; ++i) {
    writers.emplace_back([this, i, &refused] {
      Transaction txn;
      txn.success = {Operation::Put("/counter", std::to_string(i)), Operation::Put("/new" + std::to_string(i), "x"),
                     Operation::Delete("/first")};
      if (store().Txn(txn).status().code() == Code::kUnavailable) ++refused;
    });
  }
  std::this_thread::sleep_for(milliseconds(50));
  vfs_.FailWrites(SQLITE_FULL);
  vfs_.BlockSyncs(false);
  first.join();
  for (auto& writer : writers) writer.join();
  vfs_.FailWrites(SQLITE_OK);
  EXPECT_EQ(refused, 8);
  EXPECT_THAT(Keys(store()), ElementsAre("/counter", "/first"));
  EXPECT_EQ(store().Get("/counter")->kv->version, 1);
  EXPECT_EQ(Put(store(), "/counter", "1"), 4);
  EXPECT_EQ(store().Get("/counter")->kv->version, 2);
}

TEST_F(FaultyDisk, ALeaseThatExpiresWhileTheDiskIsFullEndsWhenItIsNot) {
  Put(store(), "/leased", "1", *store().GrantLease(seconds(1)));
  vfs_.FailWrites(SQLITE_FULL);
  std::this_thread::sleep_for(milliseconds(1300));
  EXPECT_THAT(Keys(store()), ElementsAre("/leased"));
  vfs_.FailWrites(SQLITE_OK);
  EXPECT_TRUE(Eventually([this] { return Keys(store()).empty(); }));
}

TEST_F(FaultyDisk, AnFsyncThatFailsClosesTheStoreAndOpeningItAgainFindsOut) {
  Put(store(), "/a", "1");
  RecordingWatcher watcher;
  auto watch = store().StartWatch({"/", 0, false}, watcher);
  vfs_.FailSyncs(SQLITE_IOERR_FSYNC);
  EXPECT_EQ(TryPut(store(), "/b", "1").status().code(), Code::kDeadlineExceeded);
  vfs_.FailSyncs(SQLITE_OK);
  // It stays closed: the next fsync's success would say nothing about what the first one lost.
  EXPECT_EQ(TryPut(store(), "/c", "1").status().code(), Code::kUnavailable);
  EXPECT_EQ(store().Get("/a").status().code(), Code::kUnavailable);
  EXPECT_EQ(store().List("").status().code(), Code::kUnavailable);
  EXPECT_EQ(store().GrantLease(seconds(5)).status().code(), Code::kUnavailable);
  EXPECT_EQ(store().Compact(2).code(), Code::kUnavailable);
  EXPECT_EQ(watcher.WaitForEnd().code(), Code::kUnavailable);
  EXPECT_EQ(failures_, 1);
  watch->reset();
  store_.reset();
  Open();
  const auto keys = Keys(store());
  EXPECT_TRUE(keys == std::vector<std::string>({"/a"}) || keys == std::vector<std::string>({"/a", "/b"}));
  Put(store(), "/c", "1");
}

TEST_F(FaultyDisk, AFullDiskWhileFoldingIsTriedAgainLater) {
  for (int i = 0; i < 400; ++i) Put(store(), "/k" + std::to_string(i % 50), std::to_string(i));
  ASSERT_TRUE(store().Compact(300).ok());
  vfs_.FailWrites(SQLITE_FULL);
  EXPECT_EQ(TryPut(store(), "/x", "1").status().code(), Code::kUnavailable);
  vfs_.FailWrites(SQLITE_OK);
  const auto content = Content(store());
  store_.reset();
  Open();
  EXPECT_EQ(Content(store()), content);
}

/// A child writes until the disk refuses, makes room, writes on; then everything that was acknowledged is looked for.
bool FillAndGoOn(const std::string& folder, const std::function<void()>& make_room) {
  std::vector<std::string> acknowledged;
  {
    const auto store = MustOpen(folder);
    Status status;
    for (int i = 0; i < 10'000 && status.ok(); ++i) {
      const std::string key = fmt::format("/k{:06}", i);
      status = TryPut(*store, key, std::string(5000, 'x')).status();
      if (status.ok()) acknowledged.push_back(key);
    }
    EXPECT_EQ(status.code(), Code::kUnavailable) << ToString(status);
    EXPECT_GT(acknowledged.size(), 10U);
    EXPECT_EQ(Keys(*store), acknowledged);
    // Ten times as large, it is refused too, unless the log was folded into the file meanwhile, which makes room by itself.
    const Status larger = TryPut(*store, "/larger", std::string(50'000, 'x')).status();
    if (larger.ok()) acknowledged.emplace_back("/larger");
    EXPECT_TRUE(larger.ok() || larger.code() == Code::kUnavailable) << ToString(larger);
    make_room();
    for (int i = 0; i < 50; ++i) {
      acknowledged.push_back(fmt::format("/more{:06}", i));
      Put(*store, acknowledged.back(), std::string(5000, 'x'));
    }
    EXPECT_EQ(Keys(*store), acknowledged);
  }
  EXPECT_EQ(Keys(*MustOpen(folder)), acknowledged);
  return true;
}

TEST_F(EmbeddedDisk, ARealFullDiskRefusesWritesAndLosesNothing) {
  const std::string mount_point = folder() + "-disk";
  mkdir(mount_point.c_str(), 0700);
  const bool possible = RunInChild([&mount_point] {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", mount_point.c_str(), "tmpfs", 0, "size=9m") != 0) {
      return false;
    }
    const std::string ballast = mount_point + "/ballast";
    std::ofstream(ballast) << std::string(5 << 20, 'x');
    return FillAndGoOn(mount_point + "/store", [&ballast] { EXPECT_EQ(unlink(ballast.c_str()), 0); });
  });
  if (!possible) GTEST_SKIP() << "needs the right to mount";
}

TEST_F(EmbeddedDisk, AFileThatMayNotGrowRefusesWritesAndLosesNothing) {
  RunInChild([this] {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit{2 << 20, RLIM_INFINITY};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    return FillAndGoOn(folder(), [] {
      const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
      EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
    });
  });
}

TEST_F(EmbeddedDisk, AStoreOnAFullDiskCanBeOpenedAndReadAndANewOneIsRefused) {
  const std::string mount_point = folder() + "-disk";
  mkdir(mount_point.c_str(), 0700);
  const bool possible = RunInChild([&mount_point] {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", mount_point.c_str(), "tmpfs", 0, "size=4m") != 0) {
      return false;
    }
    const std::string store = mount_point + "/store", ballast = mount_point + "/ballast";
    Put(*MustOpen(store), "/a", "1");
    {
      std::ofstream file(ballast);
      for (int i = 0; i < 8 << 20 && file.good(); i += 4096) file << std::string(4096, 'x') << std::flush;
    }
    {
      // What opening writes fits into the write-ahead log as it is.
      const auto opened = MustOpen(store);
      EXPECT_THAT(Keys(*opened), ElementsAre("/a"));
      EXPECT_EQ(TryPut(*opened, "/b", std::string(200'000, 'x')).status().code(), Code::kUnavailable);
    }
    const auto refused = EmbeddedStore::Open(mount_point + "/new");
    EXPECT_EQ(refused.status().code(), Code::kResourceExhausted) << ToString(refused.status());
    unlink(ballast.c_str());
    EXPECT_THAT(Keys(*MustOpen(store)), ElementsAre("/a"));
    return true;
  });
  if (!possible) GTEST_SKIP() << "needs the right to mount";
}

}  // namespace
}  // namespace isla::store
