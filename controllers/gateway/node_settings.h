// The settings of a node as its agent is told them. Pure, any thread.
#pragma once

#include <isla/v1/agent.pb.h>

#include <vector>

#include "api/config/merge.h"

namespace isla::controllers {

/// What is set in some scope; what isn't stays absent, so that the agent's own flags hold.
isla::v1::NodeSettings NodeSettingsOf(const std::vector<config::Effective>& effective);

}  // namespace isla::controllers
