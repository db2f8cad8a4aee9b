// Turns what a container writes to stdout and stderr into lines of its log (log_format.h), bounded in memory
// and on disk, whatever the container does.
//
// Disk: the file at `path` is a segment; when it would pass half of the bound it becomes `path`.1 (replacing
// the older one) and a new segment begins. Memory: an unfinished line of at most kMaxLineBytes a stream, and one
// chunk's worth of formatted lines. A write that fails (full disk, quota) drops those lines and counts
// their bytes; the next chunk tries again. A short write is cut back to whole lines. Nothing here waits.
//
// An unfinished line is held until its newline, until FlushPartial(), or until it is full. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "agentd/shim/log_format.h"
#include "api/base/unique_fd.h"

namespace isla::shim {

class LogWriter {
 public:
  /// `max_bytes` is for both segments together; less than 64 KiB counts as 64 KiB. Nothing is opened before
  /// the first line. An existing file is appended to.
  LogWriter(std::string path, int64_t max_bytes);

  /// Takes bytes as read from the container, at `now`.
  void Append(Stream stream, std::string_view bytes, WallTime now);

  /// Writes unfinished lines as P.
  void FlushPartial(WallTime now);
  bool has_partial() const { return !partial_[0].empty() || !partial_[1].empty(); }

  /// Bytes of the container that are in no segment because a write failed.
  int64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  void Emit(Stream stream, bool full, std::string_view bytes, WallTime now);
  void Write();
  bool Open();
  void Rotate();

  const std::string path_;
  const int64_t segment_bytes_;
  UniqueFd fd_;
  int64_t size_ = 0;           // of the current segment
  std::string out_;            // formatted lines, not yet written
  int64_t out_payload_ = 0;    // the container's bytes in out_
  std::array<std::string, 2> partial_;
  int64_t dropped_bytes_ = 0;
  WallTime stamp_time_;        // the time that stamp_ was made of
  std::string stamp_;
};

}  // namespace isla::shim
