// The embedded store and its folder: what is there when it is opened again, who may open it, damage, and disks that can't be
// written.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>
#include <random>
#include <thread>

#include "api/base/unique_fd.h"
#include "tests/conformance/store_conformance.h"
#include "tests/fault/store/disk_fixture.h"
#include "tests/fault/store/in_child.h"

namespace isla::store {
namespace {

using isla::testing::RunInChild;
using isla::testing::TemporaryFolder;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Runs SQL on a store that is closed; what the first column of its first row is.
std::string Sql(const std::string& folder, const std::string& sql) {
  sqlite3* db = nullptr;
  ISLA_CHECK(sqlite3_open((folder + "/store.db").c_str(), &db) == SQLITE_OK);
  std::string result;
  char* error = nullptr;
  sqlite3_exec(
      db, sql.c_str(),
      [](void* out, int, char** columns, char**) {
        auto& text = *static_cast<std::string*>(out);
        if (text.empty() && columns[0] != nullptr) text = columns[0];
        return 0;
      },
      &result, &error);
  EXPECT_EQ(error, nullptr) << error;
  sqlite3_free(error);
  sqlite3_close(db);
  return result;
}

// ---- opening again ---------------------------------------------------------------------------------------

TEST_F(EmbeddedDisk, WhatWasWrittenIsThereWithItsHistoryWhenItIsOpenedAgain) {
  std::vector<std::vector<std::string>> contents(2);
  {
    const auto store = MustOpen(folder());
    for (int i = 0; i < 30; ++i) {
      Transaction txn;
      txn.success = {Operation::Put("/k" + std::to_string(i % 5), std::to_string(i)), Operation::Put("/all", std::to_string(i))};
      if (i % 7 == 6) txn.success[0] = Operation::Delete("/k" + std::to_string(i % 5));
      ISLA_CHECK_OK(store->Txn(txn));
      contents.push_back(Content(*store));
    }
  }
  for (int opening = 0; opening < 3; ++opening) {
    const auto store = MustOpen(folder());
    EXPECT_EQ(store->Get("/all")->revision, 31);
    for (Revision revision = 2; revision <= 31; ++revision) {
      EXPECT_EQ(Content(*store, revision), contents[static_cast<size_t>(revision)]) << revision;
    }
    RecordingWatcher watcher;
    const auto watch = store->StartWatch({"/all", 2, true}, watcher);
    EXPECT_EQ(watcher.WaitForEvents(30).size(), 30U);
  }
}

TEST_F(EmbeddedDisk, RevisionsGoOnAndTheIdentityStays) {
  uint64_t identity = 0;
  Revision last = 1;
  for (int opening = 0; opening < 4; ++opening) {
    const auto store = MustOpen(folder());
    if (opening > 0) {
      EXPECT_EQ(store->Identity(), identity);
    }
    identity = store->Identity();
    EXPECT_NE(identity, 0U);
    EXPECT_EQ(Put(*store, "/a", "x"), last + 1);
    ++last;
  }
  TemporaryFolder other;
  EXPECT_NE(MustOpen(other.path())->Identity(), identity);
}

TEST_F(EmbeddedDisk, OpeningEndsAllLeasesWithTheirKeysInOneRevision) {
  LeaseId before = 0;
  Revision last = 0;
  {
    const auto store = MustOpen(folder());
    before = *store->GrantLease(seconds(3600));
    Put(*store, "/leased/1", "x", before);
    Put(*store, "/kept", "x");
    last = Put(*store, "/leased/2", "x", before);
  }
  const auto store = MustOpen(folder());
  EXPECT_THAT(Keys(*store), ElementsAre("/kept"));
  EXPECT_EQ(store->Get("/kept")->revision, last + 1);
  RecordingWatcher watcher;
  const auto watch = store->StartWatch({"/", last + 1, true}, watcher);
  EXPECT_EQ(watcher.WaitForEvents(2).size(), 2U);
  EXPECT_EQ(store->KeepAliveLease(before).status().code(), Code::kNotFound);
  EXPECT_EQ(TryPut(*store, "/a", "x", before).status().code(), Code::kNotFound);
  const auto lease = store->GrantLease(seconds(3600));
  EXPECT_NE(*lease, before);
}

TEST_F(EmbeddedDisk, LeasesExpireOnDiskToo) {
  const auto store = MustOpen(folder());
  Put(*store, "/leased", "x", *store->GrantLease(seconds(1)));
  EXPECT_TRUE(Eventually([&store] { return Keys(*store).empty(); }));
}

TEST_F(EmbeddedDisk, CompactionHoldsAcrossOpeningsAndIsFoldedOnDisk) {
  Revision mark = 0;
  std::vector<std::string> at_mark, at_end;
  {
    const auto store = MustOpen(folder());
    for (int i = 0; i < 2000; ++i) {
      if (i % 9 == 8) {
        Transaction txn;
        txn.success = {Operation::Delete("/k" + std::to_string(i % 100))};
        ISLA_CHECK_OK(store->Txn(txn));
      } else {
        Put(*store, "/k" + std::to_string(i % 100), std::to_string(i));
      }
      if (i == 1500) {
        mark = store->Get("/x")->revision;
        at_mark = Content(*store);
      }
    }
    at_end = Content(*store);
    ASSERT_TRUE(store->Compact(mark).ok());
  }
  // However far the folding had come: the rest is done after the next opening.
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = MustOpen(folder());
    EXPECT_EQ(Content(*store), at_end);
    EXPECT_EQ(Content(*store, mark), at_mark);
    ListOptions before;
    before.revision = mark - 1;
    EXPECT_EQ(store->List("", before).status().code(), Code::kOutOfRange);
    EXPECT_EQ(store->Compact(mark).code(), Code::kOutOfRange);
    std::this_thread::sleep_for(milliseconds(100));
  }
  for (int i = 0; i < 100 && Sql(folder(), "SELECT number FROM meta WHERE name='base'") != std::to_string(mark - 1); ++i) {
    const auto store = MustOpen(folder());
    std::this_thread::sleep_for(milliseconds(20 * i));
  }
  EXPECT_EQ(Sql(folder(), "SELECT number FROM meta WHERE name='base'"), std::to_string(mark - 1));
  EXPECT_EQ(Sql(folder(), "SELECT min(revision) FROM log"), std::to_string(mark));
  EXPECT_EQ(Sql(folder(), "SELECT count(*) FROM live"), Sql(folder(), "SELECT number FROM meta WHERE name='keys'"));
  EXPECT_EQ(Content(*MustOpen(folder())), at_end);
}

TEST_F(EmbeddedDisk, TheFolderAndItsFilesAreTheOwnersOnly) {
  const auto store = MustOpen(folder());
  Put(*store, "/a", "secret");
  const auto mode = [this](const std::string& name) {
    struct stat status {};
    EXPECT_EQ(stat((folder() + name).c_str(), &status), 0) << name;
    return status.st_mode & 07777;
  };
  EXPECT_EQ(mode(""), 0700U);
  for (const char* name : {"/store.db", "/store.db-wal", "/lock"}) EXPECT_EQ(mode(name), 0600U) << name;
}

// ---- who may open it -------------------------------------------------------------------------------------

TEST_F(EmbeddedDisk, ASecondOpenerIsToldWhoHasIt) {
  auto store = MustOpen(folder());
  const pid_t holder = getpid();
  const auto same_process = EmbeddedStore::Open(folder());
  EXPECT_EQ(same_process.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(same_process.status()), HasSubstr("process " + std::to_string(holder)));
  store.reset();
  store = MustOpen(folder());
  EXPECT_EQ(Put(*store, "/a", "1"), 2);
}

TEST_F(EmbeddedDisk, AnotherProcessIsToldWhoHasItAndGetsItWhenThatIsKilled) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto store = MustOpen(folder());
    Put(*store, "/a", "1");
    ISLA_CHECK(write(ready[1], "x", 1) == 1);
    for (;;) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  const auto second = EmbeddedStore::Open(folder());
  EXPECT_EQ(second.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(second.status()), HasSubstr("process " + std::to_string(child)));
  EXPECT_THAT(Message(second.status()), HasSubstr(folder()));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_THAT(Keys(*MustOpen(folder())), ElementsAre("/a"));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(EmbeddedDisk, ANewerFormatIsRefusedAndLeftAlone) {
  Put(*MustOpen(folder()), "/a", "1");
  Sql(folder(), "PRAGMA user_version=2");
  const auto opened = EmbeddedStore::Open(folder());
  EXPECT_EQ(opened.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(opened.status()), HasSubstr("format 2"));
  Sql(folder(), "PRAGMA user_version=1");
  EXPECT_THAT(Keys(*MustOpen(folder())), ElementsAre("/a"));
}

TEST_F(EmbeddedDisk, WhatIsNoStoreIsRefusedAndLeftAlone) {
  mkdir(folder().c_str(), 0700);
  Sql(folder(), "CREATE TABLE theirs(x); INSERT INTO theirs VALUES(7)");
  EXPECT_EQ(EmbeddedStore::Open(folder()).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(Sql(folder(), "SELECT x FROM theirs"), "7");
  std::ofstream(folder() + "/store.db") << std::string(10'000, 'x');
  EXPECT_EQ(EmbeddedStore::Open(folder()).status().code(), Code::kDataLoss);
  TemporaryFolder other;
  std::ofstream(other.path() + "/file") << "x";
  EXPECT_EQ(EmbeddedStore::Open(other.path() + "/file").status().code(), Code::kFailedPrecondition);
}

// ---- damage ----------------------------------------------------------------------------------------------

class DamagedDisk : public EmbeddedDisk {
 protected:
  /// Some revisions folded, some not.
  void SetUp() override {
    const auto store = MustOpen(folder());
    for (int i = 0; i < 60; ++i) Put(*store, "/k" + std::to_string(i % 20), std::to_string(i));
    ASSERT_TRUE(store->Compact(40).ok());
    content_ = Content(*store);
  }

  void FinishFolding() {
    for (int i = 0; i < 200 && Sql(folder(), "SELECT number FROM meta WHERE name='base'") != "39"; ++i) {
      const auto store = MustOpen(folder());
      std::this_thread::sleep_for(milliseconds(5 * i));
    }
    ASSERT_EQ(Sql(folder(), "SELECT number FROM meta WHERE name='base'"), "39");
  }
  std::string Refusal() {
    const auto opened = EmbeddedStore::Open(folder());
    EXPECT_EQ(opened.status().code(), Code::kDataLoss);
    return Message(opened.status());
  }

  std::vector<std::string> content_;
};

TEST_F(DamagedDisk, ADamagedRowIsNamedByItsRevision) {
  FinishFolding();
  Sql(folder(), "UPDATE log SET row=CAST(substr(row,1,5)||x'ff'||substr(row,7) AS BLOB) WHERE revision=50");
  EXPECT_THAT(Refusal(), HasSubstr("the row of revision 50 is damaged"));
}

TEST_F(DamagedDisk, ARowThatIsCutIsNamed) {
  FinishFolding();
  Sql(folder(), "UPDATE log SET row=CAST(substr(row,1,length(row)-1) AS BLOB) WHERE revision=51");
  EXPECT_THAT(Refusal(), HasSubstr("revision 51"));
}

TEST_F(DamagedDisk, ARowThatIsMissingIsNamed) {
  FinishFolding();
  Sql(folder(), "DELETE FROM log WHERE revision=52");
  EXPECT_THAT(Refusal(), HasSubstr("revision 52 is missing"));
}

TEST_F(DamagedDisk, ARowInAnothersPlaceIsNamed) {
  FinishFolding();
  Sql(folder(), "UPDATE log SET row=(SELECT row FROM log WHERE revision=45) WHERE revision=46");
  EXPECT_THAT(Refusal(), HasSubstr("revision 46"));
}

TEST_F(DamagedDisk, ADamagedKeyIsNamed) {
  FinishFolding();
  Sql(folder(), "UPDATE live SET row=CAST(substr(row,1,2)||x'7f'||substr(row,4) AS BLOB) WHERE key=CAST('/k7' AS BLOB)");
  EXPECT_THAT(Refusal(), HasSubstr("'/k7'"));
}

TEST_F(DamagedDisk, AKeyThatIsMissingIsNoticed) {
  FinishFolding();
  Sql(folder(), "DELETE FROM live WHERE key=CAST('/k7' AS BLOB)");
  EXPECT_THAT(Refusal(), HasSubstr("20 keys, and 19"));
}

TEST_F(DamagedDisk, ABaseThatIsNotTheTablesBaseIsNoticed) {
  FinishFolding();
  for (const int base : {0, 1, 38, 40, 59, 1000}) {
    Sql(folder(), fmt::format("UPDATE meta SET number={} WHERE name='base'", base));
    Refusal();
  }
  Sql(folder(), "UPDATE meta SET number=39 WHERE name='base'");
  EXPECT_EQ(Content(*MustOpen(folder())), content_);
}

TEST_F(DamagedDisk, AFlippedByteAnywhereIsRefusedOrChangesNothing) {
  FinishFolding();
  const auto clean = ReadFile(folder() + "/store.db");
  ASSERT_TRUE(clean.ok());
  std::mt19937_64 random(20261122);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    TemporaryFolder copy;
    std::string bytes = *clean;
    const size_t at = std::uniform_int_distribution<size_t>(0, bytes.size() - 1)(random);
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << std::uniform_int_distribution<int>(0, 7)(random)));
    std::ofstream(copy.path() + "/store.db", std::ios::binary) << bytes;
    const auto opened = EmbeddedStore::Open(copy.path());
    if (opened.ok()) {
      EXPECT_EQ(Content(**opened), content_) << "byte " << at;
      EXPECT_EQ((*opened)->Get("/x")->revision, 61) << "byte " << at;
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 10);
}

// ---- disks that can't be written -------------------------------------------------------------------------

TEST_F(EmbeddedDisk, AReadOnlyDiskIsSaidToBeOne) {
  Put(*MustOpen(folder()), "/a", "1");
  const bool possible = RunInChild([this] {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount(folder().c_str(), folder().c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        mount(nullptr, folder().c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
      return false;
    }
    const auto opened = EmbeddedStore::Open(folder());
    EXPECT_EQ(opened.status().code(), Code::kPermissionDenied);
    EXPECT_THAT(Message(opened.status()), HasSubstr("Read-only"));
    EXPECT_THAT(Message(opened.status()), HasSubstr(folder()));
    return true;
  });
  EXPECT_THAT(Keys(*MustOpen(folder())), ElementsAre("/a"));
  if (!possible) GTEST_SKIP() << "needs the right to mount";
}

TEST_F(EmbeddedDisk, AFolderOfSomebodyElsesIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be somebody else";
  Put(*MustOpen(folder()), "/a", "1");
  chmod((folder() + "/..").c_str(), 0755);
  RunInChild([this] {
    EXPECT_EQ(setgid(65534), 0);
    EXPECT_EQ(setuid(65534), 0);
    EXPECT_EQ(EmbeddedStore::Open(folder()).status().code(), Code::kPermissionDenied);
    EXPECT_EQ(EmbeddedStore::Open(folder() + "/../new").status().code(), Code::kPermissionDenied);
    return true;
  });
  EXPECT_THAT(Keys(*MustOpen(folder())), ElementsAre("/a"));
}

}  // namespace
}  // namespace isla::store
