// Runs a fuzz target on its corpus in every build: each file, each file cut short, each file with bytes changed
// by a seeded generator. No fuzzer, no new coverage; but nothing that was found once comes back.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <vector>

#include "api/base/unique_fd.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace isla {
namespace {

void RunTarget(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

std::vector<std::string> Corpus() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(ISLA_CORPUS)) {
    out.push_back(ReadFile(entry.path().string()).value());
  }
  std::sort(out.begin(), out.end());
  return out;
}

TEST(FuzzReplay, TheCorpusHolds) {
  const std::vector<std::string> corpus = Corpus();
  EXPECT_FALSE(corpus.empty());
  for (const std::string& input : corpus) RunTarget(input);
}

TEST(FuzzReplay, EveryPrefixOfASmallInputHolds) {
  for (const std::string& input : Corpus()) {
    if (input.size() > 2000) continue;
    for (size_t size = 0; size < input.size(); ++size) RunTarget(input.substr(0, size));
  }
}

TEST(FuzzReplay, ChangedInputsHold) {
  constexpr int kRounds = 200;
  const std::string_view tokens = "{}[]\",:\\ \n0e-.\x80\xff";
  std::mt19937 random(20261122);
  const auto below = [&random](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  const std::vector<std::string> corpus = Corpus();
  for (const std::string& input : corpus) {
    if (input.empty() || input.size() > 8000) continue;
    for (int round = 0; round < kRounds; ++round) {
      std::string changed = input;
      for (size_t edits = 1 + below(3); edits > 0 && !changed.empty(); --edits) {
        const size_t at = below(changed.size());
        switch (below(4)) {
          case 0: changed[at] = tokens[below(tokens.size())]; break;
          case 1: changed.erase(at, 1 + below(8)); break;
          case 2: changed.insert(at, 1, tokens[below(tokens.size())]); break;
          default: {
            const std::string& other = corpus[below(corpus.size())];
            const size_t from = other.empty() ? 0 : below(other.size());
            changed.insert(at, other.substr(from, below(40)));
          }
        }
      }
      RunTarget(changed);
    }
  }
}

}  // namespace
}  // namespace isla
