#include "sandbox/box/describe.h"

#include <fmt/format.h>

#include <bit>

#include "api/base/quantity.h"
#include "sandbox/names/constants.h"
#include "sandbox/policy/signature.h"

namespace isla::sandbox {
namespace {

/// Flags by name where the whole value has names; else hexadecimal, or decimal if it is small.
std::string NumberText(Arch arch, const ArgumentType& type, uint64_t value) {
  value &= MaskOf(type.width);
  if (!type.domain.empty()) {
    uint64_t rest = value;
    std::string names;
    const auto constants = ConstantsOf(arch, type.domain);
    for (const Constant& each : constants) {
      if ((each.value & MaskOf(type.width)) == value) return std::string(each.name);
    }
    for (const Constant& each : constants) {
      // Combinations (O_ACCMODE, O_SYNC) would hide what they are made of.
      if (each.value == 0 || !std::has_single_bit(each.value) || (rest & each.value) != each.value) continue;
      names += fmt::format("{}{}", names.empty() ? "" : "|", each.name);
      rest &= ~each.value;
    }
    if (rest == 0 && !names.empty()) return names;
  }
  if (type.name == "mode") return fmt::format("{:#o}", value);
  const uint64_t sign = MaskOf(type.width) / 2 + 1;
  if (type.is_signed && (value & sign) != 0) return fmt::format("{}", static_cast<int64_t>(value | ~MaskOf(type.width)));
  return value < 100'000 ? fmt::format("{}", value) : fmt::format("{:#x}", value);
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\0') out += "\\0";
    else out += c;
  }
  return out + "\"";
}

std::string AddressText(const CallExample& call) {
  SocketAddress address = call.address;
  address.path = call.address_path;
  return address.family == AF_UNIX || address.family == AF_INET || address.family == AF_INET6
             ? Quoted(address.ToText())
             : fmt::format("{{sa_family={}}}", address.family);
}

std::string HowText(Arch arch, const CallExample& call) {
  std::string out = "{";
  const char* names[] = {"flags", "mode", "resolve"};
  for (size_t i = 0; i < 3; ++i) {
    if (i > 0 && call.fields[i] == 0) continue;
    const ArgumentType type = {names[i], ArgumentKind::kNumber, Width::k64, false, i == 0 ? "open" : names[i]};
    out += fmt::format("{}{}={}", i == 0 ? "" : ", ", names[i], NumberText(arch, type, call.fields[i]));
  }
  return out + "}";
}

/// What a test's number is called: an argument, or a part of what one points to.
struct Named {
  std::string name;
  ArgumentType type;
};

Named NameOf(const std::vector<Argument>& signature, Number number) {
  const auto of_kind = [&signature](ArgumentKind kind) -> std::string {
    for (const Argument& each : signature) {
      if (each.type->kind == kind) return std::string(each.name);
    }
    return "address";
  };
  switch (number) {
    case Number::kUid: return {"caller.uid", *FindArgumentType("uid")};
    case Number::kFamily: return {of_kind(ArgumentKind::kAddress) + ".family", *FindArgumentType("family")};
    case Number::kPort: return {of_kind(ArgumentKind::kAddress) + ".port", {"port", ArgumentKind::kNumber, Width::k16, false, ""}};
    case Number::kField0: return {"how.flags", {"flags", ArgumentKind::kNumber, Width::k64, false, "open"}};
    case Number::kField1: return {"how.mode", {"mode", ArgumentKind::kNumber, Width::k64, false, "mode"}};
    case Number::kField2: return {"how.resolve", {"resolve", ArgumentKind::kNumber, Width::k64, false, "resolve"}};
    default: break;
  }
  const auto index = static_cast<size_t>(number);
  if (index < signature.size()) return {std::string(signature[index].name), *signature[index].type};
  return {fmt::format("argument {}", index), *FindArgumentType("ulong")};
}

std::string SetText(Arch arch, const ArgumentType& type, const IntervalSet& set) {
  std::string out;
  size_t shown = 0;
  for (const Interval& each : set.intervals()) {
    if (++shown > 6) return out + ", ...";
    out += out.empty() ? "" : ", ";
    out += each.first == each.last ? NumberText(arch, type, each.first)
                                   : fmt::format("{}..{}", NumberText(arch, type, each.first), NumberText(arch, type, each.last));
  }
  return out.empty() ? "none" : out;
}

std::string TestText(Arch arch, const std::vector<Argument>& signature, const NumberTest& test) {
  const Named named = NameOf(signature, test.number);
  const uint64_t mask = test.mask & MaskOf(test.width);
  const auto& set = test.values.intervals();
  const auto number = [arch, &named](uint64_t value) { return NumberText(arch, named.type, value); };
  if (mask != MaskOf(test.width)) {
    if (test.values == IntervalSet::Of(mask)) return fmt::format("{} has {}", named.name, number(mask));
    if (test.values == IntervalSet::Range(1, mask)) return fmt::format("{} hasany {}", named.name, number(mask));
    if (set.size() == 1 && set[0].first == set[0].last) return fmt::format("{} & {} == {}", named.name, number(mask), number(set[0].first));
    return fmt::format("{} & {} in [{}]", named.name, number(mask), SetText(arch, named.type, test.values));
  }
  if (set.size() == 1 && set[0].first == set[0].last) return fmt::format("{} == {}", named.name, number(set[0].first));
  const IntervalSet rest = test.values.Complement(MaskOf(test.width));
  if (rest.intervals().size() == 1 && rest.intervals()[0].first == rest.intervals()[0].last) {
    return fmt::format("{} != {}", named.name, number(rest.intervals()[0].first));
  }
  return fmt::format("{} in [{}]", named.name, SetText(arch, named.type, test.values));
}

std::string TestText(Arch, const std::vector<Argument>& signature, const TextTest& test) {
  std::string name = test.text == Text::kExecutable ? "caller.exe" : "path";
  size_t path = 0;
  for (const Argument& each : signature) {
    if (each.type->kind == ArgumentKind::kAddress && test.text == Text::kAddressPath) name = std::string(each.name) + ".path";
    if (each.type->kind == ArgumentKind::kPath && test.text != Text::kExecutable && path++ == static_cast<size_t>(test.text)) name = each.name;
  }
  const char* op = test.match == Match::kExact ? "==" : test.match == Match::kUnder ? "under" : "like";
  std::string pattern = test.pattern;
  if (pattern.starts_with('\0')) pattern[0] = '@';
  return fmt::format("{} {} '{}'", name, op, pattern);
}

std::string TestText(Arch, const std::vector<Argument>& signature, const NetworkTest& test) {
  std::string name = "address";
  for (const Argument& each : signature) {
    if (each.type->kind == ArgumentKind::kAddress) name = each.name;
  }
  return fmt::format("{}.ip in '{}'", name, test.network.ToText());
}

std::string TestText(Arch, const std::vector<Argument>&, const RateTest& test) {
  return fmt::format("rate > {}/{}", test.limit, test.window_seconds == 1 ? "s" : test.window_seconds == 60 ? "m" : "h");
}

std::string ErrnoText(uint16_t number) {
  const std::string_view name = ErrnoName(number);
  return name.empty() ? fmt::format("{}", number) : std::string(name);
}

std::string Enforced(const Action& action) {
  switch (action.kind) {
    case Action::Kind::kErrno: return fmt::format("errno {}", ErrnoText(action.error));
    case Action::Kind::kRedirect:
    case Action::Kind::kRedirectAddress: return fmt::format("redirect to {}", action.text);
    default: return action.ToText();
  }
}

}  // namespace

std::string DescribeCall(Arch arch, const CallExample& call, Facts facts) {
  const Syscall* syscall = FindSyscall(arch, call.number);
  std::string arguments;
  if (syscall == nullptr) {
    arguments = fmt::format("{:#x}", fmt::join(call.arguments, ", "));
  } else {
    size_t path = 0, needed = 0;
    std::vector<std::string> texts;
    const std::vector<Argument> signature = SignatureOf(*syscall);
    for (size_t i = 0; i < signature.size(); ++i) {
      const ArgumentType& type = *signature[i].type;
      switch (type.kind) {
        case ArgumentKind::kPath: texts.push_back(Quoted(call.paths[path++])); break;
        case ArgumentKind::kAddress: texts.push_back(AddressText(call)); break;
        case ArgumentKind::kOpenHow: texts.push_back(HowText(arch, call)); break;
        case ArgumentKind::kPointer: texts.push_back(call.arguments[i] == 0 ? "NULL" : fmt::format("{:#x}", call.arguments[i])); break;
        case ArgumentKind::kNumber: texts.push_back(NumberText(arch, type, call.arguments[i])); break;
      }
      const bool number = type.kind == ArgumentKind::kNumber || type.kind == ArgumentKind::kPointer;
      const bool nothing = number && (call.arguments[i] & MaskOf(type.width)) == 0;
      if (!nothing) needed = i + 1;
    }
    texts.resize(needed);
    arguments = fmt::format("{}", fmt::join(texts, ", "));
  }
  std::string out = fmt::format("{}({})", SyscallText(arch, call.number), arguments);
  if ((facts & kFactExecutable) != 0) out += fmt::format(" exe={}", call.executable);
  if ((facts & kFactUid) != 0) out += fmt::format(" uid={}", call.uid);
  return out;
}

std::string DescribeTest(Arch arch, int number, const AnyTest& test, bool holds) {
  const Syscall* syscall = FindSyscall(arch, number);
  const std::vector<Argument> signature = syscall == nullptr ? std::vector<Argument>() : SignatureOf(*syscall);
  std::string text = std::visit([&](const auto& each) { return TestText(arch, signature, each); }, test);
  return holds ? text : fmt::format("!({})", text);
}

std::string DescribeAction(const Action& action, Mode mode) {
  const std::string enforced = Enforced(action);
  const bool refuses = action.Restricts() && action.kind != Action::Kind::kProgram;
  if (mode == Mode::kEnforce || (mode == Mode::kWarn && !refuses)) return enforced;
  return action.kind == Action::Kind::kAllow ? "allow, written down" : fmt::format("allow, written down (enforced: {})", enforced);
}

std::string MemoryText(uint64_t bytes) { return bytes == 0 ? "none" : FormatBytes(static_cast<int64_t>(bytes)); }

std::string CpusText(uint64_t millis) { return millis == 0 ? "none" : fmt::format("{:g}", static_cast<double>(millis) / 1000); }

std::string PidsText(uint64_t tasks) { return tasks == 0 ? "none" : fmt::format("{}", tasks); }

std::string LimitsText(const ResourceLimits& limits) {
  std::string out;
  const auto add = [&out](std::string_view name, const std::string& text) {
    if (text != "none") out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, text);
  };
  add("memory", MemoryText(limits.memory_bytes));
  add("cpus", CpusText(limits.cpu_millis));
  add("pids", PidsText(limits.tasks));
  return out;
}

}  // namespace isla::sandbox
