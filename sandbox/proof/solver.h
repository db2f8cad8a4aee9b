// Is there a call for which these tests hold and those don't? The question behind "can this rule ever decide"
// and "do two policies differ"; answered with an example.
//
// Numbers (an argument under several masks), networks, and texts with exact and "under" patterns are decided
// exactly. Where globs meet other patterns of the same text the answer can be kUnknown; so can it be for numbers
// whose masks overlap wildly. Rates are independent of everything. Pure; bounded work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sandbox/policy/policy.h"

namespace isla::sandbox {

/// A call with memory for its strings.
struct CallExample {
  int number = 0;
  std::array<uint64_t, 6> arguments{};
  std::array<std::string, 2> paths = {"/x", "/y"};
  SocketAddress address;  // without its path
  std::string address_path;
  std::array<uint64_t, 3> fields{};
  std::string executable = "/bin/x";
  uint32_t uid = 0;

  /// With every fact known but rates. It views this example.
  NotifiedCall View() const;
};

enum class Answer : uint8_t { kNo, kUnknown, kYes };

struct MaskedSet {
  uint64_t mask = 0;
  IntervalSet values;
};
struct NumberSolution {
  Answer answer = Answer::kYes;
  uint64_t value = 0;
  uint64_t work = 0;  // looks at a set that finding it took
};
/// A number that is in every set under its mask; of several the smallest.
NumberSolution SolveNumber(const std::vector<MaskedSet>& sets);

/// What is known of a call: tests that hold and tests that don't, added one by one. Copied where a search branches;
/// adding solves again only what the new test is about.
class Situation {
 public:
  /// The answer for all tests so far. The test must outlive this.
  Answer Add(const AnyTest& test, bool holds);
  Answer answer() const;
  /// If the answer is kYes, a call of which all tests that were to hold do, and the others don't (rates apart). Numbers
  /// that no test looks at are 0.
  CallExample Example() const;
  /// How much solving has taken so far, here and in the situations that this was copied of: looks at one test's demand on
  /// one candidate, some 20 ns each. The same on every machine.
  uint64_t work() const { return work_; }

 private:
  struct TextLiteral {
    const TextTest* test = nullptr;
    bool holds = true;
  };
  struct NetworkLiteral {
    IpNetwork network;
    bool holds = true;
  };
  struct TextSolution {
    Answer answer = Answer::kYes;
    std::string text;
    uint64_t work = 0;
  };
  struct AddressSolution {
    Answer answer = Answer::kYes;
    SocketAddress address;
    std::string path;
    uint64_t work = 0;
  };
  friend struct TextSolver;
  friend struct NetworkSolver;

  bool StillFits(const AnyTest& test, bool holds) const;
  void SolveTextOf(Text text);
  void SolveAddress();
  AddressSolution SolveFamily(uint16_t family) const;

  std::array<std::vector<MaskedSet>, kNumbers> numbers_;  // one for each mask
  std::array<NumberSolution, kNumbers> number_solutions_;
  std::array<std::vector<TextLiteral>, 4> texts_;
  std::array<TextSolution, 4> text_solutions_ = {
      TextSolution{Answer::kYes, "/x", 0}, {Answer::kYes, "/y", 0}, {Answer::kYes, "/bin/x", 0}, {Answer::kYes, "/run/x", 0}};
  std::vector<NetworkLiteral> networks_;
  AddressSolution address_solution_;
  uint64_t work_ = 0;
};

}  // namespace isla::sandbox
