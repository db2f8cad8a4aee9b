#include "sandbox/runner/net_namespace.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace isla::runner {

NetFailure MakeNetNamespace() {
  if (unshare(CLONE_NEWNET) != 0) return {"make a network namespace", errno};
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool up = any >= 0 && ioctl(any, SIOCSIFFLAGS, &request) == 0;
  const int error = up ? 0 : errno;
  if (any >= 0) close(any);
  return up ? NetFailure{} : NetFailure{"bring loopback up", error};
}

}  // namespace isla::runner
