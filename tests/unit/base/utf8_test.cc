#include "api/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace isla {
namespace {

/// The bytes of a code point by the formula alone, well-formed or not.
std::string Encode(unsigned code) {
  const auto byte = [](unsigned value) { return static_cast<char>(value); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F))};
  if (code < 0x10000) return {byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F))};
  return {byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 0x3F)), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F))};
}

TEST(Utf8, EveryCodePointButSurrogatesIsWellFormed) {
  for (unsigned code = 0; code < 0x110000; ++code) {
    const std::string bytes = Encode(code);
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    ASSERT_EQ(Utf8Length(bytes, 0), surrogate ? 0 : bytes.size()) << code;
  }
  for (unsigned code = 0x110000; code < 0x200000; code += 0x1000) ASSERT_EQ(Utf8Length(Encode(code), 0), 0u) << code;
}

TEST(Utf8, OverlongFormsAreNot) {
  for (unsigned code = 0; code < 0x10000; ++code) {
    const auto byte = [](unsigned value) { return static_cast<char>(value); };
    if (code < 0x80) {
      ASSERT_EQ(Utf8Length(std::string{byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F))}, 0), 0u);
    }
    if (code < 0x800) {
      ASSERT_EQ(Utf8Length(std::string{byte(0xE0), byte(0x80 | code >> 6), byte(0x80 | (code & 0x3F))}, 0), 0u);
    }
    ASSERT_EQ(Utf8Length(std::string{byte(0xF0), byte(0x80 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F))}, 0), 0u);
  }
}

TEST(Utf8, CutCharactersAreNot) {
  for (const std::string whole : {"é", "€", "😀"}) {
    for (size_t size = 0; size < whole.size(); ++size) EXPECT_EQ(Utf8Length(std::string_view(whole).substr(0, size), 0), 0u);
  }
  EXPECT_EQ(FindBadUtf8("aé€😀"), std::string_view::npos);
  EXPECT_EQ(FindBadUtf8("aé\xE2\x82z"), 3u);
  EXPECT_EQ(Utf8Length("a", 5), 0u);
}

}  // namespace
}  // namespace isla
