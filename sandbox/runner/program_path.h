// Which file a command's first word means: as execvp(3) finds it, but found before the filter is loaded, which may not let
// look for it.
#pragma once

#include <string>
#include <vector>

namespace isla::runner {

struct ProgramPath {
  std::string path;
  int error = 0;  // ENOENT: there is none; EACCES, EISDIR: what is there can't be run
};

/// In PATH of `environment` ("/usr/local/bin:/usr/bin:/bin" without one), unless the word has a '/'.
ProgramPath FindProgram(const std::string& word, const std::vector<std::string>& environment);

}  // namespace isla::runner
