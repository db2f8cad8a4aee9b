#include "agentd/shim/rootfs.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "agentd/shim/mounts.h"

namespace isla::shim {
namespace {

// The host's top-level folders that belong to its programs; links (merged /usr) are copied as links.
constexpr const char* kProgramFolders[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};

// Of the host's /etc: what programs from /usr need to run. All is readable by every user of the host; no secrets, no
// users, nothing that tells what else the host does. A missing one is left out.
constexpr const char* kEtcCopied[] = {"ld.so.conf", "nsswitch.conf", "protocols", "services"};
constexpr const char* kEtcBound[] = {"ld.so.cache", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf"};
constexpr size_t kMaxCopiedBytes = 256 * 1024;

constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};

// Files and folders of /proc and /sys that tell about the whole machine or reach into it.
// Others there are readable by the host's root only, which nobody in a container is.
constexpr const char* kMaskedFiles[] = {"proc/kcore", "proc/keys", "proc/sysrq-trigger", "proc/latency_stats",
                                        "proc/timer_list", "proc/sched_debug"};
constexpr const char* kMaskedFolders[] = {"proc/scsi", "proc/acpi", "sys/firmware", "sys/devices/virtual/powercap"};
constexpr const char* kReadOnlyFolders[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys"};

class RootBuilder {
 public:
  RootBuilder(const LaunchRequest& request, const RootParts& parts) : request_(request), parts_(parts), owner_(request.id_base) {}

  Step Build() {
    umask(0);
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Step::Failed("make mounts private");
    RETURN_IF_FAILED(MakeScratch());
    if (request_.image == "host") {
      RETURN_IF_FAILED(HostRoot());
    } else {
      RETURN_IF_FAILED(FolderRoot());
    }
    RETURN_IF_FAILED(Dev());
    RETURN_IF_FAILED(Proc());
    RETURN_IF_FAILED(Sys());
    RETURN_IF_FAILED(UserMounts());
    RETURN_IF_FAILED(View());
    for (const std::string& path : parts_.read_only) RETURN_IF_FAILED(ReadOnly(path, true));
    for (const std::string& path : parts_.mask) RETURN_IF_FAILED(Mask(path));
    return Pivot();
  }

 private:
  // Small steps ------------------------------------------------------------------------------------------

  Step Folder(const std::string& path, unsigned mode = 0755) {
    if (mkdirat(root_.get(), path.c_str(), mode) != 0 && errno != EEXIST) return Step::Failed("make /" + path);
    if (fchownat(root_.get(), path.c_str(), owner_, owner_, AT_SYMLINK_NOFOLLOW) != 0) return Step::Failed("give /" + path);
    return Step::Done();
  }

  Step Link(const char* target, const std::string& path) {
    if (symlinkat(target, root_.get(), path.c_str()) != 0) return Step::Failed("link /" + path);
    return Step::Done();
  }

  /// A file of the container's own, in the folder `etc_`; replaces what is there.
  Step EtcFile(const char* name, const std::string& bytes) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    UniqueFd file(openat(etc_.get(), name, kFlags, 0644));
    if (!file.valid() && errno == EEXIST && unlinkat(etc_.get(), name, 0) == 0) {
      file.Reset(openat(etc_.get(), name, kFlags, 0644));
    }
    if (!file.valid() || fchown(file.get(), owner_, owner_) != 0 ||
        write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      return Step::Failed(std::string("write /etc/") + name);
    }
    return Step::Done();
  }

  /// The host's `source` at `path` in the root, which is made if it is missing.
  Step Bind(const std::string& source, const std::string& path, bool file, bool recursive, uint64_t attributes) {
    UniqueFd tree, target;
    RETURN_IF_FAILED(CopyMount(AT_FDCWD, source, recursive, attributes, tree));
    RETURN_IF_FAILED(MakeInRoot(root_.get(), path, file, owner_, target));
    return Attach(tree, target, path);
  }

  Step MountNew(const UniqueFd& mount, const std::string& path) {
    UniqueFd target;
    RETURN_IF_FAILED(MakeInRoot(root_.get(), path, false, owner_, target));
    return Attach(mount, target, path);
  }

  // Parts --------------------------------------------------------------------------------------------------

  /// The one tmpfs, at the mount point: itself the root of "host", staging ground and holder of /tmp... of folders.
  Step MakeScratch() {
    const int64_t bytes = request_.tmpfs_bytes > 0 ? request_.tmpfs_bytes : request_.memory_bytes / 2;
    const std::string owner = std::to_string(owner_);
    UniqueFd tmpfs;
    RETURN_IF_FAILED(NewFilesystem("tmpfs", {{"size", std::to_string(bytes)},
                                             {"nr_inodes", std::to_string(4096 + bytes / 2048)},
                                             {"mode", "0755"}, {"uid", owner}, {"gid", owner}},
                                   kNoSuid | kNoDev, tmpfs));
    stage_ = request_.run_dir + "/root";
    UniqueFd target(open(stage_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!target.valid()) return Step::Failed("open " + stage_);
    RETURN_IF_FAILED(Attach(tmpfs, target, "the root's tmpfs"));
    scratch_.Reset(open(stage_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    root_.Reset(open(stage_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    return root_.valid() && scratch_.valid() ? Step::Done() : Step::Failed("open the root's tmpfs");
  }

  Step HostRoot() {
    for (const char* path : {"etc", "home", "mnt", "opt", "run", "srv", "usr", "var", "etc/ssl", "var/cache", "var/lib"}) {
      RETURN_IF_FAILED(Folder(path));
    }
    RETURN_IF_FAILED(Folder("root", 0700));
    RETURN_IF_FAILED(Folder("tmp", 01777));
    RETURN_IF_FAILED(Folder("var/tmp", 01777));
    RETURN_IF_FAILED(Link("/run", "var/run"));
    RETURN_IF_FAILED(Bind("/usr", "usr", false, true, kReadOnly | kNoSuid | kNoDev));
    for (const std::string folder : kProgramFolders) {
      struct stat st {};
      if (lstat(("/" + folder).c_str(), &st) != 0) continue;
      if (!S_ISLNK(st.st_mode)) {
        RETURN_IF_FAILED(Bind("/" + folder, folder, false, true, kReadOnly | kNoSuid | kNoDev));
        continue;
      }
      RETURN_IF_FAILED(CopyLink("/" + folder, folder));
    }
    return HostEtc();
  }

  Step CopyLink(const std::string& source, const std::string& path) {
    char target[PATH_MAX];
    const ssize_t length = readlink(source.c_str(), target, sizeof target - 1);
    if (length < 0) return Step::Failed("read the link " + source);
    target[length] = '\0';
    return Link(target, path);
  }

  Step HostEtc() {
    RETURN_IF_FAILED(OpenInRoot(root_.get(), "etc", etc_));
    for (const char* name : kEtcCopied) {
      const StatusOr<std::string> bytes = ReadPublic(std::string("/etc/") + name);
      if (bytes.ok()) RETURN_IF_FAILED(EtcFile(name, *bytes));
    }
    for (const char* name : kEtcBound) {
      struct stat st {};
      const std::string source = std::string("/etc/") + name;
      if (stat(source.c_str(), &st) != 0) continue;
      RETURN_IF_FAILED(Bind(source, std::string("etc/") + name, !S_ISDIR(st.st_mode), false,
                            kReadOnly | kNoSuid | kNoDev | kNoExec));
    }
    struct stat st {};
    if (lstat("/etc/localtime", &st) == 0 && S_ISLNK(st.st_mode)) RETURN_IF_FAILED(CopyLink("/etc/localtime", "etc/localtime"));
    RETURN_IF_FAILED(Link("../usr/lib/os-release", "etc/os-release"));
    RETURN_IF_FAILED(Link("/proc/self/mounts", "etc/mtab"));
    RETURN_IF_FAILED(EtcFile("passwd", "root:x:0:0:root:/root:/bin/sh\n"
                                     "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
                                     "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"));
    RETURN_IF_FAILED(EtcFile("group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n"));
    return Names();
  }

  /// A file of the host that every user of the host may read.
  static StatusOr<std::string> ReadPublic(const std::string& path) {
    struct stat st {};
    if (stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & S_IROTH) == 0) {
      return Errorf(Code::kNotFound, "no public file '{}'", path);
    }
    return ReadFile(path, kMaxCopiedBytes);
  }

  Step Names() {
    RETURN_IF_FAILED(EtcFile("hostname", request_.hostname + "\n"));
    RETURN_IF_FAILED(EtcFile("hosts", "127.0.0.1\tlocalhost " + request_.hostname + "\n::1\tlocalhost ip6-localhost\n"));
    if (!request_.host_network) return Step::Done();
    const StatusOr<std::string> resolver = ReadPublic("/etc/resolv.conf");
    return resolver.ok() ? EtcFile("resolv.conf", *resolver) : Step::Done();
  }

  /// Resolves the image's folder without following any link: the path was checked by agentd as it is written.
  static Step OpenStrictly(const std::string& path, UniqueFd& out) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    out.Reset(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
    return out.valid() ? Step::Done() : Step::Failed("open " + path);
  }

  Step FolderRoot() {
    for (const char* path : {"lower", "store", "merged", "tmp", "run", "dev"}) RETURN_IF_FAILED(Folder(path));
    RETURN_IF_FAILED(Folder("tmp", 01777));
    if (fchmodat(scratch_.get(), "tmp", 01777, 0) != 0) return Step::Failed("open /tmp to all");
    UniqueFd image, lower, target;
    RETURN_IF_FAILED(OpenStrictly(request_.image.substr(4), image));
    RETURN_IF_FAILED(CopyMount(image.get(), "", false, kReadOnly | kNoSuid | kNoDev, lower));
    MapIds(lower);
    RETURN_IF_FAILED(OpenInRoot(root_.get(), "lower", target));
    RETURN_IF_FAILED(Attach(lower, target, "the image"));
    if (!request_.overlay_dir.empty()) {
      UniqueFd folder, store;
      RETURN_IF_FAILED(OpenStrictly(request_.overlay_dir, folder));
      RETURN_IF_FAILED(CopyMount(folder.get(), "", false, kNoSuid | kNoDev, store));
      RETURN_IF_FAILED(OpenInRoot(root_.get(), "store", target));
      RETURN_IF_FAILED(Attach(store, target, "the overlay's folder"));
    }
    RETURN_IF_FAILED(Folder("store/upper"));
    RETURN_IF_FAILED(Folder("store/work"));
    // Relative names: overlay's options split at ':' and ','.
    if (chdir(stage_.c_str()) != 0) return Step::Failed("enter " + stage_);
    UniqueFd overlay;
    RETURN_IF_FAILED(NewFilesystem("overlay", {{"lowerdir", "lower"}, {"upperdir", "store/upper"}, {"workdir", "store/work"},
                                               {"volatile", ""}}, kNoSuid | kNoDev, overlay));
    RETURN_IF_FAILED(OpenInRoot(root_.get(), "merged", target));
    RETURN_IF_FAILED(Attach(overlay, target, "the overlay"));
    stage_ += "/merged";
    root_.Reset(open(stage_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root_.valid()) return Step::Failed("open the overlay");
    for (const char* path : {"tmp", "run"}) {
      UniqueFd part;
      RETURN_IF_FAILED(CopyMount(scratch_.get(), path, false, kNoSuid | kNoDev, part));
      RETURN_IF_FAILED(MountNew(part, path));
    }
    RETURN_IF_FAILED(MakeInRoot(root_.get(), "etc", false, owner_, etc_));
    return Names();
  }

  /// The image's root becomes the container's root where its file system knows idmapped mounts.
  void MapIds(const UniqueFd& mount) {
    mount_attr attr{};
    attr.attr_set = MOUNT_ATTR_IDMAP;
    attr.userns_fd = static_cast<uint64_t>(parts_.user_namespace);
    (void)mount_setattr(mount.get(), "", AT_EMPTY_PATH, &attr, sizeof attr);
  }

  Step Dev() {
    UniqueFd dev;
    if (request_.image == "host") {
      RETURN_IF_FAILED(Folder("dev"));
    } else {
      UniqueFd part;
      RETURN_IF_FAILED(CopyMount(scratch_.get(), "dev", false, kNoSuid | kNoDev, part));
      RETURN_IF_FAILED(MountNew(part, "dev"));
    }
    // From here on in that folder itself: an image's /dev may be a link.
    RETURN_IF_FAILED(OpenInRoot(root_.get(), "dev", dev));
    for (const std::string name : kDevices) {
      UniqueFd device, target;
      RETURN_IF_FAILED(CopyMount(AT_FDCWD, "/dev/" + name, false, kNoSuid | kNoExec, device));
      RETURN_IF_FAILED(MakeInRoot(dev.get(), name, true, owner_, target));
      RETURN_IF_FAILED(Attach(device, target, "dev/" + name));
    }
    for (const auto& [name, mode] : {std::pair("shm", 01777u), std::pair("pts", 0755u)}) {
      if (mkdirat(dev.get(), name, mode) != 0 || fchownat(dev.get(), name, owner_, owner_, 0) != 0) {
        return Step::Failed(std::string("make dev/") + name);
      }
    }
    UniqueFd pts, target;
    RETURN_IF_FAILED(NewFilesystem("devpts", {{"newinstance", ""}, {"ptmxmode", "0666"}, {"mode", "0620"},
                                              {"gid", std::to_string(owner_ + 5)}}, kNoSuid | kNoExec, pts));
    RETURN_IF_FAILED(OpenInRoot(dev.get(), "pts", target));
    RETURN_IF_FAILED(Attach(pts, target, "dev/pts"));
    for (const auto& [to, name] : {std::pair("pts/ptmx", "ptmx"), std::pair("/proc/self/fd", "fd"),
                                   std::pair("/proc/self/fd/0", "stdin"), std::pair("/proc/self/fd/1", "stdout"),
                                   std::pair("/proc/self/fd/2", "stderr")}) {
      if (symlinkat(to, dev.get(), name) != 0) return Step::Failed(std::string("link dev/") + name);
    }
    return Step::Done();
  }

  Step Proc() {
    UniqueFd proc;
    RETURN_IF_FAILED(NewFilesystem("proc", {}, kNoSuid | kNoDev | kNoExec, proc));
    RETURN_IF_FAILED(MountNew(proc, "proc"));
    for (const char* path : kMaskedFiles) RETURN_IF_FAILED(Mask(path));
    for (const char* path : kReadOnlyFolders) RETURN_IF_FAILED(ReadOnly(path, false, kNoExec));
    return Step::Done();
  }

  Step ReadOnly(const std::string& path, bool recursive, uint64_t also = 0) {
    UniqueFd tree, target;
    const Step found = OpenInRoot(root_.get(), path, target);
    if (found.error == ENOENT) return Step::Done();
    RETURN_IF_FAILED(found);
    RETURN_IF_FAILED(CopyMount(target.get(), "", recursive, kReadOnly | kNoSuid | kNoDev | also, tree));
    return Attach(tree, target, path);
  }

  Step Sys() {
    UniqueFd sys;
    RETURN_IF_FAILED(NewFilesystem("sysfs", {}, kReadOnly | kNoSuid | kNoDev | kNoExec, sys));
    RETURN_IF_FAILED(MountNew(sys, "sys"));
    for (const char* path : kMaskedFolders) RETURN_IF_FAILED(Mask(path));
    return Step::Done();
  }

  /// Covers a file with /dev/null, a folder with an empty one. What this kernel doesn't have needs no cover.
  Step Mask(const std::string& path) {
    UniqueFd target, cover;
    const Step found = OpenInRoot(root_.get(), path, target);
    if (found.error == ENOENT) return Step::Done();
    RETURN_IF_FAILED(found);
    struct stat st {};
    if (fstat(target.get(), &st) != 0) return Step::Failed("look at " + path);
    if (S_ISDIR(st.st_mode)) {
      RETURN_IF_FAILED(NewFilesystem("tmpfs", {{"size", "4096"}, {"nr_inodes", "1"}, {"mode", "0555"}},
                                     kReadOnly | kNoSuid | kNoDev | kNoExec, cover));
    } else {
      RETURN_IF_FAILED(CopyMount(AT_FDCWD, "/dev/null", false, kReadOnly | kNoSuid | kNoExec, cover));
    }
    return Attach(cover, target, path);
  }

  Step UserMounts() {
    for (const MountRequest& wanted : request_.mounts) {
      UniqueFd source, tree, target;
      RETURN_IF_FAILED(OpenStrictly(wanted.host_path, source));
      struct stat st {};
      if (fstat(source.get(), &st) != 0) return Step::Failed("look at " + wanted.host_path);
      RETURN_IF_FAILED(CopyMount(source.get(), "", true, kNoSuid | kNoDev | (wanted.read_only ? kReadOnly : 0), tree));
      RETURN_IF_FAILED(MakeInRoot(root_.get(), wanted.mount_path, !S_ISDIR(st.st_mode), owner_, target));
      RETURN_IF_FAILED(Attach(tree, target, wanted.mount_path));
    }
    return Step::Done();
  }

  /// Over whatever is there by now: mounts that were asked for can't hide what was granted.
  Step View() {
    constexpr const char* kName = ".isla-view";
    for (const sandbox::ViewFile& file : parts_.view) {
      const bool kernels = file.path.starts_with("/proc/") || file.path.starts_with("/sys/");
      UniqueFd target, tree;
      const Step found = kernels ? OpenInRoot(root_.get(), file.path, target) : MakeInRoot(root_.get(), file.path, true, owner_, target);
      if (kernels && found.error == ENOENT) continue;
      RETURN_IF_FAILED(found);
      {
        const UniqueFd made(openat(scratch_.get(), kName, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
        if (!made.valid() || write(made.get(), file.content.data(), file.content.size()) != static_cast<ssize_t>(file.content.size())) {
          return Step::Failed("write what is shown as " + file.path);
        }
      }
      RETURN_IF_FAILED(CopyMount(scratch_.get(), kName, false, kReadOnly | kNoSuid | kNoDev | kNoExec, tree));
      RETURN_IF_FAILED(Attach(tree, target, file.path));
      // The mount keeps it; it has no name that the container could write it by.
      if (unlinkat(scratch_.get(), kName, 0) != 0) return Step::Failed("hide what is shown as " + file.path);
    }
    return Step::Done();
  }

  Step Pivot() {
    if (!request_.working_dir.empty()) {
      UniqueFd folder;
      RETURN_IF_FAILED(MakeInRoot(root_.get(), request_.working_dir, false, owner_, folder));
    }
    if (chdir(stage_.c_str()) != 0) return Step::Failed("enter the root");
    // The old root ends up over the new one, and is taken off.
    if (syscall(SYS_pivot_root, ".", ".") != 0) return Step::Failed("pivot to the root");
    if (umount2(".", MNT_DETACH) != 0) return Step::Failed("detach the host's root");
    return chdir("/") == 0 ? Step::Done() : Step::Failed("enter the root");
  }

  const LaunchRequest& request_;
  const RootParts& parts_;
  const uint32_t owner_;
  std::string stage_;
  UniqueFd scratch_, root_, etc_;
};

}  // namespace

Step EnterRoot(const LaunchRequest& request, const RootParts& parts) { return RootBuilder(request, parts).Build(); }

Step MountCgroup() {
  UniqueFd cgroup;
  RETURN_IF_FAILED(NewFilesystem("cgroup2", {}, kReadOnly | kNoSuid | kNoDev | kNoExec, cgroup));
  const UniqueFd target(open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!target.valid()) return Step::Failed("open /sys/fs/cgroup");
  return Attach(cgroup, target, "sys/fs/cgroup");
}

}  // namespace isla::shim
