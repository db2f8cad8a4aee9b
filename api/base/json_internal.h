// What json.cc, json_parse.cc and those who work through large objects share: names found without looking
// at every member.
#pragma once

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "api/base/json.h"

namespace isla::json {

/// Finds members of an object by name in logarithmic time. The object must outlive it and stay as it is.
class MemberIndex {
 public:
  explicit MemberIndex(const Object& members);
  /// The member, or null pointer.
  const Member* Find(std::string_view name) const;
  /// The first member whose name was there before: (index of the earlier one, its own index).
  std::optional<std::pair<size_t, size_t>> Duplicate() const;

 private:
  const Object& members_;
  std::vector<size_t> sorted_;  // empty for small objects: a scan is faster there
};

/// True for the text of a JSON number (RFC 8259, section 6).
bool IsNumber(std::string_view text);

}  // namespace isla::json
