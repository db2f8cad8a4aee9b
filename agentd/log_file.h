// Reads the log of a container: `<folder>/log` and the older segment `<folder>/log.1`, as the shim writes them
// (agentd/README.md, "Log lines"):
//
//   2026-11-22T15:42:17.123456789Z stdout F text of a whole line\n
//   2026-11-22T15:42:17.123456789Z stderr P a part of a line, no line end after it\n
//
// Blocking reads of a local file; used by a thread of its own a stream (log_streams.h). A line that can't be
// read as one is passed on as it is: a log is never a reason to fail.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::agent {

struct LogLine {
  std::string_view timestamp;  // as written
  std::string_view stream;     // "stdout", "stderr"
  bool full = true;            // F: a line end follows
  std::string_view text;
};

/// False if `line` (without its line end) isn't one of the format.
bool ParseLogLine(std::string_view line, LogLine& out);

struct LogOptions {
  int64_t tail_lines = -1;  // -1 = all
  bool timestamps = false;
  int64_t since_ns = 0;
};

class LogFile {
 public:
  LogFile(std::string folder, LogOptions options) : folder_(std::move(folder)), options_(options) {}

  /// Appends what is new, formatted, to `out`, and stops when `out` has reached `enough_bytes` (call again) or
  /// nothing is left (returns false). Follows a rotation without losing what is still on the disk.
  StatusOr<bool> Read(std::string& out, size_t enough_bytes);

 private:
  Status OpenFirst();
  Status SkipToTail();
  /// The segment after the one that was read to its end; false: there is none yet.
  bool OpenNext();
  bool Open(const std::string& name);
  void Format(std::string_view line, std::string& out);

  const std::string folder_;
  const LogOptions options_;
  UniqueFd file_;
  ino_t inode_ = 0;
  bool opened_ = false;
  std::string partial_;       // bytes read that have no line end yet
  int64_t skip_lines_ = 0;    // of those that `since` lets through, to reach the tail
  bool at_line_start_ = true;  // for timestamps: a part continues a line
};

}  // namespace isla::agent
