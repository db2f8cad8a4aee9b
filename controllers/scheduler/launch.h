// The frozen launch document: a session's wishes with every default filled in, as its node gets them. Pure.
#pragma once

#include <string>

#include "api/base/fits.h"
#include "api/base/json.h"
#include "api/base/status.h"
#include "controllers/runtime/cluster_state.h"

namespace isla::controllers {

struct Launch {
  Resources resources;   // of its node; what it is granted is in the document
  json::Value document;  // LaunchSpec of agent.proto as JSON
  std::string hash;      // of the document's bytes
  int64_t grace_period_msec = 0;
};

/// INVALID_ARGUMENT for a spec that can't be run: it says which field.
/// `policy`: the SandboxPolicy that it names, or null if it names the built-in one.
StatusOr<Launch> MakeLaunch(const std::string& ns, const std::string& name, const Stored<SessionSpec>& stored, const PolicySpec* policy);

/// What a session takes of its node: what it asks for, and what the program of its policy adds to that. INVALID_ARGUMENT as above.
StatusOr<Resources> RequestOf(const SessionSpec& spec, const PolicySpec* policy);

}  // namespace isla::controllers
