#include "agentd/settings.h"

#include <algorithm>

#include "agentd/admission.h"

namespace isla::agent {
namespace {

constexpr int64_t kMostLogBytes = int64_t{1} << 40;
constexpr int64_t kMostStarting = 256;

std::optional<int64_t> InRange(std::string_view name, int64_t value, int64_t least, int64_t most,
                               std::vector<std::string>& ignored) {
  if (value >= least && value <= most) return value;
  ignored.push_back(fmt::format("{}={}", name, value));
  return std::nullopt;
}

}  // namespace

Settings ReadSettings(const isla::v1::NodeSettings& told, std::vector<std::string>& ignored) {
  Settings out;
  if (told.has_log_level()) {
    LogLevel level = LogLevel::kInfo;
    if (ParseLogLevel(told.log_level(), level)) out.log_level = level;
    else ignored.push_back("log_level=" + told.log_level().substr(0, 32));
  }
  if (told.has_container_log_bytes()) {
    out.container_log_bytes =
        InRange("container_log_bytes", told.container_log_bytes(), kLeastLogBytes, kMostLogBytes, ignored);
  }
  if (told.has_node_log_bytes()) {
    out.node_log_bytes = InRange("node_log_bytes", told.node_log_bytes(), kLeastLogBytes, kMostLogBytes, ignored);
  }
  if (told.has_max_starting()) {
    const auto number = InRange("max_starting", told.max_starting(), 1, kMostStarting, ignored);
    if (number) out.max_starting = static_cast<size_t>(*number);
  }
  return out;
}

NodeConfig LimitLogs(NodeConfig config, const Settings& settings) {
  if (settings.container_log_bytes) {
    config.container_log_bytes = std::min(config.container_log_bytes, *settings.container_log_bytes);
  }
  if (settings.node_log_bytes) config.node_log_bytes = std::min(config.node_log_bytes, *settings.node_log_bytes);
  return config;
}

std::string SettingsText(const Settings& settings) {
  std::string out;
  const auto add = [&out](const std::string& text) { out += (out.empty() ? "" : " ") + text; };
  if (settings.log_level) add(fmt::format("log_level={}", LogLevelName(*settings.log_level)));
  if (settings.container_log_bytes) add(fmt::format("container_log_bytes={}", *settings.container_log_bytes));
  if (settings.node_log_bytes) add(fmt::format("node_log_bytes={}", *settings.node_log_bytes));
  if (settings.max_starting) add(fmt::format("max_starting={}", *settings.max_starting));
  return out.empty() ? "none" : out;
}

}  // namespace isla::agent
