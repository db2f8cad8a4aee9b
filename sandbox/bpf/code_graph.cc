#include "sandbox/bpf/code_graph.h"

#include <linux/seccomp.h>

#include <algorithm>
#include <unordered_map>

namespace isla::sandbox {
namespace {

constexpr uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS, kMask = BPF_ALU | BPF_AND | BPF_K, kReturn = BPF_RET | BPF_K;
constexpr uint16_t kJump = BPF_JMP | BPF_JA;

bool IsBranch(uint16_t code) { return BPF_CLASS(code) == BPF_JMP && code != kJump; }

}  // namespace

CodeGraph::Node CodeGraph::Intern(const Instruction& instruction) {
  const auto [found, is_new] = known_.try_emplace(instruction, static_cast<Node>(nodes_.size()));
  if (is_new) nodes_.push_back(instruction);
  return found->second;
}

CodeGraph::Block CodeGraph::Return(uint32_t value) {
  const auto known = std::find_if(returns_.begin(), returns_.end(), [this, value](Node each) { return nodes_[each].k == value; });
  if (known != returns_.end()) return {Word(), *known, *known, *known};
  const Node node = Intern({kReturn, value, 0, 0});
  returns_.push_back(node);
  return {Word(), node, node, node};
}

CodeGraph::Block CodeGraph::Loaded(Word word, Node ready) {
  if (nodes_[ready].code == kReturn) return {Word(), ready, ready, ready};
  Block out;
  out.word = word;
  out.ready = ready;
  out.masked = word.mask == 0xffffffffu ? ready : Intern({kMask, word.mask, ready, 0});
  out.entry = Intern({kLoad, word.offset, out.masked, 0});
  return out;
}

CodeGraph::Node CodeGraph::Branch(uint16_t jump, uint32_t k, Node yes, Node no) {
  if (yes == no) return yes;
  return Intern({static_cast<uint16_t>(BPF_JMP | jump | BPF_K), k, yes, no});
}

// Switches ---------------------------------------------------------------------------------------------

CodeGraph::Node CodeGraph::Switch(Word word, const std::vector<Case>& cases) {
  std::vector<Range> ranges;
  for (const Case& each : cases) {
    const Node node = each.block.From(word);
    if (!ranges.empty() && ranges.back().node == node) {
      ranges.back().last = each.last;
    } else {
      ranges.push_back({each.first, each.last, node});
    }
  }
  return SwitchRanges(ranges, 0, ranges.size());
}

CodeGraph::Node CodeGraph::SwitchRanges(const std::vector<Range>& ranges, size_t begin, size_t end) {
  // Every second range the same, those between single values: that is what lists of values look like.
  const auto is_list = [&ranges, begin, end](size_t background) {
    for (size_t i = begin; i < end; ++i) {
      const bool odd = (i - begin) % 2 != background % 2;
      if (odd ? ranges[i].first != ranges[i].last : ranges[i].node != ranges[begin + background].node) return false;
    }
    return true;
  };
  constexpr size_t kChain = 3;  // comparisons one after the other that are as good as a tree
  const size_t count = end - begin;
  if (count == 1) return ranges[begin].node;
  for (const size_t background : {size_t{0}, size_t{1}}) {
    if (!is_list(background) || (count + background) / 2 > kChain) continue;
    Node out = ranges[begin + background].node;
    for (size_t i = end; i-- > begin;) {
      if ((i - begin) % 2 != background % 2) out = Branch(BPF_JEQ, ranges[i].first, ranges[i].node, out);
    }
    return out;
  }
  size_t middle = begin + count / 2;
  // Halves of a list should be lists: split in the background.
  if (count > 3 && is_list(0) && (middle - begin) % 2 == 1) --middle;
  if (count > 3 && is_list(1) && !is_list(0) && (middle - begin) % 2 == 0) --middle;
  const Range& split = ranges[middle];
  if (split.first != split.last && middle > begin) {
    // A wide range is known on both sides of the split, so neither has to look for its edge twice.
    const bool same_around = middle + 1 < end && ranges[middle - 1].first == ranges[middle - 1].last;
    if (same_around) {
      return Branch(BPF_JGE, split.last, SwitchRanges(ranges, middle, end), SwitchRanges(ranges, begin, middle + 1));
    }
  }
  return Branch(BPF_JGE, split.first, SwitchRanges(ranges, middle, end), SwitchRanges(ranges, begin, middle));
}

bool CodeGraph::Reaches(Node from, uint32_t action) const {
  if (nodes_[from].code == kReturn) return (nodes_[from].k & SECCOMP_RET_ACTION_FULL) == action;
  std::vector<Node> open = {from};
  std::vector<bool> seen(nodes_.size());
  while (!open.empty()) {
    const Node node = open.back();
    open.pop_back();
    if (seen[node]) continue;
    seen[node] = true;
    const Instruction& in = nodes_[node];
    if (in.code == kReturn) {
      if ((in.k & SECCOMP_RET_ACTION_FULL) == action) return true;
      continue;
    }
    open.push_back(in.yes);
    if (IsBranch(in.code)) open.push_back(in.no);
  }
  return false;
}

// Assembling -------------------------------------------------------------------------------------------

/// Lays the instructions from the last to the first: successors have their place before whoever goes to them, so
/// every distance is known when it is needed. `out_` is the program reversed.
class CodeGraph::Assembler {
 public:
  explicit Assembler(const CodeGraph& graph) : graph_(graph), placed_(graph.nodes_.size(), kNowhere) {}

  StatusOr<Program> Run(Node entry) {
    // Depth first without recursion: a list of rules is as deep as it is long.
    std::vector<Node> open = {entry};
    while (!open.empty()) {
      const Node node = open.back();
      const Instruction& in = graph_.nodes_[node];
      if (placed_[node] != kNowhere) {
        open.pop_back();
      } else if (const Node first = NextToPlace(in); first != kNowhere) {
        open.push_back(first);
      } else {
        Place(node, in);
        open.pop_back();
      }
      if (out_.size() > kMaxInstructions) {
        return Errorf(Code::kResourceExhausted, "the policy compiles to more than {} instructions", kMaxInstructions);
      }
    }
    return Program(out_.rbegin(), out_.rend());
  }

 private:
  static constexpr uint32_t kNowhere = ~uint32_t{0};

  /// A successor without a place. The one that is gone to when a jump isn't taken comes last, so that it follows.
  Node NextToPlace(const Instruction& in) const {
    if (in.code == kReturn) return kNowhere;
    if (placed_[in.yes] == kNowhere && graph_.nodes_[in.yes].code != kReturn) return in.yes;
    if (IsBranch(in.code) && placed_[in.no] == kNowhere && graph_.nodes_[in.no].code != kReturn) return in.no;
    return kNowhere;
  }

  void Place(Node node, const Instruction& in) {
    if (in.code == kReturn) {
      Emit(BPF_STMT(kReturn, in.k));
    } else if (!IsBranch(in.code)) {
      FallInto(in.yes);
      Emit(BPF_STMT(in.code, in.k));
    } else {
      // A target that is out of reach gets a helper right here, which may push the other one out of reach.
      uint32_t yes = Reach(in.yes, 2), no = Reach(in.no, 1);
      if (out_.size() - yes > kReach) yes = Reach(in.yes, 1);
      Emit(BPF_JUMP(in.code, in.k, static_cast<uint8_t>(out_.size() - yes - 1),
                    static_cast<uint8_t>(out_.size() - no - 1)));
    }
    placed_[node] = static_cast<uint32_t>(out_.size() - 1);
  }

  static constexpr size_t kReach = 256;  // the distance of places that a jump spans

  /// A place from which to get to the node, within reach even if `more` - 1 instructions come before the jump.
  uint32_t Reach(Node node, size_t more) {
    const auto near = [this, more](uint32_t place) {
      return place != kNowhere && out_.size() + more - 1 - place <= kReach;
    };
    if (near(placed_[node])) return placed_[node];
    if (const auto helper = helpers_.find(node); helper != helpers_.end() && near(helper->second)) {
      return helper->second;
    }
    const Instruction& target = graph_.nodes_[node];
    if (target.code == kReturn) {
      Emit(BPF_STMT(kReturn, target.k));
      if (placed_[node] == kNowhere) placed_[node] = static_cast<uint32_t>(out_.size() - 1);
    } else {
      Emit(BPF_STMT(kJump, static_cast<uint32_t>(out_.size()) - placed_[node] - 1));
    }
    return helpers_[node] = static_cast<uint32_t>(out_.size() - 1);
  }

  /// Makes the node the next instruction.
  void FallInto(Node node) {
    const Instruction& target = graph_.nodes_[node];
    if (placed_[node] != kNowhere && placed_[node] == out_.size() - 1) return;
    if (target.code == kReturn) return Emit(BPF_STMT(kReturn, target.k));
    Emit(BPF_STMT(kJump, static_cast<uint32_t>(out_.size()) - placed_[node] - 1));
  }

  void Emit(sock_filter instruction) { out_.push_back(instruction); }

  const CodeGraph& graph_;
  std::vector<uint32_t> placed_;                // by node: its index in out_
  std::unordered_map<Node, uint32_t> helpers_;  // the latest jump to (or copy of) a node
  std::vector<sock_filter> out_;
};

StatusOr<Program> CodeGraph::Assemble(Node entry) const { return Assembler(*this).Run(entry); }

}  // namespace isla::sandbox
