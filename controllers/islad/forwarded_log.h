// A log that another islad of this machine has to fetch: its node's agent is connected there. Read over that one's API
// socket, by a thread of its own, which reads no further than kMaxQueuedBytes ahead of the client.
//
// Both islads see the same store, so they disagree about where a node is for a moment at most; kMaxForwarded bounds what a
// request that goes round meanwhile can take up.
#pragma once

#include <memory>
#include <string>

#include "api/server/log_source.h"

namespace isla::islad {

inline constexpr int kMaxForwarded = 32;

/// `socket_path`: of the other's API. Errors are the other's own; UNAVAILABLE if it doesn't answer.
StatusOr<std::unique_ptr<server::LogStream>> ForwardLog(const std::string& socket_path,
                                                        const server::LogRequest& request);

}  // namespace isla::islad
