// The reader: yajl does the lexing and the grammar, this file adds what yajl doesn't have: positions,
// duplicate members, bounds, strict UTF-8 and surrogates, and errors that say what was expected.
//
// Positions: yajl reports every token but ':' and ',', and tells how many bytes it has consumed when it
// does. So the token reported began at the first byte after the previous token that is neither white space
// nor ':' nor ','. That is exact, and needs no knowledge of how yajl lexes.
#include <yajl/yajl_parse.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "api/base/json.h"
#include "api/base/json_internal.h"
#include "api/base/utf8.h"

namespace isla::json {
namespace {

/// No limit of a caller goes beyond this: trees are copied, compared and destroyed by recursion.
constexpr size_t kMaxDepth = 1000;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// A place in the text that only moves forward, so that counting lines stays linear.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  size_t offset() const { return offset_; }
  void MoveTo(size_t offset) {
    while (offset_ < offset) {
      const size_t line_end = text_.substr(offset_, offset - offset_).find('\n');
      if (line_end == std::string_view::npos) {
        offset_ = offset;
        return;
      }
      offset_ += line_end + 1;
      ++line_;
      line_start_ = offset_;
    }
  }
  Position position() const {
    return {static_cast<uint32_t>(line_), static_cast<uint32_t>(offset_ - line_start_ + 1)};
  }

 private:
  std::string_view text_;
  size_t offset_ = 0;
  size_t line_ = 1;
  size_t line_start_ = 0;
};

Status ErrorAt(Position position, std::string_view what) {
  return Errorf(Code::kInvalidArgument, "line {}:{}: {}", position.line, position.column, what);
}

int HexDigits(std::string_view text, size_t at) {
  int value = 0;
  for (size_t i = at; i < at + 4; ++i) {
    const char c = i < text.size() ? text[i] : ' ';
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/// Checks the \u escape at `at` and moves past it: a high surrogate must be followed by a low one, and a low
/// one may stand nowhere else (yajl would put '?' in their place). Escapes that aren't hex are yajl's to refuse.
bool EscapeIsWhole(std::string_view text, size_t& at) {
  const int unit = HexDigits(text, at + 2);
  if (unit < 0xD800 || unit > 0xDFFF) {
    at += 2;
    return true;
  }
  if (unit > 0xDBFF || text.substr(at + 6, 2) != "\\u") return false;
  const int low = HexDigits(text, at + 8);
  if (low < 0xDC00 || low > 0xDFFF) return false;
  at += 12;
  return true;
}

/// How many bytes from `at` on need no look: ASCII, no quote, backslash or control character among them. May stop early.
size_t PlainBytes(std::string_view text, size_t at) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  const auto any_zero = [](uint64_t word) { return (word - kOnes) & ~word & kHigh; };
  const size_t begin = at;
  for (uint64_t word = 0; at + sizeof word <= text.size(); at += sizeof word) {
    std::memcpy(&word, text.data() + at, sizeof word);
    const uint64_t control = (word - kOnes * 0x20) & ~word & kHigh;
    if ((word & kHigh) != 0 || control != 0 || any_zero(word ^ kOnes * '"') != 0 || any_zero(word ^ kOnes * '\\') != 0) break;
  }
  return at - begin;
}

/// What must hold for every byte, before yajl sees any.
Status CheckBytes(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) {
    return ErrorAt({1, 1}, "the text begins with a byte order mark (expected plain UTF-8)");
  }
  Cursor cursor(text);
  bool in_string = false;
  for (size_t at = 0; at < text.size();) {
    at += PlainBytes(text, at);
    if (at == text.size()) break;
    const size_t length = Utf8Length(text, at);
    if (length == 0) {
      cursor.MoveTo(at);
      return ErrorAt(cursor.position(), fmt::format("byte 0x{:02x} is not valid UTF-8",
                                                    static_cast<unsigned char>(text[at])));
    }
    const char c = text[at];
    if (in_string && c == '\\' && at + 1 < text.size()) {
      const size_t escape = at;
      if (text[at + 1] != 'u') {
        at += 1 + std::max<size_t>(1, Utf8Length(text, at + 1));
      } else if (!EscapeIsWhole(text, at)) {
        cursor.MoveTo(escape);
        return ErrorAt(cursor.position(), fmt::format("'{}' is half of a surrogate pair", text.substr(escape, 6)));
      }
      continue;
    }
    if (!in_string && (c == '\f' || c == '\v')) {
      // yajl takes them for white space; JSON doesn't.
      cursor.MoveTo(at);
      return ErrorAt(cursor.position(), fmt::format("unexpected control character 0x{:02x}", c));
    }
    if (c == '"') in_string = !in_string;
    if (c == '\n') in_string = false;  // no string goes over a line: yajl refuses it
    at += length;
  }
  return OkStatus();
}

/// One value of the text: the receiver of yajl's callbacks. It stands between yajl's calls, so it may not throw
/// anything but bad_alloc, which ends the process (noexcept).
class Reader {
 public:
  Reader(std::string_view text, size_t max_depth, Cursor& cursor)
      : text_(text), max_depth_(std::min(max_depth, kMaxDepth)), cursor_(cursor), first_(cursor.offset()),
        token_end_(first_) {}

  /// Reads one value from the cursor on; moves the cursor past it. With `alone`, nothing may follow it.
  StatusOr<Value> Read(bool alone);

  int OnValue(Value value) noexcept {
    BeginToken();
    value.set_position(cursor_.position());
    EndToken();
    return Place(std::move(value));
  }
  int OnStart(Value container) noexcept {
    BeginToken();
    if (frames_.size() >= max_depth_) {
      return Refuse(ErrorAt(cursor_.position(), fmt::format("nested deeper than {} levels", max_depth_)));
    }
    container.set_position(cursor_.position());
    EndToken();
    frames_.push_back({std::move(container), {}, {}});
    last_ = Last::kOpen;
    return 1;
  }
  int OnName(std::string_view name) noexcept {
    BeginToken();
    frames_.back().name = name;
    frames_.back().name_position = cursor_.position();
    EndToken();
    last_ = Last::kName;
    return 1;
  }
  int OnEnd() noexcept {
    BeginToken();
    EndToken();
    Value done = std::move(frames_.back().value);
    frames_.pop_back();
    if (done.is_object()) {
      if (const auto twice = MemberIndex(done.members()).Duplicate()) return RefuseDuplicate(done, *twice);
    }
    return Place(std::move(done));
  }

 private:
  struct Frame {
    Value value;  // the array or object being read
    std::string name;
    Position name_position;
  };
  enum class Last { kNothing, kOpen, kName, kValue };

  void BeginToken() {
    size_t at = token_end_;
    while (at < text_.size() && (IsSpace(text_[at]) || text_[at] == ':' || text_[at] == ',')) ++at;
    cursor_.MoveTo(at);
  }
  void EndToken() {
    // Closing the text yajl lexes a space of its own: there is no token after that one.
    token_end_ = closing_ ? text_.size() : first_ + yajl_get_bytes_consumed(yajl_.get());
  }

  int Refuse(Status status) {
    refused_ = std::move(status);
    return 0;
  }
  int RefuseDuplicate(const Value& object, std::pair<size_t, size_t> twice) {
    const json::Member& first = object.members()[twice.first];
    const json::Member& second = object.members()[twice.second];
    std::string path;
    for (const Frame& frame : frames_) {
      if (frame.value.is_array()) path += fmt::format("[{}]", frame.value.items().size());
      else path += (path.empty() ? "" : ".") + frame.name;
    }
    path += (path.empty() ? "" : ".") + second.name;
    return Refuse(ErrorAt(second.position, fmt::format("{}: duplicate member, first at line {}:{}", path,
                                                       first.position.line, first.position.column)));
  }

  int Place(Value value) {
    last_ = Last::kValue;
    if (frames_.empty()) {
      result_ = std::move(value);
      done_ = true;
    } else if (Frame& top = frames_.back(); top.value.is_array()) {
      top.value.items().push_back(std::move(value));
    } else {
      top.value.members().push_back({std::move(top.name), std::move(value), top.name_position});
    }
    return 1;
  }

  Status Explain();
  std::string Expected(bool after_comma, bool after_colon) const;
  std::string Found(size_t at) const;

  struct Free {
    void operator()(yajl_handle_t* handle) const { yajl_free(handle); }
  };

  const std::string_view text_;
  const size_t max_depth_;
  Cursor& cursor_;
  const size_t first_;
  size_t token_end_;
  std::unique_ptr<yajl_handle_t, Free> yajl_;
  std::vector<Frame> frames_;
  Last last_ = Last::kNothing;
  bool closing_ = false;
  bool done_ = false;
  Value result_;
  Status refused_;
};

Reader& Self(void* context) { return *static_cast<Reader*>(context); }
std::string_view View(const unsigned char* text, size_t size) {
  return size == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(text), size);
}

constexpr yajl_callbacks kCallbacks = {
    .yajl_null = [](void* context) { return Self(context).OnValue(Value()); },
    .yajl_boolean = [](void* context, int value) { return Self(context).OnValue(Value(value != 0)); },
    .yajl_integer = nullptr,
    .yajl_double = nullptr,
    .yajl_number = [](void* context, const char* text,
                      size_t size) { return Self(context).OnValue(Value::Number(std::string(text, size))); },
    .yajl_string = [](void* context, const unsigned char* text,
                      size_t size) { return Self(context).OnValue(Value(View(text, size))); },
    .yajl_start_map = [](void* context) { return Self(context).OnStart(Object()); },
    .yajl_map_key = [](void* context, const unsigned char* text,
                       size_t size) { return Self(context).OnName(View(text, size)); },
    .yajl_end_map = [](void* context) { return Self(context).OnEnd(); },
    .yajl_start_array = [](void* context) { return Self(context).OnStart(Array()); },
    .yajl_end_array = [](void* context) { return Self(context).OnEnd(); },
};

StatusOr<Value> Reader::Read(bool alone) {
  yajl_.reset(yajl_alloc(&kCallbacks, nullptr, this));
  ISLA_CHECK(yajl_ != nullptr);
  // What follows the value is looked at below: yajl takes the start of a token there ('-', '"x') for nothing.
  ISLA_CHECK(yajl_config(yajl_.get(), yajl_allow_trailing_garbage, 1) == 1);
  ISLA_CHECK(yajl_config(yajl_.get(), yajl_dont_validate_strings, 1) == 1);  // CheckBytes has, more strictly
  const std::string_view rest = text_.substr(first_);
  yajl_status status =
      yajl_parse(yajl_.get(), reinterpret_cast<const unsigned char*>(rest.data()), rest.size());
  if (status == yajl_status_ok && !done_) {
    closing_ = true;
    status = yajl_complete_parse(yajl_.get());
  }
  if (!refused_.ok()) return refused_;
  if (status != yajl_status_ok || !done_) return Explain();
  if (alone && text_.find_first_not_of(" \t\r\n", token_end_) != std::string_view::npos) return Explain();
  cursor_.MoveTo(token_end_);
  return std::move(result_);
}

std::string Reader::Expected(bool after_comma, bool after_colon) const {
  if (done_) return "the end of the text";
  if (last_ == Last::kName) return after_colon ? "a value" : "':'";
  if (frames_.empty()) return "a value";
  const bool object = frames_.back().value.is_object();
  if (after_comma) return object ? "a member name in double quotes" : "a value";
  if (last_ == Last::kOpen) return object ? "a member name in double quotes or '}'" : "a value or ']'";
  return object ? "',' or '}'" : "',' or ']'";
}

std::string Reader::Found(size_t at) const {
  if (at >= text_.size()) return "the text ends too early";
  const char c = text_[at];
  if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
    return fmt::format("unexpected control character 0x{:02x}", static_cast<unsigned char>(c));
  }
  size_t end = at;
  const auto word = [](char x) {
    return (x >= '0' && x <= '9') || (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || x == '_' || x == '-' ||
           x == '+' || x == '.';
  };
  while (end < text_.size() && end - at < 32 && word(text_[end])) ++end;
  if (end == at) end += std::max<size_t>(1, Utf8Length(text_, at));
  return fmt::format("unexpected '{}'", text_.substr(at, end - at));
}

/// Why yajl stopped: walks the few bytes between the last token it reported and where it gave up.
Status Reader::Explain() {
  size_t at = token_end_;
  bool comma = false, colon = false;
  const auto skip_space = [&] {
    while (at < text_.size() && IsSpace(text_[at])) ++at;
  };
  skip_space();
  if (at < text_.size() && !done_) {
    if (text_[at] == ':' && last_ == Last::kName) colon = true;
    if (text_[at] == ',' && last_ == Last::kValue && !frames_.empty()) comma = true;
    if (comma || colon) ++at;
    skip_space();
  }
  const bool wants_value = !done_ && (comma || colon || frames_.empty() || last_ == Last::kOpen);
  if (wants_value && at < text_.size() && text_[at] == '"') {
    // A string is allowed here, so it is the string itself that is broken.
    const bool object_name = !frames_.empty() && frames_.back().value.is_object() && last_ != Last::kName;
    const size_t stop = closing_ ? text_.size() : std::min(text_.size(), first_ + yajl_get_bytes_consumed(yajl_.get()));
    size_t end = at + 1;
    while (end < stop && text_[end] != '"' && static_cast<unsigned char>(text_[end]) >= 0x20) {
      if (text_[end] == '\\') {
        const std::string_view allowed = "\"\\/bfnrtu";
        const char next = end + 1 < text_.size() ? text_[end + 1] : '"';
        if (allowed.find(next) == std::string_view::npos || (next == 'u' && HexDigits(text_, end + 2) < 0)) {
          cursor_.MoveTo(end);
          return ErrorAt(cursor_.position(), "bad escape in a string (expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t "
                                             "\\uXXXX)");
        }
        ++end;
      }
      ++end;
    }
    if (end < text_.size() && static_cast<unsigned char>(text_[end]) < 0x20) {
      cursor_.MoveTo(end);
      return ErrorAt(cursor_.position(), text_[end] == '\n' || text_[end] == '\r'
                                             ? "the line ends within a string (expected '\"' before it)"
                                             : fmt::format("control character 0x{:02x} in a string (expected \\u{:04x})",
                                                           text_[end], text_[end]));
    }
    cursor_.MoveTo(at);
    return ErrorAt(cursor_.position(), fmt::format("the {} that begins here has no end (expected '\"')",
                                                   object_name ? "member name" : "string"));
  }
  cursor_.MoveTo(at);
  return ErrorAt(cursor_.position(), fmt::format("{} (expected {})", Found(at), Expected(comma, colon)));
}

Status TooLarge(size_t size, size_t limit) {
  return Errorf(Code::kInvalidArgument, "the text is too large: {} bytes (at most {})", size, limit);
}

/// Moves past white space and, at the start of a line, "---".
void SkipSeparators(std::string_view text, Cursor& cursor) {
  size_t at = cursor.offset();
  for (;;) {
    while (at < text.size() && IsSpace(text[at])) ++at;
    if (text.substr(at, 3) != "---" || (at > 0 && text[at - 1] != '\n')) break;
    size_t end = at + 3;
    while (end < text.size() && (text[end] == ' ' || text[end] == '\t' || text[end] == '\r')) ++end;
    if (end < text.size() && text[end] != '\n') break;
    at = end;
  }
  cursor.MoveTo(at);
}

}  // namespace

StatusOr<Value> Parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.max_bytes) return TooLarge(text.size(), limits.max_bytes);
  RETURN_IF_ERROR(CheckBytes(text));
  Cursor cursor(text);
  return Reader(text, limits.max_depth, cursor).Read(/*alone=*/true);
}

StatusOr<std::vector<Value>> ParseAll(std::string_view text, const Limits& limits) {
  RETURN_IF_ERROR(CheckBytes(text));
  std::vector<Value> out;
  Cursor cursor(text);
  for (SkipSeparators(text, cursor); cursor.offset() < text.size(); SkipSeparators(text, cursor)) {
    const size_t first = cursor.offset();
    const Position position = cursor.position();
    ASSIGN_OR_RETURN(Value value, Reader(text, limits.max_depth, cursor).Read(/*alone=*/false));
    if (const size_t size = cursor.offset() - first; size > limits.max_bytes) {
      return Annotate(TooLarge(size, limits.max_bytes), fmt::format("line {}:{}", position.line, position.column));
    }
    out.push_back(std::move(value));
  }
  return out;
}

}  // namespace isla::json
