#include "agentd/shim/audit_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace isla::shim {

void AuditWriter::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    // Whole lines go together; a rest waits for its end.
    const size_t last = partial_.empty() ? bytes.rfind('\n') : bytes.find('\n');
    if (last == std::string_view::npos) {
      partial_ += bytes.substr(0, kMaxLineBytes - std::min(kMaxLineBytes, partial_.size()));
      return;
    }
    if (partial_.empty()) {
      WriteLines(bytes.substr(0, last + 1));
    } else {
      partial_ += bytes.substr(0, std::min(last, kMaxLineBytes - std::min(kMaxLineBytes, partial_.size())));
      partial_ += '\n';
      WriteLines(std::exchange(partial_, {}));
    }
    bytes.remove_prefix(last + 1);
  }
}

void AuditWriter::WriteLines(std::string_view lines) {
  std::string out = untold_ > 0 ? fmt::format("{{\"dropped\":{}}}\n", untold_) : std::string();
  out += lines;
  const auto bytes = static_cast<int64_t>(out.size());
  size_t written = 0;
  if (Open()) {
    if (size_ + bytes > segment_bytes_ && size_ > 0) {
      // If it can't be renamed it is emptied: the bound holds anyway.
      if (rename(path_.c_str(), (path_ + ".1").c_str()) != 0) unlink(path_.c_str());
      fd_.Reset();
    }
    while (Open() && size_ + bytes <= segment_bytes_ && written < out.size()) {
      const ssize_t put = write(fd_.get(), out.data() + written, out.size() - written);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) break;
      written += static_cast<size_t>(put);
    }
  }
  if (written == out.size()) {
    size_ += bytes;
    untold_ = 0;
    return;
  }
  // Torn: taken back.
  if (written > 0 && ftruncate(fd_.get(), size_) != 0) size_ += static_cast<int64_t>(written);
  const int64_t lost = std::count(lines.begin(), lines.end(), '\n');
  dropped_ += lost;
  untold_ += lost;
}

bool AuditWriter::Open() {
  if (fd_.valid()) return true;
  fd_.Reset(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640));
  struct stat st {};
  size_ = fd_.valid() && fstat(fd_.get(), &st) == 0 ? st.st_size : 0;
  return fd_.valid();
}

}  // namespace isla::shim
