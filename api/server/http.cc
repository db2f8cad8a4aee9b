#include "api/server/http.h"

namespace isla::server {

namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

StatusOr<std::string> Unescape(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return Errorf(Code::kInvalidArgument, "bad escape in the URL: '{}'", text);
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace

std::string Request::Header(const std::string& lower_name) const {
  const auto it = headers.find(lower_name);
  return it == headers.end() ? std::string() : it->second;
}

std::optional<std::string> Request::Param(const std::string& name) const {
  const auto [begin, end] = query.equal_range(name);
  if (begin == end) return std::nullopt;
  return std::prev(end)->second;
}

Status ParseTarget(std::string_view target, Request& request) {
  request.target = std::string(target);
  const size_t question = target.find('?');
  std::string_view path = target.substr(0, question);
  if (path.empty() || path.front() != '/') return Error(Code::kInvalidArgument, "the URL must begin with '/'");
  path.remove_prefix(1);
  if (path.size() > 1 && path.back() == '/') path.remove_suffix(1);  // discovery clients add one
  while (!path.empty()) {
    const size_t slash = path.find('/');
    ASSIGN_OR_RETURN(std::string part, Unescape(path.substr(0, slash), false));
    if (part.empty()) return Error(Code::kInvalidArgument, "the URL has an empty part");
    request.path.push_back(std::move(part));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
    if (path.empty()) return Error(Code::kInvalidArgument, "the URL has an empty part");
  }
  if (question == std::string_view::npos) return OkStatus();
  std::string_view query = target.substr(question + 1);
  while (!query.empty()) {
    const size_t amp = query.find('&');
    const std::string_view pair = query.substr(0, amp);
    const size_t equals = pair.find('=');
    if (!pair.empty()) {
      ASSIGN_OR_RETURN(std::string name, Unescape(pair.substr(0, equals), true));
      ASSIGN_OR_RETURN(std::string value,
                       Unescape(equals == std::string_view::npos ? "" : pair.substr(equals + 1), true));
      request.query.emplace(std::move(name), std::move(value));
    }
    if (amp == std::string_view::npos) break;
    query.remove_prefix(amp + 1);
  }
  return OkStatus();
}

}  // namespace isla::server
