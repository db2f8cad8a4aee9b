#include "sandbox/runner/container.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

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

/// The next packet from outside, at least one byte.
StatusOr<std::string> TakePacket(int socket) {
  ssize_t size = 0;
  do {
    size = recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return Error(Code::kUnavailable, "isla-box ended");
  std::string out(static_cast<size_t>(size), '\0');
  UniqueFd none;
  return ReceivePacket(socket, out.data(), out.size(), none) == size ? StatusOr<std::string>(std::move(out)) : Error(Code::kInternal, "a packet came in part");
}

// Of a view's files, one after the other: each text after its size.
constexpr size_t kPieceBytes = 64 * 1024;

void AppendText(std::string& out, std::string_view text) {
  const uint64_t size = text.size();
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out += text;
}

std::string_view TakeText(std::string_view& rest) {
  uint64_t size = 0;
  ISLA_CHECK(rest.size() >= sizeof size);
  std::memcpy(&size, rest.data(), sizeof size);
  rest.remove_prefix(sizeof size);
  ISLA_CHECK(rest.size() >= size);
  const std::string_view out = rest.substr(0, size);
  rest.remove_prefix(size);
  return out;
}

/// What SendView() sends.
StatusOr<std::vector<sandbox::ViewFile>> TakeView(int socket) {
  std::string all;
  for (bool last = false; !last;) {
    ASSIGN_OR_RETURN(const std::string packet, TakePacket(socket));
    last = packet[0] == '.';
    all.append(packet, 1);
  }
  std::vector<sandbox::ViewFile> out;
  for (std::string_view rest = all; !rest.empty();) {
    const std::string_view path = TakeText(rest), content = TakeText(rest);
    out.push_back({std::string(path), std::string(content)});
  }
  return out;
}

Status Sent(ssize_t result, std::string_view what) {
  if (result >= 0 || errno == EPIPE || errno == ECONNRESET) return OkStatus();
  return FromErrno(errno, fmt::format("hand over {}", what));
}

/// All that a helper can do for us: namespaces but the network's are ours together.
Status BuildInside(const void* shared) {
  const ContainerArgs& args = *static_cast<const ContainerArgs*>(shared);
  const Request& request = args.request;
  RETURN_IF_ERROR(Ids(args));
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (!request.hostname.empty() && sethostname(request.hostname.data(), request.hostname.size()) != 0) return FromErrno(errno, "set the host name");
  if (!request.namespaces.mount) return OkStatus();
  return BuildRoot(request, [&args] { return args.wait_for_view ? TakeView(args.socket) : std::vector<sandbox::ViewFile>(); });
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

/// What SendFilter() sends.
StatusOr<CommandFilter> TakeFilter(const ContainerArgs& args) {
  if (!args.wait_for_filter) return CommandFilter{args.request.policy.filter, args.request.policy.NeedsSupervisor()};
  ASSIGN_OR_RETURN(const std::string packet, TakePacket(args.socket));
  ASSIGN_OR_RETURN(sandbox::Program program, sandbox::FromBytes(std::string_view(packet).substr(1)));
  return CommandFilter{std::move(program), packet[0] != 0};
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

Status SendView(int socket, const std::vector<sandbox::ViewFile>& files) {
  std::string all;
  for (const sandbox::ViewFile& file : files) {
    AppendText(all, file.path);
    AppendText(all, file.content);
  }
  // Each says whether it is the last.
  for (size_t at = 0;;) {
    const std::string_view piece = std::string_view(all).substr(at, kPieceBytes);
    at += piece.size();
    const bool last = at == all.size();
    RETURN_IF_ERROR(Sent(SendPacket(socket, fmt::format("{}{}", last ? '.' : '+', piece)), "the view's files"));
    if (last) return OkStatus();
  }
}

Status SendFilter(int socket, const sandbox::CompiledPolicy& policy) {
  return Sent(SendPacket(socket, static_cast<char>(policy.NeedsSupervisor()) + sandbox::ToBytes(policy.filter)), "the filter");
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
