#include "sandbox/proof/solver.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "sandbox/policy/glob.h"

namespace isla::sandbox {
namespace {

// Numbers ----------------------------------------------------------------------------------------------

bool Meets(const IntervalSet& set, uint64_t first, uint64_t last) {
  const auto& all = set.intervals();
  const auto at = std::lower_bound(all.begin(), all.end(), first,
                                   [](const Interval& each, uint64_t v) { return each.last < v; });
  return at != all.end() && at->first <= last;
}

/// Decides bits from the highest on, and goes back when a set can't be met any more.
class BitSearch {
 public:
  explicit BitSearch(const std::vector<MaskedSet>& sets) : sets_(sets) {
    uint64_t used = 0;
    for (const MaskedSet& each : sets) used |= each.mask;
    for (int bit = 63; bit >= 0; --bit) {
      if ((used >> bit & 1) != 0) bits_.push_back(static_cast<unsigned>(bit));
    }
  }

  NumberSolution Run() {
    if (!Possible(0, 0)) return {Answer::kNo, 0, sets_.size()};
    const bool found = Try(0, 0);
    const uint64_t work = (steps_ + 1) * sets_.size();
    if (found) return {Answer::kYes, value_, work};
    return {steps_ > kMostSteps ? Answer::kUnknown : Answer::kNo, 0, work};
  }

 private:
  static constexpr size_t kMostSteps = 20'000;

  bool Possible(size_t decided, uint64_t value) const {
    uint64_t open = 0;
    for (size_t i = decided; i < bits_.size(); ++i) open |= uint64_t{1} << bits_[i];
    return std::all_of(sets_.begin(), sets_.end(), [value, open](const MaskedSet& each) {
      const uint64_t low = value & each.mask;
      return Meets(each.values, low, low | (open & each.mask));
    });
  }

  bool Try(size_t decided, uint64_t value) {
    if (decided == bits_.size()) {
      value_ = value;
      return true;
    }
    for (const uint64_t bit : {uint64_t{0}, uint64_t{1}}) {
      if (++steps_ > kMostSteps) return false;
      const uint64_t with = value | bit << bits_[decided];
      if (Possible(decided + 1, with) && Try(decided + 1, with)) return true;
    }
    return false;
  }

  const std::vector<MaskedSet>& sets_;
  std::vector<unsigned> bits_;
  size_t steps_ = 0;
  uint64_t value_ = 0;
};

/// The sets, and one more demand on the whole number.
NumberSolution SolveWithin(std::vector<MaskedSet> sets, uint64_t width, const IntervalSet& within) {
  sets.push_back({~uint64_t{0}, within.Intersection(IntervalSet::Range(0, width))});
  return SolveNumber(sets);
}

}  // namespace

// Texts ------------------------------------------------------------------------------------------------

struct TextSolver {
  using TextLiteral = Situation::TextLiteral;
  using TextSolution = Situation::TextSolution;

  static bool Holds(const TextTest& test, std::string_view text) {
    NotifiedCall call;
    call.paths = {text, text};
    call.executable = text;
    call.address.family = AF_UNIX;
    call.address.path = text;
    return sandbox::Holds(AnyTest(test), call);
  }

  static bool Fits(const std::vector<TextLiteral>& literals, std::string_view text) {
    return std::all_of(literals.begin(), literals.end(),
                       [text](const TextLiteral& each) { return Holds(*each.test, text) == each.holds; });
  }

  /// A name that no pattern has as a part.
  static std::string FreshName(const std::vector<TextLiteral>& literals) {
    std::string name = "x";
    const auto used = [&literals](const std::string& part) {
      return std::any_of(literals.begin(), literals.end(), [&part](const TextLiteral& each) {
        return each.test->pattern.find(part) != std::string::npos;
      });
    };
    while (used(name)) name += 'x';
    return name;
  }

  /// Texts of which one fits if any does, as long as no glob is involved: the deepest "under", or something fresh
  /// below it.
  static std::vector<std::string> Candidates(const std::vector<TextLiteral>& literals) {
    const std::string fresh = FreshName(literals);
    const std::string* deepest = nullptr;
    for (const auto& [test, holds] : literals) {
      if (holds && test->match == Match::kUnder && (deepest == nullptr || test->pattern.size() > deepest->size())) {
        deepest = &test->pattern;
      }
    }
    const std::string top = deepest == nullptr ? "" : *deepest;
    return {(top.ends_with('/') ? top : top + "/") + fresh, deepest == nullptr ? "/" : top, ""};
  }

  static constexpr size_t kMostGuesses = 500;

  /// Guesses for globs: what they look like filled in, alone and together with the other patterns.
  static std::vector<std::string> Guesses(const std::vector<TextLiteral>& literals) {
    const std::string fresh = FreshName(literals);
    std::vector<std::string> out;
    for (const auto& [test, holds] : literals) {
      if (out.size() > kMostGuesses) break;
      if (test->match != Match::kGlob) {
        out.push_back(test->pattern);
        out.push_back(test->pattern + "/" + fresh);
        continue;
      }
      for (const std::string& fill : {fresh, std::string(), fresh + "/" + fresh, std::string("x")}) {
        out.push_back(GlobExample(test->pattern, fill));
        for (const auto& [other, other_holds] : literals) {
          if (other->match != Match::kUnder || other->pattern.size() < 2) continue;
          out.push_back(GlobExample(test->pattern, other->pattern.substr(1)));
          out.push_back(other->pattern + "/" + GlobExample(test->pattern, fill));
        }
      }
    }
    return out;
  }

  static TextSolution Solve(const std::vector<TextLiteral>& literals) {
    for (const TextLiteral& each : literals) {
      if (!each.holds || each.test->match != Match::kExact) continue;
      if (Fits(literals, each.test->pattern)) return {Answer::kYes, each.test->pattern, literals.size()};
      return {Answer::kNo, {}, literals.size()};
    }
    uint64_t work = 0;
    for (std::string& text : Candidates(literals)) {
      work += literals.size();
      if (Fits(literals, text)) return {Answer::kYes, std::move(text), work};
    }
    const bool globs = std::any_of(literals.begin(), literals.end(),
                                   [](const TextLiteral& each) { return each.test->match == Match::kGlob; });
    if (!globs) return {Answer::kNo, {}, work};
    for (std::string& text : Guesses(literals)) {
      work += literals.size();
      if (Fits(literals, text)) return {Answer::kYes, std::move(text), work};
    }
    return {Answer::kUnknown, {}, work};
  }
};

void Situation::SolveTextOf(Text text) {
  const auto i = static_cast<size_t>(text);
  text_solutions_[i] = TextSolver::Solve(texts_[i]);
  work_ += text_solutions_[i].work;
}

// Addresses --------------------------------------------------------------------------------------------

struct NetworkSolver {
  using NetworkLiteral = Situation::NetworkLiteral;
  using Ip = std::array<uint8_t, 16>;

  static bool IsWithin(const IpNetwork& inner, const IpNetwork& outer) {
    return inner.prefix_bits >= outer.prefix_bits && outer.Contains(inner.ip);
  }

  /// An address within `network` and in none of those that are not to hold it.
  static std::optional<Ip> Outside(const IpNetwork& network, const std::vector<NetworkLiteral>& literals) {
    bool split = false;
    for (const NetworkLiteral& each : literals) {
      if (each.holds) continue;
      if (IsWithin(network, each.network)) return std::nullopt;
      split = split || IsWithin(each.network, network);
    }
    if (!split) return network.ip;
    IpNetwork low = network, high = network;
    const unsigned bit = network.prefix_bits;
    low.prefix_bits = high.prefix_bits = static_cast<uint8_t>(bit + 1);
    high.ip[bit / 8] = static_cast<uint8_t>(high.ip[bit / 8] | 0x80u >> bit % 8);
    if (auto found = Outside(low, literals)) return found;
    return Outside(high, literals);
  }

  static std::optional<Ip> Solve(const std::vector<NetworkLiteral>& literals, IpNetwork within) {
    for (const NetworkLiteral& each : literals) {
      if (!each.holds) continue;
      if (IsWithin(each.network, within)) within = each.network;
      else if (!IsWithin(within, each.network)) return std::nullopt;
    }
    return Outside(within, literals);
  }
};

/// One kind of address: a test of another kind doesn't hold for it.
Situation::AddressSolution Situation::SolveFamily(uint16_t family) const {
  const bool internet = family == AF_INET || family == AF_INET6;
  const IntervalSet others = IntervalSet({{AF_UNIX, AF_UNIX}, {AF_INET, AF_INET}, {AF_INET6, AF_INET6}}).Complement();
  const NumberSolution as = SolveWithin(numbers_[static_cast<size_t>(Number::kFamily)], 0xffff,
                                        family == AF_UNSPEC ? others : IntervalSet::Of(family));
  const NumberSolution port = SolveWithin(numbers_[static_cast<size_t>(Number::kPort)], 0xffff,
                                          internet ? IntervalSet::All() : IntervalSet::Of(0));
  AddressSolution out;
  out.answer = std::min(as.answer, port.answer);
  out.work = as.work + port.work + networks_.size() * networks_.size();
  out.address.family = static_cast<uint16_t>(as.value);
  out.address.port = static_cast<uint16_t>(port.value);
  const auto& paths = texts_[static_cast<size_t>(Text::kAddressPath)];
  const auto must_hold = [](const auto& each) { return each.holds; };
  if ((family != AF_UNIX && std::any_of(paths.begin(), paths.end(), must_hold)) ||
      (!internet && std::any_of(networks_.begin(), networks_.end(), must_hold))) {
    out.answer = Answer::kNo;
  }
  if (out.answer == Answer::kNo) return out;
  if (internet) {
    const auto ip = NetworkSolver::Solve(networks_, family == AF_INET ? *IpNetwork::FromText("0.0.0.0/0") : IpNetwork());
    if (!ip) out.answer = Answer::kNo;
    else out.address.ip = *ip;
  }
  if (family == AF_UNIX) {
    const TextSolution& path = text_solutions_[static_cast<size_t>(Text::kAddressPath)];
    out.answer = std::min(out.answer, path.answer);
    out.path = path.text;
  }
  return out;
}

void Situation::SolveAddress() {
  AddressSolution best;
  best.answer = Answer::kNo;
  for (const uint16_t family : {uint16_t{AF_INET}, uint16_t{AF_INET6}, uint16_t{AF_UNIX}, uint16_t{AF_UNSPEC}}) {
    AddressSolution found = SolveFamily(family);
    work_ += found.work;
    if (found.answer > best.answer) best = std::move(found);
    if (best.answer == Answer::kYes) break;
  }
  address_solution_ = std::move(best);
}

// All --------------------------------------------------------------------------------------------------

/// What was found before is a solution with the new test, too.
bool Situation::StillFits(const AnyTest& test, bool holds) const {
  const CallExample example = Example();
  return answer() == Answer::kYes && Holds(test, example.View()) == holds;
}

Answer Situation::Add(const AnyTest& test, bool holds) {
  if (const auto* number = std::get_if<NumberTest>(&test)) {
    const auto i = static_cast<size_t>(number->number);
    const uint64_t mask = number->mask & MaskOf(number->width);
    const IntervalSet values = holds ? number->values : number->values.Complement();
    const auto same = std::find_if(numbers_[i].begin(), numbers_[i].end(), [mask](const MaskedSet& each) { return each.mask == mask; });
    if (same == numbers_[i].end()) numbers_[i].push_back({mask, values});
    else same->values = same->values.Intersection(values);
    const bool of_address = number->number == Number::kFamily || number->number == Number::kPort;
    if (StillFits(test, holds)) return answer();
    if (of_address) SolveAddress();
    else if (number->number == Number::kUid) number_solutions_[i] = SolveWithin(numbers_[i], 0xffffffff, IntervalSet::All());
    else number_solutions_[i] = SolveNumber(numbers_[i]);
    if (!of_address) work_ += number_solutions_[i].work;
  } else if (const auto* text = std::get_if<TextTest>(&test)) {
    texts_[static_cast<size_t>(text->text)].push_back({text, holds});
    if (StillFits(test, holds)) return answer();
    SolveTextOf(text->text);
    if (text->text == Text::kAddressPath) SolveAddress();
  } else if (const auto* network = std::get_if<NetworkTest>(&test)) {
    networks_.push_back({network->network, holds});
    if (StillFits(test, holds)) return answer();
    SolveAddress();
  }
  return answer();
}

Answer Situation::answer() const {
  Answer out = address_solution_.answer;
  for (const NumberSolution& each : number_solutions_) out = std::min(out, each.answer);
  for (const Text text : {Text::kPath0, Text::kPath1, Text::kExecutable}) {
    out = std::min(out, text_solutions_[static_cast<size_t>(text)].answer);
  }
  return out;
}

CallExample Situation::Example() const {
  CallExample out;
  for (size_t i = 0; i < 6; ++i) out.arguments[i] = number_solutions_[i].value;
  for (size_t i = 0; i < 3; ++i) out.fields[i] = number_solutions_[static_cast<size_t>(Number::kField0) + i].value;
  out.uid = static_cast<uint32_t>(number_solutions_[static_cast<size_t>(Number::kUid)].value);
  out.paths = {text_solutions_[0].text, text_solutions_[1].text};
  out.executable = text_solutions_[static_cast<size_t>(Text::kExecutable)].text;
  out.address = address_solution_.address;
  out.address_path = address_solution_.path;
  return out;
}

NotifiedCall CallExample::View() const {
  NotifiedCall call;
  call.number = number;
  call.arguments = arguments;
  call.known = static_cast<Facts>(~kFactRate);
  call.paths = {paths[0], paths[1]};
  call.address = address;
  call.address.path = address_path;
  call.fields = fields;
  call.executable = executable;
  call.uid = uid;
  return call;
}

NumberSolution SolveNumber(const std::vector<MaskedSet>& sets) {
  for (const MaskedSet& each : sets) {
    if (each.values.empty()) return {Answer::kNo, 0, 1};
  }
  return BitSearch(sets).Run();
}

}  // namespace isla::sandbox
