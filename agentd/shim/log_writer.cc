#include "agentd/shim/log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace isla::shim {
namespace {

constexpr int64_t kMinBytes = 64 * 1024;
/// Lines are written once so much is formatted: a chunk of 64 KiB of empty lines formats to 2.6 MiB.
constexpr size_t kWriteBytes = 256 * 1024;

}  // namespace

LogWriter::LogWriter(std::string path, int64_t max_bytes)
    : path_(std::move(path)), segment_bytes_(std::max(max_bytes, kMinBytes) / 2) {}

void LogWriter::Append(Stream stream, std::string_view bytes, WallTime now) {
  (void)Open();  // learns the size of a segment that is there
  std::string& partial = partial_[static_cast<size_t>(stream)];
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    const size_t length = std::min({newline, bytes.size(), kMaxLineBytes - partial.size()});
    const bool full = length == newline;
    if (!full && length == bytes.size() && partial.size() + length < kMaxLineBytes) {
      partial += bytes;
      break;
    }
    if (partial.empty()) {
      Emit(stream, full, bytes.substr(0, length), now);
    } else {
      partial += bytes.substr(0, length);
      Emit(stream, full, partial, now);
      partial.clear();
    }
    bytes.remove_prefix(full ? length + 1 : length);
  }
  Write();
}

void LogWriter::FlushPartial(WallTime now) {
  for (const Stream stream : {Stream::kStdout, Stream::kStderr}) {
    std::string& partial = partial_[static_cast<size_t>(stream)];
    if (partial.empty()) continue;
    Emit(stream, false, partial, now);
    partial.clear();
  }
  Write();
}

void LogWriter::Emit(Stream stream, bool full, std::string_view bytes, WallTime now) {
  if (stamp_time_ != now || stamp_.empty()) {
    stamp_time_ = now;
    stamp_ = FormatRfc3339(now, 9);
  }
  const int64_t line = static_cast<int64_t>(bytes.size() + kLineOverheadBytes);
  if (size_ + static_cast<int64_t>(out_.size()) + line > segment_bytes_) {
    Write();
    if (size_ + line > segment_bytes_ && size_ > 0) Rotate();
  } else if (out_.size() > kWriteBytes) {
    Write();
  }
  out_ += stamp_;
  out_ += stream == Stream::kStdout ? " stdout " : " stderr ";
  out_ += full ? "F " : "P ";
  out_ += bytes;
  out_ += '\n';
  out_payload_ += static_cast<int64_t>(bytes.size()) + (full ? 1 : 0);
}

void LogWriter::Write() {
  if (out_.empty()) return;
  size_t written = 0;
  if (Open()) {
    while (written < out_.size()) {
      const ssize_t put = write(fd_.get(), out_.data() + written, out_.size() - written);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) break;
      written += static_cast<size_t>(put);
    }
    size_ += static_cast<int64_t>(written);
  }
  if (written < out_.size()) {
    dropped_bytes_ += out_payload_;
    // Whole lines only: what was torn is taken back, and counted with the rest as dropped.
    if (written > 0 && ftruncate(fd_.get(), size_ - static_cast<int64_t>(written)) == 0) {
      size_ -= static_cast<int64_t>(written);
    }
  }
  out_.clear();
  out_payload_ = 0;
}

bool LogWriter::Open() {
  if (fd_.valid()) return true;
  fd_.Reset(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640));
  struct stat st {};
  size_ = fd_.valid() && fstat(fd_.get(), &st) == 0 ? st.st_size : 0;
  return fd_.valid();
}

void LogWriter::Rotate() {
  // If the rename fails the segment is emptied: the bound holds anyway.
  const bool kept = rename(path_.c_str(), (path_ + ".1").c_str()) == 0;
  if (!kept && fd_.valid() && ftruncate(fd_.get(), 0) != 0) return;
  if (kept) fd_.Reset();
  size_ = 0;
}

}  // namespace isla::shim
