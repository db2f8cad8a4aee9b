#include "api/base/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "api/base/json_internal.h"

namespace isla::json {
namespace {

/// From this many members on, names are looked up through a sorted index, so that no pair of large
/// objects costs the product of their sizes.
constexpr size_t kIndexFrom = 16;

struct NumberParts {
  bool negative = false;
  std::string digits;  // without leading zeros; empty = zero
  int64_t exponent = 0;
};

/// Cuts a JSON number into digits x 10^exponent. Exponents are capped far outside any range.
NumberParts Split(std::string_view text) {
  constexpr int64_t kFar = 1'000'000;
  NumberParts out;
  size_t at = 0;
  if (at < text.size() && text[at] == '-') {
    out.negative = true;
    ++at;
  }
  bool fraction = false;
  for (; at < text.size() && text[at] != 'e' && text[at] != 'E'; ++at) {
    if (text[at] == '.') {
      fraction = true;
      continue;
    }
    if (fraction) --out.exponent;
    if (!out.digits.empty() || text[at] != '0') out.digits += text[at];
  }
  if (at < text.size()) {
    ++at;
    const bool minus = text[at] == '-';
    if (text[at] == '-' || text[at] == '+') ++at;
    int64_t exponent = 0;
    for (; at < text.size(); ++at) exponent = std::min(kFar, exponent * 10 + (text[at] - '0'));
    out.exponent += minus ? -exponent : exponent;
  }
  while (!out.digits.empty() && out.digits.back() == '0') {
    out.digits.pop_back();
    ++out.exponent;
  }
  return out;
}

bool SameMembers(const Object& a, const Object& b) {
  if (a.size() != b.size()) return false;
  if (std::equal(a.begin(), a.end(), b.begin(), [](const Member& x, const Member& y) {
        return x.name == y.name && x.value == y.value;
      })) {
    return true;
  }
  const MemberIndex index(b);
  return std::all_of(a.begin(), a.end(), [&index](const Member& member) {
    const Member* other = index.Find(member.name);
    return other != nullptr && member.value == other->value;
  });
}

}  // namespace

MemberIndex::MemberIndex(const Object& members) : members_(members) {
  if (members.size() < kIndexFrom) return;
  sorted_.resize(members.size());
  std::iota(sorted_.begin(), sorted_.end(), size_t{0});
  std::sort(sorted_.begin(), sorted_.end(), [&members](size_t a, size_t b) {
    const int order = members[a].name.compare(members[b].name);
    return order != 0 ? order < 0 : a < b;
  });
}

const Member* MemberIndex::Find(std::string_view name) const {
  if (sorted_.empty()) {
    const auto found = std::find_if(members_.begin(), members_.end(),
                                    [name](const Member& member) { return member.name == name; });
    return found == members_.end() ? nullptr : &*found;
  }
  const auto found = std::lower_bound(sorted_.begin(), sorted_.end(), name,
                                      [this](size_t i, std::string_view n) { return members_[i].name < n; });
  return found == sorted_.end() || members_[*found].name != name ? nullptr : &members_[*found];
}

std::optional<std::pair<size_t, size_t>> MemberIndex::Duplicate() const {
  std::optional<std::pair<size_t, size_t>> out;
  if (sorted_.empty()) {
    for (size_t i = 1; i < members_.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (members_[i].name == members_[j].name) return std::pair(j, i);
      }
    }
    return out;
  }
  for (size_t i = 1; i < sorted_.size(); ++i) {
    const std::pair pair(sorted_[i - 1], sorted_[i]);
    if (members_[pair.first].name != members_[pair.second].name) continue;
    if (!out || pair.second < out->second) out = pair;
  }
  return out;
}

bool IsNumber(std::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t first = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at > first;
  };
  if (at < text.size() && text[at] == '-') ++at;
  if (at < text.size() && text[at] == '0') ++at;
  else if (!digits()) return false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!digits()) return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (!digits()) return false;
  }
  return at == text.size() && !text.empty();
}

Value::Value(int64_t number) : data_(NumberText{std::to_string(number)}) {}
Value::Value(uint64_t number) : data_(NumberText{std::to_string(number)}) {}

Value Value::Number(std::string text) {
  ISLA_CHECK(IsNumber(text));
  Value out;
  out.data_ = NumberText{std::move(text)};
  return out;
}

Value Value::MakeObject(std::initializer_list<std::pair<std::string, Value>> members) {
  Object out;
  out.reserve(members.size());
  for (const auto& [name, value] : members) out.push_back({name, value, {}});
  ISLA_CHECK(!MemberIndex(out).Duplicate());
  return out;
}

std::string_view Value::type_name() const {
  static constexpr std::array<std::string_view, 6> kNames = {"null",   "boolean", "number",
                                                             "string", "array",   "object"};
  return kNames[data_.index()];
}

bool Value::as_bool() const {
  ISLA_CHECK(is_bool());
  return std::get<bool>(data_);
}
const std::string& Value::as_string() const {
  ISLA_CHECK(is_string());
  return std::get<std::string>(data_);
}
const std::string& Value::number_text() const {
  ISLA_CHECK(is_number());
  return std::get<NumberText>(data_).text;
}
const Array& Value::items() const {
  ISLA_CHECK(is_array());
  return std::get<Array>(data_);
}
Array& Value::items() {
  ISLA_CHECK(is_array());
  return std::get<Array>(data_);
}
const Object& Value::members() const {
  ISLA_CHECK(is_object());
  return std::get<Object>(data_);
}
Object& Value::members() {
  ISLA_CHECK(is_object());
  return std::get<Object>(data_);
}

std::optional<int64_t> Value::ToInt64() const {
  if (!is_number()) return std::nullopt;
  NumberParts parts = Split(number_text());
  if (parts.digits.empty()) return 0;
  constexpr size_t kMostDigits = 19;
  if (parts.exponent < 0 || parts.exponent > static_cast<int64_t>(kMostDigits)) return std::nullopt;
  parts.digits.append(static_cast<size_t>(parts.exponent), '0');
  if (parts.digits.size() > kMostDigits) return std::nullopt;
  if (parts.negative) parts.digits.insert(0, 1, '-');
  int64_t out = 0;
  const char* end = parts.digits.data() + parts.digits.size();
  const auto result = std::from_chars(parts.digits.data(), end, out);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return out;
}

std::optional<double> Value::ToDouble() const {
  if (!is_number()) return std::nullopt;
  const std::string& text = number_text();
  double out = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  if (result.ec != std::errc()) return std::nullopt;
  return out;
}

const Value* Value::Find(std::string_view name) const {
  if (!is_object()) return nullptr;
  for (const json::Member& member : std::get<Object>(data_)) {
    if (member.name == name) return &member.value;
  }
  return nullptr;
}

Value* Value::Find(std::string_view name) { return const_cast<Value*>(std::as_const(*this).Find(name)); }

const Value* Value::FindPath(std::initializer_list<std::string_view> path) const {
  const Value* at = this;
  for (const std::string_view name : path) {
    at = at->Find(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string Value::StringAt(std::initializer_list<std::string_view> path, std::string_view fallback) const {
  const Value* found = FindPath(path);
  return found != nullptr && found->is_string() ? found->as_string() : std::string(fallback);
}

std::optional<int64_t> Value::Int64At(std::initializer_list<std::string_view> path) const {
  const Value* found = FindPath(path);
  return found == nullptr ? std::nullopt : found->ToInt64();
}

Value& Value::Set(std::string_view name, Value value) {
  if (is_null()) data_ = Object();
  if (Value* found = Find(name)) {
    *found = std::move(value);
    return *found;
  }
  members().push_back({std::string(name), std::move(value), {}});
  return members().back().value;
}

Value& Value::Member(std::string_view name) {
  if (Value* found = Find(name)) return *found;
  return Set(name, Object());
}

bool Value::Remove(std::string_view name) {
  if (!is_object()) return false;
  return std::erase_if(members(), [name](const json::Member& member) { return member.name == name; }) > 0;
}

void Value::Append(Value item) {
  if (is_null()) data_ = Array();
  items().push_back(std::move(item));
}

bool operator==(const Value& a, const Value& b) {
  if (a.data_.index() != b.data_.index()) return false;
  if (a.is_object()) return SameMembers(a.members(), b.members());
  if (a.is_array()) return a.items() == b.items();
  if (a.is_string()) return a.as_string() == b.as_string();
  if (a.is_number()) return a.number_text() == b.number_text();
  return a.is_null() || a.as_bool() == b.as_bool();
}

}  // namespace isla::json
