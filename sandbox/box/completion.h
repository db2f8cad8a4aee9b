// Completion of isla-box in bash: the script calls the hidden __complete for every word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace isla::sandbox {

std::string_view BoxCompletionScript();

/// The candidates for the last of `words`, one a line; ":files" where a file is meant.
std::string BoxComplete(const std::vector<std::string>& words);

}  // namespace isla::sandbox
