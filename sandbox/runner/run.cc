#include "sandbox/runner/run.h"

#include <fcntl.h>
#include <poll.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "api/base/clock.h"
#include "api/base/packet.h"
#include "sandbox/landlock/landlock.h"
#include "sandbox/runner/command.h"
#include "sandbox/runner/container.h"
#include "sandbox/runner/namespaces.h"
#include "sandbox/runner/terminal.h"
#include "sandbox/view/view_files.h"

namespace isla::runner {
namespace {

using sandbox::Sections;
using supervisor::Keeper;

/// How long the last lines of the audit may take after the command's end: the supervisor ends with the last process, and in a pid
/// namespace that has ended, too.
constexpr std::chrono::milliseconds kLastLines{5000}, kLastLinesOfOthers{500};

/// When what a run needs that lasts is made, if no call has waited for it before: the first supervisor with its journal, and what talks to
/// whoever asks from outside. Commands that end at once need none, and a supervisor takes as long as all the rest; others find it there
/// when they first ask.
constexpr std::chrono::milliseconds kLasts{2};

void Note(const std::string& text) { std::fprintf(stderr, "isla-box: note: %s\n", text.c_str()); }

/// What waitpid told, as shells say it.
int ShellStatus(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

class Runner {
 public:
  Runner(Request& request, RunObserver& observer) : request_(request), observer_(observer) {}

  Outcome Run() {
    const pid_t parent = getppid();
    const Failure failure = Start(parent);
    if (!failure.ok()) {
      keeper_.reset();
      if (child_ > 0) {
        kill(child_, SIGKILL);
        while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
        }
      }
      return {failure.exit, Message(failure.status)};
    }
    LetGoOfStreams();
    while (!exit_) Wait();
    terminal_.Restore(*exit_);
    Finish();
    return {*exit_, std::move(error_)};
  }

 private:
  // Start -----------------------------------------------------------------------------------------------

  Failure Start(pid_t parent) {
    if (const Status status = CheckHonoured(request_); !status.ok()) return {status};
    StatusOr<landlock::Plan> plan = landlock::MakePlan(request_.policy.sections, landlock::Abi(), {.scopes = request_.namespaces.pid, .go_on_without = request_.go_on_without_landlock});
    if (!plan.ok()) return {Annotate(plan.status(), "spec")};
    for (const std::string& lost : plan->lost) Note("spec." + lost);
    terminal_.Remember();
    if (const Status status = Signals(parent); !status.ok()) return {status};
    if (const Status status = OpenAudit(); !status.ok()) return {status};
    if (request_.namespaces.Flags() == 0) return StartHere(*plan);
    return StartContainer(*plan);
  }

  /// The rest of the policy, and what there must be because of it.
  Status CompletePolicy() {
    if (request_.compile) RETURN_IF_ERROR(request_.compile(request_.policy));
    if (!request_.policy.NeedsSupervisor()) {
      if (audit_.valid()) Note("nothing will be audited: the kernel decides all calls of this policy (with \"mode\": \"warn\" what it would refuse goes on, and is audited)");
      return OkStatus();
    }
    return access(request_.supervisor.c_str(), X_OK) == 0 ? OkStatus() : FromErrno(errno, fmt::format("start {}, which is installed beside isla-box", request_.supervisor));
  }

  /// What the view shows of the grant; nothing if it shows none.
  view::GrantedView Granted() const {
    const auto& view = request_.policy.sections.view;
    view::GrantedView granted;
    if (view && view->granted_cpus) granted.cpus = view::FirstCpus(request_.cpus);
    if (view && view->granted_memory) granted.memory_bytes = request_.memory_bytes;
    return granted;
  }

  Status Signals(pid_t parent) {
    if (request_.die_with_parent) {
      if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return FromErrno(errno, "die with the parent");
      if (getppid() != parent) return Error(Code::kUnavailable, "the parent has ended");
    }
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (const int each : kForwarded) sigaddset(&set, each);
    sigaddset(&set, SIGCONT);  // which goes on without being delivered
    sigset_t blocked = set;
    sigaddset(&blocked, ContinueSignal());
    Terminal::AddStopping(blocked);
    if (sigprocmask(SIG_BLOCK, &blocked, nullptr) != 0) return FromErrno(errno, "block signals");
    signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    return signals_.valid() ? OkStatus() : FromErrno(errno, "open a signalfd");
  }

  Status OpenAudit() {
    if (request_.audit_fd >= 0) {
      audit_.Reset(fcntl(request_.audit_fd, F_DUPFD_CLOEXEC, 3));
    } else if (request_.audit == "-") {
      // The supervisor makes its end non-blocking: standard error itself is shared with others, whom that would break.
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0) return FromErrno(errno, "make a pipe for the audit");
      audit_pipe_.Reset(ends[0]);
      audit_.Reset(ends[1]);
    } else if (!request_.audit.empty()) {
      audit_.Reset(open(request_.audit.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600));
    } else {
      return OkStatus();
    }
    if (!audit_.valid()) return FromErrno(errno, fmt::format("open the audit's file '{}'", request_.audit));
    return OkStatus();
  }

  Failure StartHere(const landlock::Plan& plan) {
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!request_.folder.empty() && chdir(request_.folder.c_str()) != 0) return {NoFolder(request_.folder, errno)};
    if (const Status status = CompletePolicy(); !status.ok()) return {status};
    Started started;
    const Failure failure = StartCommand(request_, plan, {request_.policy.filter, request_.policy.NeedsSupervisor()}, {.confine = true, .die_with_caller = true}, started);
    if (!failure.ok()) return failure;
    child_ = started.pid;
    for (const std::string& path : started.missing) Note(fmt::format("'{}' isn't there, so it can't be reached if it comes later", path));
    OnCommand({std::move(started.listener), started.wait_killable});
    return {};
  }

  Failure StartContainer(const landlock::Plan& plan) {
    const view::GrantedView granted = Granted();
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return {FromErrno(errno, "make a socket")};
    socket_.Reset(sockets[0]);
    UniqueFd its(sockets[1]);
    const bool map_all = request_.namespaces.user && !request_.map_root && CanMapAllIds();
    ContainerArgs args = {request_, plan, its.get(), map_all, granted.any(), static_cast<bool>(request_.compile), geteuid(), getegid(), false, request_.namespaces.pid ? 0 : getpid()};
    const long pid = CloneContainer(args.enter_unified);
    if (pid == 0) {
      socket_.Reset();
      ContainerMain(args);
    }
    if (pid < 0) {
      const int error = errno;
      return {FromErrno(error, "make the namespaces" + WhyNone(error))};
    }
    child_ = static_cast<pid_t>(pid);
    its.Reset();  // else who has ended would seem to be there
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (map_all) {
      if (const Status status = MapAllIds(child_); !status.ok()) return {status};
      if (send(socket_.get(), "1", 1, MSG_NOSIGNAL) != 1) return {Error(Code::kUnavailable, "the container's first process ended")};
    }
    // Meanwhile the container is built.
    if (args.wait_for_view) {
      const StatusOr<std::vector<sandbox::ViewFile>> files = view::GrantedFiles(granted);
      if (!files.ok()) return {files.status()};
      if (const Status status = SendView(socket_.get(), *files); !status.ok()) return {status};
    }
    if (const Status status = CompletePolicy(); !status.ok()) return {status};
    return {args.wait_for_filter ? SendFilter(socket_.get(), request_.policy) : OkStatus()};
  }

  /// Into the group at once, where the kernel can: to be moved there later takes it some 10 ms.
  long CloneContainer(bool& enter_unified) const {
    uint64_t flags = request_.namespaces.Flags() & ~uint64_t{CLONE_NEWNET};  // made inside, meanwhile (net_namespace.h)
    if (request_.group.any()) flags &= ~uint64_t{CLONE_NEWCGROUP};  // it is made in the group
    if (request_.group.folder >= 0) {
      clone_args args{};
      args.flags = flags | CLONE_INTO_CGROUP;
      args.exit_signal = SIGCHLD;
      args.cgroup = static_cast<uint64_t>(request_.group.folder);
      const long pid = syscall(SYS_clone3, &args, sizeof args);
      // Older kernels, and filters above us, don't have it.
      if (pid >= 0 || (errno != ENOSYS && errno != E2BIG && errno != EINVAL)) return pid;
      enter_unified = true;
    }
    return syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  }

  /// Reads 0 and 1 no more, so that nobody waits for us who waits for the command. Errors still go to 2.
  static void LetGoOfStreams() {
    const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null.valid()) return;
    dup2(null.get(), STDIN_FILENO);
    dup2(null.get(), STDOUT_FILENO);
  }

  // Supervision -----------------------------------------------------------------------------------------

  /// The command runs, whoever started it.
  void OnCommand(supervisor::Handover handover) {
    if (handover.listener.valid()) handover_.emplace(std::move(handover));
    lasts_at_ = Clock::Real().Monotonic() + kLasts;
  }

  /// Once the command has lasted, or its first call waits. It waits in the kernel, as it does when a supervisor has died.
  void Attend() {
    lasts_at_.reset();
    if (exit_) return;
    if (handover_) {
      supervisor::Handover handover = *std::move(handover_);
      handover_.reset();
      if (const Status status = Supervise(std::move(handover)); !status.ok()) {
        error_ = Message(status);
        exit_ = kOwnFailure;
        return;
      }
    }
    if (request_.policy.NeedsSupervisor() || request_.group.any()) observer_.OnStarted();
  }

  Status Supervise(supervisor::Handover handover) {
    supervisor::KeeperOptions options;
    options.program = request_.supervisor;
    options.table = request_.policy.table;
    options.audit = std::move(audit_);
    const Sections& sections = request_.policy.sections;
    options.config.policy_version = request_.policy.hash.substr(0, 12);
    options.config.cpus = request_.cpus;
    options.config.memory_bytes = request_.memory_bytes;
    if (request_.group.memory_usage >= 0) options.memory_usage.Reset(fcntl(request_.group.memory_usage, F_DUPFD_CLOEXEC, 3));
    options.config.hostname = request_.hostname;
    options.config.calls_per_second = sections.limits.calls_per_second;
    options.config.deadline = sections.limits.deadline;
    options.config.audit.one_of_allowed = sections.audit.one_of_allowed;
    options.config.audit.lines_per_second = sections.audit.lines_per_second;
    StatusOr<Keeper> keeper = Keeper::Create(std::move(handover), std::move(options));
    RETURN_IF_ERROR(keeper);
    keeper_.emplace(*std::move(keeper));
    respawn_at_ = Clock::Real().Monotonic();
    return OkStatus();
  }

  /// The first process tells that the command runs, then when it is stopped; its end of the socket is closed when it ends, as when it failed.
  void OnSocket() {
    StartedMessage body;
    UniqueFd listener;
    const ssize_t got = ReceivePacket(socket_.get(), reinterpret_cast<char*>(&body), sizeof body, listener);
    if (got != static_cast<ssize_t>(sizeof body)) {
      socket_.Reset();  // it ends; and if that is its start, it has said why
      return;
    }
    started_ = true;
    OnCommand({std::move(listener), body.wait_killable != 0});
  }

  void OnStopped() {
    StoppedMessage stopped;
    const ssize_t got = recv(socket_.get(), &stopped, sizeof stopped, MSG_DONTWAIT);
    if (got == static_cast<ssize_t>(sizeof stopped) && !request_.new_session) terminal_.OnStopped(stopped.same_group != 0);
    else if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) socket_.Reset();
  }

  void OnSupervisorEnd() {
    const Keeper::Ended ended = keeper_->Reap(Clock::Real());
    if (ended.done) return;
    respawn_at_ = Clock::Real().Monotonic() + ended.respawn_after;
    Respawn();
  }

  void Respawn() {
    if (exit_ || !respawn_at_ || Clock::Real().Monotonic() < *respawn_at_) return;
    respawn_at_.reset();
    if (const Status status = keeper_->Spawn(); !status.ok()) {
      // Not forever: memory or processes may be short for a moment.
      std::fprintf(stderr, "isla-box: can't start a supervisor, trying again in 1 s: %s\n", Message(status).c_str());
      respawn_at_ = Clock::Real().Monotonic() + std::chrono::seconds(1);
    }
  }

  /// A supervisor that lives and doesn't answer.
  void Watch() {
    const MonotonicTime now = Clock::Real().Monotonic();
    if (!keeper_ || now < watch_at_) return;
    watch_at_ = now + Keeper::kLookEvery;
    if (keeper_->KillIfHung(Clock::Real())) std::fputs("isla-box: the supervisor doesn't answer, starting another\n", stderr);
  }

  // Loop ------------------------------------------------------------------------------------------------

  void Wait() {
    pollfd fds[] = {{signals_.get(), POLLIN, 0},
                    {socket_.get(), POLLIN, 0},
                    {keeper_ && keeper_->running() ? keeper_->pidfd() : -1, POLLIN, 0},
                    {audit_pipe_.get(), POLLIN, 0},
                    {observer_.descriptor(), POLLIN, 0},
                    {handover_ ? handover_->listener.get() : -1, POLLIN, 0}};
    int timeout = -1;
    if (keeper_ && keeper_->running()) timeout = static_cast<int>(std::chrono::milliseconds(Keeper::kLookEvery).count());
    for (const std::optional<MonotonicTime>& due : {lasts_at_, respawn_at_}) {
      if (!due) continue;
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clock::Real().Monotonic()).count();
      timeout = static_cast<int>(std::clamp<int64_t>(left, 0, timeout < 0 ? 1000 : timeout));
    }
    if (poll(fds, std::size(fds), timeout) < 0 && errno != EINTR) {
      error_ = "poll failed";
      exit_ = kOwnFailure;
      return;
    }
    if (fds[1].revents != 0) started_ ? OnStopped() : OnSocket();
    if (fds[2].revents != 0) OnSupervisorEnd();
    if (fds[3].revents != 0) RelayAudit();
    if (fds[4].revents != 0) observer_.OnReadable(keeper_ ? &*keeper_ : nullptr);
    if (fds[0].revents != 0) OnSignals();
    // No process is left that could ask, and none ever has.
    if ((fds[5].revents & POLLIN) == 0 && fds[5].revents != 0) handover_.reset();
    if ((fds[5].revents & POLLIN) != 0 || (lasts_at_ && Clock::Real().Monotonic() >= *lasts_at_)) Attend();
    Respawn();
    Watch();
  }

  void OnSignals() {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGCHLD) continue;
      // A terminal sends to all of its foreground processes: the command among them, or if that has a session of its own the first process.
      if (info.ssi_code == SI_KERNEL && (started_ || !request_.new_session)) continue;
      const int signal = static_cast<int>(info.ssi_signo);
      kill(child_, signal == SIGCONT && request_.namespaces.Flags() != 0 ? ContinueSignal() : signal);
    }
    int status = 0;
    if (waitpid(child_, &status, WNOHANG | WUNTRACED) != child_) return;
    if (WIFSTOPPED(status)) {
      // Without namespaces it is the command.
      if (request_.namespaces.Flags() == 0 && !request_.new_session) terminal_.OnStopped(getpgid(child_) == getpgrp());
      return;
    }
    child_ = -1;
    if (!exit_) exit_ = ShellStatus(status);
  }

  void RelayAudit() {
    char bytes[16384];
    const ssize_t got = read(audit_pipe_.get(), bytes, sizeof bytes);
    if (got > 0) (void)!write(STDERR_FILENO, bytes, static_cast<size_t>(got));
    else if (got == 0 || (errno != EINTR && errno != EAGAIN)) audit_pipe_.Reset();
  }

  /// The supervisor ends by itself with the last process under the filter, once it has written what it knows.
  void Finish() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    const bool audited = request_.audit_fd >= 0 || !request_.audit.empty();
    const MonotonicTime until = Clock::Real().Monotonic() + (request_.namespaces.pid ? kLastLines : kLastLinesOfOthers);
    while (audited && keeper_ && keeper_->running()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::Real().Monotonic()).count();
      pollfd fds[] = {{keeper_->pidfd(), POLLIN, 0}, {audit_pipe_.get(), POLLIN, 0}};
      const int ready = poll(fds, 2, static_cast<int>(std::max<int64_t>(left, 0)));
      if (ready < 0 && errno == EINTR) continue;
      if (fds[1].revents != 0) RelayAudit();
      if (ready == 0) Note("the last lines of the audit may be missing: processes of the command still run, or the supervisor is late");
      if (ready <= 0 || fds[0].revents != 0) break;
    }
    keeper_.reset();
    if (audit_pipe_.valid()) {
      fcntl(audit_pipe_.get(), F_SETFL, O_NONBLOCK);
      for (pollfd last = {audit_pipe_.get(), POLLIN, 0}; audit_pipe_.valid() && poll(&last, 1, 0) == 1 && (last.revents & POLLIN) != 0;) RelayAudit();
    }
  }

  Request& request_;
  RunObserver& observer_;
  UniqueFd signals_, socket_, audit_, audit_pipe_;
  Terminal terminal_;
  bool started_ = false;  // the command, in a container
  pid_t child_ = -1;
  std::optional<Keeper> keeper_;
  // Of a command that has neither lasted nor asked yet: its listener, which is watched for a call that waits; when it will have lasted.
  std::optional<supervisor::Handover> handover_;
  std::optional<MonotonicTime> lasts_at_, respawn_at_;
  MonotonicTime watch_at_{};
  std::optional<int> exit_;
  std::string error_;
};

}  // namespace

Status CheckHonoured(const Request& request) {
  const Sections& sections = request.policy.sections;
  const Namespaces& own = request.namespaces;
  const auto refuse = [](std::string_view field, std::string_view why) { return Errorf(Code::kFailedPrecondition, "{}: {}", field, why); };
  if (own.pid && !own.mount) return Error(Code::kInvalidArgument, "a pid namespace needs a mount namespace for its /proc");
  if (!own.mount && (!request.root.empty() || !request.mounts.empty())) return Error(Code::kInvalidArgument, "a root and mounts need a mount namespace");
  if (!own.uts && !request.hostname.empty()) return refuse("spec.view.hostname", "needs a uts namespace");
  if (sections.files && !own.mount) {
    if (!sections.files->mask.empty()) return refuse("spec.files.mask", "needs a mount namespace");
    if (!sections.files->read_only.empty()) return refuse("spec.files.readOnly", "needs a mount namespace");
  }
  if (!sections.view) return OkStatus();
  if (sections.view->granted_cpus && request.cpus == 0) return refuse("spec.view.cpus", "say what is granted: --cpus=N");
  if (sections.view->granted_memory && request.memory_bytes == 0) return refuse("spec.view.memory", "say what is granted: --memory=SIZE");
  const bool files = sections.view->granted_cpus || sections.view->granted_memory || !sections.view->files.empty();
  if (files && !own.mount) return refuse("spec.view", "its files need a mount namespace");
  return OkStatus();
}

Outcome Run(Request& request, RunObserver& observer) { return Runner(request, observer).Run(); }

}  // namespace isla::runner
