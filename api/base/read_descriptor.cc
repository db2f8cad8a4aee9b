#include "api/base/read_descriptor.h"

#include <unistd.h>

#include <cerrno>

namespace isla {

StatusOr<std::string> ReadDescriptor(int fd, size_t limit_bytes) {
  std::string out;
  char chunk[16384];
  for (;;) {
    const ssize_t got = pread(fd, chunk, sizeof chunk, static_cast<off_t>(out.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno(errno, fmt::format("read descriptor {}", fd));
    if (got == 0) return out;
    out.append(chunk, static_cast<size_t>(got));
    if (out.size() > limit_bytes) return Errorf(Code::kInvalidArgument, "descriptor {} holds more than {} bytes", fd, limit_bytes);
  }
}

}  // namespace isla
