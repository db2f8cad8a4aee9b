#include "api/object/names.h"

#include "api/base/status.h"

namespace isla::api {
namespace {

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsLower(c) || IsDigit(c) || (c >= 'A' && c <= 'Z'); }

constexpr std::string_view kLabelRule =
    "must consist of lower case letters, digits or '-', and begin and end with a letter or digit "
    "(for example 'my-name' or '123-abc')";
constexpr std::string_view kNameRule =
    "must consist of letters, digits, '-', '_' or '.', and begin and end with a letter or digit "
    "(for example 'MyName' or 'my.name')";

bool IsDnsLabelSyntax(std::string_view name) {
  for (const char c : name) {
    if (!IsLower(c) && !IsDigit(c) && c != '-') return false;
  }
  return !name.empty() && name.front() != '-' && name.back() != '-';
}

bool IsNameSyntax(std::string_view name) {
  for (const char c : name) {
    if (!IsAlnum(c) && c != '-' && c != '_' && c != '.') return false;
  }
  return !name.empty() && IsAlnum(name.front()) && IsAlnum(name.back());
}

std::string TooLong(size_t limit) { return fmt::format("must be no more than {} bytes", limit); }

}  // namespace

std::string CheckDnsLabel(std::string_view name) {
  if (name.size() > 63) return TooLong(63);
  return IsDnsLabelSyntax(name) ? std::string() : std::string(kLabelRule);
}

std::string CheckDnsSubdomain(std::string_view name) {
  if (name.size() > 253) return TooLong(253);
  for (size_t at = 0; at <= name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    const std::string_view label = name.substr(at, dot - at);
    if (!IsDnsLabelSyntax(label)) {
      return "must be one or more parts joined by '.', each of which " + std::string(kLabelRule);
    }
    at = dot + 1;
  }
  return {};
}

std::string CheckLabelKey(std::string_view key) {
  std::string_view name = key;
  if (const size_t slash = key.find('/'); slash != std::string_view::npos) {
    const std::string_view prefix = key.substr(0, slash);
    if (prefix.empty()) return "the prefix before '/' must not be empty";
    if (const std::string wrong = CheckDnsSubdomain(prefix); !wrong.empty()) return "the prefix before '/' " + wrong;
    name = key.substr(slash + 1);
  }
  if (name.size() > 63) return "the name " + TooLong(63);
  return IsNameSyntax(name) ? std::string() : "the name " + std::string(kNameRule);
}

std::string CheckLabelValue(std::string_view value) {
  if (value.size() > 63) return TooLong(63);
  return value.empty() || IsNameSyntax(value) ? std::string() : "must be empty, or " + std::string(kNameRule);
}

std::string CheckEnvName(std::string_view name) {
  if (name.size() > 1024) return TooLong(1024);
  bool good = !name.empty() && !IsDigit(name[0]);
  for (const char c : name) good = good && (IsAlnum(c) || c == '_' || c == '-' || c == '.');
  return good ? std::string()
              : std::string("must consist of letters, digits, '_', '-' or '.', and not begin with a digit "
                            "(for example 'MY_NAME')");
}

std::string CheckAbsolutePath(std::string_view path) {
  if (!path.starts_with('/')) return "must be an absolute path";
  if (path.size() > 4095) return TooLong(4095);
  if (path == "/") return {};
  for (size_t at = 1; at <= path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    if (part.empty()) return "must have no double and no final '/'";
    if (part == "." || part == "..") return "must have no '.' and no '..' in it";
    if (part.size() > 255) return "must have no part of more than 255 bytes";
    at = slash + 1;
  }
  return {};
}

}  // namespace isla::api
