// Logging: one logger a component, a constant message, then key=value pairs.
//
//   Logger log("store");
//   log.Warn("watch ended", "revision={} error='{}' retry_in_ms={}", revision, error, 200);
//
// Lines go to standard error for journald. debug: every event. info: state changes, a few a minute.
// warn: degraded but going on; ends in what happens next. error: work is lost or a person must act.
// Libraries log at debug only; the place that decides to go on logs the warning. No secrets, ever.
// spdlog stays inside log.cc. Loggers are cheap to make and safe from any thread.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace isla {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

class Logger {
 public:
  explicit Logger(std::string component) : component_(std::move(component)) {}

  void Debug(std::string_view message) const { Write(LogLevel::kDebug, message, {}); }
  void Info(std::string_view message) const { Write(LogLevel::kInfo, message, {}); }
  void Warn(std::string_view message) const { Write(LogLevel::kWarn, message, {}); }
  void Error(std::string_view message) const { Write(LogLevel::kError, message, {}); }

  template <typename... Args>
  void Debug(std::string_view message, fmt::format_string<Args...> format, Args&&... args) const {
    if (Enabled(LogLevel::kDebug)) {
      Write(LogLevel::kDebug, message, fmt::format(format, std::forward<Args>(args)...));
    }
  }
  template <typename... Args>
  void Info(std::string_view message, fmt::format_string<Args...> format, Args&&... args) const {
    if (Enabled(LogLevel::kInfo)) Write(LogLevel::kInfo, message, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Warn(std::string_view message, fmt::format_string<Args...> format, Args&&... args) const {
    if (Enabled(LogLevel::kWarn)) Write(LogLevel::kWarn, message, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void Error(std::string_view message, fmt::format_string<Args...> format, Args&&... args) const {
    Write(LogLevel::kError, message, fmt::format(format, std::forward<Args>(args)...));
  }

  /// At any level, marked info: what a person has just changed while the program runs, the level itself among it.
  template <typename... Args>
  void Announce(std::string_view message, fmt::format_string<Args...> format, Args&&... args) const {
    Print(LogLevel::kInfo, message, fmt::format(format, std::forward<Args>(args)...));
  }

  static bool Enabled(LogLevel level);

 private:
  void Write(LogLevel level, std::string_view message, std::string_view pairs) const;
  void Print(LogLevel level, std::string_view message, std::string_view pairs) const;

  std::string component_;
};

/// Sets the level of the whole process; call it in main. The default is info.
void SetLogLevel(LogLevel level);

/// Reads "debug", "info", "warn" or "error"; false for anything else.
bool ParseLogLevel(std::string_view text, LogLevel& level);
/// What ParseLogLevel reads.
std::string_view LogLevelName(LogLevel level);

}  // namespace isla
