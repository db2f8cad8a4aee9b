// /etc/isla/node.json: what the owner of this machine allows. A ceiling: no manifest, policy or islad lifts it.
// An absent file is the strictest: no host network, no folder of the node, images "host" only.
//
//   {
//     "capacity": {"cpuMillis": 8000, "memoryBytes": 17179869184, "tasks": 8192},   each optional: less than what is there
//     "hostNetwork": false,
//     "imageRoots": ["/srv/images"],                        "dir:" images must lie under one of these
//     "mountRoots": [{"path": "/srv/data", "readOnly": true}],
//     "ids": {"first": 1879048192, "count": 268304384},     host uids and gids for containers
//     "logs": {"containerBytes": 16777216, "nodeBytes": 1073741824},
//     "labels": {"zone": "a"}
//   }
//
// Ids: a container gets 131072 of them (65536 of its own, and one for its supervisor). The default range is
// 0x70000000 to 0x7FFDFFFF, which nobody assigns: it lies above systemd-nspawn's (524288 to 1879048191), above
// Debian's subuid ranges (100000 to 600100000), and below systemd's foreign ids (from 0x7FFE0000) and 2^31.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/fits.h"
#include "api/base/status.h"

namespace isla::agent {

inline constexpr uint32_t kIdsPerContainer = 0x20000;

struct MountRoot {
  std::string path;
  bool read_only = true;
};

struct NodeConfig {
  std::optional<int64_t> cpu_millis, memory_bytes, tasks;
  bool host_network = false;
  std::vector<std::string> image_roots;
  std::vector<MountRoot> mount_roots;
  uint32_t first_id = 0x70000000;
  uint32_t id_count = 0x0FFE0000;
  int64_t container_log_bytes = int64_t{16} << 20;
  int64_t node_log_bytes = int64_t{1} << 30;
  std::map<std::string, std::string> labels;
};

/// Strict: unknown members, wrong types and values out of range are INVALID_ARGUMENT, naming the member and its place.
StatusOr<NodeConfig> ParseNodeConfig(std::string_view text);

/// The file, or the strictest config if there is none.
StatusOr<NodeConfig> ReadNodeConfig(const std::string& path);

/// `found` (what the machine has), lowered to what the config says.
Resources LimitCapacity(const Resources& found, const NodeConfig& config);

}  // namespace isla::agent
