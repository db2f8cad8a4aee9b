// The lines of a container's log: written by isla-shim, read by isla-agentd.
//
//   <RFC 3339, 9 digits, UTC> <stdout|stderr> <F|P> <bytes>\n
//   2026-11-22T15:42:17.123456789Z stdout F compiling hello.c
//
// F: the bytes end in a newline that the container wrote. P: they don't; the line goes on with the next entry of
// the same stream (or the stream ended). So the concatenation of the bytes, with "\n" after each F, is exactly
// what the container wrote. <bytes> is anything but a newline, NUL and bad UTF-8 included, at most kMaxLineBytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "api/base/clock.h"

namespace isla::shim {

inline constexpr size_t kMaxLineBytes = 16 * 1024;
/// "2026-11-22T15:42:17.123456789Z stdout F " and the newline.
inline constexpr size_t kLineOverheadBytes = 30 + 1 + 6 + 1 + 1 + 1 + 1;

enum class Stream { kStdout = 0, kStderr = 1 };

struct LogLine {
  WallTime time;
  Stream stream = Stream::kStdout;
  bool full = true;
  std::string_view bytes;  // within the text that was parsed
};

/// Reads one line, without its newline; nothing if it isn't one (a torn write, foreign text). Lines of
/// one writer are in time order but for steps of the wall clock.
std::optional<LogLine> ParseLogLine(std::string_view text);

}  // namespace isla::shim
