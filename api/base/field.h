// A value within an object, with its path: what the checks of a manifest (api/object, sandbox/manifest) walk with.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "api/base/json.h"
#include "api/base/field_error.h"

namespace isla {

/// A check goes on after a mistake to find the others, but not for ever: one more than are shown.
inline bool IsFull(const FieldErrors& errors) { return errors.size() > kMostFieldErrors; }

class Field {
 public:
  explicit Field(const json::Value& root) : value_(&root), near_(root.position()) {}

  const std::string& path() const { return path_; }
  /// There, and not null: null means absent, as in Kubernetes.
  bool present() const { return value_ != nullptr && !value_->is_null(); }
  bool is_string() const { return present() && value_->is_string(); }
  bool is_array() const { return present() && value_->is_array(); }
  bool is_object() const { return present() && value_->is_object(); }
  /// Must be present.
  const json::Value& value() const { return *value_; }
  /// The string, or "".
  std::string_view text() const { return is_string() ? std::string_view(value_->as_string()) : std::string_view(); }

  /// The member of that name; absent if there is none.
  Field Get(std::string_view name) const {
    const json::Value* found = value_ == nullptr ? nullptr : value_->Find(name);
    return {path_.empty() ? std::string(name) : path_ + "." + std::string(name), found, near_};
  }
  /// The value of a member of a map, whose name may have dots: labels[a.b/c].
  Field Entry(const json::Member& member) const {
    return {path_ + "[" + member.name + "]", &member.value, member.position};
  }
  Field Item(size_t index) const {
    return {path_ + "[" + std::to_string(index) + "]", &value_->items()[index], near_};
  }
  size_t size() const { return is_array() ? value_->items().size() : 0; }

  FieldError Missing(std::string_view why = {}) const {
    FieldError error = Required(path_, why);
    error.position = near_;
    return error;
  }
  /// The value must be present.
  FieldError Bad(std::string_view why) const { return Invalid(path_, *value_, why); }

 private:
  Field(std::string path, const json::Value* value, json::Position near)
      : path_(std::move(path)), value_(value), near_(value == nullptr ? near : value->position()) {}

  std::string path_;
  const json::Value* value_;
  json::Position near_;  // its own position, or that of what it should have been in
};

}  // namespace isla
