// Patterns of paths.
//
//   ?    one character but '/'
//   *    any characters but '/'
//   **   any characters
//   \c   the character c itself
//
// "/home/*/.ssh/**" is all below every user's .ssh, not .ssh itself. Matching takes time by the product of the
// two lengths at worst, whatever the pattern; no recursion, no allocation.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace isla::sandbox {

inline constexpr size_t kMaxGlobBytes = 255;

bool GlobMatches(std::string_view pattern, std::string_view text);

/// Whether it has a ?, * or **.
bool HasWildcards(std::string_view pattern);

/// "" if it can be matched with, else why not: "is longer than 255 bytes", "ends in a backslash".
std::string_view WhatIsWrongWithGlob(std::string_view pattern);

/// Texts that match the pattern, or nearly do: for looking for a text on which two conditions differ.
/// `fill` takes the place of wildcards.
std::string GlobExample(std::string_view pattern, std::string_view fill);

}  // namespace isla::sandbox
