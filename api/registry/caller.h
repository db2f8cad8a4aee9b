// Who asks: the user of a request, as the door found out.
#pragma once

#include <string>
#include <vector>

namespace isla::registry {

struct Caller {
  std::string user;
  std::vector<std::string> groups;
};

}  // namespace isla::registry
