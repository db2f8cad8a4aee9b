#include "agentd/journal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "agentd/file_journal.h"
#include "agentd/loop.h"
#include "api/base/unique_fd.h"
#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

journal::Record PutRecord(int number) {
  journal::Record record;
  auto& entry = *record.add_puts();
  entry.mutable_desired()->set_uid(TestKey(number).uid);
  entry.mutable_desired()->set_incarnation(1);
  entry.mutable_desired()->set_hash("hash");
  *entry.mutable_desired()->mutable_launch() = SmallLaunch();
  return record;
}

TEST(Journal, ARecordChangesWhatItSaysAndNothingElse) {
  JournalState state;
  auto record = PutRecord(1);
  record.set_term(5);
  state.Apply(record);
  state.Apply(PutRecord(2));
  EXPECT_EQ(state.term, 5);
  EXPECT_EQ(state.entries.size(), 2u);
  journal::Record lower;
  lower.set_term(4);
  lower.set_acked_sequence(3);
  auto& reported = *lower.add_reported();
  reported.set_uid(TestKey(1).uid);
  reported.set_incarnation(1);
  reported.set_sequence(9);
  lower.add_removes()->set_uid(TestKey(2).uid);
  lower.mutable_removes(0)->set_incarnation(1);
  state.Apply(lower);
  EXPECT_EQ(state.term, 5) << "a term never falls";
  EXPECT_EQ(state.sequence, 9u);
  EXPECT_EQ(state.entries.size(), 1u);
  EXPECT_EQ(state.entries[TestKey(1)].report_sequence(), 9u);
}

TEST(Journal, ASnapshotIsTheState) {
  JournalState state;
  for (int i = 0; i < 200; ++i) state.Apply(PutRecord(i));
  state.term = 7;
  state.boot_id = "b";
  state.sequence = 100;
  state.acked_sequence = 50;
  std::string bytes;
  for (const auto& record : state.Snapshot()) bytes += EncodeFrame(record);
  const auto replay = ReplayJournal(bytes);
  ASSERT_TRUE(replay.ok());
  EXPECT_EQ(replay->good_bytes, bytes.size());
  EXPECT_EQ(replay->state.entries.size(), 200u);
  EXPECT_EQ(replay->state.term, 7);
  EXPECT_EQ(replay->state.boot_id, "b");
  EXPECT_EQ(replay->state.sequence, 100u);
  EXPECT_EQ(replay->state.acked_sequence, 50u);
}

TEST(Journal, CutAtAnyByteItHasAllWholeRecordsBeforeTheCut) {
  std::string bytes;
  std::vector<size_t> ends;
  for (int i = 0; i < 4; ++i) {
    bytes += EncodeFrame(PutRecord(i));
    ends.push_back(bytes.size());
  }
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const auto replay = ReplayJournal(std::string_view(bytes).substr(0, cut));
    ASSERT_TRUE(replay.ok());
    const auto whole = static_cast<size_t>(std::count_if(ends.begin(), ends.end(), [cut](size_t end) { return end <= cut; }));
    ASSERT_EQ(replay->state.entries.size(), whole) << cut;
    ASSERT_EQ(replay->good_bytes, whole == 0 ? 0 : ends[whole - 1]);
  }
}

TEST(Journal, AFlippedBitIsNeverTakenForARecord) {
  const std::string first = EncodeFrame(PutRecord(1));
  const std::string second = EncodeFrame(PutRecord(2));
  for (size_t at = 0; at < second.size(); ++at) {
    for (const int bit : {0, 7}) {
      std::string damaged = second;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const auto replay = ReplayJournal(first + damaged + EncodeFrame(PutRecord(3)));
      ASSERT_TRUE(replay.ok());
      ASSERT_EQ(replay->state.entries.size(), 1u) << at;
      ASSERT_EQ(replay->good_bytes, first.size());
    }
  }
}

TEST(Journal, ANewerVersionIsRefusedNotMisread) {
  journal::Record record;
  record.set_version(kJournalVersion + 1);
  EXPECT_EQ(ReplayJournal(EncodeFrame(record)).status().code(), Code::kFailedPrecondition);
}

class FileJournalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/agentd-journal-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    auto loop = Loop::Create();
    ASSERT_TRUE(loop.ok());
    loop_ = *std::move(loop);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<FileJournal> Open(FileJournalOptions options = {}) {
    options.folder = folder_;
    auto journal = FileJournal::Open(options, *loop_, *loop_);
    EXPECT_TRUE(journal.ok()) << ToString(journal.status());
    return journal.ok() ? *std::move(journal) : nullptr;
  }

  std::string folder_;
  std::unique_ptr<Loop> loop_;
};

TEST_F(FileJournalTest, WhatWasDoneIsThereAfterARestart) {
  auto journal = Open();
  int done = 0;
  for (int i = 0; i < 50; ++i) {
    journal->Append(PutRecord(i), [this, &done] {
      if (++done == 50) loop_->Exit(0);
    });
  }
  journal->Append(PutRecord(50), nullptr);
  ASSERT_TRUE(loop_->Run().ok());
  EXPECT_EQ(done, 50);
  journal.reset();
  EXPECT_EQ(Open()->state().entries.size(), 51u);
}

TEST_F(FileJournalTest, ASecondAgentOfTheSameFolderIsRefused) {
  const auto journal = Open();
  EXPECT_EQ(FileJournal::Open({.folder = folder_}, *loop_, *loop_).status().code(), Code::kFailedPrecondition);
}

TEST_F(FileJournalTest, ATornTailIsDroppedAndKeptAside) {
  Open()->Append(PutRecord(1), nullptr);
  const auto bytes = ReadFile(folder_ + "/journal");
  ASSERT_TRUE(bytes.ok());
  const std::string torn = EncodeFrame(PutRecord(2)).substr(0, 20);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/journal", *bytes + torn, 0600, false).ok());
  auto journal = Open();
  EXPECT_EQ(journal->state().entries.size(), 1u);
  EXPECT_EQ(journal->torn_bytes(), torn.size());
  EXPECT_EQ(*ReadFile(folder_ + "/journal.torn"), torn);
  journal.reset();
  EXPECT_EQ(Open()->torn_bytes(), 0u);
}

TEST_F(FileJournalTest, AGrownFileIsWrittenAnew) {
  auto journal = Open({.folder = "", .compact_above_bytes = 4096});
  for (int i = 0; i < 500; ++i) journal->Append(PutRecord(1), nullptr);
  // Durable behind them; then the rewrite that the size asks for has been queued, and this is behind it.
  journal->Append(PutRecord(1), [this, &journal] {
    loop_->After(Duration::zero(), [this, &journal] { journal->Append(PutRecord(1), [this] { loop_->Exit(0); }); });
  });
  ASSERT_TRUE(loop_->Run().ok());
  journal.reset();
  struct stat st {};
  ASSERT_EQ(stat((folder_ + "/journal").c_str(), &st), 0);
  EXPECT_LT(st.st_size, 20000) << "500 records of the same entry";
  EXPECT_EQ(Open()->state().entries.size(), 1u);
}

// The folder is replaced by one where nothing can be made; the open file still takes writes.
TEST_F(FileJournalTest, AFailedWriteIsTriedAgainAndNothingIsClaimedBefore) {
  if (geteuid() == 0 && system(fmt::format("mount -t tmpfs -o size=64k none {} 2>/dev/null", folder_).c_str()) != 0) {
    GTEST_SKIP() << "can't mount a small tmpfs";
  }
  {
    auto journal = Open({.folder = "", .retry_after = std::chrono::milliseconds(10)});
    // The disk is full but for a page.
    ASSERT_FALSE(WriteFileAtomically(folder_ + "/filler", std::string(60 * 1024, 'x'), 0600, false).ok() &&
                 WriteFileAtomically(folder_ + "/filler2", std::string(60 * 1024, 'x'), 0600, false).ok());
    bool done = false;
    journal::Record large = PutRecord(1);
    large.mutable_puts(0)->mutable_desired()->mutable_launch()->add_argv(std::string(30 * 1024, 'y'));
    journal->Append(large, [this, &done] {
      done = true;
      loop_->Exit(0);
    });
    loop_->After(std::chrono::milliseconds(100), [this, &done, &journal] {
      EXPECT_FALSE(done);
      EXPECT_FALSE(journal->health().ok());
      std::filesystem::remove(folder_ + "/filler");
      std::filesystem::remove(folder_ + "/filler2");
    });
    ASSERT_TRUE(loop_->Run().ok());
    EXPECT_TRUE(done);
    EXPECT_TRUE(journal->health().ok());
  }
  EXPECT_EQ(Open()->state().entries.size(), 1u);
  EXPECT_EQ(system(fmt::format("umount {}", folder_).c_str()), 0);
}

}  // namespace
}  // namespace isla::agent
