#include "sandbox/box/call_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "api/base/did_you_mean.h"
#include "sandbox/manifest/condition.h"
#include "sandbox/names/constants.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/signature.h"

namespace isla::sandbox {
namespace {

bool IsWord(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

/// What strace writes for numbers that have no name of their own in the table, or none that a policy should use.
std::optional<uint64_t> StraceConstant(Arch arch, const ArgumentType& type, std::string_view word) {
  constexpr std::string_view kPrivate = "_PRIVATE";
  constexpr uint64_t kFutexPrivate = 128;
  if (word.starts_with("FUTEX_") && word.ends_with(kPrivate)) {
    for (const Constant& each : FindConstants(arch, word.substr(0, word.size() - kPrivate.size()))) {
      if (type.domain.empty() || each.domain == type.domain) return each.value | kFutexPrivate;
    }
  }
  if (type.domain == "signal" && word.starts_with("SIGRT")) {
    if (word == "SIGRTMIN") return 32;
    unsigned above = 0;
    const std::string_view digits = word.substr(word.starts_with("SIGRT_") ? 6 : word.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), above);
    if (!digits.empty() && error == std::errc() && end == digits.data() + digits.size() && above <= 32) return 32 + above;
  }
  if (type.domain == "clone" && word.starts_with("SIG")) {  // the child's last signal is in its low bits
    for (const Constant& each : FindConstants(arch, word)) {
      if (each.domain == "signal") return each.value;
    }
  }
  if (word == "FD_CLOEXEC" && type.domain.empty()) return 1;
  if (word == "AT_STATX_SYNC_AS_STAT" && type.domain == "at") return 0;
  return std::nullopt;
}

/// strace names clone's arguments, and has its own names for some.
std::string_view OwnName(Arch arch, std::string_view name) {
  if (name == "child_stack") return "stack";
  if (name == "tls") return arch == Arch::kArm64 ? "arg4" : "arg5";
  if (name == "child_tidptr" || name == "child_tid") return arch == Arch::kArm64 ? "arg5" : "arg4";
  return name == "parent_tidptr" ? "parent_tid" : name;
}

class CallReader {
 public:
  CallReader(std::string_view text, Arch arch) : text_(text), arch_(arch) {}

  StatusOr<CallExample> Read() {
    RETURN_IF_ERROR(Name());
    RETURN_IF_ERROR(Expect('('));
    SkipBlanks();
    for (size_t i = 0; !TakeIf(')'); ++i) {
      if (i > 0) RETURN_IF_ERROR(Expect(','));
      SkipBlanks();
      if (text_.substr(at_).starts_with("...")) {
        at_ += 3;
        RETURN_IF_ERROR(Expect(')'));
        break;
      }
      RETURN_IF_ERROR(Argument(i));
      SkipBlanks();
    }
    RETURN_IF_ERROR(Facts());
    return std::move(call_);
  }

 private:
  Status Fail(size_t at, std::string_view what) const { return Errorf(Code::kInvalidArgument, "column {}: {}", at + 1, what); }
  Status Fail(std::string_view what) const { return Fail(at_, what); }

  void SkipBlanks() {
    for (;;) {
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
      // strace remarks on what it doesn't show: 0x7ffc0000 /* 20 vars */
      const size_t end = text_.substr(at_).starts_with("/*") ? text_.find("*/", at_ + 2) : std::string_view::npos;
      if (end == std::string_view::npos) return;
      at_ = end + 2;
    }
  }
  /// As strace -f begins its lines: "[pid  4711] ", in a file "4711  ".
  void SkipPid() {
    SkipBlanks();
    const size_t begin = at_;
    const bool brackets = text_.substr(at_).starts_with("[pid");
    if (brackets) at_ += 4;
    SkipBlanks();
    const size_t digits = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    const bool number = at_ > digits;
    if (number && (brackets ? TakeIf(']') : at_ < text_.size() && text_[at_] == ' ')) return;
    at_ = begin;
  }
  bool TakeIf(char c) {
    SkipBlanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Status Expect(char c) {
    if (TakeIf(c)) return OkStatus();
    if (at_ == text_.size()) return Fail(fmt::format("the call ends here (expected '{}')", c));
    return Fail(fmt::format("unexpected '{}' (expected '{}')", text_[at_], c));
  }
  std::string_view Word() {
    const size_t begin = at_;
    while (at_ < text_.size() && IsWord(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  Status Name() {
    SkipPid();
    SkipBlanks();
    const size_t begin = at_;
    if (TakeIf('#')) {
      const std::string_view digits = Word();
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), call_.number);
      if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return Fail(begin, "expected the number of a call after '#'");
      if (const Syscall* call = FindSyscall(arch_, call_.number)) signature_ = SignatureOf(*call);
      name_ = fmt::format("#{}", call_.number);
      return OkStatus();
    }
    name_ = Word();
    if (name_.empty()) return Fail(begin, "expected a call such as openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY)");
    const Syscall* call = FindSyscall(name_);
    if (call == nullptr) {
      std::vector<std::string> known;
      for (const Syscall& each : AllSyscalls()) known.emplace_back(each.name);
      return Fail(begin, fmt::format("no system call is named '{}'{}", name_, DidYouMean(name_, known)));
    }
    call_.number = call->NumberOn(arch_);
    if (call_.number < 0) return Fail(begin, fmt::format("{} has no system call '{}'", ArchName(arch_), name_));
    signature_ = SignatureOf(*call);
    return OkStatus();
  }

  Status Argument(size_t index) {
    if (index >= 6) return Fail("a system call has six arguments at most");
    static const struct Argument kUntyped = {"", FindArgumentType("ulong")};
    const bool typed = index < signature_.size();
    if (typed) {
      const size_t begin = at_;
      const std::string_view name = OwnName(arch_, Word());
      if (!name.empty() && at_ < text_.size() && text_[at_] == '=') {
        const auto named = std::find_if(signature_.begin(), signature_.end(), [name](const auto& each) { return each.name == name; });
        if (named == signature_.end()) return Fail(begin, fmt::format("{} has no argument '{}'", name_, name));
        ++at_;
        SkipBlanks();
        return Typed(*named->type, call_.arguments[static_cast<size_t>(named - signature_.begin())]);
      }
      at_ = begin;
    }
    if (!typed && !signature_.empty()) return Fail(fmt::format("{} has {} arguments", name_, signature_.size()));
    return Typed(typed ? *signature_[index].type : *kUntyped.type, call_.arguments[index]);
  }

  Status Typed(const ArgumentType& type, uint64_t& out) {
    switch (type.kind) {
      case ArgumentKind::kNumber:
        // ioctl's and fcntl's last argument is a number or a pointer.
        return type.domain.empty() && AtPointee() ? Pointer(out) : NumberArgument(type, out);
      case ArgumentKind::kPointer: return Pointer(out);
      case ArgumentKind::kPath: return Path(out);
      case ArgumentKind::kAddress: return Address(out);
      case ArgumentKind::kOpenHow: return How(out);
    }
    return OkStatus();
  }

  // Numbers --------------------------------------------------------------------------------------------

  Status Piece(const ArgumentType& type, uint64_t& out) {
    SkipBlanks();
    const size_t begin = at_;
    const bool negative = TakeIf('-');
    const std::string_view word = Word();
    if (word.empty()) return Fail(begin, at_ == text_.size() ? "the call ends here (expected a number or the name of one)" : "expected a number or the name of one");
    if (word == "NULL") return OkStatus();
    if (word[0] < '0' || word[0] > '9') {
      for (const Constant& each : FindConstants(arch_, word)) {
        if (!type.domain.empty() && each.domain != type.domain) continue;
        out = each.value;
        return OkStatus();
      }
      if (const auto value = StraceConstant(arch_, type, word)) {
        out = *value;
        return OkStatus();
      }
      std::vector<std::string> known;
      for (const Constant& each : ConstantsOf(arch_, type.domain)) known.emplace_back(each.name);
      if (known.empty()) known = AllConstantNames();
      return Fail(begin, fmt::format("unknown name '{}'{}", word, DidYouMean(word, known)));
    }
    const bool hex = word.starts_with("0x") || word.starts_with("0X"), octal = !hex && word.size() > 1 && word[0] == '0';
    const std::string_view digits = word.substr(hex ? 2 : 0);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, hex ? 16 : octal ? 8 : 10);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return Fail(begin, fmt::format("'{}' is not a number", word));
    if (negative) out = ~out + 1;
    return OkStatus();
  }

  Status NumberArgument(const ArgumentType& type, uint64_t& out) {
    do {
      uint64_t piece = 0;
      RETURN_IF_ERROR(Piece(type, piece));
      out |= piece;
    } while (TakeIf('|'));
    if (TakeIf('<')) {  // strace -y says what a descriptor is
      const size_t end = text_.find('>', at_);
      if (end == std::string_view::npos) return Fail("the '<' before this has no '>'");
      at_ = end + 1;
    }
    return OkStatus();
  }

  // What pointers point to -----------------------------------------------------------------------------

  Status String(std::string& out) {
    const size_t begin = at_;
    // Single ones as conditions have them.
    const char quote = TakeIf('\'') ? '\'' : '"';
    if (quote == '"' && !TakeIf('"')) return Fail("expected a string in double quotes");
    for (; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        out += text_[at_] == 'n' ? '\n' : text_[at_] == 't' ? '\t' : text_[at_] == '0' ? '\0' : text_[at_];
      } else {
        out += text_[at_];
      }
    }
    if (at_ == text_.size()) return Fail(begin, "the string that begins here has no end");
    ++at_;
    return OkStatus();
  }

  bool Null() {
    SkipBlanks();
    if (!text_.substr(at_).starts_with("NULL")) return false;
    at_ += 4;
    return true;
  }

  /// Anything in brackets, with brackets and strings in it.
  Status Skip() {
    const size_t begin = at_;
    size_t depth = 0;
    do {
      if (at_ == text_.size()) return Fail(begin, "the bracket that opens here isn't closed");
      const char c = text_[at_];
      if (c == '"') {
        std::string ignored;
        RETURN_IF_ERROR(String(ignored));
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
    } while (depth > 0);
    return OkStatus();
  }

  static constexpr uint64_t kSomewhere = 0x7ffc00001000;

  /// Whether here is what a pointer points to: a string, a struct, a list, a set that all but these are in ("~[INT]").
  bool AtPointee() {
    SkipBlanks();
    const std::string_view rest = text_.substr(at_);
    return rest.starts_with('"') || rest.starts_with('\'') || rest.starts_with('{') || rest.starts_with('[') || rest.starts_with("~[");
  }

  Status Pointer(uint64_t& out) {
    if (Null()) return OkStatus();
    if (!AtPointee()) {
      out = 0;
      return NumberArgument(*FindArgumentType("ulong"), out);
    }
    out = kSomewhere;
    if (text_[at_] == '"' || text_[at_] == '\'') {
      std::string ignored;
      RETURN_IF_ERROR(String(ignored));
      while (TakeIf('.')) {  // strace cuts long strings: "abc"...
      }
      return OkStatus();
    }
    (void)TakeIf('~');
    RETURN_IF_ERROR(Skip());
    // Before and after: {flags=...} => {parent_tid=[5]}
    SkipBlanks();
    if (!text_.substr(at_).starts_with("=>")) return OkStatus();
    at_ += 2;
    SkipBlanks();
    return at_ < text_.size() ? Skip() : Fail("the call ends here (expected a bracket)");
  }

  Status Path(uint64_t& out) {
    std::string& path = call_.paths[std::min<size_t>(paths_++, 1)];
    path.clear();
    if (Null()) return OkStatus();
    out = kSomewhere;
    const size_t begin = at_;
    RETURN_IF_ERROR(String(path));
    if (path.empty()) return OkStatus();
    if (path[0] != '/') return Fail(begin, fmt::format("'{}' is not an absolute path: rules see paths as the supervisor resolves them", path));
    if (const std::string wrong = WhatIsWrongWithPath(path); !wrong.empty()) return Fail(begin, wrong);
    return OkStatus();
  }

  Status Address(uint64_t& out) {
    call_.address = SocketAddress();
    call_.address_path.clear();
    if (Null()) return OkStatus();
    out = kSomewhere;
    SkipBlanks();
    if (at_ < text_.size() && text_[at_] == '{') return AddressStruct();
    const size_t begin = at_;
    std::string text;
    RETURN_IF_ERROR(String(text));
    if (text.starts_with("unix:")) {
      call_.address.family = AF_UNIX;
      call_.address_path = text.substr(5);
      if (call_.address_path.starts_with('@')) call_.address_path[0] = '\0';
      return OkStatus();
    }
    const auto address = AddressFromText(text);
    if (!address) return Fail(begin, "expected an address such as \"10.0.0.1:80\", \"[::1]:80\", \"unix:/run/x\" or \"unix:@name\"");
    call_.address = *address;
    return OkStatus();
  }

  /// strace's: {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.1")}.
  Status AddressStruct() {
    RETURN_IF_ERROR(Expect('{'));
    std::string ip;
    size_t ip_at = at_;
    while (!TakeIf('}')) {
      SkipBlanks();
      const std::string_view field = Word();
      uint64_t number = 0;
      if (field == "inet_pton") {
        // {sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "::1", &sin6_addr), ...}
        RETURN_IF_ERROR(Expect('('));
        RETURN_IF_ERROR(NumberArgument(*FindArgumentType("family"), number));
        RETURN_IF_ERROR(Expect(','));
        ip_at = at_;
        RETURN_IF_ERROR(String(ip));
        const size_t end = text_.find(')', at_);
        if (end == std::string_view::npos) return Fail("expected ')'");
        at_ = end + 1;
      } else {
        RETURN_IF_ERROR(Expect('='));
        SkipBlanks();
        if (field == "sa_family") {
          RETURN_IF_ERROR(NumberArgument(*FindArgumentType("family"), number));
          call_.address.family = static_cast<uint16_t>(number);
        } else if (field == "sun_path") {
          const bool abstract = TakeIf('@');
          RETURN_IF_ERROR(String(call_.address_path));
          if (abstract) call_.address_path.insert(0, 1, '\0');
        } else if (field.ends_with("_port") || field.ends_with("_flowinfo")) {
          (void)Word();
          RETURN_IF_ERROR(Expect('('));
          RETURN_IF_ERROR(NumberArgument(*FindArgumentType("ulong"), number));
          RETURN_IF_ERROR(Expect(')'));
          if (field.ends_with("_port")) call_.address.port = static_cast<uint16_t>(number);
        } else if (field == "sin_addr") {
          (void)Word();
          RETURN_IF_ERROR(Expect('('));
          ip_at = at_;
          RETURN_IF_ERROR(String(ip));
          RETURN_IF_ERROR(Expect(')'));
        } else {
          RETURN_IF_ERROR(NumberArgument(*FindArgumentType("ulong"), number));
        }
      }
      if (!TakeIf(',') && (at_ == text_.size() || text_[at_] != '}')) return Fail("expected ',' or '}'");
    }
    if (ip.empty()) return OkStatus();
    const auto network = IpNetwork::FromText(ip);
    if (!network || network->prefix_bits != 128) return Fail(ip_at, fmt::format("'{}' is no address", ip));
    call_.address.ip = network->ip;
    return OkStatus();
  }

  Status How(uint64_t& out) {
    if (Null()) return OkStatus();
    out = kSomewhere;
    RETURN_IF_ERROR(Expect('{'));
    while (!TakeIf('}')) {
      SkipBlanks();
      const size_t begin = at_;
      const std::string_view field = Word();
      RETURN_IF_ERROR(Expect('='));
      const size_t index = field == "flags" ? 0 : field == "mode" ? 1 : field == "resolve" ? 2 : 3;
      if (index == 3) return Fail(begin, fmt::format("open_how has no member '{}' (expected flags, mode, resolve)", field));
      const ArgumentType type = {field, ArgumentKind::kNumber, Width::k64, false, index == 0 ? std::string_view("open") : field};
      RETURN_IF_ERROR(NumberArgument(type, call_.fields[index]));
      if (!TakeIf(',') && (at_ == text_.size() || text_[at_] != '}')) return Fail("expected ',' or '}'");
    }
    return OkStatus();
  }

  // Who calls ------------------------------------------------------------------------------------------

  Status Facts() {
    for (;;) {
      SkipBlanks();
      if (at_ == text_.size() || text_[at_] == '=' || text_.substr(at_) == ";") return OkStatus();
      const size_t begin = at_;
      const std::string_view word = Word();
      if ((word != "exe" && word != "uid") || at_ == text_.size() || text_[at_] != '=') {
        return Fail(begin, "expected 'exe=PATH', 'uid=NUMBER' or the end after the call");
      }
      ++at_;
      if (word == "uid") {
        uint64_t uid = 0;
        RETURN_IF_ERROR(Piece(*FindArgumentType("ulong"), uid));
        if (uid > 0xffffffff) return Fail(begin, "a uid has 32 bits");
        call_.uid = static_cast<uint32_t>(uid);
        continue;
      }
      const size_t end = std::min(text_.find(' ', at_), text_.size());
      call_.executable = text_.substr(at_, end - at_);
      if (const std::string wrong = WhatIsWrongWithPath(call_.executable); !wrong.empty()) return Fail(at_, wrong);
      at_ = end;
    }
  }

  const std::string_view text_;
  const Arch arch_;
  size_t at_ = 0;
  std::string name_;
  std::vector<struct Argument> signature_;
  CallExample call_;
  size_t paths_ = 0;
};

}  // namespace

StatusOr<CallExample> ParseCall(std::string_view text, Arch arch) {
  constexpr size_t kMaxBytes = 64 * 1024;
  if (text.size() > kMaxBytes) return Errorf(Code::kInvalidArgument, "a call of {} bytes: at most {}", text.size(), kMaxBytes);
  return CallReader(text, arch).Read();
}

}  // namespace isla::sandbox
