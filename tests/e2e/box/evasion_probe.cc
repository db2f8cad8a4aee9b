// evasion WAY: tries one way around a policy that refuses to open /etc/hostname; prints what came of it. Static, so that it runs where only itself may.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

namespace {

constexpr const char* kSecret = "/etc/hostname";

/// "opened", or why not.
const char* Outcome(long result) { return result >= 0 ? "opened" : strerrorname_np(static_cast<int>(errno)); }
const char* Open(const char* path) { return Outcome(open(path, O_RDONLY)); }

/// A filter of the program's own: `action` for openat, all else allowed.
long LoadInner(unsigned action, unsigned flags) {
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, action), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {4, code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

void InnerFilters() {
  printf("listener: %s\n", LoadInner(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER) < 0 ? strerrorname_np(errno) : "loaded");
  struct Try {
    const char* name;
    unsigned action;
  };
  for (const Try& each : {Try{"allow", SECCOMP_RET_ALLOW}, Try{"log", SECCOMP_RET_LOG}, Try{"trace", SECCOMP_RET_TRACE}, Try{"notify", SECCOMP_RET_USER_NOTIF},
                          Try{"errno", SECCOMP_RET_ERRNO | 77}}) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      if (LoadInner(each.action, 0) != 0) _exit(255);
      _exit(open(kSecret, O_RDONLY) >= 0 ? 254 : errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("%s: %d\n", each.name, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
}

#if defined(__x86_64__)
/// The 32-bit table's open is number 5; its pointers must be below 4 GiB.
long Int80Open() {
  char* const low = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
  if (low == MAP_FAILED) return -1;
  strcpy(low, kSecret);
  long result = 0;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(5L), "b"(low), "c"(0L), "d"(0L) : "memory", "r8", "r9", "r10", "r11");
  if (result < 0) errno = static_cast<int>(-result);
  return result < 0 ? -1 : result;
}
#endif

/// Ways to write the same path, and other calls.
void Paths() {
  const int etc = open("/etc", O_RDONLY | O_DIRECTORY), path = open("/etc", O_PATH);
  printf("plain: %s\n", Open(kSecret));
  printf("dots: %s\n", Open("/etc/../etc/./hostname"));
  printf("slashes: %s\n", Open("//etc///hostname"));
  printf("proc root: %s\n", Open("/proc/self/root/etc/hostname"));
  printf("thread root: %s\n", Open("/proc/thread-self/root/etc/hostname"));
  printf("dirfd: %s\n", Outcome(openat(etc, "hostname", O_RDONLY)));
  printf("O_PATH dirfd: %s\n", Outcome(openat(path, "../etc/hostname", O_RDONLY)));
  printf("proc fd: %s\n", Open(("/proc/self/fd/" + std::to_string(etc) + "/hostname").c_str()));
  open_how how = {O_RDONLY, 0, 0};
  printf("openat2: %s\n", Outcome(syscall(SYS_openat2, etc, "hostname", &how, sizeof how)));
  how.resolve = RESOLVE_IN_ROOT;
  printf("openat2 in root: %s\n", Outcome(syscall(SYS_openat2, etc, "/hostname", &how, sizeof how)));
#if defined(__x86_64__)
  printf("open: %s\n", Outcome(syscall(SYS_open, kSecret, O_RDONLY)));
  printf("x32: %s\n", Outcome(syscall(SYS_open | 0x40000000, kSecret, O_RDONLY)));
#endif
  char link[] = "/tmp/isla-evasion-XXXXXX";
  if (mkdtemp(link) != nullptr) {
    const std::string symlink_path = std::string(link) + "/l";
    if (symlink(kSecret, symlink_path.c_str()) == 0) printf("symlink: %s\n", Open(symlink_path.c_str()));
    unlink(symlink_path.c_str());
    rmdir(link);
  }
  if (chdir("/etc") == 0) printf("relative: %s\n", Open("hostname"));
  if (chroot("/etc") == 0) printf("chroot: %s\n", Open("/hostname"));
}

void IoUring() {
  io_uring_params params{};
  printf("setup: %s\n", syscall(SYS_io_uring_setup, 4, &params) >= 0 ? "opened" : strerrorname_np(errno));
}

/// A link that another thread points to the refused file and to an allowed one in turn.
void SwapLinks() {
  char folder[] = "/tmp/isla-evasion-XXXXXX";
  if (mkdtemp(folder) == nullptr) return;
  const std::string link = std::string(folder) + "/l", next = std::string(folder) + "/n";
  std::atomic<bool> stop{false};
  if (symlink("/etc/passwd", link.c_str()) != 0) return;
  std::thread swapper([&] {
    for (bool secret = true; !stop; secret = !secret) {
      if (symlink(secret ? kSecret : "/etc/passwd", next.c_str()) == 0) rename(next.c_str(), link.c_str());
    }
  });
  int opened = 0, refused = 0, leaked = 0;
  for (int i = 0; i < 3000; ++i) {
    const int fd = open(link.c_str(), O_RDONLY);
    if (fd < 0) {
      ++refused;
      continue;
    }
    char name[64] = {}, where[256] = {};
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (readlink(name, where, sizeof where - 1) > 0 && strcmp(where, kSecret) == 0) ++leaked;
    else ++opened;
    close(fd);
  }
  stop = true;
  swapper.join();
  unlink(link.c_str());
  unlink(next.c_str());
  rmdir(folder);
  printf("opened some: %d, refused some: %d, leaked: %d\n", opened > 0, refused > 0, leaked);
}

/// A connection that no connect() asks for, to a server of our own.
void ConnectBySending() {
  const int server = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(server, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(server, 4) != 0 || getsockname(server, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
  const auto* const peer = reinterpret_cast<const sockaddr*>(&address);
  printf("connect: %s\n", Outcome(connect(socket(AF_INET, SOCK_STREAM, 0), peer, length)));
  printf("sendto: %s\n", Outcome(sendto(socket(AF_INET, SOCK_STREAM, 0), "x", 1, MSG_FASTOPEN, peer, length)));
  iovec data = {const_cast<char*>("x"), 1};
  mmsghdr message{};
  message.msg_hdr.msg_name = &address;
  message.msg_hdr.msg_namelen = length;
  message.msg_hdr.msg_iov = &data;
  message.msg_hdr.msg_iovlen = 1;
  printf("sendmsg: %s\n", Outcome(sendmsg(socket(AF_INET, SOCK_STREAM, 0), &message.msg_hdr, MSG_FASTOPEN)));
  printf("sendmmsg: %s\n", Outcome(sendmmsg(socket(AF_INET, SOCK_STREAM, 0), &message, 1, MSG_FASTOPEN)));
  const int later = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(later, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
  printf("deferred: %s\n", Outcome(connect(later, peer, length)));
}

/// Runs this very program from memory.
void ExecFromMemory(unsigned flags) {
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), memory = static_cast<int>(syscall(SYS_memfd_create, "x", flags));
  if (memory < 0) {
    printf("memfd: %s\n", strerrorname_np(errno));
    return;
  }
  static char bytes[1 << 16];
  for (ssize_t got = 0; (got = read(self, bytes, sizeof bytes)) > 0;) {
    if (write(memory, bytes, static_cast<size_t>(got)) != got) return;
  }
  fflush(stdout);
  char name[] = "evasion", what[] = "ran";
  char *argv[] = {name, what, nullptr}, *environment[] = {nullptr};
  syscall(SYS_execveat, memory, "", argv, environment, AT_EMPTY_PATH);
  execve(("/proc/self/fd/" + std::to_string(memory)).c_str(), argv, environment);
  printf("exec: %s\n", strerrorname_np(errno));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string way = argc > 1 ? argv[1] : "";
  if (way == "inner") InnerFilters();
  else if (way == "paths") Paths();
  else if (way == "io_uring") IoUring();
  else if (way == "swap") SwapLinks();
  else if (way == "memfd") ExecFromMemory(0);
  else if (way == "memfd-noexec") ExecFromMemory(0x8);
  else if (way == "fastopen") ConnectBySending();
  else if (way == "ran") puts("ran");
#if defined(__x86_64__)
  else if (way == "int80") printf("int80: %s\n", Outcome(Int80Open()));
#endif
  else return 2;
  return 0;
}
