// Seccomp profiles of other runtimes as a base: the OCI runtime specification's linux.seccomp, and the form of
// containers-common and Docker, with archMap, and rules that hold for some architectures, capabilities or kernels.
//
// The meaning is that of runc with libseccomp 2.5:
//   - a rule whose action is the default's says nothing;
//   - the first rule of a call without arguments decides, whatever rules with arguments say; else the first whose
//     arguments fit. (libseccomp keeps one tree a call; a rule without arguments replaces it.)
//   - conditions of one rule that look at the same argument twice are alternatives (runc makes a rule of each);
//   - names that no architecture here has are left out, with a warning if nobody has them.
// One thing is stricter: arguments are compared in the width that the kernel looks at. runc compares 64 bits,
// so that a caller gets around "not equal" by setting bits that the kernel drops.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/base/did_you_mean.h"
#include "sandbox/manifest/decoder.h"
#include "sandbox/names/constants.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/signature.h"

namespace isla::sandbox {
namespace {

/// One syscalls[] entry for one call.
struct Entry {
  RuleId rule;
  std::vector<NumberTest> tests;
  bool alternatives = false;
};

using Version = std::pair<int64_t, int64_t>;

class Importer {
 public:
  Importer(Decoder& decoder, Policy& policy) : decoder_(decoder), policy_(policy) {}

  void Run(const Field& profile, const Field& capabilities, const Field& kernel) {
    if (!decoder_.Object(profile, {"defaultAction", "defaultErrnoRet", "defaultErrno", "archMap", "architectures", "flags", "syscalls", "comment",
                                   "listenerPath", "listenerMetadata", "capabilities", "kernel"})) {
      return;
    }
    ReadGrant(capabilities, kernel);
    CheckArchitectures(profile);
    const auto action = ActionOf(profile.Get("defaultAction"), profile.Get("defaultErrnoRet"), profile.Get("defaultErrno"));
    if (!action) return;
    policy_.rules[0].action = *action;
    policy_.rules[0].position = profile.Get("defaultAction").value().position();
    policy_.rules[0].where = RuleName(profile.Get("defaultAction"));
    for (const Field& item : decoder_.Items(profile.Get("syscalls"), 4096)) {
      if (decoder_.full()) return;
      Group(item);
    }
    for (auto& [number, entries] : entries_) Append(number, entries);
  }

 private:
  // Who it is for --------------------------------------------------------------------------------------

  void ReadGrant(const Field& capabilities, const Field& kernel) {
    for (const Field& item : decoder_.Items(capabilities, 64)) {
      const auto name = decoder_.String(item, 64);
      if (!name) continue;
      capabilities_.push_back(*name);
      if (IsCapability(*name)) continue;
      decoder_.Bad(item, "no capability has this name" + DidYouMean(*name, AllCapabilities()));
    }
    if (kernel.present()) kernel_ = VersionOf(kernel);
  }

  std::optional<Version> VersionOf(const Field& field) {
    const auto text = decoder_.String(field, 32);
    if (!text) return std::nullopt;
    Version out;
    const char* end = text->data() + text->size();
    const auto major = std::from_chars(text->data(), end, out.first);
    if (major.ec == std::errc() && major.ptr < end && *major.ptr == '.') {
      const auto minor = std::from_chars(major.ptr + 1, end, out.second);
      if (minor.ec == std::errc() && (minor.ptr == end || *minor.ptr == '.')) return out;
    }
    decoder_.Bad(field, "must be a version of the kernel such as \"6.1\"");
    return std::nullopt;
  }

  /// archMap and architectures must have this one; others are not compiled for.
  void CheckArchitectures(const Field& profile) {
    const std::string_view own = policy_.arch == Arch::kX86_64 ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64";
    bool named = false, any = false;
    for (const Field& item : decoder_.Items(profile.Get("architectures"), 64)) {
      any = true;
      named = named || item.text() == own;
    }
    for (const Field& item : decoder_.Items(profile.Get("archMap"), 64)) {
      any = true;
      named = named || item.Get("architecture").text() == own;
    }
    if (any && !named) {
      decoder_.Warn(profile.path(), profile.value().position(), fmt::format("the profile isn't meant for {}: its architectures don't name {}", ArchName(policy_.arch), own));
    }
  }

  std::vector<std::string> Strings(const Field& field) {
    std::vector<std::string> out;
    for (const Field& item : decoder_.Items(field, 4096)) {
      if (const auto text = decoder_.String(item, 64)) out.push_back(*text);
    }
    return out;
  }

  bool Has(const std::string& capability) const {
    return std::find(capabilities_.begin(), capabilities_.end(), capability) != capabilities_.end();
  }

  /// Whether a syscalls[] entry is for this architecture, these capabilities, this kernel.
  bool Applies(const Field& item) {
    const std::string arch = policy_.arch == Arch::kX86_64 ? "amd64" : "arm64";
    bool applies = true;
    for (const bool includes : {true, false}) {
      const Field filter = item.Get(includes ? "includes" : "excludes");
      if (!filter.present()) continue;
      if (!decoder_.Object(filter, {"arches", "caps", "minKernel"})) return false;
      const auto arches = Strings(filter.Get("arches")), caps = Strings(filter.Get("caps"));
      const bool is_arch = std::find(arches.begin(), arches.end(), arch) != arches.end();
      const auto has = [this](const std::string& each) { return Has(each); };
      const bool has_all = std::all_of(caps.begin(), caps.end(), has), has_any = std::any_of(caps.begin(), caps.end(), has);
      std::optional<Version> least;
      if (filter.Get("minKernel").present()) least = VersionOf(filter.Get("minKernel"));
      // A kernel that isn't named is as new as anybody asks for.
      const bool new_enough = least && (!kernel_ || *kernel_ >= *least);
      if (includes) applies = applies && (arches.empty() || is_arch) && has_all && (!least || new_enough);
      else applies = applies && !is_arch && !has_any && !new_enough;
    }
    return applies;
  }

  // What it says ---------------------------------------------------------------------------------------

  std::optional<Action> ActionOf(const Field& field, const Field& number, const Field& name) {
    static const std::vector<std::string> kNames = {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD",
                                                    "SCMP_ACT_KILL_PROCESS"};
    if (!field.present()) {
      decoder_.errors().push_back(field.Missing());
      return std::nullopt;
    }
    static constexpr std::pair<const char*, const char*> kNotHad[] = {
        {"SCMP_ACT_TRAP", "the supervisor can't let a process handle SIGSYS itself: say SCMP_ACT_ERRNO, or SCMP_ACT_KILL_PROCESS, which ends it by that signal"},
        {"SCMP_ACT_TRACE", "nothing in a sandbox may be traced: say SCMP_ACT_ERRNO"},
        {"SCMP_ACT_NOTIFY", "whoever would listen isn't known here: leave it out, and say in the policy's rules what becomes of the call"}};
    for (const auto& [action, why] : kNotHad) {
      if (!field.value().is_string() || field.value().as_string() != action) continue;
      decoder_.Bad(field, why);
      return std::nullopt;
    }
    const auto choice = decoder_.Choice(field, kNames);
    if (!choice) return std::nullopt;
    if (*choice == 0) return Action::Allow();
    if (*choice == 1) return Action::Of(Action::Kind::kLog);
    if (*choice > 2) return Action::Kill();  // of a thread, too: half a process is nobody's wish
    if (number.present()) {
      const auto value = decoder_.Integer(number, 1, 4095);
      if (!value) return std::nullopt;
      return Action::Errno(static_cast<int>(*value));
    }
    if (const auto text = decoder_.String(name, 64); text && !text->empty()) {
      if (const auto value = ErrnoOf(*text)) return Action::Errno(*value);
      decoder_.Bad(name, "no error has this name");
      return std::nullopt;
    }
    return Action::Errno(1);
  }

  void Group(const Field& item) {
    if (!decoder_.Object(item, {"name", "names", "action", "args", "comment", "includes", "excludes", "errnoRet", "errno"})) return;
    const auto action = ActionOf(item.Get("action"), item.Get("errnoRet"), item.Get("errno"));
    const bool applies = Applies(item);
    std::vector<std::string> names = Strings(item.Get("names"));
    if (const auto one = decoder_.String(item.Get("name"), 64); one && !one->empty()) names.push_back(*one);
    if (names.empty()) decoder_.errors().push_back(item.Get("names").Missing());
    const std::vector<Field> arguments = decoder_.Items(item.Get("args"), 64);
    const bool says_nothing = action && *action == policy_.rules[0].action;
    std::optional<RuleId> rule;
    for (const std::string& name : names) {
      const Syscall* call = FindSyscall(name);
      if (call == nullptr && !IsForeignSyscall(name)) {
        decoder_.Warn(item.path(), item.value().position(), fmt::format("no architecture has a system call '{}'", name));
      }
      // Arguments are read also where nothing comes of it: mistakes are mistakes.
      const auto entry = EntryOf(arguments, call);
      if (!entry || !action || !applies || says_nothing || call == nullptr || call->NumberOn(policy_.arch) < 0) continue;
      if (!rule) {
        rule = policy_.AddRule(RuleName(item), *action, item.value().position());
        policy_.rules[*rule].where = RuleName(item);
      }
      entries_[call->NumberOn(policy_.arch)].push_back({*rule, entry->tests, entry->alternatives});
    }
  }

  static std::string RuleName(const Field& item) {
    std::string_view path = item.path();
    if (path.starts_with("spec.")) path.remove_prefix(5);
    return std::string(path);
  }

  std::optional<Entry> EntryOf(const std::vector<Field>& arguments, const Syscall* call) {
    Entry out{};
    const size_t errors_before = decoder_.errors().size();
    unsigned seen = 0;
    for (const Field& argument : arguments) {
      const auto test = TestOf(argument, call);
      if (!test) continue;
      const unsigned bit = 1u << static_cast<unsigned>(test->number);
      if ((seen & bit) != 0) out.alternatives = true;
      seen |= bit;
      out.tests.push_back(*test);
    }
    if (decoder_.errors().size() > errors_before) return std::nullopt;
    return out;
  }

  static const ArgumentType& TypeOf(const Syscall* call, size_t index) {
    static const ArgumentType& kUntyped = *FindArgumentType("ulong");
    if (call == nullptr) return kUntyped;
    const std::vector<Argument> signature = SignatureOf(*call);
    return index < signature.size() ? *signature[index].type : kUntyped;
  }

  /// A negative int may be written with its sign in the upper bits. Any other value beyond the type stays what it is:
  /// no argument is it.
  static uint64_t WithoutSign(const ArgumentType& type, uint64_t value) {
    const uint64_t max = MaskOf(type.width);
    return type.is_signed && value >= ~(max / 2) ? value & max : value;
  }

  std::optional<uint64_t> Unsigned(const Field& field) {
    if (!field.present()) return 0;
    const std::string& text = field.value().is_number() ? field.value().number_text() : std::string();
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!text.empty() && error == std::errc() && end == text.data() + text.size()) return value;
    decoder_.Bad(field, "must be a whole number from 0 to 18446744073709551615");
    return std::nullopt;
  }

  std::optional<NumberTest> TestOf(const Field& field, const Syscall* call) {
    if (!decoder_.Object(field, {"index", "value", "valueTwo", "op"})) return std::nullopt;
    const Field index_field = field.Get("index");
    if (!index_field.present()) decoder_.errors().push_back(index_field.Missing());
    const auto index = decoder_.Integer(index_field, 0, 5);
    const auto value = Unsigned(field.Get("value")), second = Unsigned(field.Get("valueTwo"));
    static const std::vector<std::string> kOps = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
    if (!field.Get("op").present()) decoder_.errors().push_back(field.Get("op").Missing());
    const auto op = decoder_.Choice(field.Get("op"), kOps);
    if (!index || !value || !second || !op) return std::nullopt;
    const ArgumentType& type = TypeOf(call, static_cast<size_t>(*index));
    const uint64_t max = MaskOf(type.width), all = ~uint64_t{0}, v = WithoutSign(type, *value);
    NumberTest out = {static_cast<Number>(*index), type.width, max, {}};
    switch (*op) {
      case 0: out.values = IntervalSet::Of(v).Complement(all); break;
      case 1: out.values = v == 0 ? IntervalSet() : IntervalSet::Range(0, v - 1); break;
      case 2: out.values = IntervalSet::Range(0, v); break;
      case 3: out.values = IntervalSet::Of(v); break;
      case 4: out.values = IntervalSet::Range(v, all); break;
      case 5: out.values = v == all ? IntervalSet() : IntervalSet::Range(v + 1, all); break;
      default: {
        out.mask = v & max;  // value is the mask, valueTwo what is under it
        const uint64_t under = WithoutSign(type, *second);
        out.values = (under & ~out.mask) == 0 ? IntervalSet::Of(under) : IntervalSet();
      }
    }
    out.values = out.values.Intersection(IntervalSet::Range(0, max));
    return out;
  }

  void Append(int number, const std::vector<Entry>& entries) {
    const auto whole = std::find_if(entries.begin(), entries.end(), [](const Entry& each) { return each.tests.empty(); });
    if (whole != entries.end()) return policy_.Append(number, whole->rule);
    for (const Entry& entry : entries) {
      std::vector<Condition> tests(entry.tests.begin(), entry.tests.end());
      policy_.Append(number, entry.rule, entry.alternatives ? Condition::Or(std::move(tests)) : Condition::And(std::move(tests)));
    }
  }

  Decoder& decoder_;
  Policy& policy_;
  std::vector<std::string> capabilities_;
  std::optional<Version> kernel_;
  std::map<int, std::vector<Entry>> entries_;
};

}  // namespace

void ImportProfile(Decoder& decoder, const Field& profile, const Field& capabilities, const Field& kernel, Policy& policy) {
  Importer(decoder, policy).Run(profile, capabilities, kernel);
}

}  // namespace isla::sandbox
