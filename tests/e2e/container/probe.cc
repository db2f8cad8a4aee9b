// probe WHAT: tries one thing that a container may not do, prints "ok" or the name of the errno.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

int Report(long result) {
  if (result >= 0) {
    puts("ok");
  } else {
    puts(strerrorname_np(errno));
  }
  return 0;
}

long Int80(long number) {
#if defined(__x86_64__)
  long result = 0;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number) : "memory", "r8", "r9", "r10", "r11");
  return result;
#else
  return number - number;
#endif
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::string arg = argc > 2 ? argv[2] : "";
  if (what == "io_uring") {
    io_uring_params params{};
    return Report(syscall(SYS_io_uring_setup, 4, &params));
  }
  if (what == "bpf") return Report(syscall(SYS_bpf, 0, nullptr, 0));
  if (what == "init_module") return Report(syscall(SYS_init_module, nullptr, 0, ""));
  if (what == "kexec") return Report(syscall(SYS_kexec_load, 0, 0, nullptr, 0));
  if (what == "userfaultfd") return Report(syscall(SYS_userfaultfd, 0));
  if (what == "keyctl") return Report(syscall(SYS_keyctl, 0, -3));
  if (what == "perf") {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    return Report(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
  }
  if (what == "mount") return Report(mount("none", "/mnt", "tmpfs", 0, nullptr));
  if (what == "fsopen") return Report(syscall(SYS_fsopen, "tmpfs", 0));
  if (what == "umount") return Report(umount2("/proc", MNT_DETACH));
  if (what == "ptrace") return Report(ptrace(PTRACE_ATTACH, std::atoi(arg.c_str()), nullptr, nullptr));
  if (what == "vm_read") {
    return Report(syscall(SYS_process_vm_readv, std::atoi(arg.c_str()), nullptr, 0, nullptr, 0, 0));
  }
  if (what == "clone3") {
    clone_args args{};
    return Report(syscall(SYS_clone3, &args, sizeof args));
  }
  if (what == "unshare_user") return Report(unshare(CLONE_NEWUSER));
  if (what == "unshare_net") return Report(unshare(CLONE_NEWNET));
  if (what == "clone_user") return Report(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
  if (what == "setns") {
    const int fd = open("/proc/self/ns/net", O_RDONLY);
    return Report(setns(fd, 0));
  }
  if (what == "socket") return Report(socket(std::atoi(arg.c_str()), SOCK_STREAM, 0));
  if (what == "raw") return Report(socket(AF_INET, SOCK_RAW, 1));
  if (what == "tiocsti") return Report(ioctl(0, TIOCSTI, "x"));
  if (what == "mknod") return Report(mknod("/tmp/disk", S_IFBLK | 0600, static_cast<dev_t>(0x0801)));
  if (what == "handle") return Report(syscall(SYS_open_by_handle_at, 3, nullptr, 0));
  if (what == "read") {
    const int fd = open(arg.c_str(), O_RDONLY);
    char c = 0;
    return Report(fd < 0 ? fd : read(fd, &c, 1));
  }
  if (what == "write") return Report(open(arg.c_str(), O_WRONLY | O_CREAT, 0600));
  if (what == "int80") return Int80(20) > 0 ? (puts("ok"), 0) : (puts("refused"), 0);
  if (what == "x32") return Report(syscall(0x40000000 + SYS_getpid));
  if (what == "fds") {
    for (int fd = 0; fd < 1024; ++fd) {
      if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
    }
    puts("");
    return 0;
  }
  if (what == "burn") {
    for (;;) (void)getppid();
  }
  if (what == "eat") {
    for (;;) {
      char* memory = static_cast<char*>(malloc(1 << 20));
      memset(memory, 1, 1 << 20);
    }
  }
  if (what == "hold") {
    const size_t bytes = static_cast<size_t>(std::atoi(arg.c_str())) << 20;
    memset(malloc(bytes), 1, bytes);
    puts("held");
    fflush(stdout);
    for (;;) pause();
  }
  if (what == "forkbomb") {
    // Up to the limit, then tells how many there are.
    int made = 0;
    while (made < 100000) {
      const pid_t pid = fork();
      if (pid == 0) {
        for (;;) pause();
      }
      if (pid < 0) break;
      ++made;
    }
    printf("%d %s\n", made, strerrorname_np(errno));
    return 7;
  }
  if (what == "grant") {
    // All that this static program can be told about cpus and memory.
    cpu_set_t mask;
    CPU_ZERO(&mask);
    struct sysinfo info {};
    if (sched_getaffinity(0, sizeof mask, &mask) != 0 || sysinfo(&info) != 0) return Report(-1);
    printf("%d %ld %ld %lu\n", CPU_COUNT(&mask), sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_NPROCESSORS_CONF),
           info.totalram * info.mem_unit >> 20);
    return 0;
  }
  if (what == "affinity") {
    // So many notified calls, one after the other: each must be answered, and alike.
    puts("begins");
    fflush(stdout);
    for (long i = 0, n = std::atol(arg.c_str()); i < n; ++i) {
      cpu_set_t mask;
      CPU_ZERO(&mask);
      if (sched_getaffinity(0, sizeof mask, &mask) != 0 || CPU_COUNT(&mask) != 1) return Report(-1);
    }
    puts("all answered");
    return 0;
  }
  if (what == "flood") {
    static char line[8192];
    memset(line, 'x', sizeof line);
    for (int i = 99; i < static_cast<int>(sizeof line); i += 100) line[i] = '\n';
    for (long bytes = std::atol(arg.c_str()); bytes > 0; bytes -= static_cast<long>(sizeof line)) {
      if (write(1, line, sizeof line) < 0) return 1;
    }
    return 0;
  }
  fputs("probe: unknown\n", stderr);
  return 64;
}
