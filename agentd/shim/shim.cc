#include "agentd/shim/shim.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agentd/shim/launch_check.h"
#include "agentd/shim/policy.h"
#include "api/base/read_descriptor.h"

namespace isla::shim {
namespace {

constexpr size_t kMaxRequestBytes = 4 << 20;  // arguments and environment, twice over

Limits GrantOf(const LaunchRequest& request) { return {request.cpu_millis, request.memory_bytes, request.tasks}; }

LaunchRequest UnderPolicy(LaunchRequest request, const sandbox::CompiledPolicy& policy) {
  if (policy.sections.view && !policy.sections.view->hostname.empty()) request.hostname = policy.sections.view->hostname;
  const Limits limits = LimitsUnder(GrantOf(request), policy.sections);
  request.cpu_millis = limits.cpu_millis;
  request.memory_bytes = limits.memory_bytes;
  request.tasks = limits.tasks;
  request.tmpfs_bytes = std::min(request.tmpfs_bytes, request.memory_bytes);
  return request;
}

}  // namespace

StatusOr<LaunchRequest> ReadLaunchRequest(int fd) {
  ASSIGN_OR_RETURN(const std::string text, ReadDescriptor(fd, kMaxRequestBytes));
  ASSIGN_OR_RETURN(const json::Value value, json::Parse(text, {kMaxRequestBytes, 8}));
  ASSIGN_OR_RETURN(LaunchRequest request, LaunchRequestFromJson(value));
  RETURN_IF_ERROR(CheckLaunchRequest(request));
  return request;
}

StatusOr<sandbox::CompiledPolicy> ReadPolicy(int fd, const LaunchRequest& request) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadDescriptor(fd, kMaxPolicyBytes));
  ASSIGN_OR_RETURN(sandbox::CompiledPolicy policy, ParsePolicy(bytes));
  if (policy.NeedsSupervisor() && request.supervisor_path.empty()) {
    return Error(Code::kInvalidArgument, "launch request: the policy needs a supervisor, and 'supervisorPath' names none");
  }
  return policy;
}

Shim::Shim(LaunchRequest request, sandbox::CompiledPolicy policy, UniqueFd control, const Clock& clock)
    : granted_(GrantOf(request)), request_(UnderPolicy(std::move(request), policy)), policy_(std::move(policy)), clock_(clock),
      first_control_(control.get()), limits_(GrantOf(request_)), supervision_(request_, policy_, clock), writer_(request_.log_path, request_.log_max_bytes) {
  connections_.emplace_back(std::move(control));
}

int Shim::Run() {
  const Step opened = Open();
  if (!opened.ok()) {
    log_.Error("the shim can't start, giving up", "step='{}' errno={}", opened.name, opened.error);
    return 1;
  }
  Broadcast(json::Value::MakeObject({{"event", "ready"}, {"version", kProtocolVersion}, {"pid", getpid()}}));
  // While systemd makes the scope.
  prepare_failure_ = PrepareContainer(request_, policy_, container_);
  while (state_ != State::kDone) {
    epoll_event events[16];
    const int count = epoll_wait(epoll_.get(), events, 16, WaitMsec());
    for (int i = 0; i < count; ++i) Dispatch(events[i].data.fd, events[i].events);
    OnTimers();
  }
  return 0;
}

Step Shim::Open() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t mask;
  sigemptyset(&mask);
  for (const int wanted : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&mask, wanted);
  if (sigprocmask(SIG_BLOCK, &mask, nullptr) != 0) return Step::Failed("block signals");
  signals_.Reset(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  if (!signals_.valid() || !epoll_.valid()) return Step::Failed("open the event loop");
  RETURN_IF_FAILED(Listen(request_.run_dir, listener_));
  RETURN_IF_FAILED(Watch(signals_.get(), EPOLLIN));
  RETURN_IF_FAILED(Watch(listener_.get(), EPOLLIN));
  return Watch(first_control_, EPOLLIN);
}

Step Shim::Watch(int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? Step::Done() : Step::Failed("watch a descriptor");
}

void Shim::Unwatch(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

int Shim::WaitMsec() const {
  std::optional<MonotonicTime> next;
  for (const auto& at : {timeout_at_, kill_at_, flush_at_, oom_check_at_, clean_at_, supervision_.timer()}) {
    if (at && (!next || *at < *next)) next = at;
  }
  if (!next) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - clock_.Monotonic());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
}

void Shim::Dispatch(int fd, uint32_t) {
  if (fd == signals_.get()) return OnSignal();
  if (fd == listener_.get()) return OnListener();
  if (fd == container_.out.get()) return ReadOutput(container_.out, Stream::kStdout);
  if (fd == container_.err.get()) return ReadOutput(container_.err, Stream::kStderr);
  if (fd == container_.report.get()) return OnReport();
  if (fd == container_.handover.get()) return OnHandover();
  if (fd == supervision_.audit_fd()) return supervision_.OnAudit();
  if (fd == supervised_fd_) return Supervise(&Supervision::OnReadable);
  if (fd == container_.pidfd.get()) return OnInitGone();
  if (fd == leaves_.oom_event_fd()) return OnOutOfMemory();
  OnConnection(fd);
}

void Shim::OnTimers() {
  const MonotonicTime now = clock_.Monotonic();
  const auto due = [now](std::optional<MonotonicTime>& at) {
    if (!at || *at > now) return false;
    at.reset();
    return true;
  };
  if (due(timeout_at_)) Stop(request_.grace_period_msec, "timeout");
  if (due(kill_at_)) {
    killed_by_stop_ = true;
    KillContainer();
  }
  if (due(flush_at_)) writer_.FlushPartial(clock_.Wall());
  if (due(oom_check_at_)) OnOutOfMemory();
  if (due(clean_at_)) Clean();
  if (supervision_.timer() && *supervision_.timer() <= now) Supervise(&Supervision::OnTimer);
}

void Shim::OnSignal() {
  if (TakeSignals()) Stop(request_.grace_period_msec, "stopped");
}

bool Shim::TakeSignals() {
  signalfd_siginfo info{};
  bool stop = false;
  while (read(signals_.get(), &info, sizeof info) == sizeof info) stop = stop || info.ssi_signo != SIGHUP;
  told_to_stop_ = told_to_stop_ || stop;
  return stop;
}

void Shim::OnListener() {
  UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // The bound holds for the one inherited too: agentd opens one at a time.
  if (!fd.valid() || connections_.size() > kMaxConnections || !Watch(fd.get(), EPOLLIN).ok()) return;
  connections_.emplace_back(std::move(fd));
  connections_.back().Send(StateEvent());
}

void Shim::OnConnection(int fd) {
  const auto from = std::find_if(connections_.begin(), connections_.end(), [fd](const Connection& c) { return c.fd() == fd; });
  if (from == connections_.end()) return;
  bool closed = false;
  UniqueFd attached;
  while (const std::optional<std::string> packet = from->Receive(closed, attached)) OnCommand(*from, ParseCommand(*packet), attached);
  if (!closed) return;
  const bool orphaned = fd == first_control_ && state_ == State::kWaiting;
  Unwatch(fd);
  connections_.erase(from);
  if (fd == first_control_) first_control_ = -1;
  if (orphaned) LeaveNothing();
}

void Shim::OnCommand(const Connection& from, const Command& command, const UniqueFd& attached) {
  switch (command.kind) {
    case Command::Kind::kGo: return Go();
    case Command::Kind::kStop: return Stop(command.grace_period_msec, command.cause);
    case Command::Kind::kState: return from.Send(StateEvent());
    case Command::Kind::kPolicy: return OnPolicy(from, attached, command.compared_with);
    case Command::Kind::kNone: return log_.Warn("a packet was not understood, ignoring");
  }
}

void Shim::OnPolicy(const Connection& from, const UniqueFd& attached, const std::string& compared_with) {
  const StatusOr<std::string> bytes = ReadDescriptor(attached.get(), kMaxPolicyBytes);
  const StatusOr<sandbox::CompiledPolicy> policy = bytes.ok() ? ParsePolicy(*bytes) : bytes.status();
  const Status replaced = policy.ok() ? ReplacePolicy(*policy, compared_with) : policy.status();
  json::Value answer = json::Value::MakeObject({{"event", "policy"}, {"policy", supervision_.policy_hash()}, {"startedWith", policy_.hash}});
  // Whoever sent it may be gone by now, and a successor have been told what was in force until now.
  if (replaced.ok()) return Broadcast(answer);
  answer.Set("refused", policy.ok() ? policy->hash : std::string());
  answer.Set("error", Message(replaced).substr(0, 4096));
  // What this shim doesn't read one of a newer package does.
  if (replaced.code() == Code::kFailedPrecondition || replaced.code() == Code::kUnimplemented) answer.Set("takesRestart", true);
  from.Send(answer);
}

/// All of it, or none.
Status Shim::ReplacePolicy(const sandbox::CompiledPolicy& next, const std::string& compared_with) {
  RETURN_IF_ERROR(supervision_.CheckLive(next, compared_with));
  const Limits before = limits_, wanted = LimitsUnder(granted_, next.sections);
  const bool change = wanted != before;
  if (change && state_ != State::kStarting && state_ != State::kRunning) return Error(Code::kUnavailable, "the container isn't running");
  if (change) RETURN_IF_ERROR(leaves_.Change(wanted));
  const Status replaced = supervision_.Replace(next, compared_with);
  if (replaced.ok()) limits_ = wanted;
  else if (change) (void)leaves_.Change(before);
  return replaced;
}

void Shim::Broadcast(const json::Value& packet) const {
  for (const Connection& connection : connections_) connection.Send(packet);
}

json::Value Shim::StateEvent() const {
  const char* state = "exited";
  if (state_ == State::kWaiting || state_ == State::kStarting) state = "waiting";
  if (state_ == State::kRunning) state = "running";
  return json::Value::MakeObject(
      {{"event", "state"}, {"version", kProtocolVersion}, {"state", state}, {"pid", getpid()}, {"policy", supervision_.policy_hash()}, {"startedWith", policy_.hash}});
}

}  // namespace isla::shim
