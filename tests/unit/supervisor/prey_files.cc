#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "tests/unit/supervisor/prey.h"

namespace isla::prey {
namespace {

long Number(int argc, char** argv, int at) { return argc > at ? std::strtol(argv[at], nullptr, 0) : 0; }

/// "ok <text>", "ok (write)", or the error.
void Show(long fd) {
  if (fd < 0) {
    std::printf("%s\n", Result(fd));
    return;
  }
  char text[64] = {};
  const ssize_t got = read(static_cast<int>(fd), text, sizeof text - 1);
  if (got > 0 && text[got - 1] == '\n') text[got - 1] = '\0';
  const int flags = fcntl(static_cast<int>(fd), F_GETFD);
  std::printf("ok '%s'%s\n", text, (flags & FD_CLOEXEC) != 0 ? " cloexec" : "");
}

int FdCount() {
  int count = 0;
  DIR* const folder = opendir("/proc/self/fd");
  while (folder != nullptr && readdir(folder) != nullptr) ++count;
  if (folder != nullptr) closedir(folder);
  return count;
}

}  // namespace

int OpenOne(int argc, char** argv) {
  const std::string how = argv[2];
  const long flags = Number(argc, argv, 4), mode = Number(argc, argv, 5);
  if (how == "open") Show(syscall(SYS_open, argv[3], flags, mode));
  if (how == "openat") Show(syscall(SYS_openat, AT_FDCWD, argv[3], flags, mode));
  if (how == "openat2") {
    open_how request{};
    request.flags = static_cast<uint64_t>(flags);
    request.mode = static_cast<uint64_t>(mode);
    Show(syscall(SYS_openat2, AT_FDCWD, argv[3], &request, sizeof request));
  }
  return 0;
}

int OpenAt(int argc, char** argv) {
  const int folder = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
  open_how request{};
  request.resolve = static_cast<uint64_t>(Number(argc, argv, 4));
  Show(syscall(SYS_openat2, folder, argv[3], &request, sizeof request));
  return 0;
}

int FlipPath(int argc, char** argv) {
  static char path[256];
  std::strcpy(path, argv[2]);
  std::atomic<bool> done{false};
  const size_t bytes = std::strlen(argv[2]) + 1;  // both are of one length
  std::thread flipper([&done, argv, bytes] {
    while (!done.load(std::memory_order_relaxed)) {
      std::memcpy(path, argv[3], bytes);
      std::memcpy(path, argv[2], bytes);
    }
  });
  long secret = 0, open_ones = 0, refused = 0;
  // On a busy machine the other thread may not run for long: until both were met.
  const long count = Number(argc, argv, 4);
  for (long i = 0; i < count || (i < 100 * count && (open_ones == 0 || refused == 0)); ++i) {
    const long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    if (fd < 0) {
      ++refused;
      continue;
    }
    char first = 0;
    (void)!read(static_cast<int>(fd), &first, 1);
    (first == 'S' ? secret : open_ones) += 1;
    close(static_cast<int>(fd));
  }
  done.store(true);
  flipper.join();
  std::printf("secret=%ld some=%d refused=%d\n", secret, open_ones > 0 ? 1 : 0, refused > 0 ? 1 : 0);
  return 0;
}

int StringEdges(int, char** argv) {
  const auto page = static_cast<size_t>(getpagesize());
  char* const memory = static_cast<char*>(mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(memory + 2 * page, page, PROT_NONE);
  char* const hole = memory + 2 * page;
  const size_t bytes = std::strlen(argv[2]) + 1;
  const auto open_at = [](const char* path) {
    const long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    const char* const result = Result(fd);
    if (fd >= 0) close(static_cast<int>(fd));
    return result;
  };
  std::memcpy(hole - bytes, argv[2], bytes);  // ends just before the hole
  std::printf("end=%s", open_at(hole - bytes));
  std::memmove(memory + page - bytes / 2, argv[2], bytes);  // across two pages
  std::printf(" across=%s", open_at(memory + page - bytes / 2));
  std::memset(hole - 16, 'x', 16);
  std::printf(" unended=%s", open_at(hole - 16));
  std::printf(" hole=%s null=%s", open_at(hole), open_at(nullptr));
  static char longest[PATH_MAX + 1];
  std::memset(longest, '/', sizeof longest);
  std::printf(" long=%s", open_at(longest));
  longest[PATH_MAX - 1] = '\0';  // the longest that there may be
  std::printf(" longest=%s empty=%s\n", open_at(longest), open_at(""));
  return 0;
}

int CountFds(int argc, char** argv) {
  const int before = FdCount();
  for (long i = 0; i < Number(argc, argv, 3); ++i) {
    const long fd = syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY);
    if (fd >= 0) close(static_cast<int>(fd));
  }
  std::printf("%d\n", FdCount() - before);
  return 0;
}

int ReadTwice(int, char** argv) {
  const int a = open(argv[2], O_RDONLY | O_CLOEXEC), b = open(argv[2], O_RDONLY | O_CLOEXEC);
  char one[3] = {}, two[3] = {};
  (void)!read(a, one, 2);
  (void)!read(b, two, 2);
  std::printf("%s %s", one, two);
  std::printf(" write=%s", Result(open(argv[2], O_WRONLY)));
  char again[64];
  std::snprintf(again, sizeof again, "/proc/self/fd/%d", a);
  const int writable = open(again, O_RDWR);
  std::printf(" through=%s", writable < 0 ? Result(-1) : Result(write(writable, "x", 1)));
  std::printf(" map=%s\n", mmap(nullptr, 1, PROT_WRITE, MAP_SHARED, writable < 0 ? a : writable, 0) == MAP_FAILED ? Result(-1) : "ok");
  return 0;
}

int Opens(int argc, char** argv) {
  const int before = FdCount();
  long right = 0;
  for (long i = 0; i < Number(argc, argv, 3); ++i) {
    const long fd = syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY);
    char text[8] = {};
    if (fd >= 0 && read(static_cast<int>(fd), text, 7) == 4 && std::strcmp(text, "text") == 0) ++right;
    if (fd >= 0) close(static_cast<int>(fd));
  }
  std::printf("right=%ld left=%d\n", right, FdCount() - before);
  return 0;
}

/// Under a timer that fires all the time: each open gives the file, or was interrupted.
int StormOpens(int argc, char** argv) {
  const int before = FdCount();
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);  // without SA_RESTART
  const itimerval often = {{0, 100}, {0, 100}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  long wrong = 0;
  for (long i = 0; i < Number(argc, argv, 3); ++i) {
    const long fd = syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY);
    if (fd < 0 && errno == EINTR) continue;
    char text[8] = {};
    if (fd <= 0 || pread(static_cast<int>(fd), text, 7, 0) != 4 || std::strcmp(text, "text") != 0) ++wrong;
    if (fd > 0) close(static_cast<int>(fd));
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  std::printf("wrong=%ld left=%d\n", wrong, FdCount() - before);
  return 0;
}

/// Each file with O_EXCL, and a socket bound to a free port.
int Makes(int argc, char** argv) {
  long files = 0, sockets = 0;
  for (long i = 0; i < Number(argc, argv, 3); ++i) {
    const std::string path = std::string(argv[2]) + "/" + std::to_string(i);
    const long fd = syscall(SYS_openat, AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd >= 0 && close(static_cast<int>(fd)) == 0) ++files;
    const int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    if (bind(one, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0) ++sockets;
    close(one);
  }
  std::printf("files=%ld sockets=%ld\n", files, sockets);
  return 0;
}

int FullTable(int, char** argv) {
  const rlimit few = {20, 20};
  setrlimit(RLIMIT_NOFILE, &few);
  int last = 0;
  while ((last = dup(1)) >= 0) {
  }
  std::printf("%s", Result(syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY)));
  close(10);
  std::printf(" %s\n", Result(syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY)));
  return 0;
}

/// One thread waits for the fifo, the other opens the file all the while.
int FifoAndFile(int argc, char** argv) {
  const char* blocked = "nothing";
  std::thread waiter([argv, &blocked] { blocked = Result(syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY)); });
  long opened = 0;
  for (long i = 0; i < Number(argc, argv, 4); ++i) {
    const long fd = syscall(SYS_openat, AT_FDCWD, argv[3], O_RDONLY);
    if (fd < 0) continue;
    ++opened;
    close(static_cast<int>(fd));
  }
  waiter.join();
  std::printf("%ld %s\n", opened, blocked);
  return 0;
}

int MakeNode(int argc, char** argv) {
  const auto mode = static_cast<mode_t>(Number(argc, argv, 3));
  const long result = mknod(argv[2], mode, makedev(static_cast<unsigned>(Number(argc, argv, 4)), static_cast<unsigned>(Number(argc, argv, 5))));
  struct stat st {};
  std::printf("%s", Result(result));
  if (result == 0 && lstat(argv[2], &st) == 0) std::printf(" %o %u:%u uid=%u", st.st_mode, major(st.st_rdev), minor(st.st_rdev), st.st_uid);
  std::printf("\n");
  return 0;
}

}  // namespace isla::prey
