#include "agentd/shim/supervision.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "agentd/shim/launch_check.h"
#include "agentd/shim/policy.h"
#include "sandbox/view/view_files.h"

namespace isla::shim {

using std::chrono::milliseconds;

Limits LimitsUnder(const Limits& granted, const sandbox::Sections& policy) {
  const auto all = [](int64_t number) { return static_cast<uint64_t>(number); };
  const sandbox::ResourceLimits out = sandbox::Smaller({all(granted.memory_bytes), all(granted.cpu_millis), all(granted.tasks)}, policy.resources);
  return {static_cast<int64_t>(out.cpu_millis), static_cast<int64_t>(out.memory_bytes), static_cast<int64_t>(out.tasks)};
}

supervisor::ProcessConfig SupervisorConfig(const LaunchRequest& request, const sandbox::CompiledPolicy& policy) {
  supervisor::ProcessConfig out;
  out.policy_version = policy.hash;
  out.hostname = request.hostname;
  if (const auto& view = policy.sections.view) {
    if (view->granted_cpus) out.cpus = view::WholeCpus(request.cpu_millis);
    if (view->granted_memory) {
      out.memory_bytes = static_cast<uint64_t>(request.memory_bytes);
      out.tasks = static_cast<uint64_t>(request.tasks);
    }
  }
  out.calls_per_second = policy.sections.limits.calls_per_second;
  out.deadline = policy.sections.limits.deadline;
  out.audit = {policy.sections.audit.one_of_allowed, policy.sections.audit.lines_per_second};
  out.user_namespace = true;
  out.uid = kSupervisorId;
  out.capabilities = supervisor::SupervisorCapabilities(Performs(policy));
  return out;
}

Supervision::Supervision(const LaunchRequest& request, const sandbox::CompiledPolicy& policy, const Clock& clock)
    : request_(request), policy_(policy), clock_(clock), hash_(policy.hash), audit_(AuditPath(request)) {}

Step Supervision::Take(int socket, int pidfd, UniqueFd user_namespace, UniqueFd memory_usage) {
  StatusOr<supervisor::Handover> handover = supervisor::TakeListener(socket, pidfd);
  if (!handover.ok()) return Step::Failed("take the listener: " + Message(handover.status()), EIO);
  supervisor::KeeperOptions options;
  options.program = request_.supervisor_path;
  options.config = SupervisorConfig(request_, policy_);
  options.table = policy_.table;
  options.memory_usage = std::move(memory_usage);
  options.user_namespace = std::move(user_namespace);
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) != 0) return Step::Failed("make the pipe of the audit");
  audit_lines_.Reset(pipe[0]);
  options.audit.Reset(pipe[1]);
  StatusOr<supervisor::Keeper> keeper = supervisor::Keeper::Create(*std::move(handover), std::move(options));
  if (!keeper.ok()) return Step::Failed("keep the listener: " + Message(keeper.status()), EIO);
  keeper_.emplace(*std::move(keeper));
  state_ = State::kArmed;
  return Step::Done();
}

int Supervision::watched() const {
  if (state_ == State::kArmed) return keeper_->listener();
  return state_ == State::kRunning ? keeper_->pidfd() : -1;
}

void Supervision::OnReadable() {
  if (state_ == State::kArmed) {
    pollfd listener = {keeper_->listener(), POLLIN, 0};
    if (poll(&listener, 1, 0) != 1) return;
    if ((listener.revents & POLLIN) != 0) return Spawn();
    state_ = State::kDone;  // no process is left, and none has ever asked
    return;
  }
  if (state_ != State::kRunning) return;
  timer_.reset();
  const supervisor::Keeper::Ended ended = keeper_->Reap(clock_);
  if (ended.done) {
    state_ = State::kDone;
    return;
  }
  log_.Warn("the supervisor died, starting another", "container={} in_ms={}", request_.scope,
            std::chrono::duration_cast<milliseconds>(ended.respawn_after).count());
  if (ended.respawn_after > Duration::zero()) return Pause(ended.respawn_after);
  Spawn();
}

Step Supervision::EnforceNet(const std::string& cgroup) {
  if (cgroup.empty()) return Step::Failed("spec.net of the sandbox policy: the scope has no cgroup v2", ENOTSUP);
  const UniqueFd folder(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return Step::Failed("open " + cgroup);
  StatusOr<cgroup_net::CgroupNet> net = cgroup_net::CgroupNet::Attach(folder.get(), *policy_.sections.net);
  if (!net.ok()) return Step::Failed("spec.net of the sandbox policy: " + Message(net.status()), EINVAL);
  net_.emplace(*std::move(net));
  net_section_ = policy_.sections.net;
  return Step::Done();
}

void Supervision::OnTimer() {
  if (!timer_ || *timer_ > clock_.Monotonic()) return;
  timer_.reset();
  if (state_ == State::kPausing) return Spawn();
  if (state_ != State::kRunning) return;
  if (keeper_->KillIfHung(clock_)) log_.Warn("the supervisor hangs, killing it", "container={}", request_.scope);
  timer_ = clock_.Monotonic() + supervisor::Keeper::kLookEvery;
}

void Supervision::Spawn() {
  const Status spawned = keeper_->Spawn();
  if (!spawned.ok()) {
    spawn_backoff_ = std::clamp<Duration>(spawn_backoff_ * 2, milliseconds(10), std::chrono::seconds(1));
    log_.Warn("no supervisor could be started, trying again", "container={} error='{}'", request_.scope, Message(spawned));
    return Pause(spawn_backoff_);
  }
  spawn_backoff_ = {};
  state_ = State::kRunning;
  timer_ = clock_.Monotonic() + supervisor::Keeper::kLookEvery;
}

void Supervision::Pause(Duration time) {
  state_ = State::kPausing;
  timer_ = clock_.Monotonic() + time;
}

std::string TakesRestart(const sandbox::CompiledPolicy& now, const sandbox::CompiledPolicy& next, bool compared) {
  const sandbox::Sections &a = now.sections, &b = next.sections;
  // A filter can be added to by its own process only: the supervisor is asked about the calls that it was asked about at the start. The same filter
  // means that all that is different is decided behind it.
  const std::pair<const char*, bool> parts[] = {
      {"which calls are handed to the supervisor, or what the kernel decides alone",
       !compared && sandbox::ToBytes(now.filter) != sandbox::ToBytes(next.filter)},
      {"mode", now.mode != next.mode},
      {"files", a.files != b.files}, {"exec", a.exec != b.exec}, {"net", a.net.has_value() != b.net.has_value()}, {"view", a.view != b.view},
      {"program.memory, for which its scope has no room", ProgramRoom(next) > ProgramRoom(now)}};
  std::string out;
  for (const auto& [name, differs] : parts) {
    if (differs) out += (out.empty() ? "" : ", ") + std::string(name);
  }
  return out;
}

namespace {

supervisor::Keeper::Tuning TuningOf(const sandbox::Sections& sections) {
  return {sections.limits.calls_per_second, sections.limits.deadline, {sections.audit.one_of_allowed, sections.audit.lines_per_second}};
}

}  // namespace

Status Supervision::CheckLive(const sandbox::CompiledPolicy& next, const std::string& compared_with) const {
  const bool compared = !compared_with.empty() && compared_with == sandbox::FilterId(policy_.filter);
  if (const std::string parts = TakesRestart(policy_, next, compared); !parts.empty()) {
    return Errorf(Code::kFailedPrecondition, "it takes effect at a restart, as it changes: {}", parts);
  }
  // Without a supervisor none of its calls is one's, before and after.
  if (!keeper_ && policy_.NeedsSupervisor()) return Error(Code::kUnavailable, "the container isn't running");
  if (next.sections.net && !net_) return Error(Code::kUnavailable, "the container isn't running");
  return OkStatus();
}

Status Supervision::Replace(const sandbox::CompiledPolicy& next, const std::string& compared_with) {
  RETURN_IF_ERROR(CheckLive(next, compared_with));
  if (net_ && next.sections.net != net_section_) RETURN_IF_ERROR(Annotate(net_->Replace(*next.sections.net), "spec.net"));
  supervisor::Keeper::Tuning before;
  if (keeper_) before = keeper_->tuning();
  Status replaced = keeper_ ? keeper_->Tune(TuningOf(next.sections), UniqueFd()) : OkStatus();
  if (replaced.ok() && keeper_) {
    replaced = keeper_->Replace(next.table, next.hash);
    if (!replaced.ok()) (void)keeper_->Tune(before, UniqueFd());
  }
  if (!replaced.ok()) {
    // All of a version is in force, or none of it.
    if (net_ && next.sections.net != net_section_) (void)net_->Replace(*net_section_);
    return replaced;
  }
  if (net_) net_section_ = next.sections.net;
  hash_ = next.hash;
  return OkStatus();
}

std::string Supervision::AuditPath(const LaunchRequest& request) { return request.log_path.substr(0, request.log_path.rfind('/')) + "/audit"; }

void Supervision::OnAudit() {
  char chunk[64 * 1024];
  const ssize_t got = read(audit_lines_.get(), chunk, sizeof chunk);
  if (got > 0) audit_.Append({chunk, static_cast<size_t>(got)});
}

void Supervision::End() {
  keeper_.reset();
  // A pipe holds no more than one read takes.
  if (audit_lines_.valid()) OnAudit();
  timer_.reset();
  state_ = State::kDone;
}

}  // namespace isla::shim
