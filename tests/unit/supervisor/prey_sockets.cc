#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "tests/unit/supervisor/prey.h"

namespace isla::prey {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// "PORT" on 127.0.0.1, "1.2.3.4:PORT", "[::1]:PORT", or "/path", or "@abstract".
Address Parse(const std::string& text) {
  Address out;
  if (text[0] == '/' || text[0] == '@' || text[0] == '.') {
    sockaddr_un unix{};
    unix.sun_family = AF_UNIX;
    std::memcpy(unix.sun_path, text.data(), text.size());
    if (text[0] == '@') unix.sun_path[0] = '\0';
    std::memcpy(&out.storage, &unix, sizeof unix);
    out.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size());
  } else if (text[0] == '[') {
    sockaddr_in6 inet{};
    inet.sin6_family = AF_INET6;
    const size_t end = text.find(']');
    inet.sin6_port = htons(static_cast<uint16_t>(std::atoi(text.c_str() + end + 2)));
    inet_pton(AF_INET6, text.substr(1, end - 1).c_str(), &inet.sin6_addr);
    std::memcpy(&out.storage, &inet, sizeof inet);
    out.bytes = sizeof inet;
  } else {
    sockaddr_in inet{};
    inet.sin_family = AF_INET;
    const size_t colon = text.find(':');
    inet.sin_port = htons(static_cast<uint16_t>(std::atoi(text.c_str() + (colon == std::string::npos ? 0 : colon + 1))));
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (colon != std::string::npos) inet_pton(AF_INET, text.substr(0, colon).c_str(), &inet.sin_addr);
    std::memcpy(&out.storage, &inet, sizeof inet);
    out.bytes = sizeof inet;
  }
  return out;
}

}  // namespace

int Connect(int, char** argv) {
  const Address address = Parse(argv[2]);
  const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int result = connect(fd, address.get(), address.bytes);
  std::printf("%s", Result(result));
  char said[64] = {};
  if (result == 0 && read(fd, said, sizeof said - 1) > 0) std::printf(" '%s'", said);
  std::printf("\n");
  return 0;
}

int Bind(int, char** argv) {
  const Address address = Parse(argv[2]);
  const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::printf("%s", Result(bind(fd, address.get(), address.bytes)));
  sockaddr_in got{};
  socklen_t bytes = sizeof got;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&got), &bytes) == 0 && got.sin_family == AF_INET) std::printf(" port=%d", ntohs(got.sin_port));
  std::printf(" again=%s\n", Result(bind(fd, address.get(), address.bytes)));
  return 0;
}

int FlipAddress(int, char** argv) {
  static sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto allowed = static_cast<uint16_t>(std::atoi(argv[2])), denied = static_cast<uint16_t>(std::atoi(argv[3]));
  std::atomic<bool> done{false};
  std::thread flipper([&done, allowed, denied] {
    while (!done.load(std::memory_order_relaxed)) {
      __atomic_store_n(&address.sin_port, htons(denied), __ATOMIC_RELAXED);
      __atomic_store_n(&address.sin_port, htons(allowed), __ATOMIC_RELAXED);
    }
  });
  long reached = 0, through = 0, refused = 0;
  // On a busy machine the other thread may not run for long: until both were met.
  const long count = std::atol(argv[4]);
  for (long i = 0; i < count || (i < 100 * count && (reached == 0 || refused == 0)); ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      sockaddr_in peer{};
      socklen_t bytes = sizeof peer;
      getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &bytes);
      (ntohs(peer.sin_port) == denied ? through : reached) += 1;
    } else {
      ++refused;
    }
    close(fd);
  }
  done.store(true);
  flipper.join();
  std::printf("through=%ld some=%d refused=%d\n", through, reached > 0 ? 1 : 0, refused > 0 ? 1 : 0);
  return 0;
}

}  // namespace isla::prey
