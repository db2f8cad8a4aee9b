// Packets over a Unix socket of type SOCK_SEQPACKET, each with at most one descriptor. They return as send(2) and recv(2) do, since their
// callers differ in what an errno means to them; EINTR is seen to.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string_view>

#include "api/base/unique_fd.h"

namespace isla {

/// Sends `bytes`, with a copy of the descriptor `attached` unless that is negative. Never raises SIGPIPE. `flags`: MSG_DONTWAIT or nothing.
ssize_t SendPacket(int socket, std::string_view bytes, int attached = -1, int flags = 0);

/// Receives one packet into `bytes`: its length, cut if there is less room; 0 at the end of the connection; negative with errno. `attached` is the
/// descriptor that came with it, close-on-exec, or not valid; of more than one the others are closed.
ssize_t ReceivePacket(int socket, char* bytes, size_t room, UniqueFd& attached, int flags = 0);

}  // namespace isla
