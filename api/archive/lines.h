// A text that comes in pieces, taken apart into lines. One thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla::archive {

class LineBuffer {
 public:
  /// No line may be longer than this, its end not counted.
  explicit LineBuffer(size_t max_line_bytes) : max_line_bytes_(max_line_bytes) {}

  void Append(std::string_view bytes);
  /// The next whole line, without its '\n'; good until the next call of anything here. Nothing: append more. RESOURCE_EXHAUSTED:
  /// it is too long.
  StatusOr<std::optional<std::string_view>> Next();
  /// What has no end yet: at the end of the text, a last line without '\n'.
  std::string_view rest() const { return std::string_view(text_).substr(at_); }

 private:
  const size_t max_line_bytes_;
  std::string text_;
  size_t at_ = 0;        // everything before has been taken
  size_t searched_ = 0;  // there is no '\n' between at_ and this
};

}  // namespace isla::archive
