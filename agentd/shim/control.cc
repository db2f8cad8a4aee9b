#include "agentd/shim/control.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "agentd/shim/protocol.h"
#include "api/base/packet.h"

namespace isla::shim {

Command ParseCommand(std::string_view packet) {
  Command command;
  const StatusOr<json::Value> value = json::Parse(packet, {kMaxPacketBytes, 8});
  if (!value.ok()) return command;
  const std::string name = value->StringAt({"command"});
  if (name == "go") {
    command.kind = Command::Kind::kGo;
    command.invocation_id = value->StringAt({"invocationId"});
  } else if (name == "state") {
    command.kind = Command::Kind::kState;
  } else if (name == "policy") {
    command.kind = Command::Kind::kPolicy;
    command.compared_with = value->StringAt({"comparedWith"});
  } else if (name == "stop") {
    const std::optional<int64_t> grace = value->Int64At({"gracePeriodMsec"});
    command.cause = value->StringAt({"cause"}, "stopped");
    if (!grace || *grace < 0 || (command.cause != "stopped" && command.cause != "timeout")) return command;
    command.grace_period_msec = *grace;
    command.kind = Command::Kind::kStop;
  }
  return command;
}

void Connection::Send(const json::Value& packet) const {
  const std::string text = json::Serialize(packet);
  while (send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR) {
  }
}

std::optional<std::string> Connection::Receive(bool& closed, UniqueFd& attached) const {
  std::string packet(kMaxPacketBytes, '\0');
  const ssize_t got = ReceivePacket(fd_.get(), packet.data(), packet.size(), attached, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  closed = got <= 0;
  if (closed) return std::nullopt;
  packet.resize(static_cast<size_t>(got));
  return packet;
}

Step Listen(const std::string& run_dir, UniqueFd& out) {
  UniqueFd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  UniqueFd folder(open(run_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!listener.valid() || !folder.valid()) return Step::Failed("open " + run_dir);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("/proc/self/fd/{}/shim.sock", folder.get());
  std::memcpy(address.sun_path, name.c_str(), name.size());
  unlinkat(folder.get(), "shim.sock", 0);
  const mode_t before = umask(0177);
  const int bound = bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(before);
  if (bound != 0) return Step::Failed("bind shim.sock");
  if (listen(listener.get(), static_cast<int>(kMaxConnections)) != 0) return Step::Failed("listen on shim.sock");
  out = std::move(listener);
  return Step::Done();
}

}  // namespace isla::shim
