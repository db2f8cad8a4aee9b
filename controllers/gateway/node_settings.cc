#include "controllers/gateway/node_settings.h"

namespace isla::controllers {

isla::v1::NodeSettings NodeSettingsOf(const std::vector<config::Effective>& effective) {
  isla::v1::NodeSettings out;
  for (const config::Effective& each : effective) {
    if (!each.from || !each.value) continue;
    const std::string_view name = each.setting->name;
    if (name == config::kAgentLogLevel) out.set_log_level(each.value->as_string());
    if (name == config::kAgentLogMaxBytes) out.set_container_log_bytes(*each.value->ToInt64());
    if (name == config::kAgentLogNodeMaxBytes) out.set_node_log_bytes(*each.value->ToInt64());
    if (name == config::kAgentStartMaxParallel) out.set_max_starting(*each.value->ToInt64());
  }
  return out;
}

}  // namespace isla::controllers
