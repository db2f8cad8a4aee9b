// isla-init: PID 1 of every container.
//
//   isla-init PROGRAM [ARG...]      descriptor 3: agentd/init/report.h; environment: the payload's
//
// Starts the payload as its only child, passes signals on to it, reaps whatever is orphaned in the container,
// reports the payload's wait status and exits, upon which the kernel kills the rest of the container's pid
// namespace. It dies with the shim: by the parent-death signal, and by the lifeline if the shim died before
// that was set. Everything that confines it (user namespace, capabilities, seccomp filter) was set before its
// exec and holds for the payload too. No libraries, no allocation, no threads: see system.h and README.md.
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <climits>
#include <initializer_list>

#include "agentd/init/report.h"
#include "agentd/init/system.h"

namespace isla::init {
namespace {

void Send(const Report& report) {
  while (Call(__NR_sendto, kReportFd, Address(&report), sizeof report, MSG_NOSIGNAL) == -EINTR) {
  }
}

[[noreturn]] void Fail(const char* step, const char* subject, long error, ReportKind kind = ReportKind::kStepFailed) {
  Report report;
  report.kind = kind;
  report.error = static_cast<int32_t>(-error);
  size_t at = 0;
  for (const char* part : {step, subject}) {
    if (part[0] != '\0' && at > 0 && at < sizeof report.step - 1) report.step[at++] = ' ';
    for (; *part != '\0' && at < sizeof report.step - 1; ++part) report.step[at++] = *part;
  }
  Send(report);
  Exit(127);
}

long Poll(pollfd* fds, unsigned count, const timespec* timeout) {
  return Call(__NR_ppoll, Address(fds), count, Address(timeout), 0, 0);
}

bool ShimIsGone() {
  pollfd lifeline = {kReportFd, 0, 0};
  const timespec now = {0, 0};
  return Poll(&lifeline, 1, &now) > 0 && (lifeline.revents & (POLLHUP | POLLERR)) != 0;
}

/// The value of PATH in the environment, or what execvp takes for it.
const char* SearchPath(char** env) {
  for (; *env != nullptr; ++env) {
    const char* entry = *env;
    if (entry[0] == 'P' && entry[1] == 'A' && entry[2] == 'T' && entry[3] == 'H' && entry[4] == '=') return entry + 5;
  }
  return "/usr/bin:/bin";
}

bool HasSlash(const char* text) {
  for (; *text != '\0'; ++text) {
    if (*text == '/') return true;
  }
  return false;
}

/// As execvp: a name without a slash is looked for along PATH; a file that may not be executed doesn't end the search
/// but decides its error. Returns negative errno.
long ExecuteAlong(const char* path, char** argv, char** env) {
  const char* name = argv[0];
  if (HasSlash(name)) return Call(__NR_execve, Address(name), Address(argv), Address(env));
  const size_t name_length = Length(name);
  long error = -ENOENT;
  for (;;) {
    char file[PATH_MAX];
    size_t at = 0;
    while (*path != '\0' && *path != ':' && at < sizeof file - 2) file[at++] = *path++;
    const bool whole = *path == '\0' || *path == ':';
    if (at == 0) file[at++] = '.';
    file[at++] = '/';
    if (whole && at + name_length < sizeof file) {
      for (size_t i = 0; i <= name_length; ++i) file[at + i] = name[i];
      const long result = Call(__NR_execve, Address(file), Address(argv), Address(env));
      if (result == -EACCES) {
        error = result;
      } else if (result != -ENOENT && result != -ENOTDIR) {
        return result;
      }
    }
    while (*path != '\0' && *path != ':') ++path;
    if (*path == '\0') return error;
    ++path;
  }
}

/// The payload's side of vfork. Its own frame, never inlined: it must not touch what the parent keeps in its own.
[[noreturn, gnu::noinline]] void BecomePayload(char** argv, char** env, volatile long* error) {
  Call(__NR_setsid);
  const SignalSet none = 0;
  Call(__NR_rt_sigprocmask, SIG_SETMASK, Address(&none), 0, sizeof none);
  *error = ExecuteAlong(SearchPath(env), argv, env);
  Exit(127);
}

/// The payload's pid, once its execve has succeeded. The child shares our memory and stack, and we sleep until it has
/// gone on to its own (CLONE_VFORK): so it never returns from here, and what it writes to `error` is ours to read.
[[gnu::noinline]] long Start(char** argv, char** env) {
  volatile long error = 0;
  const long pid = Call(__NR_clone, CLONE_VM | CLONE_VFORK | SIGCHLD);
  if (pid == 0) BecomePayload(argv, env, &error);
  if (pid < 0) Fail("fork the payload", "", pid);
  if (error != 0) Fail("execute", argv[0], error, ReportKind::kNotExecuted);
  return pid;
}

class Init {
 public:
  Init(long payload, int signals) : payload_(payload), signals_(signals) {}

  [[noreturn]] void Run() {
    for (;;) {
      Reap();
      pollfd fds[] = {{signals_, POLLIN, 0}, {kReportFd, POLLIN, 0}};
      if (Poll(fds, 2, nullptr) < 0) continue;
      if (fds[0].revents != 0) OnSignal();
      if ((fds[1].revents & (POLLHUP | POLLERR)) != 0) Exit(1);
      if (fds[1].revents != 0) OnCommand();
    }
  }

 private:
  void Reap() {
    for (;;) {
      int status = 0;
      const long pid = Call(__NR_wait4, -1, Address(&status), WNOHANG, 0);
      if (pid == payload_) Finish(status);
      if (pid <= 0 && pid != -EINTR) return;
    }
  }

  // In both, reaped before a signal is passed on: one that comes after the payload's end didn't end it.
  void OnSignal() {
    signalfd_siginfo info;
    if (Call(__NR_read, signals_, Address(&info), sizeof info) != sizeof info) return;
    Reap();
    if (info.ssi_signo != SIGCHLD) Call(__NR_kill, payload_, static_cast<int>(info.ssi_signo));
  }

  void OnCommand() {
    SignalCommand command;
    if (Call(__NR_recvfrom, kReportFd, Address(&command), sizeof command, MSG_DONTWAIT) != sizeof command) return;
    Reap();
    if (Call(__NR_kill, payload_, command.signal) == 0) delivered_ = true;
  }

  [[noreturn]] void Finish(int status) {
    rusage usage{};
    Call(__NR_getrusage, RUSAGE_CHILDREN, Address(&usage));
    Report report;
    report.kind = ReportKind::kExited;
    report.wait_status = status;
    report.signal_delivered = delivered_ ? 1 : 0;
    report.cpu_time_usec = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 +
                           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    report.max_rss_kib = usage.ru_maxrss;
    Send(report);
    const int signal = status & 0x7f;
    Exit(signal != 0 ? 128 + signal : status >> 8 & 0xff);
  }

  const long payload_;
  const int signals_;
  bool delivered_ = false;
};

/// All signals are blocked: blocked ones reach PID 1 too, and wait in the descriptor until read.
long BlockSignals() {
  SignalSet all = ~SignalSet{0};
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGABRT, SIGTRAP}) all &= ~SignalBit(fault);
  Call(__NR_rt_sigprocmask, SIG_SETMASK, Address(&all), 0, sizeof all);
  // Job control of a terminal that PID 1 may hold is not the payload's business.
  SignalSet passed = all;
  for (const int kept : {SIGTSTP, SIGTTIN, SIGTTOU}) passed &= ~SignalBit(kept);
  return Call(__NR_signalfd4, -1, Address(&passed), sizeof passed, SFD_CLOEXEC | SFD_NONBLOCK);
}

[[noreturn]] void Main(long argc, char** argv, char** env) {
  constexpr char kUsage[] = "usage: isla-init PROGRAM [ARG...]   (started by isla-shim)\n";
  if (argc < 2 || Call(__NR_fcntl, kReportFd, F_SETFD, FD_CLOEXEC) != 0) {
    Call(__NR_write, 2, Address(kUsage), sizeof kUsage - 1);
    Exit(2);
  }
  const long set = Call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
  if (set != 0) Fail("set the parent-death signal", "", set);
  if (ShimIsGone()) Exit(1);
  // Its memory and descriptors are no business of container root.
  Call(__NR_prctl, PR_SET_DUMPABLE, 0);
  const long signals = BlockSignals();
  if (signals < 0) Fail("open a signalfd", "", signals);
  const long payload = Start(argv + 1, env);
  Report started;
  started.kind = ReportKind::kStarted;
  Send(started);
  // The payload's output ends with the payload, not with us.
  for (int fd = 0; fd < kReportFd; ++fd) Call(__NR_close, fd);
  Init(payload, static_cast<int>(signals)).Run();
}

}  // namespace
}  // namespace isla::init

/// Where the kernel begins: argc, argv, null, environment, null on the stack.
extern "C" [[noreturn, gnu::used]] void InitStart(long* stack) {
  auto** argv = reinterpret_cast<char**>(stack + 1);
  isla::init::Main(stack[0], argv, argv + stack[0] + 1);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call InitStart\n hlt\n");
#else
__asm__(".globl _start\n_start: mov x29, #0\n mov x30, #0\n mov x0, sp\n bl InitStart\n");
#endif

// The compiler may call these for copies and clears that it finds.
extern "C" void* memset(void* to, int value, size_t size) {
  auto* at = static_cast<volatile unsigned char*>(to);
  for (size_t i = 0; i < size; ++i) at[i] = static_cast<unsigned char>(value);
  return to;
}
extern "C" void* memcpy(void* to, const void* from, size_t size) {
  auto* at = static_cast<volatile unsigned char*>(to);
  const auto* source = static_cast<const unsigned char*>(from);
  for (size_t i = 0; i < size; ++i) at[i] = source[i];
  return to;
}
