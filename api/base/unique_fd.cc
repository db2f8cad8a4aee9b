#include "api/base/unique_fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace isla {
namespace {

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status WriteFile(const std::string& path, std::string_view bytes, unsigned mode, bool durable) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.valid()) return FromErrno(errno, fmt::format("create '{}'", path));
  if (fchmod(fd.get(), mode) != 0) return FromErrno(errno, fmt::format("chmod '{}'", path));
  RETURN_IF_ERROR(Annotate(WriteAll(fd.get(), bytes), path));
  if (durable && fsync(fd.get()) != 0) return FromErrno(errno, fmt::format("fsync '{}'", path));
  return OkStatus();
}

/// A rename is on the disk only when its folder is.
Status SyncFolder(const std::string& path) {
  UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || fsync(folder.get()) != 0) return FromErrno(errno, fmt::format("fsync folder '{}'", path));
  return OkStatus();
}

bool IsDots(const char* name) { return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0; }

/// Empties a folder without recursion and with at most two descriptors open, however deep the tree is: what a
/// container left behind may be nested as deep as it liked.
class TreeRemover {
 public:
  /// `top`: an open folder, shown as `path` in errors. Its contents go, it stays.
  TreeRemover(UniqueFd top, std::string path) : here_(std::move(top)), path_(std::move(path)) {}

  Status Empty() {
    struct stat st {};
    if (fstat(here_.get(), &st) != 0) return FromErrno(errno, fmt::format("stat '{}'", path_));
    device_ = st.st_dev;
    inodes_.push_back(st.st_ino);
    for (;;) {
      ASSIGN_OR_RETURN(const std::string folder, RemoveUpToFolder());
      if (!folder.empty()) {
        RETURN_IF_ERROR(Descend(folder));
      } else if (names_.empty()) {
        return OkStatus();
      } else {
        RETURN_IF_ERROR(Ascend());
      }
    }
  }

 private:
  Status Failed(std::string_view what, std::string_view name) const {
    return FromErrno(errno, fmt::format("{} '{}' in '{}', {} folders down", what, name, path_, names_.size()));
  }

  /// Removes what is in the folder until it meets a folder that isn't empty: its name, or "" if all is gone.
  StatusOr<std::string> RemoveUpToFolder() {
    // fdopendir takes the descriptor over and moves its offset: give it one of its own.
    UniqueFd reading(openat(here_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!reading.valid()) return Failed("open", ".");
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(reading.get()), closedir);
    if (dir == nullptr) return Failed("read", ".");
    (void)reading.Release();
    for (errno = 0; const dirent* entry = readdir(dir.get()); errno = 0) {
      if (IsDots(entry->d_name) || unlinkat(here_.get(), entry->d_name, 0) == 0 || errno == ENOENT) continue;
      const int error = errno;
      if (unlinkat(here_.get(), entry->d_name, AT_REMOVEDIR) == 0) continue;
      if (errno == ENOTEMPTY || errno == EEXIST) return std::string(entry->d_name);
      if (errno == EBUSY) {
        return Errorf(Code::kFailedPrecondition, "'{}' in '{}' is a mount point", entry->d_name, path_);
      }
      if (errno == ENOTDIR) errno = error;
      return Failed("remove", entry->d_name);
    }
    if (errno != 0) return Failed("read", ".");
    return std::string();
  }

  Status Descend(const std::string& name) {
    UniqueFd next(openat(here_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat st {};
    if (!next.valid() || fstat(next.get(), &st) != 0) return Failed("open", name);
    if (st.st_dev != device_) return Errorf(Code::kFailedPrecondition, "'{}' in '{}' is a mount point", name, path_);
    here_ = std::move(next);
    inodes_.push_back(st.st_ino);
    names_.push_back(name);
    return OkStatus();
  }

  Status Ascend() {
    UniqueFd up(openat(here_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat st {};
    if (!up.valid() || fstat(up.get(), &st) != 0) return Failed("open", "..");
    inodes_.pop_back();
    if (st.st_dev != device_ || st.st_ino != inodes_.back()) {
      return Errorf(Code::kAborted, "'{}' was moved while it was being removed", path_);
    }
    here_ = std::move(up);
    if (unlinkat(here_.get(), names_.back().c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return Failed("remove", names_.back());
    }
    names_.pop_back();
    return OkStatus();
  }

  UniqueFd here_;
  const std::string path_;
  dev_t device_ = 0;
  std::vector<ino_t> inodes_;       // of the folders from the top to here
  std::vector<std::string> names_;  // of those below the top
};

}  // namespace

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

StatusOr<std::string> ReadFile(const std::string& path, size_t limit_bytes) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FromErrno(errno, fmt::format("open '{}'", path));
  std::string out;
  char buffer[65536];
  for (;;) {
    const ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno(errno, fmt::format("read '{}'", path));
    if (got == 0) return out;
    if (out.size() + static_cast<size_t>(got) > limit_bytes) {
      return Errorf(Code::kResourceExhausted, "'{}' is larger than {} bytes", path, limit_bytes);
    }
    out.append(buffer, static_cast<size_t>(got));
  }
}

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FromErrno(errno, "write");
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return OkStatus();
}

Status WriteFileAtomically(const std::string& path, std::string_view bytes, unsigned mode, bool durable) {
  const std::string temporary = path + ".tmp";
  const Status written = WriteFile(temporary, bytes, mode, durable);
  if (!written.ok()) {
    unlink(temporary.c_str());
    return written;
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const Status failed = FromErrno(errno, fmt::format("rename '{}' to '{}'", temporary, path));
    unlink(temporary.c_str());
    return failed;
  }
  return durable ? SyncFolder(Parent(path)) : OkStatus();
}

Status MakeDirectories(const std::string& path, unsigned mode) {
  for (size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    const std::string part = path.substr(0, at);
    if (at != std::string::npos) ++at;
    if (mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return FromErrno(errno, fmt::format("make folder '{}'", part));
    }
  }
  struct stat st {};
  if (stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
    return Errorf(Code::kFailedPrecondition, "'{}' is there and is no folder", path);
  }
  return OkStatus();
}

Status RemoveTree(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return OkStatus();
  if (errno != EISDIR && errno != EPERM) return FromErrno(errno, fmt::format("remove '{}'", path));
  const int error = errno;
  UniqueFd top(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top.valid()) return FromErrno(errno == ENOTDIR ? error : errno, fmt::format("remove '{}'", path));
  RETURN_IF_ERROR(TreeRemover(std::move(top), path).Empty());
  if (rmdir(path.c_str()) == 0 || errno == ENOENT) return OkStatus();
  if (errno == EBUSY) return Errorf(Code::kFailedPrecondition, "'{}' is a mount point", path);
  return FromErrno(errno, fmt::format("remove '{}'", path));
}

}  // namespace isla
