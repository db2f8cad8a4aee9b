// What the parts of the manifest's decoder share: fields with their errors, positions within strings. Internal to
// sandbox/manifest.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/field.h"
#include "api/base/field_error.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/syscalls.h"

namespace isla::sandbox {

class Decoder {
 public:
  /// `text` is what the fields were read from, or "" if it isn't there any more; it must outlive this.
  Decoder(std::string_view text, const DecodeOptions& options) : text_(text), options_(options) {}

  Arch arch() const { return options_.arch; }
  FieldErrors& errors() { return errors_; }
  FieldErrors& warnings() { return warnings_; }
  bool full() const { return IsFull(errors_); }

  void Bad(const Field& field, std::string_view why) { errors_.push_back(field.Bad(why)); }
  /// An error of a string at a byte of what it says.
  void BadAt(const Field& field, size_t offset, std::string what);
  void Warn(std::string field, json::Position position, std::string what);

  /// False, with errors, if the field isn't there as an object. Members beyond `known` are errors, too.
  bool Object(const Field& field, std::initializer_list<std::string_view> known);
  // The value; nothing if it isn't there, or (with an error) isn't as asked for.
  std::optional<std::string> String(const Field& field, size_t max_bytes = 4096);
  std::optional<int64_t> Integer(const Field& field, int64_t min, int64_t max);
  /// "500ms", "5s", "2m".
  std::optional<int64_t> Microseconds(const Field& field, int64_t min, int64_t max);
  // Quantities as those of a session (api/base/quantity.h), or numbers.
  /// "16Mi", "1.5Gi".
  std::optional<int64_t> Bytes(const Field& field, int64_t min, int64_t max);
  /// "500m", "1.5": thousandths of a processor.
  std::optional<int64_t> CpuMillis(const Field& field, int64_t min, int64_t max);
  /// One of the words; with an error if it is another.
  std::optional<size_t> Choice(const Field& field, const std::vector<std::string>& words);
  /// Absolute and normal.
  std::optional<std::string> Path(const Field& field);
  /// The items; with an error if it isn't an array, or has more.
  std::vector<Field> Items(const Field& field, size_t most);

 private:
  /// `kind`: what it must be, for people.
  std::optional<int64_t> Quantity(const Field& field, StatusOr<int64_t> (*parse)(std::string_view), std::string (*format)(int64_t), int64_t min, int64_t max, std::string_view kind);
  json::Position Within(json::Position string, size_t offset) const;

  const std::string_view text_;
  const DecodeOptions& options_;
  FieldErrors errors_, warnings_;
};

/// A list of calls as written: names, @groups, and with a '!' before it what is not meant.
struct CallList {
  std::vector<const Syscall*> calls;  // of both architectures, sorted by name, each once
};

CallList DecodeCalls(Decoder& decoder, const Field& field);
/// Nothing, with errors, if it is none. `calls` are what the rule is for: the action must be possible for all of them.
std::optional<Action> DecodeAction(Decoder& decoder, const Field& field, const std::vector<const Syscall*>& calls);

void DecodeSections(Decoder& decoder, const Field& spec, Sections& out);
void DecodeRules(Decoder& decoder, const Field& rules, Policy& policy);
/// A profile as base: its rules are appended, its default becomes the policy's.
void ImportProfile(Decoder& decoder, const Field& profile, const Field& capabilities, const Field& kernel, Policy& policy);

/// Calls that would go on although what pointers point to could have refused them: errors.
void CheckContinues(Decoder& decoder, const Policy& policy);
/// Rules that never decide: warnings.
void FindUnreachable(Decoder& decoder, const Policy& policy);
/// Rules that refuse one of several calls that do the same, by its path: warnings that name the others.
void FindOpenSiblings(Decoder& decoder, const Policy& policy);

}  // namespace isla::sandbox
