#include "tests/unit/client/fake_server.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstring>

namespace isla::testing {
namespace {

void SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

bool Receive(int fd, std::string& buffer) {
  char bytes[16384];
  const ssize_t got = recv(fd, bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  buffer.append(bytes, static_cast<size_t>(got));
  return true;
}

/// A chunked body; false if the connection ends before it does.
bool ReadChunks(int fd, std::string& buffer, std::string& body) {
  for (;;) {
    size_t end;
    while ((end = buffer.find("\r\n")) == std::string::npos) {
      if (!Receive(fd, buffer)) return false;
    }
    const size_t size = std::stoul(buffer.substr(0, end), nullptr, 16);
    while (buffer.size() < end + 2 + size + 2) {
      if (!Receive(fd, buffer)) return false;
    }
    body += buffer.substr(end + 2, size);
    buffer.erase(0, end + 2 + size + 2);
    if (size == 0) return true;
  }
}

/// Reads one request off the connection; false at its end.
bool ReadRequest(int fd, std::string& buffer, FakeRequest& request) {
  size_t end;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!Receive(fd, buffer)) return false;
  }
  const std::string head = buffer.substr(0, end);
  buffer.erase(0, end + 4);
  size_t line_end = head.find("\r\n");
  const std::string first = head.substr(0, line_end);
  const size_t space = first.find(' ');
  request.method = first.substr(0, space);
  request.target = first.substr(space + 1, first.rfind(' ') - space - 1);
  request.path = request.target.substr(0, request.target.find('?'));
  if (request.path.size() < request.target.size())
    request.query = request.target.substr(request.path.size() + 1);
  while (line_end != std::string::npos) {
    const size_t start = line_end + 2;
    line_end = head.find("\r\n", start);
    const std::string line =
        head.substr(start, line_end == std::string::npos ? std::string::npos : line_end - start);
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    request.headers[name] = line.substr(std::min(colon + 2, line.size()));
  }
  if (request.headers.contains("transfer-encoding")) return ReadChunks(fd, buffer, request.body);
  const auto length = request.headers.find("content-length");
  const size_t size = length == request.headers.end() ? 0 : std::stoul(length->second);
  while (buffer.size() < size) {
    if (!Receive(fd, buffer)) return false;
  }
  request.body = buffer.substr(0, size);
  buffer.erase(0, size);
  return true;
}

std::string Hex(size_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%zx", number);
  return text;
}

}  // namespace

void StreamWriter::Chunk(std::string_view bytes) {
  if (!bytes.empty()) SendAll(fd_, Hex(bytes.size()) + "\r\n" + std::string(bytes) + "\r\n");
}

bool StreamWriter::Wait(const std::function<bool()>& done) const {
  while (!done()) {
    if (stop_) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

void StreamWriter::Hold() const {
  while (!stop_) {
    pollfd p{fd_, POLLIN, 0};
    if (poll(&p, 1, 20) == 0) continue;
    char byte;
    if (recv(fd_, &byte, 1, MSG_PEEK) <= 0) return;
  }
}

FakeServer::FakeServer(Handler handler) : handler_(std::move(handler)) {
  char name[] = "/tmp/isla-fake-XXXXXX";
  ISLA_CHECK(mkdtemp(name) != nullptr);
  folder_ = name;
  path_ = folder_ + "/s";
  Listen();
}

FakeServer::~FakeServer() {
  Stop();
  (void)RemoveTree(folder_);
}

void FakeServer::Listen() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  unlink(path_.c_str());
  listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ISLA_CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ISLA_CHECK(listen(listener_.get(), 64) == 0);
  stop_ = false;
  acceptor_ = std::thread([this] { Accept(); });
}

void FakeServer::Stop() {
  if (!acceptor_.joinable()) return;
  stop_ = true;
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  std::vector<std::thread> threads;
  {
    MutexLock lock(mu_);
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  listener_.Reset();
}

void FakeServer::Restart() { Listen(); }

void FakeServer::Accept() {
  for (;;) {
    const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int number = ++connections_;
    MutexLock lock(mu_);
    open_.push_back(fd);
    threads_.emplace_back([this, fd, number] { Serve(fd, number); });
  }
}

void FakeServer::Serve(int fd, int number) {
  std::string buffer;
  for (;;) {
    FakeRequest request;
    request.connection = number;
    if (stop_ || !ReadRequest(fd, buffer, request)) break;
    {
      MutexLock lock(mu_);
      requests_.push_back(request);
    }
    if (!Answer(fd, handler_(request))) break;
  }
  MutexLock lock(mu_);
  open_.erase(std::find(open_.begin(), open_.end(), fd));
  close(fd);
}

bool FakeServer::Answer(int fd, const FakeReply& reply) {
  if (!reply.raw.empty()) {
    SendAll(fd, reply.raw);
    return !reply.close;
  }
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) +
                     " X\r\nContent-Type: " + reply.content_type + "\r\n" + reply.headers;
  if (!reply.stream) {
    SendAll(fd, head + "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n" +
                    reply.body);
    return !reply.close;
  }
  SendAll(fd, head + "Transfer-Encoding: chunked\r\n\r\n");
  StreamWriter writer(fd, stop_);
  reply.stream(writer);
  if (reply.cut || stop_) return false;
  SendAll(fd, "0\r\n\r\n");
  return !reply.close;
}

std::vector<FakeRequest> FakeServer::Requests() const {
  MutexLock lock(mu_);
  return requests_;
}

std::vector<std::string> FakeServer::Calls() const {
  std::vector<std::string> out;
  for (const FakeRequest& request : Requests())
    out.push_back(request.method + " " + request.target);
  return out;
}

}  // namespace isla::testing
