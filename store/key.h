// Keys and prefixes as types, so that neither is taken for the other: a key that is listed as a prefix gives its neighbours
// too ("node/n1" and "node/n10"), a prefix that is got as a key gives nothing.
//
// A text is a key wherever one is wanted: that of a KeyValue, of a map. It becomes a prefix only where that is said. What
// makes both is Keys (store/keys.h), whose prefixes end in '/'.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace isla::store {

/// One key. Empty is none.
class Key {
 public:
  Key() = default;
  Key(std::string text) : text_(std::move(text)) {}  // NOLINT(google-explicit-constructor)
  Key(const char* text) : text_(text) {}             // NOLINT(google-explicit-constructor)
  explicit Key(std::string_view text) : text_(text) {}

  const std::string& text() const& { return text_; }
  std::string text() && { return std::move(text_); }
  /// A copy, so that nothing refers into a key that is gone.
  operator std::string() const { return text_; }  // NOLINT(google-explicit-constructor)
  bool empty() const { return text_.empty(); }

  friend Key operator+(const Key& key, std::string_view rest) { return Key(key.text_ + std::string(rest)); }
  friend bool operator==(const Key&, const Key&) = default;
  friend auto operator<=>(const Key&, const Key&) = default;

 private:
  std::string text_;
};

/// All keys that begin with a text; "" = all there are.
class Prefix {
 public:
  Prefix() = default;
  explicit Prefix(std::string text) : text_(std::move(text)) {}
  /// A literal shows what it is where it stands.
  template <size_t size>
  Prefix(const char (&literal)[size]) : text_(literal) {}  // NOLINT(google-explicit-constructor)

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }
  size_t size() const { return text_.size(); }
  bool Covers(std::string_view key) const { return key.starts_with(text_); }
  /// The keys under this one whose rest begins with `rest`.
  Prefix Under(std::string_view rest) const { return Prefix(text_ + std::string(rest)); }
  /// The first text behind all that begin with this one; "" = there is none.
  std::string End() const;

  friend Key operator+(const Prefix& prefix, std::string_view rest) { return Key(prefix.text_ + std::string(rest)); }
  friend bool operator==(const Prefix&, const Prefix&) = default;
  friend auto operator<=>(const Prefix&, const Prefix&) = default;

 private:
  std::string text_;
};

}  // namespace isla::store

template <>
struct fmt::formatter<isla::store::Key> : fmt::formatter<std::string_view> {
  auto format(const isla::store::Key& key, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(key.text(), context);
  }
};

template <>
struct fmt::formatter<isla::store::Prefix> : fmt::formatter<std::string_view> {
  auto format(const isla::store::Prefix& prefix, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(prefix.text(), context);
  }
};
