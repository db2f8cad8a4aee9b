#include "agentd/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "api/base/clock.h"

namespace isla::agent {
namespace {

constexpr size_t kChunkBytes = 64 * 1024;
// A line of the format is at most a part's size and its prefix; anything longer is garbage, passed on in pieces.
constexpr size_t kMaxLineBytes = 256 * 1024;

bool IsOlder(std::string_view timestamp, int64_t since_ns) {
  if (since_ns <= 0) return false;
  const auto time = ParseRfc3339(timestamp);
  return time.ok() && time->time_since_epoch().count() < since_ns;
}

}  // namespace

bool ParseLogLine(std::string_view line, LogLine& out) {
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return false;
  const size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos || second + 2 > line.size()) return false;
  out.timestamp = line.substr(0, first);
  out.stream = line.substr(first + 1, second - first - 1);
  const char flag = line[second + 1];
  if ((flag != 'F' && flag != 'P') || (out.stream != "stdout" && out.stream != "stderr")) return false;
  if (second + 2 < line.size() && line[second + 2] != ' ') return false;
  out.full = flag == 'F';
  out.text = second + 3 <= line.size() ? line.substr(second + 3) : std::string_view();
  return true;
}

bool LogFile::Open(const std::string& name) {
  UniqueFd fd(open((folder_ + "/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat st {};
  if (!fd.valid() || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return false;
  if (file_.valid() && st.st_ino == inode_) return false;
  file_ = std::move(fd);
  inode_ = st.st_ino;
  return true;
}

Status LogFile::OpenFirst() {
  if (!Open("log.1") && !Open("log")) return OkStatus();  // nothing was written yet
  opened_ = true;
  if (options_.tail_lines < 0) return OkStatus();
  return SkipToTail();
}

/// Counts the lines that there are, then begins at the first segment again, to skip all but the last ones.
Status LogFile::SkipToTail() {
  LogFile counter(folder_, {-1, false, options_.since_ns});
  int64_t lines = 0;
  std::string text;
  for (bool more = true; more;) {
    text.clear();
    ASSIGN_OR_RETURN(more, counter.Read(text, kChunkBytes));
    lines += std::count(text.begin(), text.end(), '\n');
  }
  // An unfinished last line counts as one.
  if (!text.empty() && text.back() != '\n') ++lines;
  skip_lines_ = std::max<int64_t>(0, lines - options_.tail_lines);
  return OkStatus();
}

bool LogFile::OpenNext() {
  struct stat older {};
  const bool rotated = stat((folder_ + "/log.1").c_str(), &older) == 0;
  // If `log.1` is neither what was just read nor read before, it came after it: two rotations went by.
  if (rotated && older.st_ino != inode_) {
    struct stat newest {};
    if (stat((folder_ + "/log").c_str(), &newest) == 0 && newest.st_ino == inode_) return false;
    return Open("log.1");
  }
  return Open("log");
}

void LogFile::Format(std::string_view line, std::string& out) {
  LogLine parsed;
  if (!ParseLogLine(line, parsed)) {
    parsed = {};
    parsed.text = line;
  } else if (IsOlder(parsed.timestamp, options_.since_ns)) {
    return;
  }
  const bool line_start = std::exchange(at_line_start_, parsed.full);
  if (skip_lines_ > 0) {
    if (parsed.full) --skip_lines_;
    return;
  }
  if (options_.timestamps && line_start && !parsed.timestamp.empty()) {
    out += parsed.timestamp;
    out += ' ';
  }
  out += parsed.text;
  if (parsed.full) out += '\n';
}

StatusOr<bool> LogFile::Read(std::string& out, size_t enough_bytes) {
  if (!opened_) {
    RETURN_IF_ERROR(OpenFirst());
    if (!opened_) return false;
  }
  std::string chunk(kChunkBytes, '\0');
  while (out.size() < enough_bytes) {
    const ssize_t got = read(file_.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno(errno, "read the log");
    if (got == 0) {
      if (!OpenNext()) return false;
      // A segment ends with a line end; what doesn't was cut off by a crash.
      if (!partial_.empty()) Format(std::exchange(partial_, {}), out);
      continue;
    }
    partial_.append(chunk.data(), static_cast<size_t>(got));
    size_t begin = 0;
    for (size_t end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n', begin)) {
      Format(std::string_view(partial_).substr(begin, end - begin), out);
      begin = end + 1;
    }
    partial_.erase(0, begin);
    if (partial_.size() > kMaxLineBytes) Format(std::exchange(partial_, {}), out);
  }
  return true;
}

}  // namespace isla::agent
