#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "agentd/shim/log_format.h"
#include "agentd/shim/log_writer.h"
#include "api/base/unique_fd.h"

namespace isla::shim {
namespace {

const WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000)) + std::chrono::nanoseconds(123);
const std::string kStamp = "2027-01-15T08:00:00.000000123Z ";

class LogTest : public testing::Test {
 protected:
  LogTest() {
    char folder[] = "/tmp/isla-log-XXXXXX";
    EXPECT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    path_ = folder_ + "/log";
  }
  ~LogTest() override { EXPECT_TRUE(RemoveTree(folder_).ok()); }

  std::string File(const std::string& suffix = "") { return ReadFile(path_ + suffix).value_or(""); }
  static int64_t SizeOf(const std::string& path) {
    struct stat st {};
    return stat(path.c_str(), &st) == 0 ? st.st_size : 0;
  }

  std::string folder_, path_;
};

TEST_F(LogTest, LinesAreStampedAndWhole) {
  LogWriter writer(path_, 1 << 20);
  writer.Append(Stream::kStdout, "one\ntw", kNow);
  writer.Append(Stream::kStderr, "err\n", kNow);
  EXPECT_TRUE(writer.has_partial());
  writer.Append(Stream::kStdout, "o\n\n", kNow);
  EXPECT_FALSE(writer.has_partial());
  EXPECT_EQ(File(), kStamp + "stdout F one\n" + kStamp + "stderr F err\n" + kStamp + "stdout F two\n" + kStamp + "stdout F \n");
}

TEST_F(LogTest, AnUnfinishedLineIsAPartAndGoesOn) {
  LogWriter writer(path_, 1 << 20);
  writer.Append(Stream::kStdout, "prompt> ", kNow);
  EXPECT_EQ(File(), "");
  writer.FlushPartial(kNow);
  writer.Append(Stream::kStdout, "answer\n", kNow);
  EXPECT_EQ(File(), kStamp + "stdout P prompt> \n" + kStamp + "stdout F answer\n");
}

TEST_F(LogTest, ALongLineIsCutAtTheCap) {
  LogWriter writer(path_, 1 << 20);
  const std::string line(2 * kMaxLineBytes + 5, 'x');
  writer.Append(Stream::kStdout, line.substr(0, 100), kNow);
  writer.Append(Stream::kStdout, line.substr(100) + "\n", kNow);
  const std::string text = File();
  const size_t first = text.find('\n'), second = text.find('\n', first + 1);
  const auto a = ParseLogLine(std::string_view(text).substr(0, first));
  const auto b = ParseLogLine(std::string_view(text).substr(first + 1, second - first - 1));
  const auto c = ParseLogLine(std::string_view(text).substr(second + 1, text.size() - second - 2));
  ASSERT_TRUE(a && b && c);
  EXPECT_FALSE(a->full);
  EXPECT_EQ(a->bytes.size(), kMaxLineBytes);
  EXPECT_EQ(b->bytes.size(), kMaxLineBytes);
  EXPECT_TRUE(c->full);
  EXPECT_EQ(c->bytes, "xxxxx");
}

TEST_F(LogTest, TwoSegmentsHoldTheBoundAndTheNewestLines) {
  constexpr int64_t kBound = 64 * 1024;
  LogWriter writer(path_, kBound);
  for (int i = 0; i < 20'000; ++i) writer.Append(Stream::kStdout, fmt::format("line {}\n", i), kNow);
  EXPECT_LE(SizeOf(path_), kBound / 2);
  EXPECT_LE(SizeOf(path_ + ".1"), kBound / 2);
  EXPECT_GT(SizeOf(path_ + ".1"), kBound / 2 - 100);
  EXPECT_TRUE(File().ends_with("stdout F line 19999\n"));
  EXPECT_EQ(writer.dropped_bytes(), 0);
}

TEST_F(LogTest, OneBigReadRotatesWithinItself) {
  LogWriter writer(path_, 64 * 1024);
  writer.Append(Stream::kStdout, std::string(200'000, '\n') + "last\n", kNow);
  EXPECT_LE(SizeOf(path_) + SizeOf(path_ + ".1"), 64 * 1024);
  EXPECT_TRUE(File().ends_with("stdout F last\n"));
}

TEST_F(LogTest, ASegmentThatIsThereIsGoneOnWithWithinTheBound) {
  ASSERT_TRUE(WriteFileAtomically(path_, std::string(32'000, 'o') + "\n", 0600, false).ok());
  LogWriter writer(path_, 64 * 1024);
  for (int i = 0; i < 30; ++i) writer.Append(Stream::kStdout, "another line of some length\n", kNow);
  EXPECT_LE(SizeOf(path_), 32 * 1024);
  EXPECT_GT(SizeOf(path_ + ".1"), 32'000);
}

TEST_F(LogTest, WhatCantBeWrittenIsCountedAndTheNextTryGoesOn) {
  LogWriter writer(folder_ + "/later/log", 1 << 20);
  writer.Append(Stream::kStdout, "lost\n", kNow);
  EXPECT_EQ(writer.dropped_bytes(), 5);
  ASSERT_EQ(mkdir((folder_ + "/later").c_str(), 0700), 0);
  writer.Append(Stream::kStdout, "kept\n", kNow);
  EXPECT_EQ(writer.dropped_bytes(), 5);
  EXPECT_EQ(ReadFile(folder_ + "/later/log").value_or(""), kStamp + "stdout F kept\n");
}

TEST_F(LogTest, AFullDeviceLeavesNoTornLine) {
  ASSERT_EQ(symlink("/dev/full", path_.c_str()), 0);
  LogWriter linked(path_, 1 << 20);
  linked.Append(Stream::kStdout, "x\n", kNow);
  EXPECT_EQ(linked.dropped_bytes(), 2) << "nor is a link followed";
}

TEST(ParseLogLine, ReadsWhatTheWriterWrites) {
  const std::string written = kStamp + "stderr P some bytes";
  const auto line = ParseLogLine(written);
  ASSERT_TRUE(line);
  EXPECT_EQ(line->time, kNow);
  EXPECT_EQ(line->stream, Stream::kStderr);
  EXPECT_FALSE(line->full);
  EXPECT_EQ(line->bytes, "some bytes");
  EXPECT_EQ(ParseLogLine(kStamp + "stdout F ")->bytes, "");
}

TEST(ParseLogLine, RefusesWhatTheWriterNeverWrites) {
  for (const std::string& text : {std::string(), std::string("x"), kStamp, kStamp + "stdout F", kStamp + "stdin  F x",
                                  kStamp + "stdout X x", std::string("2027-01-15T08:00:00.123Z stdout F x         "),
                                  kStamp + "stdout F a\nb", kStamp + "stdout F " + std::string(kMaxLineBytes + 1, 'x')}) {
    EXPECT_FALSE(ParseLogLine(text)) << text.substr(0, 60);
  }
}

}  // namespace
}  // namespace isla::shim
