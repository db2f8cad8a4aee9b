#include "sandbox/supervisor/resolve.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "sandbox/supervisor/rights.h"

namespace isla::supervisor {
namespace {

constexpr int kMaxLinks = 40;  // the kernel's
constexpr ino_t kProcRoot = 1;
constexpr long kNoSymlinksFollowed = 0x2000;  // ST_NOSYMFOLLOW, which Debian 12's headers lack

int OpenPath(int folder, const char* path, uint64_t flags, uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_PATH | O_CLOEXEC;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, folder, path, &how, sizeof how));
}

bool OnProc(int fd) {
  struct statfs st {};
  return fstatfs(fd, &st) == 0 && st.f_type == PROC_SUPER_MAGIC;
}

bool SamePlace(int a, int b) {
  struct statx sa {}, sb {};
  return statx(a, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &sa) == 0 && statx(b, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &sb) == 0 &&
         sa.stx_ino == sb.stx_ino && sa.stx_mnt_id == sb.stx_mnt_id && sa.stx_dev_major == sb.stx_dev_major &&
         sa.stx_dev_minor == sb.stx_dev_minor;
}

int DupPath(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }

void PushReversed(std::vector<std::string>& components, const std::string& path) {
  std::vector<std::string> found;
  for (size_t begin = path.find_first_not_of('/'); begin != std::string::npos;) {
    const size_t end = path.find('/', begin);
    found.push_back(path.substr(begin, end - begin));
    begin = end == std::string::npos ? end : path.find_first_not_of('/', end);
  }
  components.insert(components.end(), found.rbegin(), found.rend());
}

/// Component by component, as the kernel walks, with the caller for "self".
class Walk {
 public:
  Walk(const Caller& caller, int root, const ResolveOptions& options, std::optional<CallerRights>& rights)
      : caller_(caller), root_(root), options_(options), rights_(rights) {}

  /// 0 and `out`, or an errno.
  int Run(UniqueFd start, const std::string& path, Resolved& out) {
    at_ = path.starts_with('/') ? UniqueFd(DupPath(root_)) : std::move(start);
    if (!at_.valid()) return errno;
    PushReversed(left_, path);
    must_be_folder_ = path.ends_with('/');
    while (!left_.empty()) {
      const std::string name = std::move(left_.back());
      left_.pop_back();
      if (const int error = Step(name, out); error != 0) return error;
      if (out.folder.valid()) return 0;
    }
    struct stat st {};
    if (must_be_folder_ && (fstat(at_.get(), &st) != 0 || !S_ISDIR(st.st_mode))) return ENOTDIR;
    out.inode = std::move(at_);
    out.held = held_;
    return 0;
  }

 private:
  bool last() const { return left_.empty(); }

  int Step(const std::string& name, Resolved& out) {
    if (name == ".") return 0;
    if (name == "..") {
      if (SamePlace(at_.get(), root_)) return 0;
      return Enter(OpenPath(at_.get(), "..", O_DIRECTORY, 0));
    }
    UniqueFd next(OpenPath(at_.get(), name.c_str(), O_NOFOLLOW, 0));
    if (!next.valid()) {
      const int error = errno;
      if (error != ENOENT || !last()) return error;
      out.folder = std::move(at_);
      out.name = name;
      return 0;
    }
    struct stat st {};
    if (fstat(next.get(), &st) != 0) return errno;
    if (S_ISLNK(st.st_mode) && (!last() || options_.follow_last || must_be_folder_)) return Follow(name, next);
    if (!last() && !S_ISDIR(st.st_mode)) return ENOTDIR;
    at_ = std::move(next);
    return 0;
  }

  int Enter(int fd) {
    if (fd < 0) return errno;
    at_.Reset(fd);
    return 0;
  }

  int Follow(const std::string& name, const UniqueFd& link) {
    if (++links_ > kMaxLinks || (options_.resolve_flags & RESOLVE_NO_SYMLINKS) != 0) return ELOOP;
    if (const int error = MayFollow(link); error != 0) return error;
    std::string text;
    if (OnProc(link.get())) {
      if (const int error = ProcLink(name, link, text); error != 0) return error;
      if (text.empty()) return 0;  // it went there by itself
    } else if (const int error = ReadLink(link, text); error != 0) {
      return error;
    }
    if (text.starts_with('/')) {
      if (const int error = Enter(DupPath(root_)); error != 0) return error;
    }
    if (last() && text.ends_with('/')) must_be_folder_ = true;
    PushReversed(left_, text);
    return 0;
  }

  /// As the kernel asks: mounts without links, and links of strangers in folders like /tmp.
  int MayFollow(const UniqueFd& link) const {
    struct statfs fs {};
    struct stat folder {}, st {};
    if (fstatfs(link.get(), &fs) != 0 || fstat(link.get(), &st) != 0 || fstat(at_.get(), &folder) != 0) return errno;
    if ((fs.f_flags & kNoSymlinksFollowed) != 0) return ELOOP;
    constexpr mode_t kLikeTmp = S_ISVTX | S_IWOTH;
    if ((folder.st_mode & kLikeTmp) != kLikeTmp || st.st_uid == rights_->status().fs_uid || st.st_uid == folder.st_uid) return 0;
    const StatusOr<std::string> setting = ReadFile("/proc/sys/fs/protected_symlinks", 16);
    return setting.ok() && setting->starts_with('0') ? 0 : EACCES;
  }

  static int ReadLink(const UniqueFd& link, std::string& text) {
    char target[PATH_MAX];
    const ssize_t got = readlinkat(link.get(), "", target, sizeof target);
    if (got < 0) return errno;
    text.assign(target, static_cast<size_t>(got));
    return text.empty() ? ENOENT : 0;
  }

  /// Links of /proc's own folder are plain, but for whom they mean; all others are magic, and lead on only from the caller to
  /// its own descriptors.
  int ProcLink(const std::string& name, const UniqueFd& link, std::string& text) {
    struct stat st {};
    if (fstat(at_.get(), &st) != 0) return errno;
    CallerStatus status;
    if (const int error = caller_.Status(status); error != 0) return error;
    if (st.st_ino == kProcRoot) {
      if (name == "self") text = std::to_string(status.own_process);
      if (name == "thread-self") text = fmt::format("{}/task/{}", status.own_process, status.own_tid);
      return text.empty() ? ReadLink(link, text) : 0;
    }
    const std::string folder = PathOf(at_.get());
    const std::string own = fmt::format("/{}/fd", status.own_process);
    if (!folder.ends_with(own) && !folder.ends_with(fmt::format("/{}/task/{}/fd", status.own_process, status.own_tid))) return ELOOP;
    UniqueFd descriptor;
    rights_.reset();  // to take it needs our own
    const int error = caller_.Descriptor(std::atoi(name.c_str()), descriptor);
    rights_.emplace(caller_);
    if (error != 0 || rights_->error() != 0) return error == EBADF ? ENOENT : error != 0 ? error : rights_->error();
    held_ = last();
    return Enter(open(fmt::format("/proc/self/fd/{}", descriptor.get()).c_str(), O_PATH | O_CLOEXEC));
  }

  const Caller& caller_;
  const int root_;
  const ResolveOptions& options_;
  std::optional<CallerRights>& rights_;
  std::vector<std::string> left_;  // the next is the last
  UniqueFd at_;
  int links_ = 0;
  bool must_be_folder_ = false, held_ = false;
};

/// The kernel's own resolution in one step, where it means the same: most calls. False: errno says why not.
bool InOneStep(int root, const UniqueFd& start, const std::string& path, const ResolveOptions& options, Resolved& out) {
  const uint64_t nofollow = options.follow_last ? 0 : O_NOFOLLOW;
  if (path.starts_with('/')) {
    out.inode.Reset(OpenPath(root, path.c_str(), nofollow, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | options.resolve_flags));
  } else {
    // Links could be absolute, or lead up.
    out.inode.Reset(OpenPath(start.get(), path.c_str(), nofollow, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | options.resolve_flags));
  }
  // /proc/self would have been ours.
  if (out.inode.valid() && OnProc(out.inode.get())) {
    out.inode.Reset();
    errno = ELOOP;
  }
  return out.inode.valid();
}

int Pin(const Caller& caller, int root, UniqueFd start, const std::string& path, const ResolveOptions& options, Resolved& out) {
  std::optional<CallerRights> rights(std::in_place, caller);
  if (rights->error() != 0) return rights->error();
  constexpr uint64_t kScoped = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
  if ((options.resolve_flags & kScoped) != 0) {
    // The folder is its whole world; the kernel sees to it.
    const uint64_t nofollow = options.follow_last ? 0 : O_NOFOLLOW;
    out.inode.Reset(OpenPath(start.get(), path.c_str(), nofollow, options.resolve_flags | RESOLVE_NO_MAGICLINKS));
    if (!out.inode.valid()) return errno;
    return OnProc(out.inode.get()) ? ELOOP : 0;
  }
  if (InOneStep(root, start, path, options, out)) return 0;
  // No scope: absolute paths and links are of the caller's root, which the kernel can't be told together with this flag. The walk
  // doesn't look at mounts, so what would need it is refused.
  if ((options.resolve_flags & RESOLVE_NO_XDEV) != 0) return errno == ELOOP && (options.resolve_flags & RESOLVE_NO_SYMLINKS) == 0 ? EXDEV : errno;
  return Walk(caller, root, options, rights).Run(std::move(start), path, out);
}

}  // namespace

std::string LexicalPath(const std::string& base, const std::string& path) {
  std::vector<std::string> reversed, kept;
  PushReversed(reversed, path.starts_with('/') ? path : base + "/" + path);
  for (auto it = reversed.rbegin(); it != reversed.rend(); ++it) {
    if (*it == ".") continue;
    if (*it != "..") {
      kept.push_back(*it);
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string out;
  for (const std::string& component : kept) out += "/" + component;
  return out.empty() ? "/" : out;
}

int Resolve(const Caller& caller, int folder_fd, const std::string& path, const ResolveOptions& options, Resolved& out) {
  out = Resolved();
  UniqueFd root, start;
  if (const int error = caller.Root(root); error != 0) return error;
  const bool from_folder = !path.starts_with('/') || (options.resolve_flags & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0;
  if (from_folder) {
    const int error = folder_fd == AT_FDCWD ? caller.WorkingFolder(start) : caller.Descriptor(folder_fd, start);
    if (error == ESRCH) return error;
    out.error = error;
  }
  const std::string own_root = PathOf(root.get());
  const std::string base = start.valid() ? PathOf(start.get()) : std::string("/");
  if (path.empty()) out.error = ENOENT;
  if (out.error == 0) out.error = Pin(caller, root.get(), std::move(start), path, options, out);
  if (out.error != 0) {
    out.path = LexicalPath(base, path);
    if (path.starts_with('/') && own_root.size() > 1) out.path = own_root + (out.path == "/" ? "" : out.path);
    return 0;
  }
  if (out.inode.valid()) {
    out.path = PathOf(out.inode.get());
    // Removed meanwhile: it has no path to be decided about.
    struct stat st {};
    if (!out.held && fstat(out.inode.get(), &st) == 0 && st.st_nlink == 0 && out.path.ends_with(" (deleted)")) {
      out.inode.Reset();
      out.error = ENOENT;
    }
  } else {
    const std::string folder = PathOf(out.folder.get());
    out.path = folder == "/" ? "/" + out.name : folder + "/" + out.name;
  }
  return 0;
}

}  // namespace isla::supervisor
