#include "sandbox/runner/root.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "api/base/cgroup_folders.h"
#include "api/base/read_descriptor.h"
#include "sandbox/runner/mounts.h"

namespace isla::runner {
namespace {

using sandbox::ViewFile;

constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};
constexpr uint64_t kInert = kReadOnly | kNoSuid | kNoDev | kNoExec;

// What root reads or writes there is the machine's, whatever its capabilities are: the kernel asks for the user only.
constexpr const char* kMaskedForRoot[] = {"/proc/kcore", "/proc/keys", "/proc/sysrq-trigger", "/proc/latency_stats", "/proc/timer_list",
                                          "/proc/sched_debug", "/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};
constexpr const char* kReadOnlyForRoot[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"};

class RootBuilder {
 public:
  RootBuilder(const Request& request, const GrantedFiles& granted) : request_(request), granted_(granted) {}

  Status Build() {
    // Mounts of the host still come and go in ours, ours stay ours.
    if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
      const int error = errno;
      // There a user namespace can be made, and has no rights.
      const bool restricted = request_.namespaces.user && access("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", F_OK) == 0;
      return FromErrno(error, fmt::format("make mounts private{}", restricted ? " (AppArmor may restrict user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns; --no-namespaces runs it without)" : ""));
    }
    // To look at mounts with, when the host's own /proc is covered or gone.
    if (request_.group.any()) host_proc_.Reset(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (const char* name : kDevices) {
      ASSIGN_OR_RETURN(UniqueFd device, CopyTree(AT_FDCWD, std::string("/dev/") + name, 0));
      devices_.push_back(std::move(device));
    }
    std::vector<UniqueFd> sources;
    for (const Mount& wanted : request_.mounts) {
      if (wanted.kind == Mount::Kind::kTmpfs) {
        sources.emplace_back();
        continue;
      }
      const bool read_only = wanted.kind == Mount::Kind::kReadOnly;
      StatusOr<UniqueFd> tree = CopyTree(AT_FDCWD, wanted.source, kNoDev | (read_only ? kReadOnly : 0));
      if (!tree.ok()) return Annotate(tree.status(), read_only ? "--ro-bind" : "--bind");
      sources.push_back(*std::move(tree));
    }
    // In a user namespace the kernel allows a new /proc only where one is to be seen: the host's, before we leave its root.
    if (request_.namespaces.pid) RETURN_IF_ERROR(MakeProc());
    RETURN_IF_ERROR(Enter());
    const bool all_read_only = request_.policy.sections.files && Has(request_.policy.sections.files->read_only, "/");
    if (all_read_only) RETURN_IF_ERROR(SetAttributes(root_.get(), kReadOnly, true, "/"));
    RETURN_IF_ERROR(Dev());
    if (request_.namespaces.pid) RETURN_IF_ERROR(Proc());
    for (size_t i = 0; i < sources.size(); ++i) RETURN_IF_ERROR(UserMount(request_.mounts[i], std::move(sources[i])));
    RETURN_IF_ERROR(PolicyMounts());
    RETURN_IF_ERROR(ControlGroups());
    for (const std::string& path : request_.hidden) RETURN_IF_ERROR(Mask(path));
    return View();
  }

 private:
  static bool Has(const std::vector<std::string>& all, std::string_view one) {
    for (const std::string& each : all) {
      if (each == one) return true;
    }
    return false;
  }

  /// The root that was asked for becomes ours.
  Status Enter() {
    if (!request_.root.empty()) {
      const StatusOr<UniqueFd> copied = CopyTree(AT_FDCWD, request_.root, kNoDev);
      RETURN_IF_ERROR(Annotate(copied.status(), "--root"));
      const UniqueFd& tree = *copied;
      const UniqueFd target(open(request_.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!target.valid()) return FromErrno(errno, "open the root " + request_.root);
      RETURN_IF_ERROR(Attach(tree, target, request_.root));
      // The copy lies over the folder now.
      if (chdir(request_.root.c_str()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0) return FromErrno(errno, "enter the root " + request_.root);
      if (umount2(".", MNT_DETACH) != 0) return FromErrno(errno, "detach the host's root");
    }
    if (chdir("/") != 0) return FromErrno(errno, "enter the root");
    root_.Reset(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    return root_.valid() ? OkStatus() : FromErrno(errno, "open the root");
  }

  Status Dev() {
    ASSIGN_OR_RETURN(const UniqueFd tmpfs, NewFilesystem("tmpfs", {{"mode", "0755"}, {"size", "50%"}}, kNoSuid | kNoDev));
    StatusOr<UniqueFd> target = OpenInRoot(root_.get(), "/dev");
    if (!target.ok() && !request_.root.empty()) target = MakeInRoot(root_.get(), "/dev", false);
    RETURN_IF_ERROR(target);
    RETURN_IF_ERROR(Attach(tmpfs, *target, "/dev"));
    ASSIGN_OR_RETURN(dev_, OpenInRoot(root_.get(), "/dev"));
    for (size_t i = 0; i < devices_.size(); ++i) {
      // By name: this folder is ours alone yet.
      if (mknodat(dev_.get(), kDevices[i], S_IFREG | 0644, 0) != 0 || move_mount(devices_[i].get(), "", dev_.get(), kDevices[i], MOVE_MOUNT_F_EMPTY_PATH) != 0) {
        return FromErrno(errno, fmt::format("mount /dev/{}", kDevices[i]));
      }
    }
    const mode_t own = umask(0);
    const bool made = mkdirat(dev_.get(), "shm", 01777) == 0 && mkdirat(dev_.get(), "pts", 0755) == 0;
    umask(own);
    if (!made) return FromErrno(errno, "make /dev/shm and /dev/pts");
    // Group tty isn't there in a user namespace of one id.
    StatusOr<UniqueFd> pts = request_.namespaces.user
                                 ? NewFilesystem("devpts", {{"newinstance", ""}, {"ptmxmode", "0666"}, {"mode", "0620"}}, kNoSuid | kNoExec)
                                 : NewFilesystem("devpts", {{"newinstance", ""}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}}, kNoSuid | kNoExec);
    RETURN_IF_ERROR(pts);
    ASSIGN_OR_RETURN(const UniqueFd place, OpenInRoot(dev_.get(), "pts"));
    RETURN_IF_ERROR(Attach(*pts, place, "/dev/pts"));
    for (const auto& [to, name] : {std::pair("pts/ptmx", "ptmx"), std::pair("/proc/self/fd", "fd"), std::pair("/proc/self/fd/0", "stdin"),
                                   std::pair("/proc/self/fd/1", "stdout"), std::pair("/proc/self/fd/2", "stderr")}) {
      if (symlinkat(to, dev_.get(), name) != 0) return FromErrno(errno, fmt::format("link /dev/{}", name));
    }
    return OkStatus();
  }

  Status MakeProc() {
    StatusOr<UniqueFd> proc = NewFilesystem("proc", {}, kNoSuid | kNoDev | kNoExec);
    if (!proc.ok() && proc.status().code() == Code::kPermissionDenied) {
      return Annotate(proc.status(), "a /proc for the pid namespace (where the outer /proc is partly covered, as in a container, the kernel allows none: --share=pid)");
    }
    RETURN_IF_ERROR(proc);
    proc_ = *std::move(proc);
    return OkStatus();
  }

  Status Proc() {
    StatusOr<UniqueFd> target = OpenInRoot(root_.get(), "/proc");
    if (!target.ok() && !request_.root.empty()) target = MakeInRoot(root_.get(), "/proc", false);
    RETURN_IF_ERROR(target);
    RETURN_IF_ERROR(Attach(proc_, *target, "/proc"));
    if (geteuid() != 0) return OkStatus();
    for (const char* path : kReadOnlyForRoot) RETURN_IF_ERROR(ReadOnly(path));
    if (!request_.namespaces.user) {
      // In a user namespace of one ordinary id /sys is as closed as it is for that id.
      StatusOr<UniqueFd> sys = OpenInRoot(root_.get(), "/sys");
      // Attributes are a mount's: a folder that isn't one stays as it is.
      if (sys.ok()) (void)SetAttributes(sys->get(), kReadOnly, true, "/sys");
    }
    for (const char* path : kMaskedForRoot) RETURN_IF_ERROR(Mask(path));
    return OkStatus();
  }

  Status UserMount(const Mount& wanted, UniqueFd tree) {
    bool file = false;
    if (wanted.kind == Mount::Kind::kTmpfs) {
      ASSIGN_OR_RETURN(tree, NewFilesystem("tmpfs", {{"mode", "01777"}}, kNoSuid | kNoDev));
    } else {
      struct stat st {};
      if (fstat(tree.get(), &st) != 0) return FromErrno(errno, "look at " + wanted.source);
      file = !S_ISDIR(st.st_mode);
    }
    ASSIGN_OR_RETURN(const UniqueFd target, MakeInRoot(root_.get(), wanted.target, file));
    return Attach(tree, target, wanted.target);
  }

  /// Covers a file with /dev/null, a folder with an empty one. What isn't there needs no cover.
  Status Mask(const std::string& path) {
    const UniqueFd target = FindInRoot(root_.get(), path);
    if (!target.valid()) return IsMissing(errno) ? OkStatus() : FromErrno(errno, fmt::format("open '{}' in the container", path));
    struct stat st {};
    if (fstat(target.get(), &st) != 0) return FromErrno(errno, "look at " + path);
    // One empty folder covers them all.
    if (S_ISDIR(st.st_mode) && empty_.valid()) {
      ASSIGN_OR_RETURN(const UniqueFd again, CopyTree(empty_.get(), "", 0));
      return Attach(again, target, path);
    }
    StatusOr<UniqueFd> cover = S_ISDIR(st.st_mode) ? NewFilesystem("tmpfs", {{"size", "4096"}, {"nr_inodes", "1"}, {"mode", "0555"}}, kInert)
                                                   : CopyTree(dev_.get(), "null", 0);
    RETURN_IF_ERROR(cover);
    RETURN_IF_ERROR(Attach(*cover, target, path));
    if (S_ISDIR(st.st_mode)) empty_ = *std::move(cover);
    return OkStatus();
  }

  Status ReadOnly(const std::string& path) {
    const UniqueFd target = FindInRoot(root_.get(), path);
    if (!target.valid()) return IsMissing(errno) ? OkStatus() : FromErrno(errno, fmt::format("open '{}' in the container", path));
    ASSIGN_OR_RETURN(const UniqueFd tree, CopyTree(target.get(), "", kReadOnly));
    return Attach(tree, target, path);
  }

  Status PolicyMounts() {
    if (!request_.policy.sections.files) return OkStatus();
    const sandbox::FilesSection& files = *request_.policy.sections.files;
    for (const std::string& path : files.read_only) {
      if (path != "/") RETURN_IF_ERROR(Annotate(ReadOnly(path), "spec.files.readOnly"));
    }
    for (const std::string& path : files.mask) {
      if (path == "/") return Error(Code::kInvalidArgument, "spec.files.mask: '/' can't be masked");
      RETURN_IF_ERROR(Annotate(Mask(path), "spec.files.mask"));
    }
    return OkStatus();
  }

  /// A process that may write there could leave its group: with the limits, and with the programs that decide about its connections.
  Status ControlGroups() {
    if (!request_.group.any()) return OkStatus();
    const UniqueFd info(openat(host_proc_.get(), "self/mountinfo", O_RDONLY | O_CLOEXEC));
    if (!info.valid()) return FromErrno(errno, "look at our mounts");
    ASSIGN_OR_RETURN(const std::string mounts, ReadDescriptor(info.get(), size_t{16} << 20));
    for (const std::string& path : CgroupMountPoints(mounts)) {
      const StatusOr<UniqueFd> target = OpenInRoot(root_.get(), path);
      if (!target.ok()) continue;  // it is covered, so nobody reaches it
      struct statfs fs {};
      const bool there = fstatfs(target->get(), &fs) == 0 && (static_cast<uint64_t>(fs.f_type) == CGROUP2_SUPER_MAGIC || static_cast<uint64_t>(fs.f_type) == CGROUP_SUPER_MAGIC);
      if (there) RETURN_IF_ERROR(SetAttributes(target->get(), kReadOnly, false, path));
    }
    return OkStatus();
  }

  /// One text over one file. It lies in our /dev for a moment: a mount can only be made of what is attached.
  Status Show(const ViewFile& file, std::string_view field) {
    const StatusOr<UniqueFd> target = OpenInRoot(root_.get(), file.path);
    if (!target.ok()) return Annotate(target.status(), field);
    constexpr const char* kName = ".isla-view";
    {
      const UniqueFd written(openat(dev_.get(), kName, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
      if (!written.valid()) return FromErrno(errno, "make a file of the view");
      RETURN_IF_ERROR(WriteAll(written.get(), file.content));
      // As readable as the file that it covers, whatever our umask is.
      if (fchmod(written.get(), 0444) != 0) return FromErrno(errno, "make a file of the view readable");
    }
    const StatusOr<UniqueFd> tree = CopyTree(dev_.get(), kName, kInert);
    RETURN_IF_ERROR(tree);
    RETURN_IF_ERROR(Annotate(Attach(*tree, *target, file.path), field));
    // Only now: what has no name can't be mounted.
    return unlinkat(dev_.get(), kName, 0) == 0 ? OkStatus() : FromErrno(errno, "remove a file of the view");
  }

  Status View() {
    ASSIGN_OR_RETURN(const std::vector<ViewFile> granted, granted_());
    for (const ViewFile& file : granted) RETURN_IF_ERROR(Show(file, "spec.view"));
    if (!request_.policy.sections.view) return OkStatus();
    const std::vector<ViewFile>& files = request_.policy.sections.view->files;
    for (size_t i = 0; i < files.size(); ++i) RETURN_IF_ERROR(Show(files[i], fmt::format("spec.view.files[{}].path", i)));
    return OkStatus();
  }

  const Request& request_;
  const GrantedFiles& granted_;
  std::vector<UniqueFd> devices_;
  UniqueFd root_, dev_, proc_, empty_, host_proc_;
};

}  // namespace

Status BuildRoot(const Request& request, const GrantedFiles& granted) { return RootBuilder(request, granted).Build(); }

}  // namespace isla::runner
