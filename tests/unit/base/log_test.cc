#include "api/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isla {
namespace {

TEST(Log, LinesHaveTheComponentTheMessageAndItsPairs) {
  testing::internal::CaptureStderr();
  const Logger log("store");
  log.Warn("watch ended", "revision={} error='{}'", 7, "x");
  log.Info("ready");
  log.Debug("not shown", "n={}", 1);
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_THAT(out, testing::ContainsRegex("Z warning store: watch ended revision=7 error='x'\n"));
  EXPECT_THAT(out, testing::ContainsRegex("Z info store: ready\n"));
  EXPECT_THAT(out, testing::Not(testing::HasSubstr("not shown")));
}

TEST(Log, TextFromOutsideCannotForgeALine) {
  testing::internal::CaptureStderr();
  Logger("api").Warn("refused", "name='{}'", "x\n2026-01-01 error forged\x1b[31m");
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
  EXPECT_THAT(out, testing::HasSubstr("name='x\\n2026-01-01 error forged\\x1b[31m'"));
}

TEST(Log, AnnouncementsAreWrittenAtAnyLevel) {
  testing::internal::CaptureStderr();
  SetLogLevel(LogLevel::kError);
  const Logger log("agentd");
  log.Warn("not shown", "n={}", 1);
  log.Announce("settings applied", "log_level={}", "error");
  SetLogLevel(LogLevel::kInfo);
  const std::string out = testing::internal::GetCapturedStderr();
  EXPECT_THAT(out, testing::ContainsRegex("Z info agentd: settings applied log_level=error\n"));
  EXPECT_THAT(out, testing::Not(testing::HasSubstr("not shown")));
}

TEST(Log, LevelsAreReadByName) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_TRUE(ParseLogLevel("debug", level));
  EXPECT_EQ(level, LogLevel::kDebug);
  EXPECT_FALSE(ParseLogLevel("loud", level));
  EXPECT_EQ(level, LogLevel::kDebug);
  EXPECT_TRUE(Logger::Enabled(LogLevel::kInfo));
  EXPECT_FALSE(Logger::Enabled(LogLevel::kDebug));
  for (const LogLevel each : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError}) {
    EXPECT_TRUE(ParseLogLevel(LogLevelName(each), level));
    EXPECT_EQ(level, each);
  }
}

}  // namespace
}  // namespace isla
