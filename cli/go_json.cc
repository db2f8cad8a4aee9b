#include "cli/go_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace isla::cli {
namespace {

constexpr double kSmallestPlain = 1e-6;
constexpr double kLargestPlain = 1e21;

std::string GoFloat(double number) {
  if (number == 0) return std::signbit(number) ? "-0" : "0";
  const double size = std::fabs(number);
  const bool scientific = size < kSmallestPlain || size >= kLargestPlain;
  char buffer[512];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, number,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer, end.ptr);
  // Go writes e-9, not e-09; e+21 as it is.
  const size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.size() == exponent + 4 && text[exponent + 1] == '-' &&
      text[exponent + 2] == '0') {
    text.erase(exponent + 2, 1);
  }
  return text;
}

void WriteString(std::string_view text, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\b') {
      out += "\\b";
    } else if (c == '\f') {
      out += "\\f";
    } else if (byte < 0x20 || c == '<' || c == '>' || c == '&') {
      out += "\\u00";
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    } else if (text.substr(i, 3) == "\xe2\x80\xa8" || text.substr(i, 3) == "\xe2\x80\xa9") {
      out += text[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void Write(const json::Value& value, std::string& out) {
  switch (value.type()) {
    case json::Value::Type::kNull:
      out += "null";
      return;
    case json::Value::Type::kBool:
      out += value.as_bool() ? "true" : "false";
      return;
    case json::Value::Type::kNumber:
      out += GoNumber(value.number_text());
      return;
    case json::Value::Type::kString:
      WriteString(value.as_string(), out);
      return;
    case json::Value::Type::kArray: {
      const char* separator = "[";
      if (value.items().empty()) out += separator;
      for (const json::Value& item : value.items()) {
        out += separator;
        Write(item, out);
        separator = ",";
      }
      out += "]";
      return;
    }
    case json::Value::Type::kObject: {
      std::vector<const json::Member*> members;
      for (const json::Member& member : value.members()) members.push_back(&member);
      std::sort(members.begin(), members.end(),
                [](const auto* a, const auto* b) { return a->name < b->name; });
      out += "{";
      for (size_t i = 0; i < members.size(); ++i) {
        if (i > 0) out += ",";
        WriteString(members[i]->name, out);
        out += ":";
        Write(members[i]->value, out);
      }
      out += "}";
      return;
    }
  }
}

}  // namespace

std::string GoNumber(const std::string& text) {
  int64_t whole = 0;
  const auto integer = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (integer.ec == std::errc() && integer.ptr == text.data() + text.size())
    return std::to_string(whole);
  double number = 0;
  const auto real = std::from_chars(text.data(), text.data() + text.size(), number);
  if (real.ec != std::errc()) return text;  // out of range: Go refuses it, and so will the server
  return GoFloat(number);
}

std::string GoJson(const json::Value& value) {
  std::string out;
  Write(value, out);
  return out;
}

}  // namespace isla::cli
