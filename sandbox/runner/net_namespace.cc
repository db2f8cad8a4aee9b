#include "sandbox/runner/net_namespace.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace isla::runner {
namespace {

// What sanitizers add to every function is a thread's own, and these two would be one thread to them: there the caller waits.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(ISLA_TSAN)
constexpr int kMeanwhile = CLONE_VFORK;
#else
constexpr int kMeanwhile = 0;
#endif

bool LoopbackUp() {
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request) != 0) return false;
  close(any);
  return true;
}

}  // namespace

NetNamespace::~NetNamespace() {
  Wait();
  if (namespace_ >= 0) close(namespace_);
}

void NetNamespace::Wait() {
  if (helper_ <= 0) return;
  while (waitpid(helper_, nullptr, 0) < 0 && errno == EINTR) {
  }
  helper_ = -1;
}

int NetNamespace::Main(void* self) {
  NetNamespace& net = *static_cast<NetNamespace*>(self);
  net.failed_at_ = "make a network namespace";
  if (unshare(CLONE_NEWNET) == 0) {
    net.failed_at_ = "bring loopback up";
    if (LoopbackUp()) {
      net.failed_at_ = "open the network namespace";
      net.namespace_ = openat(net.proc_.get(), "self/ns/net", O_RDONLY | O_CLOEXEC);
      if (net.namespace_ >= 0) net.failed_at_ = nullptr;
    }
  }
  net.error_ = errno;
  return 0;
}

Status NetNamespace::Begin() {
  // Opened now: the caller may be about to put another over it.
  proc_.Reset(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!proc_.valid()) return FromErrno(errno, "open /proc");
  failed_at_ = "make a network namespace: the process that does it was killed";
  helper_ = clone(Main, stack_ + sizeof stack_, CLONE_VM | CLONE_FILES | kMeanwhile | SIGCHLD, this);
  return helper_ > 0 ? OkStatus() : FromErrno(errno, "start the process that makes a network namespace");
}

Status NetNamespace::Enter() {
  Wait();
  if (failed_at_ != nullptr) return FromErrno(error_ == 0 ? EIO : error_, failed_at_);
  if (setns(namespace_, CLONE_NEWNET) != 0) return FromErrno(errno, "enter the network namespace");
  return OkStatus();
}

}  // namespace isla::runner
