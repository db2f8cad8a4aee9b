// isla-shim: one per container. Started by isla-agentd only; see protocol.h.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>

#include "agentd/shim/shim.h"

namespace {

int Refuse(const isla::Status& status) {
  isla::Logger("shim").Error("the launch request is refused", "error='{}'", isla::Message(status));
  // An agentd that doesn't know the event sees the end of the control socket before "ready".
  const std::string told = isla::json::Serialize(isla::json::Value::MakeObject({{"event", "refused"}, {"error", isla::Message(status).substr(0, 4096)}}));
  (void)!send(isla::shim::kControlFd, told.data(), told.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return 1;
}

}  // namespace

int main() {
  using namespace isla::shim;
  for (const int fd : {kLaunchRequestFd, kPolicyFd, kControlFd}) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      std::fputs("isla-shim is started by isla-agentd, with descriptors 3, 4 and 5\n", stderr);
      return 2;
    }
  }
  isla::UniqueFd request_fd(kLaunchRequestFd), policy_fd(kPolicyFd), control(kControlFd);
  isla::StatusOr<LaunchRequest> request = ReadLaunchRequest(request_fd.get());
  if (!request.ok()) return Refuse(request.status());
  isla::StatusOr<isla::sandbox::CompiledPolicy> policy = ReadPolicy(policy_fd.get(), *request);
  if (!policy.ok()) return Refuse(policy.status());
  request_fd.Reset();
  policy_fd.Reset();
  return Shim(*std::move(request), *std::move(policy), std::move(control), isla::Clock::Real()).Run();
}
