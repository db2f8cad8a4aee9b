#include "sandbox/manifest/condition.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>

#include "api/base/did_you_mean.h"
#include "api/base/field_error.h"
#include "sandbox/names/constants.h"
#include "sandbox/policy/catalogue.h"
#include "sandbox/policy/glob.h"
#include "sandbox/policy/signature.h"

namespace isla::sandbox {
namespace {

using Op = TestSyntax::Op;

/// What a name of an expression stands for.
struct Operand {
  enum class Kind : uint8_t { kNumber, kPointer, kTexts, kIp, kRate };
  Kind kind = Kind::kNumber;
  Number number = Number::kArgument0;
  Width width = Width::k32;
  bool is_signed = false;
  std::string_view domain;
  std::vector<Text> texts;
};

class Builder {
 public:
  Builder(const Syscall& call, Arch arch, std::map<size_t, uint32_t>& buckets, uint32_t& next_bucket,
          std::vector<ExpressionError>& errors)
      : call_(call), arch_(arch), buckets_(buckets), next_bucket_(next_bucket), errors_(errors), signature_(SignatureOf(call)) {}

  Condition Make(const Expression& expression) {
    std::vector<Condition> parts;
    for (const Expression& part : expression.parts) parts.push_back(Make(part));
    switch (expression.kind) {
      case Expression::Kind::kTrue: return Condition::True();
      case Expression::Kind::kFalse: return Condition::False();
      case Expression::Kind::kNot: return Condition::Not(std::move(parts.front()));
      case Expression::Kind::kAnd: return Condition::And(std::move(parts));
      case Expression::Kind::kOr: return Condition::Or(std::move(parts));
      case Expression::Kind::kTest: break;
    }
    tests_ += expression.test.values.size();
    if (tests_ > kMaxTests) return Fail(expression.test.offset, fmt::format("more than {} tests", kMaxTests));
    const std::optional<Operand> operand = Resolve(expression.test);
    if (!operand) return Condition::False();
    switch (operand->kind) {
      case Operand::Kind::kNumber: return NumberCondition(*operand, expression.test);
      case Operand::Kind::kPointer: return PointerCondition(*operand, expression.test);
      case Operand::Kind::kTexts: return TextCondition(*operand, expression.test);
      case Operand::Kind::kIp: return IpCondition(expression.test);
      case Operand::Kind::kRate: return RateCondition(expression.test);
    }
    return Condition::False();
  }

 private:
  Condition Fail(size_t offset, std::string what) {
    errors_.push_back({offset, std::move(what)});
    return Condition::False();
  }

  // Names ----------------------------------------------------------------------------------------------

  std::vector<std::string> KnownNames() const {
    std::vector<std::string> out = {"caller.exe", "caller.uid", "rate"};
    const size_t paths = PathCount();
    if (paths == 1) out.emplace_back("path");
    if (paths > 0) out.emplace_back("anypath");
    for (const Argument& argument : signature_) {
      const std::string name(argument.name);
      if (argument.type->kind == ArgumentKind::kAddress) {
        for (const char* part : {".family", ".port", ".ip", ".path"}) out.push_back(name + part);
      } else if (argument.type->kind == ArgumentKind::kOpenHow) {
        for (const char* part : {".flags", ".mode", ".resolve"}) out.push_back(name + part);
      } else {
        out.push_back(name);
      }
    }
    return out;
  }

  size_t PathCount() const {
    return static_cast<size_t>(std::count_if(signature_.begin(), signature_.end(), [](const Argument& each) {
      return each.type->kind == ArgumentKind::kPath;
    }));
  }

  std::string ArgumentList() const {
    if (signature_.empty()) return "it has none";
    std::string out = "it has";
    for (const Argument& each : signature_) out += fmt::format("{} {}", &each == &signature_.front() ? "" : ",", each.name);
    return out;
  }

  std::optional<Operand> Unknown(const TestSyntax& test) {
    Fail(test.offset, fmt::format("{} has no argument '{}' ({}){}", call_.name, test.name, ArgumentList(), DidYouMean(test.name, KnownNames())));
    return std::nullopt;
  }

  std::optional<Operand> Resolve(const TestSyntax& test) {
    Operand out;
    if (test.name == "rate") {
      out.kind = Operand::Kind::kRate;
      return out;
    }
    if (test.name == "caller.uid") {
      out.number = Number::kUid;
      return out;
    }
    if (test.name == "caller.exe") return OfTexts({Text::kExecutable});
    const size_t dot = test.name.find('.');
    const std::string name = test.name.substr(0, dot), part = dot == std::string::npos ? "" : test.name.substr(dot + 1);
    size_t path = 0;
    for (size_t i = 0; i < signature_.size(); ++i) {
      const ArgumentType& type = *signature_[i].type;
      const bool named = signature_[i].name == name || (name == "address" && type.kind == ArgumentKind::kAddress);
      if (named) return ResolveArgument(test, i, path, part);
      if (type.kind == ArgumentKind::kPath) ++path;
    }
    if ((test.name == "path" || test.name == "anypath") && path > 0) {
      if (test.name == "anypath" && path == 2) return Paths(test, {Text::kPath0, Text::kPath1});
      if (path == 1) return Paths(test, {Text::kPath0});
      Fail(test.offset, fmt::format("{} has two paths ({}): name one of them, or write 'anypath'", call_.name, ArgumentList()));
      return std::nullopt;
    }
    return Unknown(test);
  }

  std::optional<Operand> Paths(const TestSyntax& test, std::vector<Text> texts) {
    if (CanReadPaths(call_.name)) return OfTexts(std::move(texts));
    Fail(test.offset, fmt::format("rules can't look at the paths of {} (only at those of the group @file-path)", call_.name));
    return std::nullopt;
  }

  static Operand OfTexts(std::vector<Text> texts) {
    Operand out;
    out.kind = Operand::Kind::kTexts;
    out.texts = std::move(texts);
    return out;
  }

  std::optional<Operand> ResolveArgument(const TestSyntax& test, size_t index, size_t path, const std::string& part) {
    const ArgumentType& type = *signature_[index].type;
    if (type.kind == ArgumentKind::kAddress) return ResolveAddress(test, part);
    if (type.kind == ArgumentKind::kOpenHow) return ResolveHow(test, part);
    if (!part.empty()) {
      Fail(test.offset, fmt::format("'{}' of {} has no parts", signature_[index].name, call_.name));
      return std::nullopt;
    }
    if (type.kind == ArgumentKind::kPath) return Paths(test, {path == 0 ? Text::kPath0 : Text::kPath1});
    Operand out;
    out.kind = type.kind == ArgumentKind::kPointer ? Operand::Kind::kPointer : Operand::Kind::kNumber;
    out.number = static_cast<Number>(index);
    out.width = type.width;
    out.is_signed = type.is_signed;
    out.domain = type.domain;
    return out;
  }

  std::optional<Operand> NoSuchPart(const TestSyntax& test, const std::vector<std::string>& parts) {
    const std::string name = test.name.substr(0, test.name.find('.'));
    const std::string part = test.name.size() > name.size() ? test.name.substr(name.size() + 1) : "";
    std::string list;
    for (const std::string& each : parts) list += fmt::format("{}'{}.{}'", list.empty() ? "" : ", ", name, each);
    Fail(test.offset, part.empty() ? fmt::format("'{}' points to memory: look at a part of it ({})", name, list)
                                   : fmt::format("'{}' has no part '{}' (expected {}){}", name, part, list, DidYouMean(part, parts)));
    return std::nullopt;
  }

  std::optional<Operand> ResolveAddress(const TestSyntax& test, const std::string& part) {
    if (!CanReadAddress(call_.name)) {
      Fail(test.offset, fmt::format("rules can't look at the socket address of {} (only at those of bind and connect): write rules of spec.net", call_.name));
      return std::nullopt;
    }
    Operand out;
    out.width = Width::k16;
    if (part == "family") {
      out.number = Number::kFamily;
      out.domain = "family";
    } else if (part == "port") {
      out.number = Number::kPort;
    } else if (part == "ip") {
      out.kind = Operand::Kind::kIp;
    } else if (part == "path") {
      return OfTexts({Text::kAddressPath});
    } else {
      return NoSuchPart(test, {"family", "port", "ip", "path"});
    }
    return out;
  }

  std::optional<Operand> ResolveHow(const TestSyntax& test, const std::string& part) {
    Operand out;
    out.width = Width::k64;
    if (part == "flags") {
      out.number = Number::kField0;
      out.domain = "open";
    } else if (part == "mode") {
      out.number = Number::kField1;
      out.domain = "mode";
    } else if (part == "resolve") {
      out.number = Number::kField2;
      out.domain = "resolve";
    } else {
      return NoSuchPart(test, {"flags", "mode", "resolve"});
    }
    return out;
  }

  // Numbers --------------------------------------------------------------------------------------------

  static std::string DomainText(Arch arch, std::string_view domain) {
    std::string out;
    for (const Constant& each : ConstantsOf(arch, domain)) {
      if (out.size() > 40) return out + ", ...";
      out += fmt::format("{}{}", out.empty() ? "" : ", ", each.name);
    }
    return out;
  }

  std::optional<uint64_t> SymbolValue(const Operand& operand, const TestSyntax& test, const ConstantSyntax::Piece& piece) {
    const std::vector<Constant> found = FindConstants(arch_, piece.symbol);
    for (const Constant& each : found) {
      if (operand.domain.empty() || each.domain == operand.domain) return each.value;
    }
    if (found.empty()) {
      std::vector<std::string> known;
      for (const Constant& each : ConstantsOf(arch_, operand.domain)) known.emplace_back(each.name);
      if (operand.domain.empty()) known = AllConstantNames();
      Fail(piece.offset, fmt::format("unknown name '{}'{}", piece.symbol, DidYouMean(piece.symbol, known)));
    } else {
      Fail(piece.offset, fmt::format("'{}' is no value of '{}' of {} (expected {})", piece.symbol, test.name, call_.name,
                                     DomainText(arch_, operand.domain)));
    }
    return std::nullopt;
  }

  /// The value in the operand's width. A negative number is what the kernel gets for it.
  std::optional<uint64_t> ValueOf(const Operand& operand, const TestSyntax& test, const ConstantSyntax& constant) {
    const uint64_t max = MaskOf(operand.width);
    uint64_t out = 0;
    for (const ConstantSyntax::Piece& piece : constant.pieces) {
      uint64_t value = piece.magnitude;
      if (!piece.symbol.empty()) {
        const auto symbol = SymbolValue(operand, test, piece);
        if (!symbol) return std::nullopt;
        value = *symbol & (operand.width == Width::k64 ? max : 0xffffffff);
      }
      const uint64_t most = piece.negative ? max / 2 + 1 : max;
      if (value > most) {
        Fail(piece.offset, fmt::format("{}{} does not fit '{}', which has {} bits", piece.negative ? "-" : "", value, test.name, std::popcount(max)));
        return std::nullopt;
      }
      if (piece.negative) value = (~value + 1) & max;
      if (piece.inverted) value = ~value & max;
      out |= value;
    }
    return out;
  }

  /// first..last as the operand counts: of a signed one, -1..1 is three numbers.
  IntervalSet RangeOf(const Operand& operand, uint64_t first, uint64_t last) const {
    const uint64_t max = MaskOf(operand.width), sign = max / 2 + 1;
    if (!operand.is_signed) return first <= last ? IntervalSet::Range(first, last) : IntervalSet();
    const bool first_negative = (first & sign) != 0, last_negative = (last & sign) != 0;
    if (first_negative == last_negative) return first <= last ? IntervalSet::Range(first, last) : IntervalSet();
    return first_negative ? IntervalSet({{first, max}, {0, last}}) : IntervalSet();
  }

  IntervalSet Compared(const Operand& operand, Op op, uint64_t value) const {
    const uint64_t max = MaskOf(operand.width), sign = max / 2 + 1;
    const uint64_t lowest = operand.is_signed ? sign : 0, highest = operand.is_signed ? sign - 1 : max;
    switch (op) {
      case Op::kEqual: return IntervalSet::Of(value);
      case Op::kNotEqual: return IntervalSet::Of(value).Complement(max);
      case Op::kLess: return RangeOf(operand, value, highest).Complement(max);
      case Op::kLessEqual: return RangeOf(operand, lowest, value);
      case Op::kGreater: return RangeOf(operand, lowest, value).Complement(max);
      default: return RangeOf(operand, value, highest);
    }
  }

  Condition NumberCondition(const Operand& named, const TestSyntax& test) {
    Operand operand = named;
    NumberTest out = {operand.number, operand.width, MaskOf(operand.width), {}};
    if (test.op == Op::kUnder || test.op == Op::kLike) {
      return Fail(test.offset, fmt::format("'{}' is a number: 'under' and 'like' are for paths", test.name));
    }
    if (test.mask) {
      const auto mask = ValueOf(operand, test, *test.mask);
      if (!mask) return Condition::False();
      out.mask = *mask;
      operand.is_signed = false;  // a part of a number has no sign
    }
    for (const TestSyntax::Value& value : test.values) {
      if (value.is_text) return Fail(value.offset, fmt::format("'{}' is a number (expected a number or the name of one)", test.name));
      const auto first = ValueOf(operand, test, value.first);
      const auto last = value.last ? ValueOf(operand, test, *value.last) : first;
      if (!first || !last) return Condition::False();
      if (test.op == Op::kHas || test.op == Op::kHasAny) return Bits(out, test, *first);
      if (test.op == Op::kIn) {
        const IntervalSet range = RangeOf(operand, *first, *last);
        if (range.empty()) return Fail(value.offset, "the range ends before it begins");
        out.values = out.values.Union(range);
      } else {
        out.values = Compared(operand, test.op, *first);
      }
      if (test.mask && (*first & ~out.mask) != 0 && test.op != Op::kLess && test.op != Op::kLessEqual) {
        return Fail(value.offset, fmt::format("{:#x} has bits that the mask {:#x} hasn't: they are never the same", *first, out.mask));
      }
    }
    return out;
  }

  Condition Bits(NumberTest out, const TestSyntax& test, uint64_t bits) {
    if (test.mask) return Fail(test.offset, "'has' and 'hasany' bring their own mask");
    if (bits == 0) return Fail(test.values.front().offset, fmt::format("no bit is set in 0: compare by '==' ('{} & MASK == 0')", test.name));
    out.mask = bits;
    out.values = test.op == Op::kHas ? IntervalSet::Of(bits) : IntervalSet::Range(1, bits);
    return out;
  }

  Condition PointerCondition(const Operand& operand, const TestSyntax& test) {
    const bool compares = test.op == Op::kEqual || test.op == Op::kNotEqual;
    const auto& pieces = test.values.front().first.pieces;
    const bool null = !test.values.front().is_text && pieces.size() == 1 && pieces[0].symbol.empty() && pieces[0].magnitude == 0 && !pieces[0].inverted;
    if (!compares || !null || test.mask) {
      return Fail(test.offset, fmt::format("'{}' of {} is a pointer: rules can't look behind it, and compare it by '== 0' or '!= 0' only",
                                           test.name, call_.name));
    }
    return NumberTest{operand.number, Width::k64, ~uint64_t{0}, Compared(operand, test.op, 0)};
  }

  // Texts, addresses, rates ----------------------------------------------------------------------------

  std::string WhatIsWrongWith(Text text, Match match, std::string_view pattern) const {
    if (text == Text::kAddressPath && pattern.starts_with('@')) return {};
    if (match == Match::kGlob) {
      if (const std::string_view wrong = WhatIsWrongWithGlob(pattern); !wrong.empty()) return fmt::format("the pattern {}", wrong);
      if (pattern.starts_with('/') || pattern.starts_with('*')) return {};
      return "a pattern of paths begins with '/' or '*'";
    }
    if (match == Match::kExact && pattern.empty()) return {};
    return WhatIsWrongWithPath(pattern);
  }

  Condition TextCondition(const Operand& operand, const TestSyntax& test) {
    if (test.mask) return Fail(test.offset, fmt::format("'{}' is a text: it has no bits", test.name));
    Match match = Match::kExact;
    switch (test.op) {
      case Op::kEqual:
      case Op::kNotEqual:
      case Op::kIn: break;
      case Op::kUnder: match = Match::kUnder; break;
      case Op::kLike: match = Match::kGlob; break;
      default: return Fail(test.offset, fmt::format("'{}' is a text (expected one of == != in under like)", test.name));
    }
    std::vector<Condition> any;
    for (const TestSyntax::Value& value : test.values) {
      if (!value.is_text) return Fail(value.offset, fmt::format("'{}' is a text (expected a string such as '/etc')", test.name));
      for (const Text text : operand.texts) {
        const std::string wrong = WhatIsWrongWith(text, match, value.text);
        if (!wrong.empty()) return Fail(value.offset, wrong);
        std::string pattern = value.text;
        if (text == Text::kAddressPath && pattern.starts_with('@')) pattern[0] = '\0';
        any.emplace_back(TextTest{text, match, std::move(pattern)});
      }
    }
    Condition out = Condition::Or(std::move(any));
    return test.op == Op::kNotEqual ? Condition::Not(std::move(out)) : out;
  }

  Condition IpCondition(const TestSyntax& test) {
    if ((test.op != Op::kEqual && test.op != Op::kNotEqual && test.op != Op::kIn) || test.mask) {
      return Fail(test.offset, fmt::format("'{}' is an address (expected one of == != in)", test.name));
    }
    std::vector<Condition> any;
    for (const TestSyntax::Value& value : test.values) {
      const auto network = value.is_text ? IpNetwork::FromText(value.text) : std::nullopt;
      if (!network) return Fail(value.offset, "expected a string with an address or network, such as '10.0.0.0/8' or '::1' (no bits after the prefix)");
      any.emplace_back(NetworkTest{*network});
    }
    Condition out = Condition::Or(std::move(any));
    return test.op == Op::kNotEqual ? Condition::Not(std::move(out)) : out;
  }

  Condition RateCondition(const TestSyntax& test) {
    const uint64_t limit = test.values.front().first.pieces.front().magnitude;
    if (limit == 0 || limit > 1'000'000'000) return Fail(test.values.front().offset, "a rate is from 1 to 1000000000");
    const auto [bucket, is_new] = buckets_.try_emplace(test.offset, next_bucket_);
    if (is_new) ++next_bucket_;
    Condition out = RateTest{static_cast<uint32_t>(limit), test.window_seconds, bucket->second};
    return test.op == Op::kGreater ? out : Condition::Not(std::move(out));
  }

  const Syscall& call_;
  const Arch arch_;
  std::map<size_t, uint32_t>& buckets_;
  uint32_t& next_bucket_;
  std::vector<ExpressionError>& errors_;
  const std::vector<Argument> signature_;
  size_t tests_ = 0;
};

}  // namespace

Condition MakeCondition(const Expression& expression, const Syscall& call, Arch arch, std::map<size_t, uint32_t>& buckets,
                        uint32_t& next_bucket, std::vector<ExpressionError>& errors) {
  return Builder(call, arch, buckets, next_bucket, errors).Make(expression);
}

std::string WhatIsWrongWithPath(std::string_view path) {
  if (path.empty()) return "the path is empty";
  if (path.size() > 4095) return "the path is longer than 4095 bytes";
  if (path[0] != '/') return fmt::format("'{}' is not an absolute path", path);
  if (path.find('\0') != std::string_view::npos) return "a path has no NUL byte";
  if (path == "/") return {};
  if (path.ends_with('/')) return fmt::format("'{}' ends in '/'", path);
  for (size_t at = 1; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return fmt::format("'{}' has an empty part, '.' or '..'", path);
    at = end + 1;
  }
  return {};
}

}  // namespace isla::sandbox
