#include "store/embedded/folder_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

namespace isla::store {
namespace {

bool Lock(int fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

}  // namespace

StatusOr<UniqueFd> LockFolder(const std::string& folder) {
  RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  const std::string path = folder + "/lock";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return FromErrno(errno, fmt::format("open '{}'", path));
  if (!Lock(fd.get())) {
    if (errno != EAGAIN && errno != EACCES) return FromErrno(errno, fmt::format("lock '{}'", path));
    const StatusOr<std::string> pid = ReadFile(path, 64);
    const std::string text = pid.ok() ? pid->substr(0, pid->find('\n')) : "";
    return Errorf(Code::kFailedPrecondition, "'{}' is in use by {}: one process at a time can open it", folder,
                  text.empty() ? "another process" : "process " + text);
  }
  // The pid is for people; on a full disk the lock holds without it.
  if (ftruncate(fd.get(), 0) == 0) WriteAll(fd.get(), std::to_string(getpid()) + "\n").IgnoreError();
  return fd;
}

Status SyncFolder(const std::string& folder) {
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(folder, ignored);
  for (bool own = true; !path.empty(); own = false) {
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Folders above may be closed to us; they were there before.
    if (fd.valid() ? fsync(fd.get()) != 0 && own : own) return FromErrno(errno, fmt::format("fsync '{}'", path.string()));
    if (path == path.parent_path()) break;
    path = path.parent_path();
  }
  return OkStatus();
}

}  // namespace isla::store
