// A whole file by its descriptor.
#pragma once

#include <cstddef>
#include <string>

#include "api/base/status.h"

namespace isla {

/// All bytes from its beginning, wherever its offset is, which stays; for what can be read at a place (no pipes).
/// INVALID_ARGUMENT if it holds more than `limit_bytes`.
StatusOr<std::string> ReadDescriptor(int fd, size_t limit_bytes);

}  // namespace isla
