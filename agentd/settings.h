// The settings of this node as the gateway tells them, checked once more here: a gateway of another version may know other bounds.
// node.json is a ceiling that no setting lifts. Nothing is stored: what was told last holds until something else is told,
// with a gateway or without; after a restart the flags and node.json hold until the first stream is up.
// Pure functions; loop thread.
#pragma once

#include <isla/v1/agent.pb.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agentd/node_config.h"
#include "api/base/log.h"

namespace isla::agent {

struct Settings {
  std::optional<LogLevel> log_level;
  std::optional<int64_t> container_log_bytes;
  std::optional<int64_t> node_log_bytes;
  std::optional<size_t> max_starting;

  friend bool operator==(const Settings&, const Settings&) = default;
};

/// What was told, without what can't be used; that is named in `ignored`.
Settings ReadSettings(const isla::v1::NodeSettings& told, std::vector<std::string>& ignored);

/// `config` with the log bounds lowered to the settings'.
NodeConfig LimitLogs(NodeConfig config, const Settings& settings);

/// "log_level=debug container_log_bytes=81920": what is set; "none" if nothing is.
std::string SettingsText(const Settings& settings);

}  // namespace isla::agent
