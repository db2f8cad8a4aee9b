// The supervisor's audit lines (sandbox/supervisor/audit.h) on their way to a file beside the container's log, bounded as that is: two segments, `path` and
// `path`.1, of half of the bound each. What can't be written is counted, and told in the next line that can: {"dropped":N}. Nothing here
// waits. The lines come from a process that isn't trusted: they are bytes up to a newline, cut at kMaxLineBytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/base/unique_fd.h"

namespace isla::shim {

class AuditWriter {
 public:
  static constexpr int64_t kMaxBytes = 512 * 1024;  // both segments
  static constexpr size_t kMaxLineBytes = 4096;

  /// Nothing is opened before the first line.
  explicit AuditWriter(std::string path, int64_t max_bytes = kMaxBytes) : path_(std::move(path)), segment_bytes_(max_bytes / 2) {}

  void Append(std::string_view bytes);
  int64_t dropped_lines() const { return dropped_; }

 private:
  void WriteLines(std::string_view lines);
  bool Open();

  const std::string path_;
  const int64_t segment_bytes_;
  UniqueFd fd_;
  int64_t size_ = 0;
  int64_t dropped_ = 0, untold_ = 0;
  std::string partial_;
};

}  // namespace isla::shim
