// Programs as graphs: what the compiler builds before instructions have places. Internal to the compiler.
//
// A node is an instruction with its successors. Equal nodes are one node, so code that several calls or rules
// share exists once, and two calls that are decided alike have the same entry. Built from the ends to the
// beginning; nothing is changed once made, so there are no cycles.
//
// The accumulator is tracked: a piece of code knows which word it wants loaded, and whoever jumps to it with that
// word at hand goes past the load.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "api/base/status.h"
#include "sandbox/bpf/bpf.h"

namespace isla::sandbox {

/// What the accumulator holds: the masked word at an offset of seccomp_data.
struct Word {
  uint32_t offset = ~uint32_t{0};  // none
  uint32_t mask = 0xffffffffu;
  friend auto operator<=>(const Word&, const Word&) = default;
};

class CodeGraph {
 public:
  using Node = uint32_t;

  /// Code that wants `word` in the accumulator; a return wants nothing, and all its nodes are the same.
  struct Block {
    Word word;
    Node entry = 0;   // nothing loaded
    Node masked = 0;  // the whole word loaded, not masked yet
    Node ready = 0;   // loaded and masked

    Node From(Word have) const {
      if (have == word) return ready;
      return have.offset == word.offset && have.mask == 0xffffffffu ? masked : entry;
    }
    friend bool operator==(const Block&, const Block&) = default;
  };

  Block Return(uint32_t value);
  /// The code that begins at `ready` with `word` in the accumulator.
  Block Loaded(Word word, Node ready);
  /// `jump` is BPF_JEQ, BPF_JGE, BPF_JGT or BPF_JSET. Both ways the same: no jump.
  Node Branch(uint16_t jump, uint32_t k, Node yes, Node no);

  /// A part of a word's values and where to go with them.
  struct Case {
    uint32_t first = 0, last = 0;
    Block block;
  };
  /// With `word` in the accumulator: to the case that its value is in. The cases follow each other without gaps; a
  /// value beyond them can't be. Balanced: depth by the logarithm of their count.
  Node Switch(Word word, const std::vector<Case>& cases);

  /// True if a return with this action (SECCOMP_RET_..., data ignored) can be reached.
  bool Reaches(Node from, uint32_t action) const;

  /// The instructions from `entry` on. RESOURCE_EXHAUSTED beyond kMaxInstructions.
  StatusOr<Program> Assemble(Node entry) const;
  /// Instructions in the graph, reachable or not.
  size_t size() const { return nodes_.size(); }

 private:
  struct Instruction {
    uint16_t code = 0;
    uint32_t k = 0;
    Node yes = 0, no = 0;  // of a jump; of others `yes` is the next
    friend auto operator<=>(const Instruction&, const Instruction&) = default;
  };
  class Assembler;
  struct Range {
    uint32_t first, last;
    Node node;
  };

  Node Intern(const Instruction& instruction);
  Node SwitchRanges(const std::vector<Range>& ranges, size_t begin, size_t end);

  std::vector<Instruction> nodes_;
  std::vector<Node> returns_;  // those of nodes_ that return: a few, asked for by every call
  std::map<Instruction, Node> known_;
};

}  // namespace isla::sandbox
