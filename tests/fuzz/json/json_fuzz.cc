// Any bytes: reading doesn't crash; what was read is written and read back as it was; each value and each name
// stands where it says; an error names a place within the text.
#include <cstdint>

#include "api/base/json.h"
#include "api/base/utf8.h"

namespace isla::json {
namespace {

/// Where each line of the text begins.
std::vector<size_t> LineStarts(std::string_view text) {
  std::vector<size_t> out = {0};
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\n') out.push_back(at + 1);
  }
  return out;
}

class PositionChecker {
 public:
  explicit PositionChecker(std::string_view text) : text_(text), lines_(LineStarts(text)) {}

  void Check(const Value& value) {
    const char c = At(value.position());
    switch (value.type()) {
      case Value::Type::kNull: ISLA_CHECK(c == 'n'); break;
      case Value::Type::kBool: ISLA_CHECK(c == (value.as_bool() ? 't' : 'f')); break;
      case Value::Type::kNumber: ISLA_CHECK(c == value.number_text()[0]); break;
      case Value::Type::kString: ISLA_CHECK(c == '"'); break;
      case Value::Type::kArray:
        ISLA_CHECK(c == '[');
        for (const Value& item : value.items()) Check(item);
        break;
      case Value::Type::kObject:
        ISLA_CHECK(c == '{');
        for (const Member& member : value.members()) {
          ISLA_CHECK(At(member.position) == '"');
          Check(member.value);
        }
        break;
    }
  }

  /// Positions come in the order of the text, and none twice.
  char At(Position position) {
    ISLA_CHECK(position.line >= 1 && position.line <= lines_.size() && position.column >= 1);
    const size_t offset = lines_[position.line - 1] + position.column - 1;
    ISLA_CHECK(offset < text_.size() && (first_ || offset > last_));
    first_ = false;
    last_ = offset;
    return text_[offset];
  }

 private:
  std::string_view text_;
  std::vector<size_t> lines_;
  bool first_ = true;
  size_t last_ = 0;
};

void CheckError(const Status& status, std::string_view text) {
  ISLA_CHECK(status.code() == Code::kInvalidArgument);
  const std::string message = Message(status);
  ISLA_CHECK(FindBadUtf8(message) == std::string::npos && message.size() < text.size() + 300);
  unsigned line = 0, column = 0;
  if (std::sscanf(message.c_str(), "line %u:%u: ", &line, &column) != 2) {
    ISLA_CHECK(message.starts_with("the text is too large"));
    return;
  }
  const std::vector<size_t> lines = LineStarts(text);
  ISLA_CHECK(line >= 1 && line <= lines.size() && column >= 1);
  const size_t end = line < lines.size() ? lines[line] : text.size() + 1;
  ISLA_CHECK(lines[line - 1] + column - 1 < end);
}

void CheckText(std::string_view text) {
  const StatusOr<Value> value = Parse(text);
  const StatusOr<std::vector<Value>> all = ParseAll(text);
  if (!all.ok()) CheckError(all.status(), text);
  if (!value.ok()) return CheckError(value.status(), text);
  PositionChecker(text).Check(*value);
  ISLA_CHECK(all.ok() && all->size() == 1 && all->front() == *value);
  const std::string written = Serialize(*value);
  const Limits large = {.max_bytes = size_t{64} << 20};
  ISLA_CHECK(Serialize(Parse(written, large).value()) == written);
  ISLA_CHECK(Parse(Pretty(*value), large).value() == *value);
  ISLA_CHECK(!ToYaml(*value).empty());
}

}  // namespace
}  // namespace isla::json

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isla::json::CheckText({reinterpret_cast<const char*>(data), size});
  return 0;
}
