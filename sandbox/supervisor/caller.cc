#include "sandbox/supervisor/caller.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <memory>
#include <string_view>

#include "sandbox/supervisor/seccomp_abi.h"

namespace isla::supervisor {
namespace {

std::string ProcPath(pid_t tid, const char* name) { return fmt::format("/proc/{}/{}", tid, name); }

/// The numbers of a line of /proc/<pid>/status.
std::vector<uint64_t> Numbers(std::string_view text, std::string_view key, int base) {
  std::vector<uint64_t> out;
  const size_t at = text.find(key);
  if (at == std::string_view::npos) return out;
  const size_t begin = at + key.size(), end = text.find('\n', begin);
  std::string_view line = text.substr(begin, end == std::string_view::npos ? end : end - begin);
  for (;;) {
    const size_t first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos) return out;
    line.remove_prefix(first);
    uint64_t value = 0;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), value, base);
    if (error != std::errc()) return out;
    out.push_back(value);
    line.remove_prefix(static_cast<size_t>(stop - line.data()));
  }
}

int ErrnoOf(int error) { return error == ENOENT ? ESRCH : error; }

}  // namespace

int Caller::Status(CallerStatus& out) const {
  if (!status_) {
    CallerStatus status;
    if (const int error = ReadStatus(status); error != 0) return error;
    status_ = std::move(status);
  }
  out = *status_;
  return 0;
}

int Caller::ReadStatus(CallerStatus& out) const {
  const UniqueFd fd(open(ProcPath(tid_, "status").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoOf(errno);
  // A process in very many groups has a long list of them: read on.
  std::string text;
  char chunk[4096];
  for (ssize_t got = 0; (got = read(fd.get(), chunk, sizeof chunk)) != 0;) {
    if (got < 0) return errno;
    text.append(chunk, static_cast<size_t>(got));
  }
  if (!StillWaits()) return ESRCH;
  const auto ids = [&text](std::string_view key, int base = 10) { return Numbers(text, key, base); };
  const std::vector<uint64_t> process = ids("\nTgid:"), uid = ids("\nUid:"), gid = ids("\nGid:"), groups = ids("\nGroups:"),
                              own_process = ids("\nNStgid:"), own_tid = ids("\nNSpid:"), umask = ids("\nUmask:", 8),
                              capabilities = ids("\nCapEff:", 16);
  if (process.empty() || uid.size() != 4 || gid.size() != 4 || capabilities.empty()) return EIO;
  out.process = static_cast<pid_t>(process[0]);
  out.own_process = own_process.empty() ? out.process : static_cast<pid_t>(own_process.back());
  out.own_tid = own_tid.empty() ? tid_ : static_cast<pid_t>(own_tid.back());
  out.uid = static_cast<uid_t>(uid[0]);
  out.effective_uid = static_cast<uid_t>(uid[1]);
  out.fs_uid = static_cast<uid_t>(uid[3]);
  out.effective_gid = static_cast<gid_t>(gid[1]);
  out.fs_gid = static_cast<gid_t>(gid[3]);
  out.groups.assign(groups.begin(), groups.end());
  out.capabilities = capabilities[0];
  if (!umask.empty()) out.umask = static_cast<mode_t>(umask[0]);
  return 0;
}

int Caller::Process(UniqueFd& out) const {
  // Of the thread itself where the kernel can: its descriptors are those that the call means.
  out.Reset(static_cast<int>(syscall(SYS_pidfd_open, tid_, kPidfdThread)));
  if (!out.valid()) {
    CallerStatus status;
    if (const int error = Status(status); error != 0) return error;
    out.Reset(static_cast<int>(syscall(SYS_pidfd_open, status.process, 0)));
  }
  if (!out.valid()) return errno;
  return StillWaits() ? 0 : ESRCH;
}

int Caller::OpenOwn(const char* link, UniqueFd& out) const {
  out.Reset(open(ProcPath(tid_, link).c_str(), O_PATH | O_CLOEXEC));
  if (!out.valid()) return ErrnoOf(errno);
  return StillWaits() ? 0 : ESRCH;
}

int Caller::Descriptor(int fd, UniqueFd& out) const {
  if (fd < 0) return EBADF;
  UniqueFd process;
  if (const int error = Process(process); error != 0) return error;
  out.Reset(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  if (!out.valid()) return errno;
  return StillWaits() ? 0 : ESRCH;
}

int Caller::FindDescriptor(const std::function<bool(int)>& is, UniqueFd& out) const {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(ProcPath(tid_, "fd").c_str()), closedir);
  if (folder == nullptr || !StillWaits()) return -1;
  while (const dirent* const entry = readdir(folder.get())) {
    int number = -1;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), number).ec != std::errc() || Descriptor(number, out) != 0) continue;
    if (is(out.get())) return number;
  }
  out.Reset();
  return -1;
}

std::string Caller::Executable() const {
  char path[PATH_MAX];
  const ssize_t got = readlink(ProcPath(tid_, "exe").c_str(), path, sizeof path);
  return got < 0 || !StillWaits() ? std::string() : std::string(path, static_cast<size_t>(got));
}

bool Caller::SharesNamespace(const char* name) const {
  struct stat own {}, its {};
  const std::string link = std::string("ns/") + name;
  return stat(("/proc/self/" + link).c_str(), &own) == 0 && stat(ProcPath(tid_, link.c_str()).c_str(), &its) == 0 &&
         own.st_ino == its.st_ino && own.st_dev == its.st_dev && StillWaits();
}

bool Caller::SharesUserNamespace() const {
  if (!shares_user_namespace_) shares_user_namespace_ = SharesNamespace("user");
  return *shares_user_namespace_;
}
bool Caller::SharesPidNamespace() const { return SharesNamespace("pid"); }

std::string PathOf(int fd) {
  char path[PATH_MAX];
  const ssize_t got = readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path, sizeof path);
  return got < 0 ? std::string() : std::string(path, static_cast<size_t>(got));
}

}  // namespace isla::supervisor
