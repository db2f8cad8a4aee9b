#include "api/base/base64.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <iterator>

namespace isla {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> MakeValues() {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (size_t i = 0; i < kDigits.size(); ++i) values[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
  return values;
}
constexpr std::array<int8_t, 256> kValues = MakeValues();

StatusOr<std::string> Decode(std::string_view text, bool strict) {
  if (text.size() % 4 != 0) return Error(Code::kInvalidArgument, "not base64: cut short");
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    const size_t digits = i + 4 == text.size() ? 4 - padding : 4;
    uint32_t group = 0;
    for (size_t j = 0; j < 4; ++j) {
      const int8_t value = j < digits ? kValues[static_cast<unsigned char>(text[i + j])] : int8_t{0};
      if (value < 0) return Errorf(Code::kInvalidArgument, "not base64: wrong character at {}", i + j);
      group = group << 6 | static_cast<uint32_t>(value);
    }
    if (strict && ((digits == 2 && (group & 0xffffU) != 0) || (digits == 3 && (group & 0xffU) != 0))) {
      return Error(Code::kInvalidArgument, "not base64: bits behind the end");
    }
    for (size_t j = 0; j + 1 < digits; ++j) out += static_cast<char>(group >> (16 - 8 * j) & 0xffU);
  }
  return out;
}

}  // namespace

std::string EncodeBase64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) out += j <= count ? kDigits[group >> (18 - 6 * j) & 63U] : '=';
  }
  return out;
}

StatusOr<std::string> DecodeBase64(std::string_view text) {
  std::string dense;
  std::copy_if(text.begin(), text.end(), std::back_inserter(dense), [](unsigned char c) { return std::isspace(c) == 0; });
  return Decode(dense, false);
}

StatusOr<std::string> DecodeStrictBase64(std::string_view text) { return Decode(text, true); }

}  // namespace isla
