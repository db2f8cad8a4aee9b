#include "bench/start/watch.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "api/base/json.h"

namespace isla::bench {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  std::exit(1);
}

int Connect(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) Fail("connect " + path);
  return fd;
}

void Send(int fd, const std::string& text) {
  if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) Fail("write");
}

}  // namespace

SessionWatch::SessionWatch(const std::string& socket_path) : fd_(Connect(socket_path)) {
  Send(fd_, "GET /apis/isla/v1/namespaces/default/sessions?watch=true&resourceVersion=0 HTTP/1.1\r\nHost: isla\r\n\r\n");
  reader_ = std::thread([this] { Read(); });
}

SessionWatch::~SessionWatch() {
  shutdown(fd_, SHUT_RDWR);
  reader_.join();
  close(fd_);
}

void SessionWatch::Read() {
  // Events are JSON texts of one line; chunk sizes and headers are lines that don't begin with '{'.
  std::string pending;
  char buffer[65536];
  for (;;) {
    const ssize_t got = read(fd_, buffer, sizeof buffer);
    if (got <= 0) return;
    pending.append(buffer, static_cast<size_t>(got));
    size_t begin = 0;
    for (size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (pending[begin] == '{') OnLine(pending.substr(begin, end - begin));
    }
    pending.erase(0, begin);
  }
}

void SessionWatch::OnLine(const std::string& line) {
  const auto now = Clock::now();
  const auto event = json::Parse(line, {.max_bytes = 4 << 20, .max_depth = 64});
  if (!event.ok()) return;
  const std::string name = event->StringAt({"object", "metadata", "name"});
  const std::string phase =
      event->StringAt({"type"}) == "DELETED" ? "gone" : event->StringAt({"object", "status", "phase"});
  std::lock_guard lock(mu_);
  seen_.try_emplace({name, phase}, now);
  // It may pass a phase between two events: being seen later is having been there.
  if (phase == "Succeeded" || phase == "Failed") seen_.try_emplace({name, "Running"}, now);
  changed_.notify_all();
}

Clock::time_point SessionWatch::Seen(const std::string& session, const std::string& phase) {
  std::unique_lock lock(mu_);
  const bool found = changed_.wait_for(lock, std::chrono::seconds(60), [&] { return seen_.contains({session, phase}); });
  if (!found) Fail("'" + session + "' was not seen " + phase + " within 60 s");
  return seen_[{session, phase}];
}

std::string Request(const std::string& socket_path, const std::string& method, const std::string& path,
                    const std::string& body) {
  const int fd = Connect(socket_path);
  Send(fd, method + " " + path + " HTTP/1.1\r\nHost: isla\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body);
  std::string text;
  char buffer[65536];
  for (ssize_t got; (got = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
  close(fd);
  if (text.rfind("HTTP/1.1 2", 0) != 0) Fail(method + " " + path + ": " + text.substr(0, 500));
  return text;
}

}  // namespace isla::bench
