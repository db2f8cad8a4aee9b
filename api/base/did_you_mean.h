// What is said of a word that isn't known and is like one that is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/base/field_error.h"

namespace isla {

/// "; did you mean 'openat'?", to go behind a message; "" if no known word is near.
inline std::string DidYouMean(std::string_view word, const std::vector<std::string>& known) {
  const std::string near = Suggestion(word, known);
  return near.empty() ? std::string() : "; did you mean '" + near + "'?";
}

}  // namespace isla
