// The exit code of a session or of one of its containers, as its status tells it. For the tables and for clients, which link no protobuf: so
// it is all in the header.
#pragma once

#include <cstdint>
#include <optional>

#include "api/base/json.h"

namespace isla::api {

/// Of `status`, or of an item of `status.containers`. Nothing: it goes on, its command was never started (whatever number stands there: an older
/// islad wrote 0), or nobody knows how it ended.
inline std::optional<int64_t> ExitCodeOf(const json::Value& status) {
  if (status.StringAt({"startedAt"}).empty() || status.StringAt({"finishedAt"}).empty()) return std::nullopt;
  return status.Int64At({"exitCode"});
}

}  // namespace isla::api
