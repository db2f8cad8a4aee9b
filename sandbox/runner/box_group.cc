#include "sandbox/runner/box_group.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "api/base/cgroup_folders.h"

namespace isla::runner {
namespace {

constexpr std::string_view kPrefix = "isla-box.";
constexpr int kMostNames = 64;     // tried for one group
constexpr int kMostSwept = 256;    // looked at in one start
constexpr uint64_t kPage = 4096;
constexpr int kEmptyMs = 1000;     // for the last processes to be gone

/// A small file of a group; "" if it can't be read.
std::string Read(int folder, const char* name) {
  const UniqueFd fd(openat(folder, name, O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t got = fd.valid() ? read(fd.get(), text, sizeof text) : -1;
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
}

Status Write(int folder, const char* name, const std::string& text) {
  const UniqueFd fd(openat(folder, name, O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return FromErrno(errno, fmt::format("open {}", name));
  return write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? OkStatus() : FromErrno(errno, fmt::format("write '{}' to {}", text, name));
}

bool Has(int folder, const char* name) { return faccessat(folder, name, F_OK, 0) == 0; }

uint64_t NumberIn(std::string_view text) {
  uint64_t out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

/// The number after `key` in lines of "key number".
uint64_t Keyed(int folder, const char* name, std::string_view key) {
  const std::string text = "\n" + Read(folder, name);
  const size_t at = text.find("\n" + std::string(key) + " ");
  return at == std::string::npos ? 0 : NumberIn(std::string_view(text).substr(at + key.size() + 2));
}

/// Sets a limit and reads it back: accepted is not enforced.
Status Set(int folder, const char* name, uint64_t value) {
  RETURN_IF_ERROR(Write(folder, name, std::to_string(value)));
  const uint64_t have = NumberIn(Read(folder, name));
  if (have <= value && have + kPage > value) return OkStatus();
  return Errorf(Code::kFailedPrecondition, "{}: {} was set, {} is in force", name, value, have);
}

/// "memory pids\n" -> "memory,pids".
std::string Listed(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), ' ', ',');
  return text;
}

bool IsUnified(const std::string& path) {
  struct statfs fs {};
  return statfs(path.c_str(), &fs) == 0 && static_cast<uint64_t>(fs.f_type) == CGROUP2_SUPER_MAGIC;
}

/// Whether we may make groups here and move processes into them from below.
bool IsOurs(const std::string& path) {
  return faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) == 0 && faccessat(AT_FDCWD, (path + "/cgroup.procs").c_str(), W_OK, AT_EACCESS) == 0;
}

std::vector<const char*> ControllersFor(const sandbox::ResourceLimits& limits) {
  std::vector<const char*> out;
  if (limits.memory_bytes != 0) out.push_back("memory");
  if (limits.cpu_millis != 0) out.push_back("cpu");
  if (limits.tasks != 0) out.push_back("pids");
  return out;
}

/// `path` and those above it, up to where v2 is mounted.
std::vector<std::string> Upwards(std::string path) {
  std::vector<std::string> out;
  while (path.size() > 1 && IsUnified(path)) {
    out.push_back(path);
    path.resize(path.rfind('/'));
  }
  return out;
}

struct Place {
  std::string path, controllers;
};

size_t CountOf(const std::string& controllers, const std::vector<const char*>& wanted) {
  return static_cast<size_t>(std::count_if(wanted.begin(), wanted.end(), [&controllers](const char* each) { return HasController(controllers, each); }));
}

std::string HandedDown(const std::string& path) {
  const UniqueFd folder(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return Listed(Read(folder.get(), "cgroup.subtree_control"));
}

/// Where a group of v2 can be made, with as many of the wanted controllers as can be; or "".
Place FindPlace(const std::vector<std::string>& from_below, const std::vector<const char*>& wanted) {
  Place out;
  size_t most = 0;
  for (const std::string& path : from_below) {
    if (!IsOurs(path)) continue;
    std::string controllers = HandedDown(path);
    // Only the top may be told to hand down: of those between somebody else decides, systemd as a rule.
    if (&path == &from_below.back() && CountOf(controllers, wanted) < wanted.size()) {
      const UniqueFd folder(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      for (const char* each : wanted) {
        if (!HasController(controllers, each)) (void)Write(folder.get(), "cgroup.subtree_control", std::string("+") + each);
      }
      controllers = HandedDown(path);
    }
    const size_t count = CountOf(controllers, wanted);
    if (!out.path.empty() && count <= most) continue;
    most = count;
    out = {path, std::move(controllers)};
    if (most == wanted.size()) break;
  }
  return out;
}

constexpr const char* kWhatToDo = "; where systemd is, it makes one: systemd-run --user --scope -p Delegate=yes isla-box ..., or without --user as root";

}  // namespace

StatusOr<BoxGroup::Folder> BoxGroup::Make(const std::string& parent, bool v1) {
  Folder out;
  out.v1 = v1;
  out.parent.Reset(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out.parent.valid()) return FromErrno(errno, "open " + parent);
  Sweep(out.parent.get());
  for (int n = 0; n < kMostNames; ++n) {
    const std::string name = fmt::format("{}{}.{}", kPrefix, getpid(), n);
    if (mkdirat(out.parent.get(), name.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      return FromErrno(errno, fmt::format("make {}/{}", parent, name));
    }
    UniqueFd folder(openat(out.parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // Between making and locking another start may have swept it away.
    if (!folder.valid() || flock(folder.get(), LOCK_EX | LOCK_NB) != 0 || !Has(folder.get(), "cgroup.procs")) continue;
    out.folder = std::move(folder);
    out.name = name;
    // Thread by thread on v1: moving a whole process waits for a grace period there.
    out.procs.Reset(openat(out.folder.get(), v1 ? "tasks" : "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (out.procs.valid()) return out;
    const int error = errno;
    unlinkat(out.parent.get(), name.c_str(), AT_REMOVEDIR);
    return FromErrno(error, fmt::format("open {}/{}/cgroup.procs", parent, name));
  }
  return Errorf(Code::kResourceExhausted, "no name for a control group is left in {}", parent);
}

void BoxGroup::Sweep(int parent) {
  const int own = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> names(own < 0 ? nullptr : fdopendir(own), closedir);
  int looked = 0;
  while (const dirent* const entry = names == nullptr || looked >= kMostSwept ? nullptr : readdir(names.get())) {
    if (!std::string_view(entry->d_name).starts_with(kPrefix)) continue;
    ++looked;
    const UniqueFd folder(openat(parent, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.valid() || flock(folder.get(), LOCK_EX | LOCK_NB) != 0) continue;
    // With processes in it, it stays.
    (void)unlinkat(parent, entry->d_name, AT_REMOVEDIR);
  }
}

StatusOr<BoxGroup> BoxGroup::Create(const GroupOptions& options) {
  const StatusOr<std::string> cgroup = ReadFile("/proc/self/cgroup"), mounts = ReadFile("/proc/self/mountinfo");
  if (!cgroup.ok() || !mounts.ok()) return Error(Code::kFailedPrecondition, "there is no /proc to find control groups in");
  const std::vector<CgroupFolder> own = FindCgroups(*cgroup, *mounts);
  const std::vector<const char*> wanted = ControllersFor(options.limits);
  BoxGroup out;
  const auto unified = std::find_if(own.begin(), own.end(), [](const CgroupFolder& each) { return each.controllers.empty(); });
  Place place;
  if (!options.parent.empty()) {
    if (!IsUnified(options.parent)) return Errorf(Code::kFailedPrecondition, "'{}' is no control group of version 2", options.parent);
    place = FindPlace({options.parent}, wanted);
    if (place.path.empty()) return Errorf(Code::kFailedPrecondition, "no group can be made in '{}': it is not ours to write", options.parent);
  } else if (unified == own.end()) {
    out.why_not_ = "cgroup v2 isn't mounted, or doesn't show our own group";
  } else {
    const std::vector<std::string> above = Upwards(unified->path);
    place = FindPlace(above, wanted);
    if (place.path.empty()) out.why_not_ = fmt::format("'{}' and the groups above it aren't ours to write{}", unified->path, kWhatToDo);
  }
  if (!place.path.empty() && (options.unified || options.programs || CountOf(place.controllers, wanted) > 0)) {
    StatusOr<Folder> made = Make(place.path, false);
    if (!made.ok()) {
      out.why_not_ = Message(made.status());
    } else {
      out.unified_ = *std::move(made);
      out.unified_.controllers = place.controllers;
      out.path_ = place.path + "/" + out.unified_.name;
    }
  }
  if (options.unified && !out.unified_.folder.valid()) return Errorf(Code::kFailedPrecondition, "{}", out.why_not_);
  for (const char* controller : wanted) {
    if (out.With(controller) != nullptr) continue;
    const auto v1 = std::find_if(own.begin(), own.end(), [controller](const CgroupFolder& each) { return !each.controllers.empty() && HasController(each.controllers, controller); });
    if (v1 == own.end()) {
      if (out.why_not_.empty()) out.why_not_ = fmt::format("no group that we may make has the controller{}", kWhatToDo);
      continue;
    }
    StatusOr<Folder> made = Make(v1->path, true);
    if (!made.ok()) {
      if (out.why_not_.empty()) out.why_not_ = Message(made.status());
      continue;
    }
    if (out.path_.empty()) out.path_ = v1->path + "/" + made->name;
    made->controllers = v1->controllers;
    out.v1_.push_back(*std::move(made));
  }
  if (!out.unified_.folder.valid() && out.v1_.empty()) return Errorf(Code::kFailedPrecondition, "{}", out.why_not_);
  if (const Folder* const memory = out.With("memory"); memory != nullptr) {
    out.memory_usage_.Reset(openat(memory->folder.get(), memory->v1 ? "memory.usage_in_bytes" : "memory.current", O_RDONLY | O_CLOEXEC));
  }
  return out;
}

BoxGroup::~BoxGroup() {
  Remove(unified_);
  for (Folder& each : v1_) Remove(each);
}

void BoxGroup::Remove(Folder& folder) const {
  if (!folder.folder.valid()) return;
  const auto remove = [&folder] { return unlinkat(folder.parent.get(), folder.name.c_str(), AT_REMOVEDIR) == 0 || errno != EBUSY; };
  if (remove() || !ends_with_command_) return;
  // A process that was waited for leaves its group a moment later. v2 tells; v1's are looked at again.
  const UniqueFd events(folder.v1 ? -1 : openat(folder.folder.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  const int step = folder.v1 ? 10 : kEmptyMs / 10;
  for (int waited = 0; waited < kEmptyMs && !remove(); waited += step) {
    pollfd change = {events.get(), POLLPRI, 0};
    (void)poll(&change, 1, step);
  }
}

const BoxGroup::Folder* BoxGroup::With(const char* controller) const {
  if (unified_.folder.valid() && HasController(unified_.controllers, controller)) return &unified_;
  const auto found = std::find_if(v1_.begin(), v1_.end(), [controller](const Folder& each) { return HasController(each.controllers, controller); });
  return found == v1_.end() ? nullptr : &*found;
}

Status BoxGroup::Missing(const char* controller) const {
  return Errorf(Code::kFailedPrecondition, "there is no control group with the controller '{}' for it{}{}", controller, why_not_.empty() ? "" : ": ", why_not_);
}

Status BoxGroup::LimitMemory(uint64_t bytes) {
  const Folder* const in = With("memory");
  if (in == nullptr) return Missing("memory");
  const int folder = in->folder.get();
  const char* const together = "memory.memsw.limit_in_bytes";  // v1: with swap, so never less than without
  if (bytes == 0) {
    if (!in->v1) return Write(folder, "memory.max", "max");
    if (Has(folder, together)) RETURN_IF_ERROR(Write(folder, together, "-1"));
    return Write(folder, "memory.limit_in_bytes", "-1");
  }
  const uint64_t used = NumberIn(Read(folder, in->v1 ? "memory.usage_in_bytes" : "memory.current"));
  // What is in use of the page cache could be given back; but what can't be, the kernel would kill for.
  if (used > bytes) return Errorf(Code::kFailedPrecondition, "{} bytes are in use already", used);
  if (!in->v1) {
    RETURN_IF_ERROR(Set(folder, "memory.max", bytes));
    if (Has(folder, "memory.swap.max")) RETURN_IF_ERROR(Set(folder, "memory.swap.max", 0));
    // All or nothing: a command that lost some of its processes is a riddle.
    return Write(folder, "memory.oom.group", "1");
  }
  const bool more = Has(folder, together) && NumberIn(Read(folder, together)) < bytes;
  if (more) RETURN_IF_ERROR(Set(folder, together, bytes));
  RETURN_IF_ERROR(Set(folder, "memory.limit_in_bytes", bytes));
  return Has(folder, together) && !more ? Set(folder, together, bytes) : OkStatus();
}

Status BoxGroup::LimitCpu(uint64_t millis) {
  const Folder* const in = With("cpu");
  if (in == nullptr) return Missing("cpu");
  const CpuQuota quota = QuotaOf(static_cast<int64_t>(millis));
  const int folder = in->folder.get();
  if (!in->v1) {
    const std::string text = millis == 0 ? "max 100000" : fmt::format("{} {}", quota.quota_usec, quota.period_usec);
    RETURN_IF_ERROR(Write(folder, "cpu.max", text));
    return Read(folder, "cpu.max") == text + "\n" ? OkStatus() : Errorf(Code::kFailedPrecondition, "cpu.max isn't '{}'", text);
  }
  // First off: else another period may mean more than is allowed above us, for a moment.
  RETURN_IF_ERROR(Write(folder, "cpu.cfs_quota_us", "-1"));
  if (millis == 0) return OkStatus();
  RETURN_IF_ERROR(Write(folder, "cpu.cfs_period_us", std::to_string(quota.period_usec)));
  RETURN_IF_ERROR(Write(folder, "cpu.cfs_quota_us", std::to_string(quota.quota_usec)));
  return NumberIn(Read(folder, "cpu.cfs_quota_us")) == static_cast<uint64_t>(quota.quota_usec) ? OkStatus() : Error(Code::kFailedPrecondition, "cpu.cfs_quota_us can't be set");
}

Status BoxGroup::LimitTasks(uint64_t tasks) {
  const Folder* const in = With("pids");
  if (in == nullptr) return Missing("pids");
  RETURN_IF_ERROR(Write(in->folder.get(), "pids.max", tasks == 0 ? "max" : std::to_string(tasks)));
  return NumberIn(Read(in->folder.get(), "pids.max")) == tasks ? OkStatus() : Error(Code::kFailedPrecondition, "pids.max can't be set");
}

GroupEntry BoxGroup::entry() const {
  GroupEntry out = {unified_.folder.get(), unified_.procs.get(), {}, memory_usage_.get()};
  for (const Folder& each : v1_) out.tasks.push_back(each.procs.get());
  return out;
}

uint64_t BoxGroup::OomKills() const {
  const Folder* const in = With("memory");
  if (in == nullptr) return 0;
  return Keyed(in->folder.get(), in->v1 ? "memory.oom_control" : "memory.events", "oom_kill");
}

Status EnterGroup(const GroupEntry& entry, bool unified) {
  std::vector<int> into = entry.tasks;
  if (unified && entry.procs >= 0) into.push_back(entry.procs);
  for (const int fd : into) {
    if (write(fd, "0", 1) != 1) return FromErrno(errno, "enter the control group");
  }
  return OkStatus();
}

}  // namespace isla::runner
