// The JSON tree: what an object is inside isla, from the user's file to the store and back.
//
// User JSON comes back as typed: numbers keep their source text ("1.0" stays "1.0", 2^63 stays exact),
// members keep their order, nothing is dropped or normalised. Every value that was parsed knows its
// line and column, so that an error found later (a wrong type, a bad quantity) can point at it.
// Reading is strict: UTF-8, no duplicate member names, bounded depth and size. yajl stays in json_parse.cc.
//
// A Value is a regular value type: copied, moved, compared (positions don't count in ==; objects are
// equal whatever the order of their members; numbers by their text). Safe to read from many threads.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "api/base/status.h"

namespace isla::json {

/// Where a value began in the text that it was read from; line 0 = it was not read from a text.
struct Position {
  uint32_t line = 0;    // from 1
  uint32_t column = 0;  // from 1, in bytes
};

struct Limits {
  size_t max_bytes = 256 * 1024;
  size_t max_depth = 32;
};

class Value;

struct Member;
using Array = std::vector<Value>;
using Object = std::vector<Member>;  // in the order typed; names are unique

class Value {
 public:
  enum class Type { kNull, kBool, kNumber, kString, kArray, kObject };

  // Defined below Member: a vector of a type that isn't complete yet can be named, but not used.
  Value();  // null
  Value(const Value&);
  Value(Value&&) noexcept;
  Value& operator=(const Value&);
  Value& operator=(Value&&) noexcept;
  ~Value();

  template <std::same_as<bool> Bool>  // only bool itself: pointers would convert, too
  Value(Bool value) : data_(value) {}  // NOLINT: implicit by design
  Value(const char* text);       // NOLINT
  Value(std::string text);       // NOLINT
  Value(std::string_view text);  // NOLINT
  Value(int64_t number);         // NOLINT
  Value(int number);             // NOLINT
  Value(uint64_t number);        // NOLINT
  Value(Array items);            // NOLINT
  Value(Object members);         // NOLINT
  /// A number with this source text, which must be a JSON number.
  static Value Number(std::string text);
  /// {"a": 1, "b": "x"}: MakeObject({{"a", 1}, {"b", "x"}}).
  static Value MakeObject(std::initializer_list<std::pair<std::string, Value>> members = {});
  static Value MakeArray(std::initializer_list<Value> items = {});

  Type type() const { return static_cast<Type>(data_.index()); }
  bool is_null() const { return type() == Type::kNull; }
  bool is_bool() const { return type() == Type::kBool; }
  bool is_number() const { return type() == Type::kNumber; }
  bool is_string() const { return type() == Type::kString; }
  bool is_array() const { return type() == Type::kArray; }
  bool is_object() const { return type() == Type::kObject; }
  /// "null", "boolean", "number", "string", "array", "object": for messages.
  std::string_view type_name() const;

  // The value must be of the type asked for (checked).
  bool as_bool() const;
  const std::string& as_string() const;
  const std::string& number_text() const;
  const Array& items() const;
  Array& items();
  const Object& members() const;
  Object& members();

  /// The number as an integer; nothing if it isn't a number, has a fraction, or doesn't fit.
  /// 1e3 and 1.0 are integers.
  std::optional<int64_t> ToInt64() const;
  std::optional<double> ToDouble() const;

  /// The member of that name, or null pointer; null pointer too if this is not an object.
  const Value* Find(std::string_view name) const;
  Value* Find(std::string_view name);
  /// Follows names through objects: v.FindPath({"metadata", "name"}).
  const Value* FindPath(std::initializer_list<std::string_view> path) const;
  /// The string at that path, or `fallback` (also when it isn't a string).
  std::string StringAt(std::initializer_list<std::string_view> path, std::string_view fallback = {}) const;
  std::optional<int64_t> Int64At(std::initializer_list<std::string_view> path) const;

  /// Sets a member, in its place if it exists, else at the end. A null value becomes an object first.
  Value& Set(std::string_view name, Value value);
  /// The member of that name, made as an empty object if it isn't there. A null value becomes an object.
  Value& Member(std::string_view name);
  /// True if there was one.
  bool Remove(std::string_view name);
  void Append(Value item);

  Position position() const { return position_; }
  void set_position(Position position) { position_ = position; }

  friend bool operator==(const Value& a, const Value& b);

 private:
  struct NumberText {
    std::string text;
    friend bool operator==(const NumberText&, const NumberText&) = default;
  };
  std::variant<std::monostate, bool, NumberText, std::string, Array, Object> data_;
  Position position_;
};

struct Member {
  std::string name;
  Value value;
  Position position;  // of the name
};

inline Value::Value() = default;
inline Value::Value(const Value&) = default;
inline Value::Value(Value&&) noexcept = default;
inline Value& Value::operator=(const Value&) = default;
inline Value& Value::operator=(Value&&) noexcept = default;
inline Value::~Value() = default;
inline Value::Value(const char* text) : data_(std::string(text)) {}
inline Value::Value(std::string text) : data_(std::move(text)) {}
inline Value::Value(std::string_view text) : data_(std::string(text)) {}
inline Value::Value(int number) : Value(int64_t{number}) {}
inline Value::Value(Array items) : data_(std::move(items)) {}
inline Value::Value(Object members) : data_(std::move(members)) {}
inline Value Value::MakeArray(std::initializer_list<Value> items) { return Array(items); }

/// Reads one JSON text. INVALID_ARGUMENT with "line L:C: what is wrong (expected what)" for broken
/// JSON, a duplicate member ("spec.image: duplicate member, first at line L:C"), bad UTF-8, trailing
/// text, too deep, too large.
StatusOr<Value> Parse(std::string_view text, const Limits& limits = {});

/// Reads a stream of JSON texts one after the other (white space between, "---" lines allowed).
/// The error names the line in the whole text. No text at all is an empty result.
StatusOr<std::vector<Value>> ParseAll(std::string_view text, const Limits& limits = {});

/// One line, no spaces, members in their order.
std::string Serialize(const Value& value);
/// Indented by `indent` spaces, as kubectl -o json prints.
std::string Pretty(const Value& value, int indent = 4);
/// As YAML (block style, strings quoted where YAML needs it), as kubectl -o yaml prints.
std::string ToYaml(const Value& value);

}  // namespace isla::json
