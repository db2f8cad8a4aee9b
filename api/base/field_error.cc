#include "api/base/field_error.h"

#include <absl/strings/cord.h>

#include <algorithm>
#include <numeric>

namespace isla {
namespace {

constexpr const char* kPayload = "isla/field-errors";

/// The value as it stands in the text, cut if it is long.
std::string Shown(const json::Value& value) {
  constexpr size_t kMostBytes = 100;
  if (value.is_array() || value.is_object()) return std::string(value.type_name());
  std::string text = value.is_string() && value.as_string().size() > kMostBytes
                         ? json::Serialize(json::Value(value.as_string().substr(0, kMostBytes) + "..."))
                         : json::Serialize(value);
  if (value.is_number() && text.size() > kMostBytes) text = text.substr(0, kMostBytes) + "...";
  return text;
}

/// Optimal string alignment distance: insert, delete, replace, swap of neighbours.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string Folded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '_' || c == '-') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

json::Value ToJson(const FieldErrors& errors) {
  json::Array out;
  for (const FieldError& error : errors) {
    out.push_back(json::Value::MakeObject({{"reason", error.reason},
                                           {"field", error.field},
                                           {"detail", error.detail},
                                           {"line", uint64_t{error.position.line}},
                                           {"column", uint64_t{error.position.column}}}));
  }
  return out;
}

}  // namespace

FieldError Invalid(std::string field, const json::Value& value, std::string_view why) {
  return {"FieldValueInvalid", std::move(field), fmt::format("Invalid value: {}: {}", Shown(value), why),
          value.position()};
}

FieldError Required(std::string field, std::string_view why) {
  return {"FieldValueRequired", std::move(field),
          why.empty() ? std::string("Required value") : fmt::format("Required value: {}", why),
          {}};
}

FieldError NotSupported(std::string field, const json::Value& value, const std::vector<std::string>& supported) {
  std::string list;
  for (const std::string& each : supported) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", each);
  return {"FieldValueNotSupported", std::move(field),
          fmt::format("Unsupported value: {}: supported values: {}", Shown(value), list), value.position()};
}

FieldError Duplicate(std::string field, const json::Value& value) {
  return {"FieldValueDuplicate", std::move(field), fmt::format("Duplicate value: {}", Shown(value)), value.position()};
}

FieldError TooLong(std::string field, const json::Value& value, std::string_view limit) {
  return {"FieldValueTooLong", std::move(field), fmt::format("Too long: must have at most {}", limit),
          value.position()};
}

FieldError Forbidden(std::string field, const json::Value& value, std::string_view why) {
  return {"FieldValueForbidden", std::move(field), fmt::format("Forbidden: {}", why), value.position()};
}

FieldError TypeInvalid(std::string field, const json::Value& value, std::string_view expected) {
  return {"FieldValueTypeInvalid", std::move(field),
          fmt::format("Invalid type: {} ({}): expected {}", Shown(value), value.type_name(), expected),
          value.position()};
}

FieldError Unknown(std::string field, json::Position position, std::string_view name,
                   const std::vector<std::string>& known) {
  const std::string suggestion = Suggestion(name, known);
  return {"FieldValueInvalid", std::move(field),
          suggestion.empty() ? std::string("Unknown field")
                             : fmt::format("Unknown field: did you mean '{}'?", suggestion),
          position};
}

Status InvalidObject(std::string_view kind, std::string_view name, const FieldErrors& errors) {
  ISLA_CHECK(!errors.empty());
  FieldErrors kept = errors;
  if (kept.size() > kMostFieldErrors) {
    kept.resize(kMostFieldErrors);
    kept.push_back({"FieldValueInvalid", "", "too many errors: those after these are not shown", {}});
  }
  std::string text = fmt::format("{} \"{}\" is invalid:", kind, name);
  const bool many = kept.size() > 1;
  for (const FieldError& error : kept) {
    text += many ? "\n  " : " ";
    text += error.field;
    if (error.position.line > 0) {
      text += fmt::format("{}(line {}:{})", error.field.empty() ? "" : " ", error.position.line, error.position.column);
    }
    text += text.back() == ' ' ? error.detail : ": " + error.detail;
  }
  return WithCauses(Error(Code::kInvalidArgument, text), kept);
}

Status WithCauses(Status status, const FieldErrors& causes) {
  const std::string payload = json::Serialize(ToJson(causes));
  // Not from the std::string: clang >= 18 mangles that constructor unlike GCC, and Debian's absl is GCC's.
  status.SetPayload(kPayload, absl::Cord(absl::string_view(payload.data(), payload.size())));
  return status;
}

FieldErrors FieldErrorsOf(const Status& status) {
  FieldErrors out;
  const auto payload = status.GetPayload(kPayload);
  if (!payload) return out;
  const StatusOr<json::Value> list = json::Parse(std::string(*payload), {.max_bytes = size_t{16} << 20});
  if (!list.ok() || !list->is_array()) return out;
  for (const json::Value& each : list->items()) {
    out.push_back({each.StringAt({"reason"}),
                   each.StringAt({"field"}),
                   each.StringAt({"detail"}),
                   {static_cast<uint32_t>(each.Int64At({"line"}).value_or(0)),
                    static_cast<uint32_t>(each.Int64At({"column"}).value_or(0))}});
  }
  return out;
}

std::string Suggestion(std::string_view word, const std::vector<std::string>& known) {
  constexpr size_t kLongestWord = 64;  // the distance takes time by the product of the lengths
  if (word.empty() || word.size() > kLongestWord) return {};
  const std::string folded = Folded(word);
  std::string best;
  size_t best_distance = kLongestWord;
  for (const std::string& candidate : known) {
    const std::string other = Folded(candidate);
    // A third of the letters may be wrong: farther is no slip of the finger. Or one is the other with something
    // before or after it (terminationGracePeriodSeconds).
    const size_t near = std::max<size_t>(1, std::max(folded.size(), other.size()) / 3);
    size_t distance = Distance(folded, other);
    if (distance > near) {
      const std::string& shorter = folded.size() < other.size() ? folded : other;
      const std::string& longer = folded.size() < other.size() ? other : folded;
      if (shorter.size() < 5 || longer.find(shorter) == std::string::npos) continue;
      distance = kLongestWord - 1;
    }
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace isla
