// The flags of run and learn as a request: sizes, namespaces, mounts, environment.
#pragma once

#include "api/base/status.h"
#include "sandbox/box/options.h"
#include "sandbox/runner/request.h"

namespace isla::sandbox {

/// All but the policy. `root`: whether we are. `environment` is ours. INVALID_ARGUMENT names the flag.
StatusOr<runner::Request> RequestOf(const RunFlags& flags, bool root, const std::vector<std::string>& environment);

/// "2", "1.5" as thousandths of a processor; "512m", "2g", "1048576" as bytes; "100" as a number of at least 1.
StatusOr<uint64_t> ParseCpuMillis(const std::string& text);
StatusOr<uint64_t> ParseTasks(const std::string& text);
StatusOr<uint64_t> ParseMemory(const std::string& text);

}  // namespace isla::sandbox
