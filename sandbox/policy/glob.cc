// A set of states is stepped through the text: state i means that the first i bytes of the pattern are behind
// us. States are the pattern's offsets, so there is nothing to compile.
#include "sandbox/policy/glob.h"

#include <array>
#include <bit>
#include <cstdint>

namespace isla::sandbox {
namespace {

class StateSet {
 public:
  void Add(size_t state) { words_[state / 64] |= uint64_t{1} << (state % 64); }
  bool Has(size_t state) const { return (words_[state / 64] >> (state % 64) & 1) != 0; }
  bool empty() const { return (words_[0] | words_[1] | words_[2] | words_[3]) == 0; }
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t w = 0; w < words_.size(); ++w) {
      for (uint64_t rest = words_[w]; rest != 0; rest &= rest - 1) {
        visit(w * 64 + static_cast<size_t>(std::countr_zero(rest)));
      }
    }
  }

 private:
  std::array<uint64_t, 4> words_{};
};
static_assert(kMaxGlobBytes < 256);

bool IsStar(std::string_view pattern, size_t at) { return at < pattern.size() && pattern[at] == '*'; }
bool IsDoubleStar(std::string_view pattern, size_t at) { return IsStar(pattern, at) && IsStar(pattern, at + 1); }

/// A state, and those that are reached from it without a character: behind a star.
void AddWithStars(StateSet& states, std::string_view pattern, size_t state) {
  states.Add(state);
  while (IsStar(pattern, state)) {
    state += IsDoubleStar(pattern, state) ? 2 : 1;
    states.Add(state);
  }
}

/// Where a state goes with character c.
void Step(StateSet& next, std::string_view pattern, size_t state, char c) {
  if (state == pattern.size()) return;
  if (pattern[state] == '*') {
    if (c != '/' || IsDoubleStar(pattern, state)) AddWithStars(next, pattern, state);
  } else if (pattern[state] == '?') {
    if (c != '/') AddWithStars(next, pattern, state + 1);
  } else {
    if (pattern[state] == '\\') ++state;
    if (pattern[state] == c) AddWithStars(next, pattern, state + 1);
  }
}

bool IsSpecial(char c) { return c == '?' || c == '*' || c == '\\'; }

}  // namespace

bool GlobMatches(std::string_view pattern, std::string_view text) {
  if (!WhatIsWrongWithGlob(pattern).empty()) return false;
  // What comes after the last special character, and before the first, is compared as it is: most texts end here, and the end first, since
  // patterns of one policy often begin alike. (A character that isn't special means itself behind a backslash, too.)
  size_t last = 0;
  for (; last < pattern.size() && !IsSpecial(pattern[pattern.size() - last - 1]); ++last) {
    if (last == text.size() || text[text.size() - last - 1] != pattern[pattern.size() - last - 1]) return false;
  }
  size_t literal = 0;
  for (; literal < pattern.size() && !IsSpecial(pattern[literal]); ++literal) {
    if (literal == text.size() || text[literal] != pattern[literal]) return false;
  }
  pattern.remove_prefix(literal);
  text.remove_prefix(literal);
  StateSet states;
  AddWithStars(states, pattern, 0);
  for (const char c : text) {
    StateSet next;
    states.ForEach([&next, pattern, c](size_t state) { Step(next, pattern, state, c); });
    if (next.empty()) return false;
    states = next;
  }
  return states.Has(pattern.size());
}

bool HasWildcards(std::string_view pattern) {
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] == '\\') {
      ++at;
    } else if (pattern[at] == '*' || pattern[at] == '?') {
      return true;
    }
  }
  return false;
}

std::string_view WhatIsWrongWithGlob(std::string_view pattern) {
  if (pattern.size() > kMaxGlobBytes) return "is longer than 255 bytes";
  size_t backslashes = 0;
  while (backslashes < pattern.size() && pattern[pattern.size() - 1 - backslashes] == '\\') ++backslashes;
  return backslashes % 2 == 1 ? "ends in a backslash" : "";
}

std::string GlobExample(std::string_view pattern, std::string_view fill) {
  std::string out;
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) {
      out += pattern[++at];
    } else if (pattern[at] == '*') {
      while (IsStar(pattern, at + 1)) ++at;
      out += fill;
    } else if (pattern[at] == '?') {
      out += fill.empty() || fill[0] == '/' ? 'x' : fill[0];
    } else {
      out += pattern[at];
    }
  }
  return out;
}

}  // namespace isla::sandbox
