// The shim's control sockets (protocol.h): the one that it was born with, and up to four connections to
// <run_dir>/shim.sock. All are non-blocking; a peer that doesn't read loses events, never the shim's time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agentd/shim/step.h"
#include "api/base/json.h"
#include "api/base/unique_fd.h"

namespace isla::shim {

inline constexpr size_t kMaxConnections = 4;

struct Command {
  enum class Kind { kNone, kGo, kStop, kState, kPolicy };
  Kind kind = Kind::kNone;      // kNone: not understood, to be ignored
  std::string invocation_id;    // kGo
  int64_t grace_period_msec = 0;  // kStop
  std::string cause;            // kStop: "stopped" or "timeout"
  std::string compared_with;    // kPolicy
};

/// Strict by type; a command that isn't understood is kNone, as the protocol grows.
Command ParseCommand(std::string_view packet);

/// One connection. Packets go whole or not at all.
class Connection {
 public:
  explicit Connection(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }
  void Send(const json::Value& packet) const;
  /// The next packet; nothing if there is none now. `closed` is set at the end of file; `attached` to the descriptor that came with it, of
  /// which there may be one.
  std::optional<std::string> Receive(bool& closed, UniqueFd& attached) const;

 private:
  UniqueFd fd_;
};

/// Listens on <run_dir>/shim.sock, mode 0600. A path of any length: it is bound relative to its folder.
Step Listen(const std::string& run_dir, UniqueFd& out);

}  // namespace isla::shim
