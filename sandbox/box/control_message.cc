#include "sandbox/box/control_message.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace isla::sandbox {
namespace {

constexpr timeval kPatience = {2, 0};

}  // namespace

bool ControlAddress(const std::string& path, sockaddr_un& out) {
  out.sun_family = AF_UNIX;
  if (path.size() >= sizeof out.sun_path) return false;
  std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
  return true;
}

/// A request or answer: everything up to the newline.
StatusOr<json::Value> ReadMessage(int fd) {
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  std::string text;
  char bytes[16384];
  while (text.empty() || text.back() != '\n') {
    const ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || text.size() + static_cast<size_t>(got) > 2 * kMostPolicyBytes) return Error(Code::kUnavailable, "the other side said nothing that ends");
    text.append(bytes, static_cast<size_t>(got));
  }
  return json::Parse(text, {.max_bytes = 2 * kMostPolicyBytes});
}

Status WriteMessage(int fd, const json::Value& value) {
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  const std::string text = json::Serialize(value) + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t sent = send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return FromErrno(errno, "write to the control socket");
    done += static_cast<size_t>(sent);
  }
  return OkStatus();
}

}  // namespace isla::sandbox
