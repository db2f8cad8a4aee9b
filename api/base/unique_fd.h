// A file descriptor that is owned: closed by its destructor, moved and never copied.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "api/base/status.h"

namespace isla {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  /// Gives the descriptor up; the caller closes it.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

/// The whole file, at most `limit_bytes` (RESOURCE_EXHAUSTED beyond). Blocks.
StatusOr<std::string> ReadFile(const std::string& path, size_t limit_bytes = size_t{64} << 20);

/// Writes `path` through a temporary file beside it and rename: a reader sees the old or the new bytes,
/// never a part. With `durable` the file and its folder are fsynced before it returns. A crash may leave
/// "<path>.tmp", which the next write replaces; two writers of one path at a time are the caller's mistake.
Status WriteFileAtomically(const std::string& path, std::string_view bytes, unsigned mode, bool durable);

/// Writes all bytes, going on after EINTR and short writes.
Status WriteAll(int fd, std::string_view bytes);

/// mkdir -p with `mode` (less the umask) for the folders that it makes. FAILED_PRECONDITION if something
/// else than a folder is there.
Status MakeDirectories(const std::string& path, unsigned mode);

/// rm -r of a tree of any depth; never follows a symbolic link, never crosses into another mount
/// (FAILED_PRECONDITION). No such path is OK. Nothing else may be changing the tree.
Status RemoveTree(const std::string& path);

}  // namespace isla
