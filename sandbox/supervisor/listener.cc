#include "sandbox/supervisor/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "sandbox/supervisor/seccomp_abi.h"

namespace isla::supervisor {

Listener::Listener(UniqueFd fd, bool wait_killable) : fd_(std::move(fd)), wait_killable_(wait_killable) {
  (void)ioctl(fd_.get(), kSetFlags, kSyncWakeUp);  // quicker where the kernel has it (6.6)
}

Listener::Received Listener::Receive(seccomp_notif* into) const {
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, into) == 0) return Received::kCall;
  if (errno == EINTR) return Received::kNothing;
  if (errno != ENOENT) return Received::kFailed;
  // One call is gone, or (6.11 on) all that could ever make one.
  pollfd poll_fd = {fd_.get(), 0, 0};
  return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP) != 0 ? Received::kEnd : Received::kNothing;
}

int Listener::Send(uint64_t id, int error, int64_t value, uint32_t flags) const {
  union {
    char room[kMaxResponseBytes] = {};
    seccomp_notif_resp response;
  };
  response.id = id;
  response.error = -error;
  response.val = value;
  response.flags = flags;
  int result = 0;
  do {
    result = ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, room);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return 0;
  return errno == EINPROGRESS ? ENOENT : errno;  // answered, but the caller has not run yet
}

bool Listener::IsValid(uint64_t id) const {
  int result = 0;
  do {
    result = ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

int Listener::AddFdAndReply(uint64_t id, int fd, bool close_on_exec) const {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int result = AddFd(id, fd, close_on_exec, SECCOMP_ADDFD_FLAG_SEND);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

int Listener::AddFd(uint64_t id, int fd, bool close_on_exec, uint32_t flags) const {
  seccomp_notif_addfd add{};
  add.id = id;
  add.flags = flags;
  add.srcfd = static_cast<uint32_t>(fd);
  add.newfd_flags = close_on_exec ? static_cast<uint32_t>(O_CLOEXEC) : 0;
  // EINTR: a signal to us before the caller had looked at the request, which the kernel took back.
  int result = 0;
  do {
    result = ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add);
  } while (result < 0 && errno == EINTR);
  if (result >= 0) return result;
  return errno == EINPROGRESS ? -ENOENT : -errno;
}

}  // namespace isla::supervisor
