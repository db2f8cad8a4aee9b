// Profiles of other runtimes, in and out: verdicts compared with those of the filters that runc makes of them with
// libseccomp 2.5.4, evaluated by the interpreter.
//
// Debian's profile is /usr/share/containers/seccomp.json of golang-github-containers-common (scripts/packages). Its golden
// tables hold libseccomp's verdicts, not ours: ISLA_UPDATE_GOLDEN=1 makes them from the installed profile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>

#include <filesystem>
#include <map>
#include <set>

#include "sandbox/box/export.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/bpf/evaluator.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/signature.h"
#include "tests/unit/sandbox/golden.h"
#include "tests/unit/sandbox/random_policy.h"
#include "tests/unit/sandbox/seccomp_oracle.h"

namespace isla::sandbox {
namespace {

constexpr const char* kDebiansProfile = "/usr/share/containers/seccomp.json";

const std::vector<std::vector<std::string>>& CapabilitySets() {
  static const std::vector<std::vector<std::string>> kSets = {
      {},
      {"CAP_SYS_ADMIN"},
      {"CAP_AUDIT_WRITE", "CAP_SYS_PTRACE"},
      {"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO",
       "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_AUDIT_WRITE"}};
  return kSets;
}

std::string AsManifest(const std::string& profile, const std::vector<std::string>& capabilities) {
  json::Array caps;
  for (const std::string& each : capabilities) caps.emplace_back(each);
  return fmt::format(R"({{"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {{"name": "p"}}, "spec": {{"base": {{"profile": {}, "capabilities": {}}}}}}})",
                     profile, json::Serialize(caps));
}

StatusOr<Program> Imported(const std::string& profile, const std::vector<std::string>& capabilities, Arch arch) {
  ASSIGN_OR_RETURN(const SandboxPolicy policy, DecodeSandboxPolicy(AsManifest(profile, capabilities), {.arch = arch}));
  ASSIGN_OR_RETURN(Filter filter, Compile(policy.policy));
  return std::move(filter.program);
}

/// Every value that a profile's conditions name, and its neighbours.
std::set<uint64_t> Values(const json::Value& profile) {
  std::set<uint64_t> out = {0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff};
  for (const json::Value& rule : profile.Find("syscalls")->items()) {
    const json::Value* args = rule.Find("args");
    if (args == nullptr || !args->is_array()) continue;
    for (const json::Value& each : args->items()) {
      for (const char* name : {"value", "valueTwo"}) {
        const json::Value* number = each.Find(name);
        if (number == nullptr || !number->is_number()) continue;
        const uint64_t value = std::stoull(number->number_text());
        out.insert({value - 1, value, value + 1});
      }
    }
  }
  return out;
}

/// An argument as the ABI passes it: what doesn't fit the C type is no call that a program makes by its C library.
uint64_t AsPassed(const ArgumentType& type, uint64_t value) {
  value &= MaskOf(type.width);
  const uint64_t sign = MaskOf(type.width) / 2 + 1;
  return type.is_signed && (value & sign) != 0 && type.width == Width::k64 ? value | ~MaskOf(type.width) : value;
}

/// Compares every call of the architecture, on all combinations of three arguments' values.
size_t Compare(const Program& ours, const Program& theirs, Arch arch, const std::set<uint64_t>& values, bool as_passed) {
  size_t compared = 0;
  for (int number = 0; number < kCallNumbers; ++number) {
    const Syscall* call = FindSyscall(arch, number);
    if (call == nullptr) continue;
    const auto signature = SignatureOf(*call);
    const auto passed = [&](size_t index, uint64_t value) {
      return as_passed && index < signature.size() ? AsPassed(*signature[index].type, value) : value;
    };
    for (const uint64_t a : values) {
      for (const uint64_t b : values) {
        for (const uint64_t c : {uint64_t{0}, uint64_t{9}, uint64_t{10}}) {
          const seccomp_data data = CallOn(arch, number, {passed(0, a), passed(1, b), passed(2, c), 0, 0, 0});
          ++compared;
          const uint32_t is = RunProgram(ours, data), expected = RunProgram(theirs, data);
          EXPECT_EQ(ActionName(is), ActionName(expected)) << call->name << "(" << data.args[0] << ", " << data.args[1] << ", " << data.args[2] << ")";
          if (is != expected) return compared;
        }
      }
    }
  }
  return compared;
}

TEST(Profile, DebiansIsReadAsRuncAndLibseccompReadIt) {
  if (!std::filesystem::exists(kDebiansProfile)) GTEST_SKIP() << kDebiansProfile << " isn't installed";
  const std::string text = ReadFile(kDebiansProfile).value();
  const json::Value profile = json::Parse(text).value();
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    for (const auto& capabilities : CapabilitySets()) {
      const StatusOr<Program> ours = Imported(text, capabilities, arch);
      ASSERT_TRUE(ours.ok()) << Message(ours.status());
      const Program theirs = SeccompProgram(ResolvedProfile(profile, arch, capabilities), arch);
      EXPECT_GT(Compare(*ours, theirs, arch, Values(profile), true), 100'000u);
    }
  }
}

/// "accept allow", "socket errno 22 (0x10, 0x0, 0x9)": the verdicts of a program, all that differ for a call.
std::string Verdicts(const Program& program, Arch arch, const std::set<uint64_t>& values) {
  std::string out;
  for (const Syscall& call : AllSyscalls()) {
    const int number = call.NumberOn(arch);
    if (number < 0) continue;
    std::map<std::string, std::array<uint64_t, 3>> by_verdict;
    const auto signature = SignatureOf(call);
    for (const uint64_t a : values) {
      for (const uint64_t c : {uint64_t{0}, uint64_t{9}, uint64_t{10}}) {
        std::array<uint64_t, 3> args = {a, 0, c};
        for (size_t i = 0; i < 3 && i < signature.size(); ++i) args[i] = AsPassed(*signature[i].type, args[i]);
        by_verdict.try_emplace(ActionName(RunProgram(program, CallOn(arch, number, {args[0], args[1], args[2]}))), args);
      }
    }
    for (const auto& [verdict, args] : by_verdict) {
      out += fmt::format("{} {}", call.name, verdict);
      if (by_verdict.size() > 1) out += fmt::format(" ({:#x}, {:#x}, {:#x})", args[0], args[1], args[2]);
      out += "\n";
    }
  }
  return out;
}

TEST(Profile, VerdictsOnDebiansAreLibseccompsOfTheGoldenTables) {
  if (!std::filesystem::exists(kDebiansProfile)) GTEST_SKIP() << kDebiansProfile << " isn't installed";
  const std::string text = ReadFile(kDebiansProfile).value();
  const json::Value profile = json::Parse(text).value();
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    const std::string golden = fmt::format("debian_profile.{}.txt", ArchName(arch));
    const Program theirs = SeccompProgram(ResolvedProfile(profile, arch, {}), arch);
    ExpectGolden(golden, Verdicts(theirs, arch, Values(profile)));
    EXPECT_EQ(Verdicts(*Imported(text, {}, arch), arch, Values(profile)), ReadFile(GoldenPath(golden)).value());
  }
}

// Export -----------------------------------------------------------------------------------------------

TEST(Export, TheDefaultPolicyMeansTheSameThroughLibseccomp) {
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    const Policy policy = DefaultPolicy(arch);
    const StatusOr<json::Value> profile = ExportOci(policy, {});
    ASSERT_TRUE(profile.ok()) << ToString(profile.status());
    const Program ours = Compile(UnderFloor(FloorPolicy(arch), policy))->program, theirs = SeccompProgram(*profile, arch);
    std::set<uint64_t> values = Values(*profile);
    for (const uint64_t extra : {0x10000000, 0x5412, 0x541c, 0x20008, 10, 16}) values.insert({extra, extra | (uint64_t{1} << 32)});
    while (values.size() > 60) values.erase(std::next(values.begin(), static_cast<long>(values.size() / 2)));
    // What libseccomp hasn't a name for gets its default.
    for (int number = 0; number < 451; ++number) {
      for (const uint64_t a : values) {
        for (const uint64_t b : {uint64_t{0}, uint64_t{0x5412}, uint64_t{0x541c}, uint64_t{0x10000541c}}) {
          const seccomp_data data = CallOn(arch, number, {a, b, 9});
          ASSERT_EQ(ActionName(RunProgram(theirs, data)), ActionName(RunProgram(ours, data))) << SyscallText(arch, number) << " " << a << " " << b;
        }
      }
    }
  }
}

TEST(Export, RandomPoliciesMeanTheSameThroughLibseccomp) {
  // Inequalities, masks, first-match order: all become bit patterns, which libseccomp gets right.
  RandomPolicies random(77);
  size_t exported = 0, evaluations = 0;
  for (int round = 0; round < 150; ++round) {
    RandomPolicies::Shape shape;
    shape.arch = round % 2 == 0 ? Arch::kX86_64 : Arch::kArm64;
    shape.calls = 2;
    shape.most_rules = 3;
    shape.most_depth = 1;
    shape.facts = false;
    shape.supervisor = false;
    const Policy policy = random.Make(shape);
    const StatusOr<json::Value> profile = ExportOci(policy, {.floor = false});
    if (profile.status().code() == Code::kResourceExhausted) continue;
    ASSERT_TRUE(profile.ok()) << ToString(profile.status());
    ++exported;
    const Program theirs = SeccompProgram(*profile, policy.arch), ours = Compile(policy)->program;
    for (int i = 0; i < 2000; ++i, ++evaluations) {
      const NotifiedCall call = random.RandomCall();
      const Syscall* syscall = FindSyscall(policy.arch, call.number);
      if (syscall == nullptr || !SeccompKnows(syscall->name, policy.arch)) continue;
      const seccomp_data data = CallOn(policy.arch, call.number, call.arguments);
      ASSERT_EQ(ActionName(RunProgram(theirs, data)), ActionName(RunProgram(ours, data)))
          << "round " << round << " " << SyscallText(policy.arch, call.number) << "\n" << json::Pretty(*profile, 1);
    }
  }
  EXPECT_GT(exported, 80u);
  EXPECT_GT(evaluations, 150'000u);
}

TEST(Export, AnExportedPolicyComesBackTheSame) {
  const Policy policy = DefaultPolicy(kNativeArch);
  const StatusOr<json::Value> profile = ExportOci(policy, {.floor = false});
  ASSERT_TRUE(profile.ok());
  const StatusOr<Program> back = Imported(json::Serialize(*profile), {}, kNativeArch);
  ASSERT_TRUE(back.ok()) << Message(back.status());
  EXPECT_GT(Compare(*back, Compile(policy)->program, kNativeArch, {0, 1, 8, 0x20000, 0x20008, 0xffffffff, 0x100000008}, false), 10'000u);
}

TEST(Export, WhatTheSupervisorDecidesIsNamedOrReplaced) {
  Policy policy;
  policy.Append(257, policy.AddRule("a", Action::Errno(5)), TextTest{Text::kPath0, Match::kUnder, "/etc"});
  policy.Append(257, policy.AddRule("b", Action::Of(Action::Kind::kPerform)));
  const Status refused = ExportOci(policy, {}).status();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(Message(refused), testing::HasSubstr("openat"));
  const auto exported = [&policy](Notified notified) { return json::Serialize(ExportOci(policy, {.floor = false, .notified = notified}).value()); };
  EXPECT_THAT(exported(Notified::kDeny), testing::HasSubstr(R"({"names":["openat"],"action":"SCMP_ACT_ERRNO","errnoRet":1})"));
  EXPECT_THAT(exported(Notified::kAllow), testing::HasSubstr(R"({"names":["openat"],"action":"SCMP_ACT_ALLOW"})"));
  EXPECT_THAT(exported(Notified::kNotify), testing::HasSubstr(R"({"names":["openat"],"action":"SCMP_ACT_NOTIFY"})"));
}

// libseccomp as an oracle where it is right ------------------------------------------------------------

TEST(Compiler, EqualityRulesOfOneActionAreThoseOfLibseccomp) {
  // Rules of one action have no order, equalities are what 2.5.4 gets right: so both must answer alike.
  RandomPolicies random(99);
  size_t evaluations = 0;
  for (int round = 0; round < 200; ++round) {
    Policy policy;
    policy.rules[0].action = Action::Errno(38);
    const RuleId allow = policy.AddRule("allow", Action::Allow());
    json::Array rules;
    for (int i = 0; i < 8; ++i) {
      const int number = 300 + static_cast<int>(random.Below(3));
      json::Array args;
      std::vector<Condition> tests;
      for (unsigned argument = 0; argument < 3; ++argument) {
        if (random.Below(2) == 0) continue;
        const bool masked = random.Below(3) == 0;
        const uint64_t mask = masked ? uint64_t{0xf} << random.Below(40) : ~uint64_t{0};
        const uint64_t value = random.RandomCall().arguments[0] & mask;
        tests.emplace_back(NumberTest{static_cast<Number>(argument), Width::k64, mask, IntervalSet::Of(value)});
        args.push_back(json::Value::MakeObject({{"index", static_cast<int>(argument)}, {"op", masked ? "SCMP_CMP_MASKED_EQ" : "SCMP_CMP_EQ"},
                                                {"value", masked ? mask : value}, {"valueTwo", masked ? value : uint64_t{0}}}));
      }
      if (tests.empty()) continue;
      policy.Append(number, allow, Condition::And(std::move(tests)));
      rules.push_back(json::Value::MakeObject({{"names", json::Value::MakeArray({SyscallName(kNativeArch, number)})}, {"action", "SCMP_ACT_ALLOW"}, {"args", args}}));
    }
    const json::Value profile = json::Value::MakeObject({{"defaultAction", "SCMP_ACT_ERRNO"}, {"defaultErrnoRet", 38}, {"syscalls", rules}});
    const Program theirs = SeccompProgram(profile, kNativeArch), ours = Compile(policy)->program;
    for (int i = 0; i < 1000; ++i, ++evaluations) {
      std::array<uint64_t, 6> arguments = random.RandomCall().arguments;
      // Half of the calls take values of a rule.
      for (const auto& [number, list] : policy.calls) {
        const auto& when = list[random.Below(list.size())].when;
        const auto* test = when.kind() == Condition::Kind::kTest ? std::get_if<NumberTest>(&when.test()) : std::get_if<NumberTest>(&when.parts()[0].test());
        if (random.Below(2) == 0) arguments[static_cast<size_t>(test->number)] = test->values.intervals()[0].first;
      }
      const seccomp_data data = CallOn(kNativeArch, 300 + static_cast<int>(random.Below(3)), arguments);
      ASSERT_EQ(ActionName(RunProgram(ours, data)), ActionName(RunProgram(theirs, data))) << json::Pretty(profile, 1);
    }
  }
  EXPECT_GE(evaluations, 200'000u);
}

TEST(Profile, ConditionsAreComparedInTheWidthOfTheArgument) {
  // runc's filter lets socket(AF_NETLINK, x, 9 | 1 << 32) through "argument 2 isn't 9": the kernel sees 9.
  const std::string text = R"({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
      "args": [{"index": 2, "value": 9, "op": "SCMP_CMP_NE"}]}]})";
  const StatusOr<Program> ours = Imported(text, {}, kNativeArch);
  ASSERT_TRUE(ours.ok()) << Message(ours.status());
  const Program theirs = SeccompProgram(json::Parse(text).value(), kNativeArch);
  const seccomp_data dodge = CallOn(kNativeArch, *SyscallNumber(kNativeArch, "socket"), {16, 3, 9 | uint64_t{1} << 32});
  EXPECT_EQ(ActionName(RunProgram(theirs, dodge)), "allow");
  EXPECT_EQ(ActionName(RunProgram(*ours, dodge)), "errno 1");
}

TEST(Profile, RandomConditionsOfOneRuleAreThoseOfLibseccomp) {
  // One rule a call: what libseccomp gets right with any comparison. Values beyond the argument's type are among them: no
  // argument equals, all are below.
  RandomPolicies random(5);
  const std::vector<std::string> names = {"socket", "personality", "mmap", "ioctl", "kill", "lseek", "fchmod", "sendto"};
  const std::vector<std::string> ops = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
  size_t evaluations = 0, allowed = 0;
  for (int round = 0; round < 300; ++round) {
    const Arch arch = round % 2 == 0 ? Arch::kX86_64 : Arch::kArm64;
    json::Array rules;
    std::set<uint64_t> values = {0, 1};
    for (const std::string& name : names) {
      json::Array args;
      for (int index = 0; index < 2; ++index) {
        if (random.Below(3) == 0) continue;
        const std::string& op = ops[random.Below(ops.size())];
        uint64_t value = random.RandomCall().arguments[0], second = random.RandomCall().arguments[1];
        // Signs in the upper bits are read as what they mean, which runc doesn't.
        if (value >= 0xffffffff80000000) value >>= 32;
        second = op == "SCMP_CMP_MASKED_EQ" ? second & value : 0;
        values.insert({value - 1, value, value + 1, second});
        args.push_back(json::Value::MakeObject({{"index", index}, {"op", op}, {"value", value}, {"valueTwo", second}}));
      }
      rules.push_back(json::Value::MakeObject({{"names", json::Value::MakeArray({name})}, {"action", "SCMP_ACT_ALLOW"}, {"args", args}}));
    }
    const json::Value profile = json::Value::MakeObject({{"defaultAction", "SCMP_ACT_ERRNO"}, {"defaultErrnoRet", 38}, {"syscalls", rules}});
    const StatusOr<Program> ours = Imported(json::Serialize(profile), {}, arch);
    ASSERT_TRUE(ours.ok()) << Message(ours.status());
    const Program theirs = SeccompProgram(profile, arch);
    for (const std::string& name : names) {
      const auto signature = SignatureOf(*FindSyscall(name));
      for (const uint64_t a : values) {
        for (const uint64_t b : values) {
          std::array<uint64_t, 6> arguments = {AsPassed(*signature[0].type, a)};
          if (signature.size() > 1) arguments[1] = AsPassed(*signature[1].type, b);
          const seccomp_data data = CallOn(arch, *SyscallNumber(arch, name), arguments);
          ++evaluations;
          if (RunProgram(theirs, data) == SECCOMP_RET_ALLOW) ++allowed;
          ASSERT_EQ(ActionName(RunProgram(*ours, data)), ActionName(RunProgram(theirs, data)))
              << name << "(" << arguments[0] << ", " << arguments[1] << ")\n" << json::Pretty(profile, 1);
        }
      }
    }
  }
  EXPECT_GT(evaluations, 1'000'000u);
  EXPECT_GT(allowed, 100'000u);
}

TEST(Profile, ANegativeIntMayBeWrittenWithItsSign) {
  const std::string text = R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["openat"], "action": "SCMP_ACT_ERRNO",
      "args": [{"index": 0, "value": 18446744073709551516, "op": "SCMP_CMP_EQ"}]}]})";
  const StatusOr<Program> ours = Imported(text, {}, kNativeArch);
  ASSERT_TRUE(ours.ok()) << Message(ours.status());
  const int openat = *SyscallNumber(kNativeArch, "openat");
  for (const uint64_t descriptor : {uint64_t{0xffffff9c}, uint64_t{0xffffffffffffff9c}}) {
    EXPECT_EQ(ActionName(RunProgram(*ours, CallOn(kNativeArch, openat, {descriptor}))), "errno 1");
  }
  EXPECT_EQ(ActionName(RunProgram(*ours, CallOn(kNativeArch, openat, {3}))), "allow");
}

TEST(Profile, RulesKernelsAndCapabilitiesAreChosen) {
  const std::string text = R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
      {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
      {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
      {"name": "chroot", "action": "SCMP_ACT_KILL", "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
      {"names": ["socket"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
      {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errno": "EACCES"}]})";
  const auto verdict = [&text](const std::string& extra, std::string_view call, uint64_t argument = 0) {
    const std::string manifest = fmt::format(
        R"({{"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {{"name": "p"}}, "spec": {{"base": {{"profile": {}{}}}}}}})", text, extra);
    const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(manifest);
    EXPECT_TRUE(policy.ok()) << Message(policy.status());
    return ActionName(RunProgram(Compile(policy->policy)->program, NativeCall(*SyscallNumber(kNativeArch, call), {argument})));
  };
  EXPECT_EQ(verdict("", "bpf"), "errno 38");
  EXPECT_EQ(verdict(R"(, "capabilities": ["CAP_BPF"])", "bpf"), "allow");
  EXPECT_EQ(verdict("", "ptrace"), "allow") << "a kernel that isn't named is new enough";
  EXPECT_EQ(verdict(R"(, "kernel": "4.4")", "ptrace"), "errno 38");
  EXPECT_EQ(verdict(R"(, "kernel": "6.1.0-13-amd64")", "ptrace"), "allow");
  EXPECT_EQ(verdict("", "chroot"), "kill_process");
  EXPECT_EQ(verdict(R"(, "capabilities": ["CAP_SYS_CHROOT"])", "chroot"), "errno 38");
  EXPECT_EQ(verdict("", "socket", 2), "log") << "the same argument twice: one of them";
  EXPECT_EQ(verdict("", "socket", 3), "errno 38");
  EXPECT_EQ(verdict("", "mount"), "errno 13");
}

TEST(Profile, ABareProfileIsAPolicyToo) {
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}]})");
  ASSERT_TRUE(policy.ok()) << Message(policy.status());
  EXPECT_EQ(policy->policy.rules[0].action, Action::Allow());
  EXPECT_EQ(policy->policy.rules[1].name, "syscalls[0]");
  const std::string args = R"("args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}])";
  const StatusOr<SandboxPolicy> twice = DecodeSandboxPolicy(fmt::format(
      R"({{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", {0}}}, {{"names": ["ptrace"], "action": "SCMP_ACT_KILL", {0}}}]}})", args));
  ASSERT_TRUE(twice.ok()) << Message(twice.status());
  ASSERT_EQ(twice->warnings.size(), 1u);
  EXPECT_EQ(twice->warnings[0].field, "syscalls[1]") << "no spec is around it";
  EXPECT_EQ(twice->warnings[0].detail, "never decides: syscalls[0] decides first");
}

}  // namespace
}  // namespace isla::sandbox
