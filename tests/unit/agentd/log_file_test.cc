#include "agentd/log_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace isla::agent {
namespace {

namespace fs = std::filesystem;

std::string Line(int second, const std::string& text, char flag = 'F', const char* stream = "stdout") {
  return fmt::format("2026-11-22T15:42:{:02}.000000000Z {} {} {}\n", second, stream, flag, text);
}

class LogFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/agentd-log-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Append(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name, std::ios::app) << text;
  }
  void Rotate() { fs::rename(folder_ + "/log", folder_ + "/log.1"); }

  std::string ReadAll(LogOptions options) {
    LogFile file(folder_, options);
    return Rest(file);
  }
  static std::string Rest(LogFile& file) {
    std::string out;
    for (bool more = true; more;) {
      std::string part;
      const auto result = file.Read(part, 16);
      EXPECT_TRUE(result.ok());
      more = result.ok() && *result;
      out += part;
    }
    return out;
  }

  std::string folder_;
};

TEST(LogLine, OnlyTheFormatIsALine) {
  LogLine line;
  ASSERT_TRUE(ParseLogLine("2026-11-22T15:42:17.1Z stderr P some text ", line));
  EXPECT_EQ(line.stream, "stderr");
  EXPECT_FALSE(line.full);
  EXPECT_EQ(line.text, "some text ");
  ASSERT_TRUE(ParseLogLine("2026-11-22T15:42:17.1Z stdout F ", line));
  EXPECT_EQ(line.text, "");
  for (const char* text : {"", " ", "x", "a b", "a stdout", "a stdout ", "a stdout X y", "a tty F y", "a stdout Fy"}) {
    EXPECT_FALSE(ParseLogLine(text, line)) << text;
  }
}

TEST_F(LogFileTest, NoFileIsAnEmptyLog) { EXPECT_EQ(ReadAll({}), ""); }

TEST_F(LogFileTest, PartsAreJoinedToTheLineTheyAre) {
  Append("log", Line(1, "one") + Line(2, "tw", 'P') + Line(3, "o") + Line(4, "", 'F', "stderr"));
  EXPECT_EQ(ReadAll({}), "one\ntwo\n\n");
  EXPECT_EQ(ReadAll({.timestamps = true}),
            "2026-11-22T15:42:01.000000000Z one\n2026-11-22T15:42:02.000000000Z two\n2026-11-22T15:42:04.000000000Z \n");
}

TEST_F(LogFileTest, TheOlderSegmentComesFirstAndTailCountsOverBoth) {
  Append("log", Line(1, "a") + Line(2, "b"));
  Rotate();
  Append("log", Line(3, "c") + Line(4, "d"));
  EXPECT_EQ(ReadAll({}), "a\nb\nc\nd\n");
  EXPECT_EQ(ReadAll({.tail_lines = 3}), "b\nc\nd\n");
  EXPECT_EQ(ReadAll({.tail_lines = 0}), "");
  EXPECT_EQ(ReadAll({.tail_lines = 100}), "a\nb\nc\nd\n");
}

TEST_F(LogFileTest, SinceLeavesOutWhatIsOlder) {
  Append("log", Line(1, "a") + Line(2, "b") + Line(3, "c"));
  EXPECT_EQ(ReadAll({.since_ns = 1795362122000000000}), "b\nc\n");
  EXPECT_EQ(ReadAll({.tail_lines = 1, .since_ns = 1795362122000000000}), "c\n");
}

TEST_F(LogFileTest, FollowingLosesNothingAtARotation) {
  Append("log", Line(1, "a"));
  LogFile file(folder_, {});
  EXPECT_EQ(Rest(file), "a\n");
  Append("log", Line(2, "b"));
  Rotate();
  Append("log", Line(3, "c"));
  EXPECT_EQ(Rest(file), "b\nc\n");
  Append("log", Line(4, "d"));
  EXPECT_EQ(Rest(file), "d\n");
  // Two rotations between two looks: what is still there comes, in order.
  Rotate();
  Append("log", Line(5, "e"));
  Rotate();
  Append("log", Line(6, "f"));
  EXPECT_EQ(Rest(file), "e\nf\n");
  EXPECT_EQ(Rest(file), "");
}

TEST_F(LogFileTest, ALineThatIsBeingWrittenWaitsForItsEnd) {
  const std::string line = Line(1, "whole");
  Append("log", line.substr(0, 20));
  LogFile file(folder_, {});
  EXPECT_EQ(Rest(file), "");
  Append("log", line.substr(20));
  EXPECT_EQ(Rest(file), "whole\n");
}

TEST_F(LogFileTest, GarbageIsPassedOnNotFatal) {
  Append("log", "not a log line\n" + Line(1, "a"));
  EXPECT_EQ(ReadAll({.timestamps = true}), "not a log line\n2026-11-22T15:42:01.000000000Z a\n");
}

TEST_F(LogFileTest, ALinkInPlaceOfTheLogIsNotFollowed) {
  fs::create_symlink("/etc/passwd", folder_ + "/log");
  EXPECT_EQ(ReadAll({}), "");
}

}  // namespace
}  // namespace isla::agent
