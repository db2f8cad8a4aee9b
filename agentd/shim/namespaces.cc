#include "agentd/shim/namespaces.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "agentd/shim/launch_check.h"

namespace isla::shim {
namespace {

Step WriteFile(const std::string& path, const std::string& value) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return Step::Failed("open " + path);
  if (write(fd.get(), value.data(), value.size()) < 0) return Step::Failed("write " + path);
  return Step::Done();
}

/// Maps the ids of a process that is alone in its user namespace, and opens the namespace.
Step MapAndOpen(pid_t pid, uint32_t id_base, UniqueFd& out) {
  const std::string proc = fmt::format("/proc/{}/", pid);
  const std::string map = fmt::format("0 {} {}\n{} {} 1\n", id_base, kIdCount, kSupervisorId, id_base + kSupervisorId);
  RETURN_IF_FAILED(WriteFile(proc + "uid_map", map));
  RETURN_IF_FAILED(WriteFile(proc + "gid_map", map));
  out.Reset(open((proc + "ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  return out.valid() ? Step::Done() : Step::Failed("open the user namespace");
}

}  // namespace

Step MakeUserNamespace(uint32_t id_base, UniqueFd& out) {
  // A child holds the namespace until it is open. It does nothing but sleep, and dies with us.
  const long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  if (pid < 0) return Step::Failed("make the user namespace");
  Step step = MapAndOpen(static_cast<pid_t>(pid), id_base, out);
  kill(static_cast<pid_t>(pid), SIGKILL);
  while (waitpid(static_cast<pid_t>(pid), nullptr, 0) < 0 && errno == EINTR) {
  }
  return step;
}

Step LoopbackUp() {
  UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any.valid()) return Step::Failed("open a socket for loopback");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) return Step::Failed("bring loopback up");
  return WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
}

}  // namespace isla::shim
