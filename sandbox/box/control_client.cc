// The other side of a control socket: what isla-box top and reload do.
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include "sandbox/box/control.h"
#include "sandbox/box/control_message.h"

namespace isla::sandbox {
namespace {

StatusOr<UniqueFd> Connect(const std::string& path) {
  sockaddr_un address{};
  UniqueFd out(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!out.valid() || !ControlAddress(path, address)) return FromErrno(errno, "make a socket");
  if (connect(out.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return out;
  if (errno == ENOENT || errno == ECONNREFUSED) return Error(Code::kNotFound, "no such run");
  return FromErrno(errno, fmt::format("connect to '{}'", path));
}

}  // namespace

std::vector<int> ListRuns(const std::string& folder) {
  std::vector<int> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> names(opendir(folder.c_str()), closedir);
  while (const dirent* const entry = names == nullptr ? nullptr : readdir(names.get())) {
    int pid = 0;
    const std::string_view name = entry->d_name;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    const std::string_view rest = name.substr(static_cast<size_t>(end - name.data()));
    if (error != std::errc() || (!rest.empty() && rest != kUnready)) continue;
    const std::string path = folder + "/" + std::string(name);
    if (rest.empty() && Connect(path).ok()) out.push_back(pid);
    else if (kill(pid, 0) != 0 && errno == ESRCH) unlink(path.c_str());
  }
  std::sort(out.begin(), out.end());
  return out;
}

StatusOr<json::Value> AskRun(const std::string& folder, int pid, const json::Value& request, int patience_ms) {
  StatusOr<UniqueFd> socket = Connect(fmt::format("{}/{}", folder, pid));
  if (!socket.ok()) return Annotate(socket.status(), fmt::format("run {}", pid));
  RETURN_IF_ERROR(WriteMessage(socket->get(), request));
  pollfd answer = {socket->get(), POLLIN, 0};
  if (poll(&answer, 1, patience_ms) <= 0) return Errorf(Code::kDeadlineExceeded, "run {} doesn't answer", pid);
  StatusOr<json::Value> out = ReadMessage(socket->get());
  if (out.ok() || out.status().code() != Code::kUnavailable) return out;
  return Errorf(Code::kUnavailable, "run {} gave no answer: it refuses whoever isn't its user or is in another mount namespace, and gives up policies that can't be compared in {} s", pid, kMostSeconds);
}

}  // namespace isla::sandbox
