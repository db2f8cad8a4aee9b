#include "sandbox/runner/container.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iterator>

#include "api/base/packet.h"
#include "sandbox/runner/box_group.h"
#include "sandbox/runner/command.h"
#include "sandbox/runner/meanwhile.h"
#include "sandbox/runner/namespaces.h"
#include "sandbox/runner/net_namespace.h"
#include "sandbox/runner/privileges.h"
#include "sandbox/runner/root.h"

namespace isla::runner {
namespace {

[[noreturn]] void Fail(const Failure& failure) {
  const std::string text = "isla-box: " + Message(failure.status) + "\n";
  (void)!write(STDERR_FILENO, text.data(), text.size());
  _exit(failure.exit);
}

/// Whoever started us may have died before we asked to die with it.
bool IsAlone(int socket) {
  pollfd other = {socket, 0, 0};
  return poll(&other, 1, 0) == 1 && (other.revents & (POLLHUP | POLLERR)) != 0;
}

Status Ids(const ContainerArgs& args) {
  if (!args.request.namespaces.user) return OkStatus();
  if (!args.wait_for_ids) return MapOwnId(args.uid, args.gid, args.request.map_root);
  char go = 0;
  ssize_t got = 0;
  do {
    got = recv(args.socket, &go, 1, 0);
  } while (got < 0 && errno == EINTR);
  return got == 1 ? OkStatus() : Error(Code::kUnavailable, "isla-box ended");
}

/// All that a helper can do for us: namespaces but the network's are ours together.
Status BuildInside(const void* shared) {
  const ContainerArgs& args = *static_cast<const ContainerArgs*>(shared);
  const Request& request = args.request;
  RETURN_IF_ERROR(Ids(args));
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (!request.hostname.empty() && sethostname(request.hostname.data(), request.hostname.size()) != 0) return FromErrno(errno, "set the host name");
  return request.namespaces.mount ? BuildRoot(request, args.granted) : OkStatus();
}

/// The network namespace is ours alone, takes longest and needs no ids.
Status BuildWithNet(const ContainerArgs& args) {
  Meanwhile inside(BuildInside, &args);
  RETURN_IF_ERROR(inside.Begin());
  const NetFailure failure = MakeNetNamespace();
  RETURN_IF_ERROR(inside.Wait());
  return failure.what == nullptr ? OkStatus() : FromErrno(failure.error, failure.what);
}

Status Build(const ContainerArgs& args) {
  const Request& request = args.request;
  RETURN_IF_ERROR(EnterGroup(request.group, args.enter_unified));
  // Whose root is the group that we are in now.
  if (request.namespaces.cgroup && request.group.any() && unshare(CLONE_NEWCGROUP) != 0) return FromErrno(errno, "make a cgroup namespace");
  RETURN_IF_ERROR(request.namespaces.net ? BuildWithNet(args) : BuildInside(&args));
  RETURN_IF_ERROR(BoundPrivileges());
  if (!request.folder.empty() && chdir(request.folder.c_str()) != 0) return NoFolder(request.folder, errno);
  RETURN_IF_ERROR(ConfineSelf(request));
  // Changes of ids and capabilities take it back, so it comes last.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return FromErrno(errno, "die with isla-box");
  if (IsAlone(args.socket)) return Error(Code::kUnavailable, "isla-box ended");
  if (!request.namespaces.pid) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  return OkStatus();
}

/// One packet: whether the filter has a listener, and the program.
StatusOr<CommandFilter> TakeFilter(const ContainerArgs& args) {
  if (!args.wait_for_filter) return CommandFilter{args.request.policy.filter, args.request.policy.NeedsSupervisor()};
  ssize_t size = 0;
  do {
    size = recv(args.socket, nullptr, 0, MSG_PEEK | MSG_TRUNC);
  } while (size < 0 && errno == EINTR);
  constexpr size_t kInstruction = sizeof(sock_filter);
  if (size <= 0 || static_cast<size_t>(size) % kInstruction != 1) return Error(Code::kUnavailable, "isla-box ended");
  CommandFilter out;
  out.program.resize(static_cast<size_t>(size) / kInstruction);
  char listener = 0;
  iovec parts[] = {{&listener, 1}, {out.program.data(), out.program.size() * kInstruction}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = std::size(parts);
  if (recvmsg(args.socket, &message, 0) != size) return Error(Code::kInternal, "the filter came in part");
  out.listener = listener != 0;
  return out;
}

bool Tell(int socket, const Started& started) {
  const StartedMessage body = {started.pid, started.wait_killable ? 1u : 0u};
  return SendPacket(socket, std::string_view(reinterpret_cast<const char*>(&body), sizeof body), started.listener.get()) ==
         static_cast<ssize_t>(sizeof body);
}

/// Whoever waits for the end of the command's output must not wait for us.
void LetGoOfStreams() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
    if (null.valid()) dup2(null.get(), fd);
    else close(fd);
  }
}

/// Reaps; the exit status once the command is among them. That it is stopped is told outside.
int Reap(pid_t command, int socket) {
  int status = 0, exit = -1;
  for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
    if (pid == command && WIFSTOPPED(status)) {
      // A group from outside has no number here: 0.
      const StoppedMessage message = {getpgid(command) == getpgrp() ? 1u : 0u};
      (void)!send(socket, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else if (pid == command) {
      exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
  }
  return exit;
}

[[noreturn]] void StayFirst(const ContainerArgs& args, pid_t command) {
  sigset_t all;
  sigemptyset(&all);
  sigaddset(&all, SIGCHLD);
  sigaddset(&all, ContinueSignal());
  for (const int signal : kForwarded) sigaddset(&all, signal);
  for (;;) {
    if (const int exit = Reap(command, args.socket); exit >= 0) _exit(exit);
    siginfo_t info{};
    const int signal = sigwaitinfo(&all, &info);
    if (signal <= 0 || signal == SIGCHLD) continue;
    // What a terminal sends comes to us, too; to the command only if it isn't in another session.
    const bool keyboard = info.si_code == SI_KERNEL && args.request.new_session;
    // From outside only: what the container's processes send us is none of the command's business.
    const bool outside = info.si_code <= 0 && info.si_pid == args.outside;
    if (keyboard || outside) kill(command, signal == ContinueSignal() ? SIGCONT : signal);
  }
}

}  // namespace

Status SendFilter(int socket, const sandbox::CompiledPolicy& policy) {
  char listener = policy.NeedsSupervisor() ? 1 : 0;
  iovec parts[] = {{&listener, 1}, {const_cast<sock_filter*>(policy.filter.data()), policy.filter.size() * sizeof(sock_filter)}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = std::size(parts);
  if (sendmsg(socket, &message, MSG_NOSIGNAL) >= 0 || errno == EPIPE || errno == ECONNRESET) return OkStatus();
  return FromErrno(errno, "hand over the filter");
}

void ContainerMain(const ContainerArgs& args) {
  if (const Status status = Build(args); !status.ok()) Fail({status});
  const StatusOr<CommandFilter> filter = TakeFilter(args);
  if (!filter.ok()) Fail({filter.status()});
  Started started;
  const Failure failure = StartCommand(args.request, args.plan, *filter, {.confine = false, .die_with_caller = !args.request.namespaces.pid}, started);
  if (!failure.ok()) Fail(failure);
  for (const std::string& path : started.missing) std::fprintf(stderr, "isla-box: note: '%s' isn't there, so it can't be reached if it comes later\n", path.c_str());
  // If isla-box is gone we are killed in a moment.
  (void)Tell(args.socket, started);
  const pid_t command = started.pid;
  started.listener.Reset();
  LetGoOfStreams();
  StayFirst(args, command);
}

}  // namespace isla::runner
