// A sandbox policy as the control plane names it.
#pragma once

#include <string>

namespace isla::agent {

struct PolicyText {
  std::string name;  // "" and "default": the built-in one, then the others are empty
  std::string hash;  // of the text
  std::string text;  // a SandboxPolicy's manifest
  bool built_in() const { return hash.empty(); }
};

}  // namespace isla::agent
