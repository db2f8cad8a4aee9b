#include "agentd/shim/log_format.h"

namespace isla::shim {

std::optional<LogLine> ParseLogLine(std::string_view text) {
  constexpr size_t kTime = 30;  // "2026-11-22T15:42:17.123456789Z"
  if (text.size() < kLineOverheadBytes - 1 || text.size() > kLineOverheadBytes - 1 + kMaxLineBytes) return std::nullopt;
  if (text.find('\n') != std::string_view::npos) return std::nullopt;
  const StatusOr<WallTime> time = ParseRfc3339(text.substr(0, kTime));
  if (!time.ok() || text[kTime - 1] != 'Z') return std::nullopt;
  LogLine line;
  line.time = *time;
  const std::string_view stream = text.substr(kTime, 8), tag = text.substr(kTime + 8, 2);
  if (stream == " stdout ") {
    line.stream = Stream::kStdout;
  } else if (stream == " stderr ") {
    line.stream = Stream::kStderr;
  } else {
    return std::nullopt;
  }
  if (tag != "F " && tag != "P ") return std::nullopt;
  line.full = tag == "F ";
  line.bytes = text.substr(kLineOverheadBytes - 1);
  return line;
}

}  // namespace isla::shim
