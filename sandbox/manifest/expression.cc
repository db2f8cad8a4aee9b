#include "sandbox/manifest/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace isla::sandbox {
namespace {

enum class TokenKind : uint8_t { kEnd, kName, kInteger, kString, kSign, kBad };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string_view text;  // as written
  size_t offset = 0;
  std::string value;       // kString: without quotes and backslashes. kBad: what is wrong
  uint64_t magnitude = 0;  // kInteger
};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Token Next() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
    if (at_ == text_.size()) return {TokenKind::kEnd, {}, at_, {}, 0};
    const char c = text_[at_];
    if (IsLetter(c)) return Word();
    if (IsDigit(c)) return Integer();
    if (c == '\'' || c == '"') return String();
    static constexpr std::string_view kSigns[] = {"&&", "||", "==", "!=", "<=", ">=", "..", "<", ">", "!", "&", "|",
                                                  "~",  "(",  ")",  "[",  "]",  ",",  ".",  "/", "-"};
    for (const std::string_view sign : kSigns) {
      if (text_.substr(at_).starts_with(sign)) return Taken(TokenKind::kSign, sign.size());
    }
    Token bad = Taken(TokenKind::kBad, 1);
    const auto byte = static_cast<unsigned char>(c);
    bad.value = c == '=' ? "unexpected '=' (expected '==')"
                : byte < 0x20 || byte >= 0x7f ? fmt::format("unexpected byte 0x{:02x}", byte)
                                              : fmt::format("unexpected '{}'", c);
    return bad;
  }

 private:
  Token Taken(TokenKind kind, size_t size) {
    Token out = {kind, text_.substr(at_, size), at_, {}, 0};
    at_ += size;
    return out;
  }

  Token Word() {
    size_t size = 1;
    while (at_ + size < text_.size() && (IsLetter(text_[at_ + size]) || IsDigit(text_[at_ + size]))) ++size;
    return Taken(TokenKind::kName, size);
  }

  Token Integer() {
    size_t size = 1;
    while (at_ + size < text_.size() && (IsLetter(text_[at_ + size]) || IsDigit(text_[at_ + size]))) ++size;
    Token out = Taken(TokenKind::kInteger, size);
    std::string_view digits = out.text;
    uint64_t unit = 1;
    unsigned base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X")) {
      base = 16;
      digits.remove_prefix(2);
    } else {
      const std::string_view units = "KMG";
      if (const size_t found = units.find(digits.back()); found != std::string_view::npos) {
        unit = uint64_t{1} << (10 * (found + 1));
        digits.remove_suffix(1);
      }
      if (digits.size() > 1 && digits[0] == '0') base = 8;
    }
    bool fits = !digits.empty();
    for (const char c : digits) {
      const unsigned digit = IsDigit(c) ? static_cast<unsigned>(c - '0') : static_cast<unsigned>((c | 0x20) - 'a') + 10;
      if (digit >= base) {
        out.kind = TokenKind::kBad;
        out.value = fmt::format("'{}' is not a number", out.text);
        return out;
      }
      fits = fits && out.magnitude <= (~uint64_t{0} - digit) / base;
      if (fits) out.magnitude = out.magnitude * base + digit;
    }
    if (!fits || out.magnitude > ~uint64_t{0} / unit) {
      out.kind = TokenKind::kBad;
      out.value = digits.empty() ? fmt::format("'{}' is not a number", out.text) : fmt::format("'{}' does not fit 64 bits", out.text);
    }
    out.magnitude *= unit;
    return out;
  }

  Token String() {
    const char quote = text_[at_];
    std::string value;
    size_t size = 1;
    for (; at_ + size < text_.size() && text_[at_ + size] != quote; ++size) {
      char c = text_[at_ + size];
      // Any other backslash is left to globs.
      if (c == '\\' && at_ + size + 1 < text_.size() && (text_[at_ + size + 1] == quote || text_[at_ + size + 1] == '\\')) {
        c = text_[at_ + ++size];
      }
      value += c;
    }
    const bool ends = at_ + size < text_.size();
    Token out = Taken(ends ? TokenKind::kString : TokenKind::kBad, ends ? size + 1 : size);
    out.value = ends ? std::move(value) : fmt::format("the string that begins here has no end (expected {})", quote);
    return out;
  }

  std::string_view text_;
  size_t at_ = 0;
};

class Parser {
 public:
  Parser(std::string_view text, ExpressionError& error) : error_(error) {
    Lexer lexer(text);
    do {
      tokens_.push_back(lexer.Next());
    } while (tokens_.back().kind != TokenKind::kEnd);
  }

  std::optional<Expression> Run() {
    std::optional<Expression> out = Or(0);
    if (out && Now().kind != TokenKind::kEnd) Expected("'&&', '||' or the end");
    if (failed_) return std::nullopt;
    return out;
  }

 private:
  using Op = TestSyntax::Op;

  const Token& Now() const { return tokens_[at_]; }
  const Token& Ahead(size_t by) const { return tokens_[std::min(at_ + by, tokens_.size() - 1)]; }
  void Take() { at_ = std::min(at_ + 1, tokens_.size() - 1); }
  bool Is(std::string_view text) const {
    return (Now().kind == TokenKind::kSign || Now().kind == TokenKind::kName) && Now().text == text;
  }
  bool TakeIf(std::string_view text) {
    if (!Is(text)) return false;
    Take();
    return true;
  }
  bool Fail(size_t offset, std::string what) {
    if (!failed_) error_ = {offset, std::move(what)};
    failed_ = true;
    return false;
  }
  bool Expected(std::string_view what) {
    if (Now().kind == TokenKind::kBad) return Fail(Now().offset, Now().value);
    if (Now().kind == TokenKind::kEnd) return Fail(Now().offset, fmt::format("the expression ends here (expected {})", what));
    return Fail(Now().offset, fmt::format("unexpected '{}' (expected {})", Now().text, what));
  }

  std::optional<Expression> Or(size_t depth) { return Junction(Expression::Kind::kOr, "||", depth); }

  std::optional<Expression> Junction(Expression::Kind kind, std::string_view sign, size_t depth) {
    const auto part = [this, kind, depth] {
      return kind == Expression::Kind::kOr ? Junction(Expression::Kind::kAnd, "&&", depth) : Term(depth);
    };
    std::optional<Expression> first = part();
    if (!first || !Is(sign)) return first;
    Expression out;
    out.kind = kind;
    out.parts.push_back(std::move(*first));
    while (TakeIf(sign)) {
      std::optional<Expression> next = part();
      if (!next) return std::nullopt;
      out.parts.push_back(std::move(*next));
    }
    return out;
  }

  std::optional<Expression> Term(size_t depth) {
    if (depth > kMaxExpressionDepth) {
      Fail(Now().offset, fmt::format("nested deeper than {} levels", kMaxExpressionDepth));
      return std::nullopt;
    }
    Expression out;
    if (TakeIf("!")) {
      out.kind = Expression::Kind::kNot;
      std::optional<Expression> inner = Term(depth + 1);
      if (!inner) return std::nullopt;
      out.parts.push_back(std::move(*inner));
      return out;
    }
    // (flags & O_ACCMODE) == O_RDONLY begins like a group.
    if (Is("(") && !IsMaskedNumber()) {
      Take();
      std::optional<Expression> inner = Or(depth + 1);
      if (!inner) return std::nullopt;
      if (!TakeIf(")")) {
        Expected("')'");
        return std::nullopt;
      }
      return inner;
    }
    if (TakeIf("true")) return out;
    if (TakeIf("false")) {
      out.kind = Expression::Kind::kFalse;
      return out;
    }
    out.kind = Expression::Kind::kTest;
    if (!Test(out.test)) return std::nullopt;
    return out;
  }

  /// Whether what this parenthesis holds is a number with its mask, and no test: (flags & 3), not (flags & 3 == 1).
  bool IsMaskedNumber() const {
    if (Ahead(1).kind != TokenKind::kName) return false;
    size_t by = Ahead(2).text == "." ? 4 : 2;
    if (Ahead(by).text != "&") return false;
    static constexpr std::string_view kOfConstants[] = {"|", "~", "-", "(", ")"};
    static constexpr std::string_view kWords[] = {"in", "has", "hasany", "under", "like"};
    const auto is_one_of = [](const auto& words, std::string_view text) { return std::find(std::begin(words), std::end(words), text) != std::end(words); };
    size_t depth = 1;
    for (++by; Ahead(by).kind != TokenKind::kEnd; ++by) {
      const Token& token = Ahead(by);
      if (token.kind == TokenKind::kString || (token.kind == TokenKind::kName && is_one_of(kWords, token.text))) return false;
      if (token.kind == TokenKind::kSign && !is_one_of(kOfConstants, token.text)) return false;
      if (token.text == "(") ++depth;
      if (token.text == ")" && --depth == 0) return true;
    }
    return true;
  }

  bool Test(TestSyntax& out) {
    const bool group = TakeIf("(");
    if (Now().kind != TokenKind::kName) return Expected("a test, '!' or '('");
    out.offset = Now().offset;
    out.name = Now().text;
    Take();
    if (TakeIf(".")) {
      if (Now().kind != TokenKind::kName) return Expected("a name after the '.'");
      out.name += fmt::format(".{}", Now().text);
      Take();
    }
    if (TakeIf("&")) {
      out.mask.emplace();
      if (!Constant(*out.mask)) return false;
    }
    if (group && !TakeIf(")")) return Expected(out.mask ? "')'" : "'&'");
    if (!Operator(out)) return false;
    if (out.name == "rate") return Rate(out);
    return Values(out);
  }

  bool Operator(TestSyntax& out) {
    static constexpr std::pair<std::string_view, Op> kOps[] = {
        {"==", Op::kEqual}, {"!=", Op::kNotEqual}, {"<", Op::kLess}, {"<=", Op::kLessEqual}, {">", Op::kGreater},
        {">=", Op::kGreaterEqual}, {"in", Op::kIn}, {"has", Op::kHas}, {"hasany", Op::kHasAny}, {"under", Op::kUnder},
        {"like", Op::kLike}};
    for (const auto& [text, op] : kOps) {
      if (!TakeIf(text)) continue;
      out.op = op;
      return true;
    }
    if (out.mask) {
      return Fail(Now().offset, fmt::format("a mask needs a comparison after it: '{0} has X' is true if all bits of X are set, "
                                             "'{0} hasany X' if one of them is", out.name));
    }
    return Expected("one of == != < <= > >= in has hasany under like");
  }

  bool Rate(TestSyntax& out) {
    if (out.op != Op::kGreater && out.op != Op::kLessEqual) return Fail(out.offset, "a rate is compared by '>' or '<='");
    if (Now().kind != TokenKind::kInteger) return Expected("a number of calls, as in 'rate > 100/s'");
    TestSyntax::Value value;
    value.offset = Now().offset;
    value.first.pieces.push_back({false, false, Now().magnitude, {}, Now().offset});
    out.values.push_back(std::move(value));
    Take();
    if (!TakeIf("/")) return Expected("'/s', '/m' or '/h'");
    for (const auto& [unit, seconds] : {std::pair("s", 1u), std::pair("m", 60u), std::pair("h", 3600u)}) {
      if (TakeIf(unit)) out.window_seconds = seconds;
    }
    return out.window_seconds != 0 || Expected("s, m or h");
  }

  bool Values(TestSyntax& out) {
    if (Is("[") && out.op != Op::kIn && out.op != Op::kUnder && out.op != Op::kLike) {
      return Fail(Now().offset, "a list follows 'in', 'under' or 'like' only");
    }
    if (!TakeIf("[")) {
      out.values.emplace_back();
      return Value(out.values.back(), false);
    }
    do {
      out.values.emplace_back();
      if (!Value(out.values.back(), true)) return false;
    } while (TakeIf(","));
    return TakeIf("]") || Expected("',' or ']'");
  }

  bool Value(TestSyntax::Value& out, bool in_list) {
    out.offset = Now().offset;
    if (Now().kind == TokenKind::kString) {
      out.is_text = true;
      out.text = Now().value;
      Take();
      return true;
    }
    if (!Constant(out.first)) return false;
    if (!in_list || !TakeIf("..")) return true;
    out.last.emplace();
    return Constant(*out.last);
  }

  bool Constant(ConstantSyntax& out, size_t depth = 0) {
    if (depth > kMaxExpressionDepth) return Fail(Now().offset, fmt::format("nested deeper than {} levels", kMaxExpressionDepth));
    out.offset = Now().offset;
    do {
      const bool inverted = TakeIf("~");
      if (Is("(")) {
        if (inverted) return Fail(Now().offset, "'~' stands before a number or a name only");
        Take();
        ConstantSyntax inner;
        if (!Constant(inner, depth + 1)) return false;
        if (!TakeIf(")")) return Expected("')'");
        out.pieces.insert(out.pieces.end(), inner.pieces.begin(), inner.pieces.end());
        continue;
      }
      const bool negative = TakeIf("-");
      if (Now().kind == TokenKind::kInteger) {
        out.pieces.push_back({inverted, negative, Now().magnitude, {}, Now().offset});
      } else if (Now().kind == TokenKind::kName && !negative) {
        out.pieces.push_back({inverted, false, 0, std::string(Now().text), Now().offset});
      } else {
        return Expected(Now().kind == TokenKind::kString ? "a number or the name of one" : "a number, the name of one, or a string");
      }
      Take();
    } while (TakeIf("|"));
    return true;
  }

  ExpressionError& error_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace

std::optional<Expression> ParseExpression(std::string_view text, ExpressionError& error) {
  if (text.size() > kMaxExpressionBytes) {
    error = {0, fmt::format("{} bytes are too long (at most {})", text.size(), kMaxExpressionBytes)};
    return std::nullopt;
  }
  return Parser(text, error).Run();
}

}  // namespace isla::sandbox
