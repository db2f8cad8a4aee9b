// A client that sends bytes as a test says, and reads what comes back: for what no proper client would do.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "api/base/clock.h"
#include "api/base/unique_fd.h"

namespace isla::server {

class RawClient {
 public:
  explicit RawClient(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    connected_ = connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }

  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  void Close() { fd_.Reset(); }
  void CloseWriting() { shutdown(fd_.get(), SHUT_WR); }

  /// False if the server doesn't take it (any more).
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  bool Get(const std::string& target, const std::string& more = {}) {
    return Send("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n");
  }
  bool SendBody(const std::string& method, const std::string& target, const std::string& body,
                const std::string& type = "application/json") {
    return Send(method + " " + target + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + type +
                "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }

  struct Answer {
    int status = 0;  // 0: the connection ended before a whole answer
    std::string head;
    std::string body;
  };
  /// Reads one whole answer with a Content-Length (or none, after 100).
  Answer Read(Duration timeout = std::chrono::seconds(5)) {
    Answer answer;
    if (!FillUntil([this] { return in_.find("\r\n\r\n") != std::string::npos; }, timeout)) return answer;
    const size_t end = in_.find("\r\n\r\n") + 4;
    answer.head = in_.substr(0, end);
    in_.erase(0, end);
    size_t length = 0;
    const size_t at = answer.head.find("Content-Length: ");
    if (at != std::string::npos) length = std::stoul(answer.head.substr(at + 16));
    if (!FillUntil([this, length] { return in_.size() >= length; }, timeout)) return answer;
    answer.body = in_.substr(0, length);
    in_.erase(0, length);
    answer.status = std::stoi(answer.head.substr(9, 3));
    return answer;
  }
  /// The next line, without "\r\n" or "\n"; "" if none comes.
  std::string ReadLine(Duration timeout = std::chrono::seconds(5)) {
    if (!FillUntil([this] { return in_.find('\n') != std::string::npos; }, timeout)) return {};
    const size_t end = in_.find('\n');
    std::string line = in_.substr(0, end);
    in_.erase(0, end + 1);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return line;
  }
  /// The next chunk of a chunked body; "" at its end.
  std::string ReadChunk(Duration timeout = std::chrono::seconds(5)) {
    const std::string size = ReadLine(timeout);
    if (size.empty()) return "<nothing>";
    const size_t length = std::stoul(size, nullptr, 16);
    if (!FillUntil([this, length] { return in_.size() >= length + 2; }, timeout)) return "<cut>";
    std::string chunk = in_.substr(0, length);
    in_.erase(0, length + 2);
    return chunk;
  }
  /// True if the server ends the connection within the time; what it sends before is dropped.
  bool Ends(Duration timeout = std::chrono::seconds(5)) {
    FillUntil([] { return false; }, timeout);
    return ended_;
  }
  const std::string& rest() const { return in_; }

 private:
  template <typename Done>
  bool FillUntil(Done done, Duration timeout) {
    const MonotonicTime until = Clock::Real().Monotonic() + timeout;
    while (!done()) {
      const Duration left = until - Clock::Real().Monotonic();
      pollfd poll_fd{fd_.get(), POLLIN, 0};
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
      if (left <= Duration::zero() || poll(&poll_fd, 1, static_cast<int>(ms) + 1) <= 0) return false;
      char buffer[65536];
      const ssize_t n = recv(fd_.get(), buffer, sizeof(buffer), 0);
      if (n <= 0) {
        ended_ = true;
        return done();
      }
      in_.append(buffer, static_cast<size_t>(n));
    }
    return true;
  }

  UniqueFd fd_;
  bool connected_ = false;
  bool ended_ = false;
  std::string in_;
};

}  // namespace isla::server
