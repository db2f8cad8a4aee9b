#include <fmt/format.h>

#include <algorithm>

#include "api/base/did_you_mean.h"
#include "sandbox/manifest/condition.h"
#include "sandbox/manifest/decoder.h"
#include "sandbox/names/constants.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"

namespace isla::sandbox {
namespace {

using Kind = Action::Kind;
using Calls = std::vector<const Syscall*>;

constexpr std::string_view kAllActions =
    "\"allow\", \"log\", \"kill\", \"deny\", \"perform\", or an object with one of errno, spoof, emulate, file, redirect, program";

bool IsIdentifier(std::string_view text) {
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

/// The action must be possible for every call of the rule.
bool Possible(Decoder& decoder, const Field& field, const Calls& calls, bool (*can)(std::string_view), std::string_view action,
              std::string_view for_what) {
  std::string list;
  size_t count = 0;
  for (const Syscall* call : calls) {
    if (can(call->name)) continue;
    if (++count <= 3) list += fmt::format("{}'{}'", list.empty() ? "" : ", ", call->name);
  }
  if (count == 0) return true;
  decoder.Bad(field, fmt::format("{} is for {}, not for {}{}", action, for_what, list, count > 3 ? fmt::format(" and {} more", count - 3) : ""));
  return false;
}

class ActionDecoder {
 public:
  ActionDecoder(Decoder& decoder, const Calls& calls) : decoder_(decoder), calls_(calls) {}

  std::optional<Action> Word(const Field& field) {
    static const std::vector<std::string> kWords = {"allow", "log", "kill", "deny", "perform"};
    static constexpr Kind kKinds[] = {Kind::kAllow, Kind::kLog, Kind::kKill, Kind::kDeny, Kind::kPerform};
    const std::string_view text = field.text();
    const auto found = std::find(kWords.begin(), kWords.end(), text);
    if (found == kWords.end()) {
      const bool object = text == "errno" || text == "spoof" || text == "emulate" || text == "file" || text == "redirect" || text == "program";
      decoder_.Bad(field, object ? fmt::format("write {{\"{}\": ...}}", text)
                                 : fmt::format("must be {}{}", kAllActions, DidYouMean(text, kWords)));
      return std::nullopt;
    }
    const Kind kind = kKinds[found - kWords.begin()];
    if (kind == Kind::kPerform && !Possible(decoder_, field, calls_, CanPerform, "perform", "calls that the supervisor can do for the caller")) {
      return std::nullopt;
    }
    return Action::Of(kind);
  }

  std::optional<Action> Object(const Field& field) {
    if (!decoder_.Object(field, {"errno", "spoof", "emulate", "file", "redirect", "program"})) return std::nullopt;
    if (field.value().members().size() != 1) {
      decoder_.Bad(field, "must have one member: errno, spoof, emulate, file, redirect or program");
      return std::nullopt;
    }
    if (const Field errno_field = field.Get("errno"); errno_field.present()) return Errno(errno_field);
    if (const Field spoof = field.Get("spoof"); spoof.present()) return Spoof(spoof);
    if (const Field emulate = field.Get("emulate"); emulate.present()) return Emulate(emulate);
    if (const Field file = field.Get("file"); file.present()) return File(file);
    if (const Field redirect = field.Get("redirect"); redirect.present()) return Redirect(redirect);
    if (const Field program = field.Get("program"); program.present()) return Program(program);
    return std::nullopt;  // the unknown member was reported; or a null one
  }

 private:
  std::optional<Action> Errno(const Field& field) {
    if (field.value().is_number()) {
      const auto number = decoder_.Integer(field, 1, 4095);
      if (!number) return std::nullopt;
      return Action::Errno(static_cast<int>(*number));
    }
    const auto name = decoder_.String(field);
    if (!name) return std::nullopt;
    if (const auto number = ErrnoOf(*name)) return Action::Errno(*number);
    decoder_.Bad(field, "no error has this name (expected EPERM, ENOSYS... or a number)" + DidYouMean(*name, AllErrnoNames()));
    return std::nullopt;
  }

  std::optional<Action> Spoof(const Field& field) {
    const auto value = decoder_.Integer(field, 0, std::numeric_limits<int64_t>::max());
    if (!value) return std::nullopt;
    return Action{Kind::kSpoof, 0, *value, {}};
  }

  std::optional<Action> Emulate(const Field& field) {
    std::vector<std::string> names;
    for (const Emulator& each : AllEmulators()) names.emplace_back(each.name);
    const auto choice = decoder_.Choice(field, names);
    if (!choice) return std::nullopt;
    const Emulator& emulator = AllEmulators()[*choice];
    for (const Syscall* call : calls_) {
      if (std::find(emulator.calls.begin(), emulator.calls.end(), call->name) != emulator.calls.end()) continue;
      decoder_.Bad(field, fmt::format("'{}' answers {}, not '{}'", emulator.name, fmt::join(emulator.calls, ", "), call->name));
      return std::nullopt;
    }
    return Action::Of(Kind::kEmulate, std::string(emulator.name));
  }

  std::optional<Action> File(const Field& field) {
    if (!decoder_.Object(field, {"content"})) return std::nullopt;
    const auto content = decoder_.String(field.Get("content"), 64 * 1024);
    if (!content) {
      if (!field.Get("content").present()) decoder_.errors().push_back(field.Get("content").Missing());
      return std::nullopt;
    }
    if (!Possible(decoder_, field, calls_, CanGiveFile, "file", "calls that open a file (open, openat, openat2)")) return std::nullopt;
    return Action::Of(Kind::kFile, *content);
  }

  std::optional<Action> Redirect(const Field& field) {
    if (!decoder_.Object(field, {"path", "address"})) return std::nullopt;
    if (field.Get("path").present() == field.Get("address").present()) {
      decoder_.Bad(field, "must have one of path and address");
      return std::nullopt;
    }
    if (field.Get("path").present()) {
      const auto path = decoder_.Path(field.Get("path"));
      if (!path || !Possible(decoder_, field, calls_, CanRedirectPath, "redirect to a path", "calls with a path that the supervisor can perform")) {
        return std::nullopt;
      }
      return Action::Of(Kind::kRedirect, *path);
    }
    const auto address = decoder_.String(field.Get("address"));
    if (!address) return std::nullopt;
    if (!AddressFromText(*address)) {
      decoder_.Bad(field.Get("address"), "must be an address and a port: \"127.0.0.1:8080\" or \"[::1]:8080\"");
      return std::nullopt;
    }
    if (!Possible(decoder_, field, calls_, CanRedirectAddress, "redirect to an address", "calls with a socket address")) return std::nullopt;
    return Action::Of(Kind::kRedirectAddress, *address);
  }

  std::optional<Action> Program(const Field& field) {
    const auto name = decoder_.String(field, 64);
    if (!name) return std::nullopt;
    if (IsIdentifier(*name)) return Action::Of(Kind::kProgram, *name);
    decoder_.Bad(field, "must be the name of a function of spec.program.source");
    return std::nullopt;
  }

  Decoder& decoder_;
  const Calls& calls_;
};

}  // namespace

std::optional<Action> DecodeAction(Decoder& decoder, const Field& field, const Calls& calls) {
  if (!field.present()) {
    decoder.errors().push_back(field.Missing(kAllActions));
    return std::nullopt;
  }
  ActionDecoder action(decoder, calls);
  if (field.is_string()) return action.Word(field);
  if (field.is_object()) return action.Object(field);
  decoder.errors().push_back(TypeInvalid(field.path(), field.value(), kAllActions));
  return std::nullopt;
}

}  // namespace isla::sandbox
