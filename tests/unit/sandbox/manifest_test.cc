// The kind SandboxPolicy from its text: what it means, and what is said of mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <set>

#include "sandbox/box/diff.h"
#include "sandbox/box/test_table.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"
#include "sandbox/proof/paths.h"
#include "sandbox/table/rule_table.h"
#include "tests/unit/sandbox/golden.h"

namespace isla::sandbox {
namespace {

std::string Lines(const FieldErrors& errors) {
  std::string out;
  for (const FieldError& error : errors) {
    out += fmt::format("{}:{} {}: {}\n", error.position.line, error.position.column, error.field, error.detail);
  }
  return out;
}

/// A manifest with this spec.
std::string Manifest(std::string_view spec) {
  return fmt::format(R"({{"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {{"name": "t"}}, "spec": {{{}}}}})", spec);
}

std::string WithRules(std::string_view rules) {
  return Manifest(fmt::format(R"("base": {{"groups": ["@container"]}}, "rules": [{}])", rules));
}

SandboxPolicy Decoded(std::string_view text) {
  StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(text);
  EXPECT_TRUE(policy.ok()) << Message(policy.status());
  return policy.ok() ? *std::move(policy) : SandboxPolicy();
}

std::string MistakesOf(std::string_view text) {
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(text);
  return policy.ok() ? "" : Message(policy.status());
}

TEST(Manifest, EveryMistakeIsToldWithItsPlace) {
  size_t count = 0;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(GoldenPath("errors"))) {
    if (entry.path().extension() == ".json") files.insert(entry.path());
  }
  for (const std::filesystem::path& file : files) {
    ++count;
    const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(ReadFile(file).value());
    std::string text;
    if (policy.ok()) {
      text = "warnings\n" + Lines(policy->warnings);
    } else {
      const FieldErrors errors = FieldErrorsOf(policy.status());
      text = errors.empty() ? Message(policy.status()) + "\n" : Lines(errors);
    }
    ExpectGolden("errors/" + file.stem().string() + ".txt", text);
  }
  EXPECT_GE(count, 8u);
}

TEST(Manifest, TheDefaultPolicyAsAManifestIsTheDefaultPolicy) {
  const SandboxPolicy manifest = Decoded(ReadFile(SourcePath("manifests/sandbox/default.json")).value());
  SandboxPolicy built_in;
  built_in.policy = DefaultPolicy(kNativeArch);
  const StatusOr<PolicyDiff> diff = Diff(built_in, manifest);
  ASSERT_TRUE(diff.ok()) << ToString(diff.status());
  EXPECT_TRUE(diff->same()) << ToText(*diff, kNativeArch);
  EXPECT_EQ(Lines(manifest.warnings), "");
  EXPECT_FALSE(CompileManifest(ReadFile(SourcePath("manifests/sandbox/default.json")).value())->NeedsSupervisor());
}

TEST(Manifest, TheExampleDoesWhatItsTableSaysOnBothArchitectures) {
  const std::string text = ReadFile(SourcePath("manifests/sandbox/web.json")).value();
  const auto tests = ParseTable(ReadFile(SourcePath("manifests/sandbox/web.calls")).value());
  ASSERT_TRUE(tests.ok()) << ToString(tests.status());
  for (const Arch arch : {Arch::kX86_64, Arch::kArm64}) {
    const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(text, {.arch = arch});
    ASSERT_TRUE(policy.ok()) << Message(policy.status());
    EXPECT_EQ(Lines(policy->warnings), "");
    const StatusOr<std::vector<TableResult>> results = RunTable(*policy, *tests);
    ASSERT_TRUE(results.ok()) << ToString(results.status());
    EXPECT_EQ(results->size(), tests->size());
    for (const TableResult& result : *results) {
      EXPECT_TRUE(result.passed) << result.test.call << ": " << result.action << " by " << result.rule << " " << result.error;
    }
    const StatusOr<CompiledPolicy> compiled = CompileManifest(text, {.arch = arch});
    ASSERT_TRUE(compiled.ok()) << Message(compiled.status());
    EXPECT_TRUE(Verify(policy->policy, compiled->filter).ok());
    EXPECT_TRUE(CompiledPolicy::FromBytes(compiled->ToBytes()).ok());
    std::set<std::string_view> notified;
    for (const int number : compiled->notified) notified.insert(SyscallName(arch, number));
    std::set<std::string_view> expected = {"connect", "openat", "openat2", "sched_getaffinity", "sysinfo"};
    if (arch == Arch::kX86_64) expected.insert({"open", "creat"});
    EXPECT_EQ(notified, expected);
  }
}

TEST(Manifest, SectionsAreWhatWasWritten) {
  const SandboxPolicy policy = Decoded(ReadFile(SourcePath("manifests/sandbox/web.json")).value());
  EXPECT_EQ(policy.name, "web");
  EXPECT_EQ(policy.hash.size(), 64u);
  ASSERT_TRUE(policy.sections.files && policy.sections.net && policy.sections.view);
  EXPECT_EQ(policy.sections.files->allow[1], (PathAccess{"/srv", kRead | kWrite | kCreate | kDelete}));
  EXPECT_EQ(policy.sections.files->mask, std::vector<std::string>{"/proc/kcore"});
  EXPECT_FALSE(policy.sections.net->default_allow);
  const NetRule& dns = policy.sections.net->rules[0];
  EXPECT_TRUE(dns.connect && dns.send && !dns.bind && dns.first_port == 53 && dns.last_port == 53);
  EXPECT_EQ(policy.sections.net->rules[2].last_port, 8999);
  EXPECT_TRUE(policy.sections.view->granted_cpus);
  EXPECT_EQ(policy.sections.limits.deadline, std::chrono::seconds(2));
  EXPECT_EQ(policy.sections.audit.one_of_allowed, 1000u);
  const SandboxPolicy plain = Decoded(WithRules(""));
  EXPECT_EQ(plain.sections, Sections());
  const SandboxPolicy program = Decoded(Manifest(
      R"("base": {"groups": ["@known"]}, "program": {"source": "function f(c) end", "memory": "1Mi", "time": "500us", "onError": {"errno": "EACCES"}},
         "rules": [{"syscalls": ["openat"], "when": "flags has O_PATH", "action": {"program": "f"}}])"));
  EXPECT_EQ(*program.sections.program, (ProgramSection{"function f(c) end", 1 << 20, std::chrono::microseconds(500), 13}));
}

TEST(Manifest, LimitsOfResourcesAreQuantitiesAsThoseOfSessions) {
  const auto limits = [](const std::string& members) { return Decoded(Manifest(R"("base": {"groups": ["@known"]}, "limits": {)" + members + "}")).sections; };
  const Sections all = limits(R"("memory": "1.5Gi", "cpus": "1.5", "pids": 100, "callsPerSecond": 7)");
  EXPECT_EQ(all.resources, (ResourceLimits{uint64_t{3} << 29, 1500, 100}));
  EXPECT_EQ(all.limits.calls_per_second, 7u);
  EXPECT_EQ(limits(R"("cpus": "250m")").resources, (ResourceLimits{0, 250, 0}));
  EXPECT_EQ(limits(R"("cpus": 2.5, "memory": 8388608)").resources, (ResourceLimits{8 << 20, 2500, 0}));
  EXPECT_FALSE(limits(R"("deadline": "1s")").resources.any());
  for (const char* bad : {R"("memory": "512m")", R"("memory": "3Mi")", R"("memory": "2Pi")", R"("memory": "-1Gi")", R"("cpus": "9m")", R"("cpus": 10001)", R"("cpus": 0)", R"("cpus": true)", R"("pids": 1)", R"("pids": "100")", R"("pids": 4194305)"}) {
    const auto policy = DecodeSandboxPolicy(Manifest(fmt::format(R"("base": {{"groups": ["@known"]}}, "limits": {{{}}})", bad)));
    ASSERT_FALSE(policy.ok()) << bad;
    const std::string field = std::string("spec.limits.") + std::string(bad).substr(1, std::string(bad).find('"', 1) - 1);
    EXPECT_NE(Message(policy.status()).find(field), std::string::npos) << Message(policy.status());
  }
}

TEST(ResourceLimits, OfTwoTheSmallerCountsAndNoneIsNone) {
  EXPECT_EQ(Smaller({100, 0, 7}, {50, 2000, 0}), (ResourceLimits{50, 2000, 7}));
  EXPECT_EQ(Smaller({}, {}), ResourceLimits());
}

TEST(Manifest, ADurationOrSizeThatOverflowsIsRefused) {
  for (const char* limits : {R"("deadline": "307445734562m")", R"("deadline": "999999999999m")"}) {
    const auto policy = DecodeSandboxPolicy(Manifest(fmt::format(R"("base": {{"groups": ["@known"]}}, "limits": {{{}}})", limits)));
    ASSERT_FALSE(policy.ok()) << limits << ": wraps to ten seconds";
    EXPECT_NE(Message(policy.status()).find("spec.limits.deadline"), std::string::npos) << Message(policy.status());
  }
}

TEST(Manifest, ModesAndDefaults) {
  EXPECT_EQ(Decoded(Manifest(R"("base": {"groups": ["@default"]}, "mode": "warn")")).policy.mode, Mode::kWarn);
  EXPECT_EQ(Decoded(Manifest(R"("base": {"groups": ["@default"]}, "default": {"errno": "EPERM"})")).policy.rules[0].action, Action::Errno(1));
  EXPECT_EQ(Decoded(Manifest(R"("base": {"groups": ["@default"]})")).policy.rules[0].action, Action::Errno(38));
}

TEST(Manifest, NamesOfThePolicysOwnRulesCantBeTaken) {
  for (const char* name : {"base", "default", "view.cpus"}) {
    EXPECT_THAT(MistakesOf(WithRules(fmt::format(R"({{"name": "{}", "syscalls": ["openat"], "action": "allow"}})", name))),
                testing::HasSubstr("is what a rule of the policy's own is called"));
  }
}

TEST(Manifest, RulesComeBeforeTheViewAndTheViewBeforeTheBase) {
  const SandboxPolicy policy = Decoded(Manifest(
      R"("base": {"groups": ["@container"]}, "view": {"cpus": "granted"},
         "rules": [{"syscalls": ["sched_getaffinity"], "when": "pid == 1", "action": {"errno": "ESRCH"}}])"));
  const auto& rules = policy.policy.calls.at(*SyscallNumber(kNativeArch, "sched_getaffinity"));
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(policy.policy.rules[rules[0].rule].name, "rules[0]");
  EXPECT_EQ(policy.policy.rules[rules[0].rule].when, "pid == 1");
  EXPECT_EQ(policy.policy.rules[rules[1].rule].name, "view.cpus");
  EXPECT_EQ(policy.policy.rules[rules[2].rule].name, "base");
}

// Continuing on pointer data ---------------------------------------------------------------------------

TEST(Pointers, AllowByWhatAPointerPointsToIsRefused) {
  EXPECT_THAT(MistakesOf(WithRules(R"({"syscalls": ["openat"], "when": "path == '/x'", "action": "allow"})")),
              testing::HasSubstr("spec.rules[0] (line 1:134): Forbidden: lets openat go on by what a pointer points to; another thread can change that "
                                 "after it was looked at. Its action must be 'perform'"));
}

TEST(Pointers, WhatAnEarlierRuleMayRefuseMustNotGoOn) {
  const std::string deny = R"({"syscalls": ["openat"], "when": "path == '/x'", "action": "deny"})";
  EXPECT_THAT(MistakesOf(WithRules(deny)), testing::HasSubstr("what it doesn't refuse goes on by spec.base"));
  EXPECT_EQ(MistakesOf(WithRules(deny + R"(, {"syscalls": ["openat"], "action": "perform"})")), "");
  EXPECT_EQ(MistakesOf(WithRules(deny + R"(, {"syscalls": ["openat"], "action": {"errno": 1}})")), "");
  EXPECT_THAT(MistakesOf(WithRules(deny + R"(, {"syscalls": ["openat"], "when": "flags has O_CREAT", "action": "perform"})")),
              testing::HasSubstr("goes on by spec.base"))
      << "without O_CREAT it still goes on";
}

TEST(Pointers, OnlyCallsThatAgreeInAllElseAreCompared) {
  // Refused by the path only with O_CREAT; without it the path isn't looked at.
  EXPECT_EQ(MistakesOf(WithRules(R"({"syscalls": ["openat"], "when": "flags has O_CREAT && path == '/x'", "action": "deny"},
                                    {"syscalls": ["openat"], "when": "flags has O_CREAT", "action": "perform"})")), "");
  EXPECT_EQ(MistakesOf(WithRules(R"({"syscalls": ["openat"], "when": "caller.uid == 0 && path == '/x'", "action": "deny"},
                                    {"syscalls": ["openat"], "when": "caller.uid == 0", "action": "perform"})")), "");
  EXPECT_EQ(MistakesOf(WithRules(R"({"syscalls": ["openat"], "when": "caller.exe == '/bin/sh'", "action": "deny"})")), "")
      << "a program can't be changed during its call";
}

TEST(Pointers, ViewsAreNoRefusals) {
  EXPECT_EQ(MistakesOf(WithRules(R"({"syscalls": ["openat"], "when": "path == '/x'", "action": {"file": {"content": "x"}}})")), "");
  EXPECT_EQ(MistakesOf(WithRules(R"({"syscalls": ["openat"], "when": "path == '/x'", "action": "log"})")), "") << "all go on";
  EXPECT_THAT(MistakesOf(WithRules(R"({"syscalls": ["openat"], "when": "path == '/x'", "action": "log"}, {"syscalls": ["openat"], "action": "kill"})")),
              testing::HasSubstr("spec.rules[0] (line 1:134): Forbidden: lets openat go on"));
}

TEST(Pointers, WhatTheSupervisorCantMakeMustNotGoOnAfterALook) {
  EXPECT_THAT(MistakesOf(WithRules(R"({"syscalls": ["stat"], "when": "path == '/x'", "action": {"spoof": 0}})")),
              testing::HasSubstr("and can't make stat (only bind, connect, creat"));
  EXPECT_EQ(MistakesOf(WithRules(R"({"syscalls": ["stat"], "when": "path == '/x'", "action": {"spoof": 0}}, {"syscalls": ["stat"], "action": {"errno": 2}})")), "");
}

// What is said of all calls ----------------------------------------------------------------------------

TEST(Manifest, TheTableDecidesAsTheManifestsRulesDo) {
  const SandboxPolicy policy = Decoded(ReadFile(SourcePath("manifests/sandbox/web.json")).value());
  const StatusOr<RuleTable> table = RuleTable::FromBytes(*RuleTable::Build(policy.policy));
  ASSERT_TRUE(table.ok());
  for (const char* path : {"/etc/shadow", "/home/x/.ssh/k", "/etc/os-release", "/x", ""}) {
    for (const char* call : {"openat", "openat2", "connect", "read", "ptrace"}) {
      NotifiedCall notified;
      notified.number = *SyscallNumber(kNativeArch, call);
      notified.known = static_cast<Facts>(~kFactRate);
      notified.paths[0] = path;
      EXPECT_EQ(table->Decide(notified).rule, policy.policy.Decide(notified)) << call << " " << path;
    }
  }
}

TEST(Manifest, SizesAreBounded) {
  std::string rules;
  for (int i = 0; i < 4097; ++i) rules += fmt::format(R"({}{{"syscalls": ["openat"], "action": "allow"}})", i == 0 ? "" : ",");
  EXPECT_THAT(Message(DecodeSandboxPolicy(WithRules(rules), {.max_bytes = 1 << 20}).status()), testing::HasSubstr("at most 4096 items"));
  std::string wide;
  for (int i = 0; i < 200; ++i) wide += fmt::format(R"({}{{"syscalls": ["@known"], "action": "allow"}})", i == 0 ? "" : ",");
  EXPECT_THAT(MistakesOf(WithRules(wide)), testing::HasSubstr("rules times their calls are more than 65536"));
  EXPECT_THAT(MistakesOf(std::string(300'000, ' ')), testing::HasSubstr("too large"));
  std::string globs;
  for (int i = 0; i < 150; ++i) {
    globs += fmt::format(R"({}{{"syscalls": ["openat"], "when": "path like '/{}{}**'", "action": "deny"}})", i == 0 ? "" : ",", i, std::string(200, 'a'));
  }
  EXPECT_THAT(MistakesOf(WithRules(globs + R"(,{"syscalls": ["openat"], "action": "perform"})")), testing::HasSubstr("steps to decide (at most 200000)"));
}

TEST(Manifest, AThousandRulesAreReadAndChecked) {
  std::string rules;
  for (int i = 0; i < 1000; ++i) {
    rules += fmt::format(R"({{"syscalls": ["openat"], "when": "path under '/srv/{}' && flags has O_CREAT", "action": {{"errno": {}}}}},)", i, i % 100 + 1);
  }
  const StatusOr<SandboxPolicy> policy =
      DecodeSandboxPolicy(WithRules(rules + R"({"syscalls": ["openat"], "action": "perform"})"), {.max_bytes = 1 << 20});
  ASSERT_TRUE(policy.ok()) << Message(policy.status());
  EXPECT_THAT(Lines(policy->warnings), testing::Not(testing::HasSubstr("never decides")));
}

/// Rules whose ways to decide double with each: every one looks at other bits of one number. `calls` is a list of them.
std::string Doubling(unsigned rules, std::string_view calls, std::string_view and_also = "") {
  std::string out;
  for (unsigned i = 0; i < rules; ++i) {
    out += fmt::format(R"({{"syscalls": [{0}], "when": "(caller.uid & {1} == {1} || caller.uid & {2} == {3} && caller.uid & {4} == 0){5}", "action": {{"errno": {6}}}}},)", calls, 1u << i,
                       5u << (i + 2), 1u << (i + 2), 3u << (i * 7 % 26), and_also, i + 1);
  }
  return out;
}

TEST(Manifest, TimeIsBoundedWhateverIsWritten) {
  // Minutes without the bounds; under a sanitizer everything takes ten times as long.
  const auto started = std::chrono::steady_clock::now();
  std::string rules;
  for (const char* call : {"\"getpid\"", "\"chmod\", \"getuid\"", "\"getppid\"", "\"socket\""}) rules += Doubling(16, call);
  const SandboxPolicy policy = Decoded(WithRules(rules + R"({"syscalls": ["getpid"], "action": "allow"})"));
  EXPECT_THAT(Lines(policy.warnings), testing::HasSubstr("too many ways to decide"));
  const std::string deep = Doubling(16, "\"openat\"", " && path like '**/x*'");
  EXPECT_EQ(MistakesOf(WithRules(deep + R"({"syscalls": ["openat"], "action": "perform"})")), "");
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(60));
}

TEST(Pointers, WhereNobodyCanLookAtAllWaysTheWorstIsTaken) {
  const std::string deep = Doubling(16, "\"openat\"", " && path like '**/x*'");
  EXPECT_THAT(MistakesOf(WithRules(deep + R"({"syscalls": ["openat"], "when": "flags has O_PATH", "action": "perform"})")), testing::HasSubstr("goes on by spec.base"));
  std::string log = deep;
  for (size_t at; (at = log.find("{\"errno\":")) != std::string::npos;) log.replace(at, log.find('}', at) + 1 - at, "\"log\"");
  EXPECT_THAT(MistakesOf(WithRules(log + R"({"syscalls": ["openat"], "action": "kill"})")), testing::HasSubstr("lets openat go on by what a pointer points to"));
  EXPECT_EQ(MistakesOf(WithRules(log.substr(0, log.rfind(',')))), "") << "all go on";
}

TEST(Catalogue, NamesCallsThatExist) {
  for (const std::string_view call : PerformableCalls()) EXPECT_NE(FindSyscall(call), nullptr) << call;
  for (const Emulator& emulator : AllEmulators()) {
    EXPECT_EQ(FindEmulator(emulator.name), &emulator);
    for (const std::string_view call : emulator.calls) EXPECT_NE(FindSyscall(call), nullptr) << call;
  }
  for (const Syscall& call : AllSyscalls()) {
    if (CanReadPaths(call.name)) {
      EXPECT_THAT(std::string(call.signature), testing::HasSubstr("path ")) << call.name;
    }
    if (CanGiveFile(call.name)) {
      EXPECT_TRUE(CanPerform(call.name));
    }
  }
}

TEST(Manifest, ConnectingBySendingIsRefusedWhereverSendingMayGoOnAndChangesNoRefusal) {
  const SandboxPolicy policy = Decoded(WithRules(R"({"syscalls": ["connect"], "when": "addr.port == 7", "action": "deny"}, {"syscalls": ["connect"], "action": "perform"},
      {"syscalls": ["sendto"], "when": "sockfd == 9", "action": "kill"}, {"syscalls": ["sendto"], "when": "sockfd == 8", "action": "allow"})"));
  constexpr uint64_t kFastOpen = 0x20000000;
  const auto outcome = [&policy](uint64_t fd, uint64_t flags) {
    NotifiedCall call;
    call.number = *SyscallNumber(policy.policy.arch, "sendto");
    call.arguments = {fd, 0, 0, flags, 0, 0};
    return policy.policy.ActionOf(policy.policy.Decide(call)).ToText();
  };
  EXPECT_EQ(outcome(9, kFastOpen), outcome(9, 0)) << "killed all the same";
  EXPECT_EQ(outcome(8, kFastOpen), "errno 95") << "an own rule that allows is no way around";
  EXPECT_EQ(outcome(8, 0), "allow");
  EXPECT_EQ(outcome(3, kFastOpen), "errno 95");
  EXPECT_EQ(outcome(3, 0), "allow");
}

}  // namespace
}  // namespace isla::sandbox
