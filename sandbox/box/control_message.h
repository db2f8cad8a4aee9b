// What both ends of a control socket share (control.h): its name, and messages as lines of JSON.
#pragma once

#include <sys/un.h>

#include <string>

#include "api/base/json.h"

namespace isla::sandbox {

inline constexpr size_t kMostPolicyBytes = size_t{4} << 20;
/// Behind a socket's name until it listens.
inline constexpr char kUnready[] = "~";

/// False if the path is too long for a socket's.
bool ControlAddress(const std::string& path, sockaddr_un& out);

/// Everything up to the newline. UNAVAILABLE if the other side says nothing for 2 s,
/// or ends before.
StatusOr<json::Value> ReadMessage(int fd);
Status WriteMessage(int fd, const json::Value& value);

}  // namespace isla::sandbox
