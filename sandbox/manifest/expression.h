// The texts of `when`: what they look like. What the names mean is condition.h's.
//
//   expression = and { "||" and }
//   and        = term { "&&" term }
//   term       = "!" term | "(" expression ")" | "true" | "false" | test
//   test       = number ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) constant
//              | number "in" "[" item { "," item } "]"
//              | number ( "has" | "hasany" ) constant          all, any of these bits
//              | name ( "==" | "!=" | "under" | "like" | "in" ) ( string | "[" string { "," string } "]" )
//              | "rate" ( ">" | "<=" ) integer "/" ( "s" | "m" | "h" )
//   number     = name [ "&" constant ] | "(" name "&" constant ")"
//   name       = identifier [ "." identifier ]
//   item       = constant [ ".." constant ]
//   constant   = piece { "|" piece } ;  piece = [ "~" ] ( integer | IDENTIFIER | "(" constant ")" )
//   integer    = [ "-" ] ( decimal | "0x" hex | "0" octal ) [ "K" | "M" | "G" ]
//   string     = 'text' | "text"          \' \" \\ stand for the quote, the backslash; other backslashes stay
//
// No loops, no functions, no variables. A total function of a text; bounded in size and depth.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace isla::sandbox {

inline constexpr size_t kMaxExpressionBytes = 16 * 1024;
inline constexpr size_t kMaxExpressionDepth = 32;

/// What is wrong, and where in the text (bytes from 0).
struct ExpressionError {
  size_t offset = 0;
  std::string what;  // "unexpected ')' (expected a test)"
};

/// Pieces that are or-ed.
struct ConstantSyntax {
  struct Piece {
    bool inverted = false;
    bool negative = false;
    uint64_t magnitude = 0;
    std::string symbol;  // instead of a number
    size_t offset = 0;
  };
  std::vector<Piece> pieces;
  size_t offset = 0;
};

struct TestSyntax {
  enum class Op : uint8_t {
    kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kHas, kHasAny, kUnder, kLike,
  };
  struct Value {
    bool is_text = false;
    std::string text;
    ConstantSyntax first;
    std::optional<ConstantSyntax> last;  // first..last
    size_t offset = 0;
  };

  std::string name;  // "flags", "addr.port", "rate"
  size_t offset = 0;
  std::optional<ConstantSyntax> mask;
  Op op = Op::kEqual;
  std::vector<Value> values;    // one, but for lists
  uint32_t window_seconds = 0;  // of a rate
};

struct Expression {
  enum class Kind : uint8_t { kTrue, kFalse, kNot, kAnd, kOr, kTest };
  Kind kind = Kind::kTrue;
  std::vector<Expression> parts;
  TestSyntax test;
};

/// Nothing, with `error` set, if it isn't one.
std::optional<Expression> ParseExpression(std::string_view text, ExpressionError& error);

}  // namespace isla::sandbox
