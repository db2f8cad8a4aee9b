// What clients ask to learn what is served: /version, /api, /apis and the lists of resources. Pure functions
// of the table of kinds.
#pragma once

#include <optional>
#include <string>

#include "api/server/http.h"

namespace isla::server {

/// The answer to a GET of a discovery path; nothing if it is none.
std::optional<Response> Discovery(const std::vector<std::string>& path);

}  // namespace isla::server
