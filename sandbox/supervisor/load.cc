#include "sandbox/supervisor/load.h"

#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/bpf/evaluator.h"

namespace isla::supervisor {
namespace {

struct Message {
  int32_t listener = -1;
  int32_t error = 0;
  uint32_t wait_killable = 0;
};

long RawWrite(int fd, const void* data, size_t bytes) {
  long done = 0;
  do {
    done = syscall(SYS_write, fd, data, bytes);
  } while (done < 0 && errno == EINTR);
  return done;
}

long RawRead(int fd, void* data, size_t bytes) {
  long done = 0;
  do {
    done = syscall(SYS_read, fd, data, bytes);
  } while (done < 0 && errno == EINTR);
  return done;
}

}  // namespace

int LoadFilter(const sandbox::Program& program) {
  const sock_fprog raw = {static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &raw) == 0 ? 0 : errno;
}

Loaded LoadWithListener(const sandbox::Program& program, bool ask_wait_killable) {
  const sock_fprog raw = {static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
  Loaded out;
  for (const unsigned extra : {ask_wait_killable ? static_cast<unsigned>(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) : 0u, 0u}) {
    const long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | extra, &raw);
    if (fd >= 0) return {static_cast<int>(fd), 0, extra != 0};
    out.error = errno;
    if (out.error != EINVAL) break;  // EINVAL: perhaps the flag is unknown
  }
  return out;
}

int LoadAndHandOver(const sandbox::Program& program, int socket, bool ask_wait_killable) {
  const Loaded loaded = LoadWithListener(program, ask_wait_killable);
  const Message message = {loaded.listener, loaded.error, loaded.wait_killable ? 1u : 0u};
  if (RawWrite(socket, &message, sizeof message) != static_cast<long>(sizeof message)) return ECONNRESET;
  if (loaded.error != 0) return loaded.error;
  char taken = 0;
  return RawRead(socket, &taken, 1) == 1 ? 0 : ECONNRESET;
}

StatusOr<Handover> TakeListener(int socket, int pidfd) {
  Message message;
  const long got = RawRead(socket, &message, sizeof message);
  if (got < 0) return FromErrno(errno, "read from the process that loads the filter");
  if (got != static_cast<long>(sizeof message)) {
    return Error(Code::kUnavailable, "the process ended before it had loaded its filter");
  }
  if (message.error != 0) return FromErrno(message.error, "load the filter with a listener");
  Handover out;
  out.listener.Reset(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, message.listener, 0)));
  if (!out.listener.valid()) return FromErrno(errno, "take the listener");
  out.wait_killable = message.wait_killable != 0;
  if (send(socket, "1", 1, MSG_NOSIGNAL) != 1) return Error(Code::kUnavailable, "the process ended after it had loaded its filter");
  return out;
}

Status CheckHandover(const sandbox::Program& program, int socket) {
  const auto fd = static_cast<uint64_t>(socket);
  const std::pair<const char*, seccomp_data> calls[] = {
      {"write", sandbox::NativeCall(SYS_write, {fd, 0, sizeof(Message)})},
      {"read", sandbox::NativeCall(SYS_read, {fd, 0, 1})},
      {"execve", sandbox::NativeCall(SYS_execve)},
      {"execveat", sandbox::NativeCall(SYS_execveat)},
      {"exit_group", sandbox::NativeCall(SYS_exit_group)},
      {"rt_sigreturn", sandbox::NativeCall(SYS_rt_sigreturn)},
  };
  for (const auto& [name, data] : calls) {
    ASSIGN_OR_RETURN(const uint32_t answer, sandbox::Evaluate(program, data));
    if ((answer & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF) {
      return Errorf(Code::kFailedPrecondition, "the filter notifies '{}', which a starting process needs before anybody listens", name);
    }
  }
  return OkStatus();
}

}  // namespace isla::supervisor
