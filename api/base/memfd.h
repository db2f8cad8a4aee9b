// Bytes in memory behind a descriptor, to be handed to another process or served as a file.
#pragma once

#include <string_view>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla {

/// Empty, close-on-exec, and can be sealed. `name` shows in /proc/<pid>/fd alone.
StatusOr<UniqueFd> MakeMemfd(const char* name);

/// What is in it stays as it is, for every holder, for ever; its offset is put at the beginning, where a program that is given it reads.
Status SealMemfd(int memfd);

/// A sealed one that holds `bytes`.
StatusOr<UniqueFd> SealedMemfd(const char* name, std::string_view bytes);

}  // namespace isla
