#include "cli/process_io.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>

namespace isla::cli {
namespace {

constexpr size_t kFlushBytes = 64 * 1024;

}  // namespace

void ProcessIo::Out(std::string_view text) {
  pending_ += text;
  if (pending_.size() >= kFlushBytes) Flush();
}

void ProcessIo::Err(std::string_view text) { (void)WriteAll(STDERR_FILENO, text); }

void ProcessIo::Flush() {
  if (pending_.empty()) return;
  errno = 0;
  std::string_view rest = pending_;
  // Once signals are caught they can't interrupt a write, so none may wait for a reader that doesn't read.
  const size_t most = signals_.valid() ? PIPE_BUF : rest.size();
  while (!rest.empty() && (!signals_.valid() || WaitWritable())) {
    const std::string_view part = rest.substr(0, most);
    // A reader that went away ends us by SIGPIPE, as it should.
    if (!WriteAll(STDOUT_FILENO, part).ok()) {
      if (write_error_ == 0) write_error_ = errno != 0 ? errno : EIO;
      break;
    }
    rest.remove_prefix(part.size());
  }
  pending_.clear();
}

bool ProcessIo::WaitWritable() const {
  pollfd fds[2] = {{STDOUT_FILENO, POLLOUT, 0}, {signals_.get(), POLLIN, 0}};
  while (poll(fds, 2, -1) < 0 && errno == EINTR) {
  }
  return fds[0].revents != 0;
}

StatusOr<std::string> ProcessIo::ReadSomeInput() {
  char buffer[65536];
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got >= 0) return std::string(buffer, static_cast<size_t>(got));
    if (errno != EINTR) return FromErrno(errno, "read standard input");
  }
}

StatusOr<std::string> ProcessIo::ReadInput(size_t limit_bytes) {
  std::string out;
  for (;;) {
    ASSIGN_OR_RETURN(const std::string some, ReadSomeInput());
    if (some.empty()) return out;
    out += some;
    if (out.size() > limit_bytes)
      return Errorf(Code::kResourceExhausted, "standard input is larger than {} bytes",
                    limit_bytes);
  }
}

std::optional<std::string> ProcessIo::Env(const std::string& name) const {
  const char* value = getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

void ProcessIo::CatchInterrupts() {
  if (signals_.valid()) return;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_.Reset(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  // Better no message than a program that can't be ended.
  if (!signals_.valid()) sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace isla::cli
