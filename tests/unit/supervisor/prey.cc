// A program that lives under a filter: does one thing, prints what came of it.
#include "tests/unit/supervisor/prey.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace isla::prey {

const char* Result(long result) { return result >= 0 ? "ok" : strerrorname_np(errno); }

namespace {

/// Marks that no test program of ours could confuse: getpriority(PRIO_PROCESS, token) is what tests notify.
long Ask(long token) { return syscall(SYS_getpriority, 0, token); }

int Parent(int, char**) {
  std::printf("%ld\n", syscall(SYS_getppid));
  return 0;
}

int Once(int, char** argv) {
  errno = 0;
  const long result = Ask(std::atol(argv[2]));
  std::printf("%ld %s\n", result, result >= 0 ? "ok" : Result(result));
  return 0;
}

/// ask COUNT: how many of COUNT calls gave token + 7.
int AskMany(int, char** argv) {
  const long count = std::atol(argv[2]);
  long right = 0;
  for (long token = 1; token <= count; ++token) right += Ask(token) == token + 7 ? 1 : 0;
  std::printf("%ld\n", right);
  return 0;
}

std::atomic<long> signals{0};

/// storm COUNT THREADS: under a timer that fires all the time. Prints right, interrupted, wrong.
int Storm(int, char** argv) {
  const long count = std::atol(argv[2]), threads = std::atol(argv[3]);
  struct sigaction action {};
  action.sa_handler = [](int) { signals.fetch_add(1, std::memory_order_relaxed); };
  sigaction(SIGALRM, &action, nullptr);  // without SA_RESTART
  const itimerval often = {{0, 100}, {0, 100}};
  setitimer(ITIMER_REAL, &often, nullptr);
  std::atomic<long> right{0}, interrupted{0}, wrong{0};
  std::vector<std::thread> all;
  for (long t = 0; t < threads; ++t) {
    all.emplace_back([&right, &interrupted, &wrong, count, t] {
      for (long i = 1; i <= count; ++i) {
        const long token = t * 1'000'000 + i, result = Ask(token);
        if (result == token + 7) {
          ++right;
        } else if (result == -1 && errno == EINTR) {
          ++interrupted;
        } else {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  const itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  std::printf("%ld %ld %ld\n", right.load(), interrupted.load(), wrong.load());
  return 0;
}

int Affinity(int, char**) {
  unsigned long mask[128] = {};
  const auto ask = [&mask](pid_t pid, size_t bytes, void* into) {
    std::memset(mask, 0xff, sizeof mask);
    return syscall(SYS_sched_getaffinity, pid, bytes, into);
  };
  const long bytes = ask(0, sizeof mask, mask);
  int cpus = 0, first = -1;
  for (int cpu = 0; cpu < bytes * 8; ++cpu) {
    if ((mask[cpu / 64] >> (cpu % 64) & 1) == 0) continue;
    ++cpus;
    if (first < 0) first = cpu;
  }
  std::printf("cpus=%d first=%d bytes=%ld", cpus, first, bytes);
  std::printf(" self=%s", Result(ask(getpid(), sizeof mask, mask)));
  std::printf(" short=%s", Result(ask(0, 1, mask)));
  std::printf(" odd=%s", Result(ask(0, 129, mask)));
  std::printf(" zero=%s", Result(ask(0, 0, mask)));
  std::printf(" null=%s", Result(ask(0, sizeof mask, nullptr)));
  void* const read_only = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::printf(" readonly=%s", Result(ask(0, sizeof mask, read_only)));
  std::printf(" nobody=%s\n", Result(ask(1 << 22, sizeof mask, mask)));
  return 0;
}

int Sysinfo(int, char**) {
  struct sysinfo info {};
  const long result = syscall(SYS_sysinfo, &info);
  std::printf("%s total=%lu free=%lu swap=%lu", Result(result), info.totalram * info.mem_unit, info.freeram * info.mem_unit, info.totalswap);
  std::printf(" null=%s\n", Result(syscall(SYS_sysinfo, nullptr)));
  return 0;
}

int Uname(int, char**) {
  utsname names{};
  const long result = syscall(SYS_uname, &names);
  std::printf("%s %s %s\n", Result(result), names.sysname, names.nodename);
  return 0;
}

/// threads THREADS COUNT: how many were right in all.
int Threads(int, char** argv) {
  const long threads = std::atol(argv[2]), count = std::atol(argv[3]);
  std::atomic<long> right{0};
  std::vector<std::thread> all;
  for (long t = 0; t < threads; ++t) {
    all.emplace_back([&right, count, t] {
      for (long token = t * 1000 + 1; token <= t * 1000 + count; ++token) right += Ask(token) == token + 7 ? 1 : 0;
    });
  }
  for (std::thread& thread : all) thread.join();
  std::printf("%ld\n", right.load());
  return 0;
}

/// same COUNT VALUE: how many of COUNT calls gave VALUE.
int Same(int, char** argv) {
  long right = 0;
  for (long token = 1; token <= std::atol(argv[2]); ++token) right += Ask(token) == std::atol(argv[3]) ? 1 : 0;
  std::printf("%ld\n", right);
  return 0;
}

/// until VALUE FIRST: asks until it gets VALUE; says whether all before were FIRST.
int Until(int, char** argv) {
  const long value = std::atol(argv[2]), first = std::atol(argv[3]);
  bool others = false;
  std::printf("here\n");
  std::fflush(stdout);
  for (long got = 0; (got = Ask(1)) != value;) others = others || got != first;
  std::printf("%s\n", others ? "others" : "ok");
  return 0;
}

/// fork-ask COUNT: each call in a new process, so that ids come and go.
int ForkAsk(int, char** argv) {
  long right = 0;
  for (long token = 1; token <= std::atol(argv[2]); ++token) {
    const pid_t child = fork();
    if (child == 0) _exit(Ask(token) == token + 7 ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
    right += status == 0 ? 1 : 0;
  }
  std::printf("%ld\n", right);
  return 0;
}

/// hang: says that it is there, then asks once.
int Hang(int, char** argv) {
  std::printf("here\n");
  std::fflush(stdout);
  errno = 0;
  const long result = Ask(std::atol(argv[2]));
  std::printf("%ld %s\n", result, result >= 0 ? "ok" : Result(result));
  return 0;
}

struct Behaviour {
  const char* name;
  int (*function)(int, char**);
};
constexpr Behaviour kBehaviours[] = {
    {"parent", Parent},     {"once", Once},        {"ask", AskMany},         {"storm", Storm},         {"affinity", Affinity},
    {"sysinfo", Sysinfo},   {"uname", Uname},      {"fork-ask", ForkAsk},    {"hang", Hang},           {"open", OpenOne},
    {"flip", FlipPath},     {"strings", StringEdges}, {"fds", CountFds},     {"twice", ReadTwice},     {"mknod", MakeNode},
    {"same", Same}, {"until", Until}, {"opens", Opens}, {"storm-opens", StormOpens}, {"makes", Makes}, {"threads", Threads}, {"full-table", FullTable}, {"fifo-and-file", FifoAndFile}, {"openat", OpenAt},     {"connect", Connect},  {"bind", Bind},           {"flip-address", FlipAddress},
};

}  // namespace
}  // namespace isla::prey

int main(int argc, char** argv) {
  for (const auto& [name, function] : isla::prey::kBehaviours) {
    if (argc > 1 && std::strcmp(argv[1], name) == 0) return function(argc, argv);
  }
  return 2;
}
