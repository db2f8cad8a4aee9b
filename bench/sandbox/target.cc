#include "bench/sandbox/target.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>

#include "sandbox/supervisor/load.h"

namespace isla::bench {
namespace {

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

void Work(long usec) {
  const double until = Now() + static_cast<double>(usec) * 1e3;
  while (Now() < until) {
  }
}

double Measure(const TargetOptions& options) {
  static const char kText[] = "/usr/share/some/path/of/a/file";  // what a tracer looks at
  for (int i = 0; i < 100; ++i) syscall(SYS_getppid, kText);
  double spent = 0;
  if (options.work_usec == 0) {
    const double begin = Now();
    for (long i = 0; i < options.calls; ++i) syscall(SYS_getppid, kText);
    spent = Now() - begin;
  } else {
    for (long i = 0; i < options.calls; ++i) {
      Work(options.work_usec);
      const double begin = Now();
      syscall(SYS_getppid, kText);
      spent += Now() - begin;
    }
  }
  return spent / static_cast<double>(options.calls);
}

}  // namespace

Target::Target(const TargetOptions& options, const std::optional<sandbox::Program>& filter, bool listens) {
  int sockets[2], results[2];
  ISLA_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0 && pipe2(results, O_CLOEXEC) == 0);
  const UniqueFd mine(sockets[0]);
  UniqueFd its(sockets[1]), its_result(results[1]);
  result_.Reset(results[0]);
  pid_ = fork();
  ISLA_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (options.traced) {
      ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      raise(SIGSTOP);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (filter && listens && supervisor::LoadAndHandOver(*filter, its.get()) != 0) _exit(1);
    if (filter && !listens) {
      const sock_fprog raw = {static_cast<unsigned short>(filter->size()), const_cast<sock_filter*>(filter->data())};
      if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw) != 0) _exit(1);
    }
    const double nanoseconds = Measure(options);
    (void)!write(its_result.get(), &nanoseconds, sizeof nanoseconds);
    while (options.linger) pause();
    _exit(0);
  }
  its.Reset();
  its_result.Reset();
  if (!filter || !listens) return;
  const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  StatusOr<supervisor::Handover> taken = supervisor::TakeListener(mine.get(), pidfd.get());
  ISLA_CHECK_OK(taken);
  listener = std::move(taken->listener);
  wait_killable = taken->wait_killable;
}

Target::~Target() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

double Target::Nanoseconds() {
  double out = 0;
  ISLA_CHECK(read(result_.get(), &out, sizeof out) == static_cast<ssize_t>(sizeof out));
  return out;
}

sandbox::Program AnsweringGetppid(uint32_t answer) {
  return {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
          BPF_STMT(BPF_RET | BPF_K, answer), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
}

}  // namespace isla::bench
