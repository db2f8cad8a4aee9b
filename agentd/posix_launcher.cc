#include "agentd/posix_launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "agentd/cgroups.h"
#include "api/base/log.h"
#include "api/base/memfd.h"
#include "api/base/packet.h"
#include "api/base/spawn.h"

// glibc 2.36 declares these without C linkage for C++ (fixed in 2.37).
extern "C" {
#include <sys/pidfd.h>
}

namespace isla::agent {
namespace {

const Logger kLog("agentd");
constexpr size_t kRecordLimitBytes = 64 * 1024;

/// Field 22 of /proc/<pid>/stat, the start time, which with the pid names a process for ever (this boot).
StatusOr<int64_t> StartTicks(int64_t pid) {
  ASSIGN_OR_RETURN(const std::string stat, ReadFile(fmt::format("/proc/{}/stat", pid), 4096));
  // The second field, the name, may hold anything, spaces and parentheses too.
  size_t at = stat.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return Errorf(Code::kInternal, "/proc/{}/stat has no start time", pid);
  return std::strtoll(stat.c_str() + at, nullptr, 10);
}

bool HasEnded(int pidfd) {
  pollfd p{pidfd, POLLIN, 0};
  return poll(&p, 1, 0) > 0;
}

StatusOr<json::Value> ReadRecord(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kRecordLimitBytes));
  return json::Parse(bytes);
}

}  // namespace

StatusOr<std::unique_ptr<PosixLauncher>> PosixLauncher::Create(PosixLauncherOptions options, Loop& loop) {
  RETURN_IF_ERROR(MakeDirectories(options.run_dir, 0700));
  RETURN_IF_ERROR(MakeDirectories(options.state_dir + "/logs", 0700));
  RETURN_IF_ERROR(MakeDirectories(options.state_dir + "/overlay", 0700));
  std::unique_ptr<PosixLauncher> launcher(new PosixLauncher(std::move(options), loop));
  PolicyCompiler::Options compiler;
  compiler.program = launcher->options_.policyc_path;
  ASSIGN_OR_RETURN(launcher->policies_, PolicyCompiler::Create(std::move(compiler), loop));
  PosixLauncher* raw = launcher.get();
  launcher->worker_ = std::jthread([raw] { raw->RunRemovals(); });
  return launcher;
}

PosixLauncher::~PosixLauncher() {
  *alive_ = false;
  MutexLock lock(mu_);
  stop_ = true;
  wake_.NotifyOne();
}

std::string PosixLauncher::RunFolder(const ContainerKey& key) const { return options_.run_dir + "/" + Name(key); }
std::string PosixLauncher::LogFolder(const ContainerKey& key) const {
  return options_.state_dir + "/logs/" + Name(key);
}
std::string PosixLauncher::OverlayFolder(const ContainerKey& key) const {
  return options_.state_dir + "/overlay/" + Name(key);
}

// ---- Spawning --------------------------------------------------------------------------------------------

void PosixLauncher::Prepare(const PolicyText& policy, uint32_t id_base, std::function<void(Status)> done) {
  // Of the container's ids the one that neither it nor its supervisor has.
  policies_->Prepare(policy, id_base + 65537, std::move(done));
}

StatusOr<pid_t> PosixLauncher::Spawn(const LaunchPlan& plan) {
  warmup_.Kick();
  const ContainerKey& key = plan.key;
  ISLA_CHECK(!shims_.contains(key));
  shim::LaunchRequest request = plan.request;
  request.run_dir = RunFolder(key);
  request.log_path = LogFolder(key) + "/log";
  request.init_path = options_.init_path;
  request.supervisor_path = options_.supervisor_path;
  // Of an attempt that a crash cut off before go; nothing of a payload is in it.
  RETURN_IF_ERROR(RemoveTree(request.run_dir));
  RETURN_IF_ERROR(MakeDirectories(request.run_dir, 0700));
  RETURN_IF_ERROR(MakeDirectories(LogFolder(key), 0700));
  if (request.image != "host") {
    request.overlay_dir = OverlayFolder(key);
    RETURN_IF_ERROR(MakeDirectories(request.overlay_dir, 0700));
  }
  ASSIGN_OR_RETURN(const UniqueFd request_fd, SealedMemfd("isla-launch", json::Serialize(shim::ToJson(request))));
  ASSIGN_OR_RETURN(const UniqueFd policy_fd, policies_->Open(plan.policy));
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    return FromErrno(errno, "socketpair");
  }
  Shim shim;
  shim.control.Reset(pair[0]);
  UniqueFd theirs(pair[1]);
  // O_NONBLOCK belongs to the open socket: only ours has it, theirs is as the shim wants it.
  fcntl(theirs.get(), F_SETFL, fcntl(theirs.get(), F_GETFL) & ~O_NONBLOCK);
  // PATH and the like are no business of the shim; the payload's environment is in the request.
  ASSIGN_OR_RETURN(const pid_t pid, SpawnProcess({.program = options_.shim_path,
                                                  .argv = {"isla-shim"},
                                                  .fds = {{-1, STDIN_FILENO},
                                                          {-1, STDOUT_FILENO},
                                                          {STDERR_FILENO, STDERR_FILENO},
                                                          {request_fd.get(), shim::kLaunchRequestFd},
                                                          {policy_fd.get(), shim::kPolicyFd},
                                                          {theirs.get(), shim::kControlFd}}}));
  theirs.Reset();
  // It is our child and not yet waited for, so the pid can't be another's.
  shim.pidfd.Reset(pidfd_open(pid, 0));
  shim.child = true;
  if (!shim.pidfd.valid()) {
    const Status status = FromErrno(errno, "pidfd_open");
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return status;
  }
  RETURN_IF_ERROR(WatchShim(key, std::move(shim)));
  return pid;
}

Status PosixLauncher::WatchShim(const ContainerKey& key, Shim shim) {
  ASSIGN_OR_RETURN(shim.pid_watch, loop_.WatchFd(shim.pidfd.get(), EPOLLIN, [this, key](uint32_t) { OnDead(key); }));
  if (shim.control.valid()) {
    ASSIGN_OR_RETURN(shim.control_watch,
                     loop_.WatchFd(shim.control.get(), EPOLLIN, [this, key](uint32_t) { OnControl(key); }));
  }
  shims_[key] = std::move(shim);
  return OkStatus();
}

// ---- What a shim says ------------------------------------------------------------------------------------

void PosixLauncher::OnControl(const ContainerKey& key) {
  packet_.resize(shim::kMaxPacketBytes);
  // Bounded, so that a talkative shim can't hold the loop; the watch is level-triggered.
  for (int i = 0; i < 16; ++i) {
    const auto it = shims_.find(key);
    if (it == shims_.end() || !it->second.control.valid()) return;
    const ssize_t got = recv(it->second.control.get(), packet_.data(), packet_.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {  // it closed the socket; whether it is dead is for the pidfd to say
      it->second.control_watch.reset();
      it->second.control.Reset();
      return;
    }
    const auto packet = json::Parse(std::string_view(packet_.data(), static_cast<size_t>(got)));
    if (!packet.ok()) {
      kLog.Warn("bad packet from a shim", "container={} error='{}'; ignoring", Name(key), Message(packet.status()));
      continue;
    }
    OnPacket(key, *packet);
  }
}

void PosixLauncher::OnPacket(const ContainerKey& key, const json::Value& packet) {
  if (observer_ == nullptr) return;
  const std::string event = packet.StringAt({"event"});
  const std::string state = packet.StringAt({"state"});
  if (event == "state" || event == "policy") {
    observer_->OnPolicy(key, {packet.StringAt({"policy"}), packet.StringAt({"startedWith"}), packet.StringAt({"refused"}), packet.StringAt({"error"}),
                              packet.Find("takesRestart") != nullptr});
  }
  if (event == "ready" || (event == "state" && state == "waiting")) {
    observer_->OnReady(key);
  } else if (event == "refused") {
    observer_->OnRefused(key, packet.StringAt({"error"}));
  } else if (event == "running") {
    observer_->OnRunning(key, packet.Int64At({"startedAtNs"}).value_or(0));
  } else if (event == "state" && state == "running") {
    const RunRecords records = Read(key);
    if (records.started_at_ns != 0) observer_->OnRunning(key, records.started_at_ns);
  } else if (event == "exited" || (event == "state" && state == "exited")) {
    observer_->OnExited(key);
  }
}

void PosixLauncher::OnDead(const ContainerKey& key) {
  // What it said last is read first.
  OnControl(key);
  const auto it = shims_.find(key);
  if (it == shims_.end()) return;
  if (it->second.child) {
    siginfo_t info{};
    waitid(P_PIDFD, static_cast<id_t>(it->second.pidfd.get()), &info, WEXITED | WNOHANG);
    kLog.Debug("shim ended", "container={} code={} status={}", Name(key), info.si_code, info.si_status);
  }
  const Shim dead = std::move(it->second);
  shims_.erase(it);
  if (observer_ != nullptr) observer_->OnShimGone(key);
}

// ---- What a shim is told ---------------------------------------------------------------------------------

Status PosixLauncher::SendPacket(const ContainerKey& key, const json::Value& packet, int attached) {
  const auto it = shims_.find(key);
  if (it == shims_.end() || !it->second.control.valid()) return Error(Code::kUnavailable, "no connection to the shim");
  const ssize_t sent = isla::SendPacket(it->second.control.get(), json::Serialize(packet), attached, MSG_DONTWAIT);
  if (sent < 0) return Error(Code::kUnavailable, fmt::format("send to the shim: {}", std::strerror(errno)));
  return OkStatus();
}

Status PosixLauncher::Go(const ContainerKey& key, const std::string& scope, const std::string& invocation_id,
                         int64_t now_ns) {
  const json::Value created =
      json::Value::MakeObject({{"scope", scope}, {"invocationId", invocation_id}, {"atNs", now_ns}});
  RETURN_IF_ERROR(WriteFileAtomically(RunFolder(key) + "/created", json::Serialize(created), 0600, /*durable=*/false));
  return SendPacket(key, json::Value::MakeObject({{"command", "go"}, {"invocationId", invocation_id}}));
}

void PosixLauncher::Abandon(const ContainerKey& key) {
  const auto it = shims_.find(key);
  if (it == shims_.end()) return;
  it->second.control_watch.reset();
  it->second.control.Reset();
  // Before go it has done nothing that needs its own hands to undo.
  pidfd_send_signal(it->second.pidfd.get(), SIGKILL, nullptr, 0);
}

void PosixLauncher::Compare(const PolicyText& started, const PolicyText& wanted, uint32_t id_base, std::function<void(StatusOr<PolicyChange>)> done) {
  policies_->Compare(started, wanted, id_base + 65537, std::move(done));
}

Status PosixLauncher::SwapPolicy(const ContainerKey& key, const PolicyText& policy, const std::string& compared_with) {
  ASSIGN_OR_RETURN(const UniqueFd fd, policies_->Open(policy));
  json::Value packet = json::Value::MakeObject({{"command", "policy"}});
  if (!compared_with.empty()) packet.Set("comparedWith", compared_with);
  return SendPacket(key, packet, fd.get());
}

Status PosixLauncher::Stop(const ContainerKey& key, Duration grace) {
  const int64_t millis = grace / std::chrono::milliseconds(1);
  const Status sent = SendPacket(
      key, json::Value::MakeObject({{"command", "stop"}, {"gracePeriodMsec", millis}, {"cause", "stopped"}}));
  if (sent.ok()) return sent;
  const auto it = shims_.find(key);
  if (it != shims_.end() && pidfd_send_signal(it->second.pidfd.get(), SIGTERM, nullptr, 0) == 0) return OkStatus();
  return sent;
}

// ---- After a restart -------------------------------------------------------------------------------------

Status PosixLauncher::Adopt(const ContainerKey& key) {
  if (shims_.contains(key)) return OkStatus();
  Shim shim;
  const UniqueFd folder(open(RunFolder(key).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return FromErrno(errno, "open the run folder");
  UniqueFd control(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // By way of the folder's descriptor: the path itself may be longer than a socket's address.
  const std::string path = fmt::format("/proc/self/fd/{}/shim.sock", folder.get());
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (control.valid() &&
      connect(control.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(control.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
      shim.pidfd.Reset(pidfd_open(peer.pid, 0));
      // It accepted, or would have: while this connection isn't hung up, that pid is still the shim's.
      pollfd p{control.get(), POLLIN, 0};
      poll(&p, 1, 0);
      if ((p.revents & POLLHUP) != 0) shim.pidfd.Reset();
    }
    shim.control = std::move(control);
  }
  if (!shim.pidfd.valid()) {
    auto by_record = FindByRecord(key);
    if (!by_record.ok()) return Error(Code::kNotFound, "no shim of it is alive");
    shim.pidfd = *std::move(by_record);
    shim.control.Reset();
  }
  if (HasEnded(shim.pidfd.get())) return Error(Code::kNotFound, "its shim has ended");
  return WatchShim(key, std::move(shim));
}

/// The shim's pid as the file `running` says, if it is still that process.
StatusOr<UniqueFd> PosixLauncher::FindByRecord(const ContainerKey& key) {
  ASSIGN_OR_RETURN(const json::Value running, ReadRecord(RunFolder(key) + "/running"));
  const int64_t pid = running.Int64At({"shimPid"}).value_or(0);
  const int64_t ticks = running.Int64At({"shimStartTicks"}).value_or(-1);
  if (pid <= 1) return Error(Code::kNotFound, "no pid in 'running'");
  UniqueFd pidfd(pidfd_open(static_cast<pid_t>(pid), 0));
  if (!pidfd.valid()) return FromErrno(errno, "pidfd_open");
  ASSIGN_OR_RETURN(const int64_t now_ticks, StartTicks(pid));
  if (now_ticks != ticks) return Error(Code::kNotFound, "the pid is another process's now");
  return pidfd;
}

RunRecords PosixLauncher::Read(const ContainerKey& key) {
  RunRecords records;
  struct stat st {};
  const std::string folder = RunFolder(key);
  records.folder = stat(folder.c_str(), &st) == 0;
  const std::string log = LogFolder(key) + "/log";
  records.has_log = (stat(log.c_str(), &st) == 0 && st.st_size > 0) || stat((log + ".1").c_str(), &st) == 0;
  if (!records.folder) return records;
  const auto created = ReadRecord(folder + "/created");
  records.created = created.status().code() != Code::kNotFound;  // an unreadable one means: it may have run
  if (created.ok()) {
    records.invocation_id = created->StringAt({"invocationId"});
    records.created_at_ns = created->Int64At({"atNs"}).value_or(0);
  }
  if (const auto running = ReadRecord(folder + "/running"); running.ok()) {
    records.started_at_ns = running->Int64At({"startedAtNs"}).value_or(0);
  }
  if (const auto exit = ReadRecord(folder + "/exit"); exit.ok()) {
    auto record = shim::ExitRecordFromJson(*exit);
    if (record.ok()) {
      records.exit = *std::move(record);
    } else {
      kLog.Warn("bad exit record", "container={} error='{}'; taking it as lost", Name(key), Message(record.status()));
    }
  }
  return records;
}

std::vector<ContainerKey> PosixLauncher::List() {
  std::set<ContainerKey> keys;
  for (const std::string& folder : {options_.run_dir, options_.state_dir + "/logs", options_.state_dir + "/overlay"}) {
    std::error_code error;
    for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      if (const auto key = KeyFromName(it->path().filename().string())) keys.insert(*key);
    }
  }
  return {keys.begin(), keys.end()};
}

// ---- Removal ---------------------------------------------------------------------------------------------

void PosixLauncher::Cleanup(const ContainerKey& key, std::function<void(Status)> done) {
  MutexLock lock(mu_);
  removals_.push_back({key, std::move(done)});
  wake_.NotifyOne();
}

void PosixLauncher::RunRemovals() {
  for (;;) {
    Removal removal;
    {
      MutexLock lock(mu_);
      while (removals_.empty() && !stop_) wake_.Wait(mu_);
      if (stop_) return;
      removal = std::move(removals_.front());
      removals_.pop_front();
    }
    const Status status = Remove(removal.key);
    loop_.Post([alive = alive_, done = std::move(removal.done), status] {
      if (*alive) done(status);
    });
  }
}

Status PosixLauncher::Remove(const ContainerKey& key) {
  // The run folder last: as long as it is there a restarted agentd knows that there is something to remove.
  for (const std::string& folder : {OverlayFolder(key), LogFolder(key), RunFolder(key)}) {
    RETURN_IF_ERROR(Annotate(RemoveTree(folder), fmt::format("remove '{}'", folder)));
    struct stat st {};
    if (lstat(folder.c_str(), &st) == 0) return Errorf(Code::kInternal, "'{}' is still there", folder);
  }
  return OkStatus();
}

bool PosixLauncher::CgroupGone(const std::string& control_group) { return RemoveEmptyCgroup(control_group); }

}  // namespace isla::agent
