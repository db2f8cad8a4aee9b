#include "api/archive/lines.h"

#include <algorithm>

namespace isla::archive {

void LineBuffer::Append(std::string_view bytes) {
  text_.erase(0, at_);
  searched_ -= std::min(searched_, at_);
  at_ = 0;
  text_.append(bytes);
}

StatusOr<std::optional<std::string_view>> LineBuffer::Next() {
  const size_t end = text_.find('\n', std::max(at_, searched_));
  const size_t length = (end == std::string::npos ? text_.size() : end) - at_;
  if (length > max_line_bytes_) return Errorf(Code::kResourceExhausted, "a line is longer than {} bytes", max_line_bytes_);
  if (end == std::string::npos) {
    searched_ = text_.size();
    return std::optional<std::string_view>();
  }
  const std::string_view line = std::string_view(text_).substr(at_, length);
  at_ = end + 1;
  return std::optional<std::string_view>(line);
}

}  // namespace isla::archive
