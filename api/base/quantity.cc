#include "api/base/quantity.h"

#include <array>
#include <optional>

namespace isla {
namespace {

__extension__ typedef unsigned __int128 Wide;  // -Wpedantic knows no 128-bit integers

constexpr int kFractionDigits = 15;
constexpr Wide kFractionUnit = 1'000'000'000'000'000;

/// The decimal number at the start of a text: whole * 10^15 + fraction, and whether more was cut off.
struct Decimal {
  Wide scaled = 0;
  bool inexact = false;
  bool too_large = false;
  size_t length = 0;  // 0: there is no number
};

Decimal ReadDecimal(std::string_view text) {
  Decimal out;
  size_t digits = 0, at = 0;
  int fraction_digits = -1;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && fraction_digits < 0) {
      fraction_digits = 0;
      continue;
    }
    if (c < '0' || c > '9') break;
    ++digits;
    if (fraction_digits == kFractionDigits) {
      out.inexact |= c != '0';
      continue;
    }
    if (fraction_digits >= 0) ++fraction_digits;
    out.too_large |= __builtin_mul_overflow(out.scaled, Wide{10}, &out.scaled);
    out.too_large |= __builtin_add_overflow(out.scaled, static_cast<Wide>(c - '0'), &out.scaled);
  }
  for (int i = fraction_digits < 0 ? 0 : fraction_digits; i < kFractionDigits; ++i) {
    out.too_large |= __builtin_mul_overflow(out.scaled, Wide{10}, &out.scaled);
  }
  if (digits > 0) out.length = at;
  return out;
}

/// What a suffix multiplies and divides by.
struct Scale {
  Wide times = 1;
  Wide over = 1;
};

std::optional<Scale> ReadExponent(std::string_view text) {
  constexpr int kFar = 18;
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text.size() > 3) return std::nullopt;
  int exponent = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    exponent = exponent * 10 + (c - '0');
  }
  if (exponent > kFar) return std::nullopt;
  Scale scale;
  for (int i = 0; i < exponent; ++i) (minus ? scale.over : scale.times) *= 10;
  return scale;
}

std::optional<Scale> ReadSuffix(std::string_view text) {
  static constexpr std::array<std::string_view, 6> kBinary = {"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  static constexpr std::array<std::string_view, 6> kDecimal = {"k", "M", "G", "T", "P", "E"};
  static constexpr std::array<std::string_view, 3> kSmall = {"m", "u", "n"};
  if (text.empty()) return Scale{};
  Wide binary = 1, decimal = 1, small = 1;
  for (size_t i = 0; i < kBinary.size(); ++i) {
    binary *= 1024;
    decimal *= 1000;
    if (text == kBinary[i]) return Scale{.times = binary};
    if (text == kDecimal[i]) return Scale{.times = decimal};
  }
  for (const std::string_view suffix : kSmall) {
    small *= 1000;
    if (text == suffix) return Scale{.over = small};
  }
  if (text[0] == 'e' || text[0] == 'E') return ReadExponent(text.substr(1));
  return std::nullopt;
}

/// `text` in units of 1/`per_unit`, rounded up, at most `most`.
StatusOr<int64_t> ParseQuantity(std::string_view text, Wide per_unit, int64_t most, std::string_view example) {
  const auto bad = [text](std::string_view why) {
    return Errorf(Code::kInvalidArgument, "'{}' {}", text.substr(0, 64), why);
  };
  const std::string expected = fmt::format("is not a quantity (expected such as {})", example);
  if (text.starts_with('-')) return bad("must not be negative");
  std::string_view rest = text;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  const Decimal decimal = ReadDecimal(rest);
  if (decimal.length == 0) return bad(expected);
  const std::optional<Scale> scale = ReadSuffix(rest.substr(decimal.length));
  if (!scale) return bad(expected);
  Wide value = decimal.scaled;
  const bool too_large = decimal.too_large || __builtin_mul_overflow(value, scale->times, &value) ||
                         __builtin_mul_overflow(value, per_unit, &value);
  const Wide over = kFractionUnit * scale->over;
  const Wide whole = value / over + (value % over != 0 || (decimal.inexact && value % over == 0) ? 1 : 0);
  if (too_large || whole > static_cast<Wide>(most)) return bad("is too large");
  return static_cast<int64_t>(whole);
}

struct Unit {
  std::string_view name;
  int64_t nanos;
};
// Longest names first where one begins another.
constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                         {"us", 1'000},
                                         {"\xC2\xB5s", 1'000},
                                         {"\xCE\xBCs", 1'000},
                                         {"ms", 1'000'000},
                                         {"s", 1'000'000'000},
                                         {"m", 60'000'000'000},
                                         {"h", 3'600'000'000'000}}};

constexpr int64_t kLongestNanos = int64_t{10} * 366 * 24 * 3'600'000'000'000;

}  // namespace

StatusOr<int64_t> ParseCpuMillis(std::string_view text) {
  return ParseQuantity(text, 1000, 1'000'000'000, "\"500m\", \"2\"");
}

StatusOr<int64_t> ParseBytes(std::string_view text) {
  return ParseQuantity(text, 1, int64_t{1} << 60, "\"64Mi\", \"2Gi\"");
}

StatusOr<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  const auto bad = [text](std::string_view why) {
    return Errorf(Code::kInvalidArgument, "'{}' {}", text.substr(0, 64), why);
  };
  constexpr std::string_view kExpected = "is not a duration (expected such as \"30s\", \"5m\", \"1h30m\")";
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.starts_with('-')) return bad("must not be negative");
  std::string_view rest = text;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.empty()) return bad(kExpected);
  int64_t total = 0;
  while (!rest.empty()) {
    const Decimal decimal = ReadDecimal(rest);
    if (decimal.length == 0) return bad(kExpected);
    rest.remove_prefix(decimal.length);
    const Unit* unit = nullptr;
    for (const Unit& each : kUnits) {
      if (rest.starts_with(each.name) && (unit == nullptr || each.name.size() > unit->name.size())) unit = &each;
    }
    if (unit == nullptr) return bad(kExpected);
    rest.remove_prefix(unit->name.size());
    Wide nanos = decimal.scaled;
    if (decimal.too_large || __builtin_mul_overflow(nanos, static_cast<Wide>(unit->nanos), &nanos) ||
        nanos / kFractionUnit > static_cast<Wide>(kLongestNanos - total)) {
      return bad("is longer than 10 years");
    }
    total += static_cast<int64_t>(nanos / kFractionUnit);
  }
  return std::chrono::nanoseconds(total);
}

std::string FormatCpuMillis(int64_t millis) {
  return millis % 1000 == 0 ? std::to_string(millis / 1000) : fmt::format("{}m", millis);
}

std::string FormatBytes(int64_t bytes) {
  static constexpr std::array<std::string_view, 7> kSuffixes = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  size_t power = 0;
  while (bytes != 0 && bytes % 1024 == 0 && power + 1 < kSuffixes.size()) {
    bytes /= 1024;
    ++power;
  }
  return fmt::format("{}{}", bytes, kSuffixes[power]);
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  static constexpr std::array<Unit, 6> kParts = {
      {kUnits[7], kUnits[6], kUnits[5], kUnits[4], kUnits[1], kUnits[0]}};
  int64_t rest = duration.count();
  if (rest == 0) return "0s";
  std::string out;
  if (rest < 0) out = "-";
  for (const auto& [name, nanos] : kParts) {
    const int64_t count = rest / nanos;
    rest %= nanos;
    if (count != 0) out += fmt::format("{}{}", count < 0 ? -count : count, name);
  }
  return out;
}

std::string FormatAge(std::chrono::nanoseconds age) {
  const int64_t seconds = age / std::chrono::seconds(1);
  const int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  const auto two = [](int64_t large, char large_unit, int64_t small, char small_unit) {
    return small == 0 ? fmt::format("{}{}", large, large_unit)
                      : fmt::format("{}{}{}{}", large, large_unit, small, small_unit);
  };
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return fmt::format("{}m", minutes);
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return fmt::format("{}h", hours);
  if (hours < 192) return two(days, 'd', hours % 24, 'h');
  if (days < 2 * 365) return fmt::format("{}d", days);
  if (days < 8 * 365) return two(days / 365, 'y', days % 365, 'd');
  return fmt::format("{}y", days / 365);
}

}  // namespace isla
