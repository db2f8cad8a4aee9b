// The writers: compact JSON for the store and the wire, indented JSON and YAML for people.
#include <array>
#include <string>
#include <string_view>

#include "api/base/json.h"
#include "api/base/json_internal.h"
#include "api/base/utf8.h"

namespace isla::json {
namespace {

/// The escape of a byte within double quotes (JSON's, which YAML's are a superset of), or "" for none.
std::string_view ShortEscape(char c) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: return {};
  }
}

/// Bytes that aren't UTF-8 (a message made from what a program printed) come out as U+FFFD, so that what
/// is written can always be read.
void AppendQuoted(std::string_view text, std::string& out) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const size_t length = Utf8Length(text, at);
    const char c = text[at];
    if (length > 1) {
      out += text.substr(at, length);
    } else if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (const std::string_view escape = ShortEscape(c); !escape.empty()) {
      out += escape;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
    at += length == 0 ? 1 : length;
  }
  out += '"';
}

void AppendScalar(const Value& value, std::string& out) {
  switch (value.type()) {
    case Value::Type::kNull: out += "null"; return;
    case Value::Type::kBool: out += value.as_bool() ? "true" : "false"; return;
    case Value::Type::kNumber: out += value.number_text(); return;
    case Value::Type::kString: AppendQuoted(value.as_string(), out); return;
    case Value::Type::kArray:
    case Value::Type::kObject: return;
  }
}

/// JSON, with a new line and indentation before each element if `indent` >= 0.
class JsonPrinter {
 public:
  JsonPrinter(int indent, std::string& out) : indent_(indent), out_(out) {}

  void Print(const Value& value, size_t depth) {
    if (value.is_object()) {
      Sequence(value.members(), '{', '}', depth, [this, depth](const Member& member) {
        AppendQuoted(member.name, out_);
        out_ += indent_ < 0 ? ":" : ": ";
        Print(member.value, depth + 1);
      });
    } else if (value.is_array()) {
      Sequence(value.items(), '[', ']', depth, [this, depth](const Value& item) { Print(item, depth + 1); });
    } else {
      AppendScalar(value, out_);
    }
  }

 private:
  template <typename Elements, typename PrintOne>
  void Sequence(const Elements& elements, char open, char close, size_t depth, PrintOne print_one) {
    out_ += open;
    bool first = true;
    for (const auto& element : elements) {
      if (!first) out_ += ',';
      first = false;
      NewLine(depth + 1);
      print_one(element);
    }
    if (!first) NewLine(depth);
    out_ += close;
  }
  void NewLine(size_t depth) {
    if (indent_ < 0) return;
    out_ += '\n';
    out_.append(depth * static_cast<size_t>(indent_), ' ');
  }

  const int indent_;
  std::string& out_;
};

// YAML. A plain (unquoted) string must not read back as anything else under YAML 1.1 or 1.2.

bool Contains(std::string_view set, char c) { return set.find(c) != std::string_view::npos; }

/// "yes", "Null", "~": words that some YAML reader takes for a boolean or null.
bool IsYamlWord(std::string_view text) {
  static constexpr std::array<std::string_view, 14> kWords = {
      "null", "~", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf", "<<", "="};
  std::string lower;
  for (const char c : text.substr(0, 8)) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const std::string_view word : kWords) {
    if (lower == word && text.size() == word.size()) return true;
  }
  return false;
}

/// Anything of digits and the signs of numbers, times and dates: 0x1F, 1e3, 1_000, 12:30, 2026-01-31.
bool LooksNumeric(std::string_view text) {
  const char first = text[0] == '-' || text[0] == '+' ? (text.size() > 1 ? text[1] : 'x') : text[0];
  return (first >= '0' && first <= '9') || (first == '.' && text.size() > 1);
}

/// Quantities ("64Mi", "500m") begin with a digit but read as strings.
bool IsPlainQuantity(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
  const std::string_view unit = text.substr(at);
  for (const std::string_view known : {"m", "s", "h", "ms", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"}) {
    if (unit == known) return at > 0;
  }
  return false;
}

bool IsPrintable(std::string_view text, bool lines) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 ? !(lines && c == '\n') : c == 0x7f) return false;
  }
  // The rest that YAML wants escaped (C1 controls, separators, byte order marks) isn't worth a table.
  return FindBadUtf8(text) == std::string_view::npos && text.find("\xC2") == std::string_view::npos &&
         text.find("\xE2\x80") == std::string_view::npos && text.find("\xEF\xBB\xBF") == std::string_view::npos;
}

bool IsPlainYaml(std::string_view text) {
  if (text.empty() || !IsPrintable(text, false)) return false;
  if (IsYamlWord(text) || (LooksNumeric(text) && !IsPlainQuantity(text))) return false;
  if (Contains(" ,[]{}#&*!|>'\"%@`", text.front()) || text.back() == ' ' || text.back() == ':') return false;
  if (Contains("-?:", text.front()) && (text.size() == 1 || text[1] == ' ' || text.starts_with("---"))) return false;
  return text.find(": ") == std::string_view::npos && text.find(" #") == std::string_view::npos;
}

class YamlPrinter {
 public:
  explicit YamlPrinter(std::string& out) : out_(out) {}

  /// Prints `value` after "name:" or "-" or at the start of the text; ends with a new line.
  void Print(const Value& value, size_t indent) {
    if (value.is_object() && !value.members().empty()) {
      Members(value.members(), indent);
    } else if (value.is_array() && !value.items().empty()) {
      Items(value.items(), indent);
    } else {
      Scalar(value, indent);
    }
  }

 private:
  static bool IsBlock(const Value& value) {
    return (value.is_object() && !value.members().empty()) || (value.is_array() && !value.items().empty());
  }

  /// The first line is written where the text stands now (after "- "), the others at `indent`.
  void Members(const Object& members, size_t indent) {
    bool first = true;
    for (const Member& member : members) {
      if (!first) out_.append(indent, ' ');
      first = false;
      Text(member.name);
      out_ += ':';
      if (!IsBlock(member.value)) {
        out_ += ' ';
        Scalar(member.value, indent + 2);
        continue;
      }
      // As kubectl prints: the items of an array stand under its name, not further in.
      const size_t inner = member.value.is_array() ? indent : indent + 2;
      out_ += '\n';
      out_.append(inner, ' ');
      Print(member.value, inner);
    }
  }

  void Items(const Array& items, size_t indent) {
    bool first = true;
    for (const Value& item : items) {
      if (!first) out_.append(indent, ' ');
      first = false;
      out_ += "- ";
      Print(item, indent + 2);
    }
  }

  void Scalar(const Value& value, size_t indent) {
    if (value.is_object()) out_ += "{}";
    else if (value.is_array()) out_ += "[]";
    else if (!value.is_string()) AppendScalar(value, out_);
    else if (IsLiteral(value.as_string())) return Literal(value.as_string(), indent);
    else Text(value.as_string());
    out_ += '\n';
  }

  void Text(std::string_view text) {
    if (IsPlainYaml(text)) out_ += text;
    else AppendQuoted(text, out_);
  }

  /// Text of many lines that the block style "|" holds exactly.
  static bool IsLiteral(std::string_view text) {
    return text.find('\n') != std::string_view::npos && text[0] != ' ' && text[0] != '\n' && IsPrintable(text, true);
  }

  void Literal(std::string_view text, size_t indent) {
    const bool ends = text.back() == '\n';
    const bool ends_twice = ends && text.size() > 1 && text[text.size() - 2] == '\n';
    out_ += ends_twice ? "|+\n" : ends ? "|\n" : "|-\n";
    if (ends) text.remove_suffix(1);
    for (size_t at = 0; at <= text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      if (end > at) out_.append(indent, ' ').append(text.substr(at, end - at));
      out_ += '\n';
      at = end + 1;
    }
  }

  std::string& out_;
};

}  // namespace

std::string Serialize(const Value& value) {
  std::string out;
  JsonPrinter(-1, out).Print(value, 0);
  return out;
}

std::string Pretty(const Value& value, int indent) {
  std::string out;
  JsonPrinter(indent < 0 ? 0 : indent, out).Print(value, 0);
  return out;
}

std::string ToYaml(const Value& value) {
  std::string out;
  YamlPrinter(out).Print(value, 0);
  return out;
}

}  // namespace isla::json
