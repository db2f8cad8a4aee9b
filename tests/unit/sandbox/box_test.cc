// isla-box as a whole: what it prints and how it exits; and the parts behind it.
#include "sandbox/box/box.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "sandbox/box/call_text.h"
#include "sandbox/box/completion.h"
#include "sandbox/box/describe.h"
#include "sandbox/box/diff.h"
#include "sandbox/box/explain.h"
#include "sandbox/box/options.h"
#include "sandbox/box/test_table.h"
#include "sandbox/default_policy.h"
#include "sandbox/names/syscalls.h"
#include "tests/unit/sandbox/golden.h"
#include "tests/unit/sandbox/random_policy.h"

namespace isla::sandbox {
namespace {

class FakeIo : public BoxIo {
 public:
  void Out(std::string_view text) override { out += text; }
  void Err(std::string_view text) override { err += text; }
  StatusOr<std::string> Read(const std::string& path, size_t limit_bytes) override {
    const auto found = files.find(path);
    if (found != files.end()) return found->second;
    return ReadFile(SourcePath(path), limit_bytes);
  }
  Status CheckWritable(const std::string&) override { return OkStatus(); }
  Status Write(const std::string& path, std::string_view bytes) override {
    files[path] = bytes;
    return OkStatus();
  }

  std::map<std::string, std::string> files;
  std::string out, err;
};

struct Ran {
  int exit = 0;
  std::string out, err;
};

Ran RunBox(const std::vector<std::string>& args, std::map<std::string, std::string> files = {}) {
  FakeIo io;
  io.files = std::move(files);
  Ran ran;
  ran.exit = BoxMain(args, io);
  ran.out = io.out;
  ran.err = io.err;
  return ran;
}

std::string Manifest(std::string_view rules, std::string_view more = "") {
  return fmt::format(R"({{"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {{"name": "t"}}, "spec": {{"base": {{"groups": ["@container"]}}, "rules": [{}]{}}}}})", rules, more);
}

SandboxPolicy Decoded(std::string_view text) {
  StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(text);
  EXPECT_TRUE(policy.ok()) << Message(policy.status());
  return policy.ok() ? *std::move(policy) : SandboxPolicy();
}

constexpr const char* kWeb = "manifests/sandbox/web.json";

// Commands ---------------------------------------------------------------------------------------------

#if defined(__x86_64__)
TEST(Box, CheckExplainAndDiffPrintTheGoldenTexts) {
  ExpectGolden("box/check.txt", RunBox({"check", kWeb}).out);
  ExpectGolden("box/check_errors.txt", RunBox({"check", "tests/unit/sandbox/golden/errors/pointers.json"}).err);
  ExpectGolden("box/check_warnings.txt", RunBox({"check", "tests/unit/sandbox/golden/errors/unreachable.json"}).err);
  ExpectGolden("box/explain.txt", RunBox({"explain", kWeb, "openat(AT_FDCWD, \"/home/ann/notes\", O_RDWR|O_CREAT, 0644)", "connect(3, \"10.1.2.3:80\") uid=1000",
                                          "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1)", "ptrace(PTRACE_ATTACH, 1)", "personality(8)"}).out);
  const Ran diff = RunBox({"diff", "manifests/sandbox/default.json", kWeb});
  EXPECT_EQ(diff.exit, 1);
  ExpectGolden("box/diff.txt", diff.out);
  ExpectGolden("box/listing.txt", RunBox({"export", "--output=listing", "--no-floor", "--notified=notify", kWeb}).out);
}
#endif

TEST(Box, ExitStatusSaysYesNoOrTrouble) {
  EXPECT_EQ(RunBox({"check", kWeb}).exit, 0);
  EXPECT_EQ(RunBox({"check", "tests/unit/sandbox/golden/errors/rules.json"}).exit, 1);
  EXPECT_EQ(RunBox({"check", "/no/such/file"}).exit, 2);
  EXPECT_EQ(RunBox({"explain", "tests/unit/sandbox/golden/errors/rules.json", "read(0)"}).exit, 2);
  EXPECT_EQ(RunBox({"test", kWeb, "manifests/sandbox/web.calls"}).exit, 0);
  EXPECT_EQ(RunBox({"diff", kWeb, kWeb}).exit, 0);
  EXPECT_EQ(RunBox({"diff", kWeb, kWeb}).out, "the policies do the same\n");
  EXPECT_EQ(RunBox({"diff", "-q", kWeb, "manifests/sandbox/default.json"}).exit, 1);
  EXPECT_EQ(RunBox({"export", kWeb}).exit, 1);
  EXPECT_THAT(RunBox({"export", kWeb}).err, testing::HasSubstr("Say what becomes of them: --notified="));
  EXPECT_EQ(RunBox({}).exit, 2);
  EXPECT_EQ(RunBox({"help"}).exit, 0);
  EXPECT_EQ(RunBox({"chekc"}).err, "error: unknown command 'chekc'; did you mean 'check'?\nSee 'isla-box --help'.\n");
  EXPECT_EQ(RunBox({"check"}).err, "error: expected POLICY\nSee 'isla-box check --help'.\n");
  EXPECT_EQ(RunBox({"check", "--arch=mips", kWeb}).exit, 2);
  EXPECT_THAT(RunBox({"explain", kWeb, "opeant()"}).err, testing::HasSubstr("opeant(): column 1: no system call is named 'opeant'; did you mean 'openat'?"));
  for (const char* runs : {"run", "learn"}) {
    EXPECT_EQ(RunBox({runs}).exit, 125) << "an exit status that isn't the command's";
    EXPECT_EQ(RunBox({runs, "--no-such-flag", "--", "true"}).exit, 125);
    EXPECT_EQ(RunBox({runs, "--cpus=none", "--", "true"}).exit, 125);
    EXPECT_EQ(RunBox({runs, "word", "--", "true"}).exit, 125);
  }
  EXPECT_EQ(RunBox({"top", "one", "two"}).exit, 2);
}

TEST(Explain, OfTwoFiltersTheStricterAnswerCounts) {
  const std::string rules = R"({"syscalls": ["ptrace"], "action": "kill"}, {"syscalls": ["bpf"], "action": {"errno": "EACCES"}},
      {"syscalls": ["mount"], "action": {"spoof": 0}}, {"syscalls": ["swapon"], "action": {"errno": "EPERM"}}, {"syscalls": ["reboot"], "action": "allow"})";
  const SandboxPolicy policy = Decoded(Manifest(rules));
  const auto verdict = [&policy](std::string_view call) {
    const StatusOr<Explanation> explanation = Explain(policy, *ParseCall(call, kNativeArch));
    EXPECT_TRUE(explanation.ok()) << ToString(explanation.status());
    return explanation.ok() ? explanation->action + " by " + explanation->decided_by : "";
  };
  EXPECT_EQ(verdict("ptrace(PTRACE_ATTACH, 1)"), "kill by rules[0]") << "more than the floor's errno";
  EXPECT_EQ(verdict("bpf(BPF_PROG_LOAD)"), "errno EACCES by rules[1]") << "as strict, and loaded last";
  EXPECT_EQ(verdict("mount(NULL)"), "errno EPERM by floor: forbidden") << "the kernel refuses before anybody is asked";
  EXPECT_EQ(verdict("swapon(NULL)"), "errno EPERM by floor: forbidden") << "both say so";
  EXPECT_EQ(verdict("reboot(0)"), "errno EPERM by floor: forbidden");
  EXPECT_EQ(verdict("getpid()"), "allow by base");
}

TEST(Box, EveryCommandHasHelpAndFlags) {
  for (const std::string& command : BoxCommands()) {
    const Ran ran = RunBox({command, "--help"});
    EXPECT_EQ(ran.exit, 0) << command;
    EXPECT_THAT(ran.out, testing::HasSubstr("Usage: isla-box " + command));
    EXPECT_EQ(RunBox({"help", command}).out, ran.out);
  }
  EXPECT_THAT(BoxFlags("export"), testing::IsSupersetOf({"--notified", "--file", "--output", "--arch", "--no-floor"}));
}

TEST(Box, TestsThatFailSayWhatCameInstead) {
  const Ran ran = RunBox({"test", kWeb, "t"}, {{"t", "chroot(\"/x\") -> allow\nread(0) -> allow by rules[0]\nnonsense -> deny\nread(0) -> allow\n"}});
  EXPECT_EQ(ran.exit, 1);
  EXPECT_EQ(ran.out,
            "FAILED  t:1: chroot(\"/x\")\n        expected allow\n        got      errno ENOSYS by default\n"
            "FAILED  t:2: read(0)\n        expected allow by rules[0]\n        got      allow by base\n"
            "FAILED  t:3: nonsense\n        expected deny\n        column 1: no system call is named 'nonsense'\n"
            "ok      read(0) -> allow\n1 passed, 3 failed\n");
  EXPECT_EQ(RunBox({"test", kWeb, "t"}, {{"t", "read(0)\n\n# x\n-> deny\n"}}).err,
            "error: t: line 1: expected CALL -> ACTION, with ' by RULE' after it if the rule matters\n"
            "line 4: expected CALL -> ACTION, with ' by RULE' after it if the rule matters\n");
}

TEST(Box, JsonIsForPrograms) {
  const auto parsed = [](const std::vector<std::string>& args) { return json::Parse(RunBox(args).out, {.max_bytes = 1 << 20}).value(); };
  const json::Value check = parsed({"check", "-o", "json", kWeb});
  EXPECT_TRUE(check.Find("valid")->as_bool());
  EXPECT_EQ(check.StringAt({"proof"}), "proven");
  const json::Value wrong = parsed({"check", "-o", "json", "tests/unit/sandbox/golden/errors/pointers.json"});
  EXPECT_FALSE(wrong.Find("valid")->as_bool());
  EXPECT_EQ(wrong.Find("errors")->items()[0].StringAt({"field"}), "spec.rules[0]");
  EXPECT_EQ(parsed({"explain", "-o", "json", kWeb, "read(0)"}).items()[0].StringAt({"decidedBy"}), "base");
  EXPECT_EQ(parsed({"diff", "-o", "json", kWeb, "manifests/sandbox/default.json"}).StringAt({"reach"}), "restart");
}

TEST(Box, ExportWritesFiles) {
  FakeIo io;
  EXPECT_EQ(BoxMain({"export", "--output=bpf", "--file=out", "manifests/sandbox/default.json"}, io), 0);
  EXPECT_TRUE(FromBytes(io.files["out"]).ok());
  EXPECT_EQ(BoxMain({"export", "--file=oci", "manifests/sandbox/default.json"}, io), 0);
  EXPECT_EQ(json::Parse(io.files["oci"], {.max_bytes = 1 << 20})->StringAt({"defaultAction"}), "SCMP_ACT_ERRNO");
  EXPECT_EQ(BoxMain({"check", "oci"}, io), 0) << io.err;
}

TEST(Box, CallsShowsWhatPoliciesAreWrittenWith) {
  EXPECT_THAT(RunBox({"calls"}).out, testing::HasSubstr("@file-open"));
  EXPECT_EQ(RunBox({"calls", "openat"}).out,
            "openat(fd dirfd, path pathname, open flags, mode mode)\n  numbers  x86-64 257, arm64 56\n"
            "  actions  allow, log, errno, kill, deny, spoof, program, perform, file, redirect to a path\n"
            "  groups   @container @file-open @file-path @file-system @known @system-service\n");
  EXPECT_THAT(RunBox({"calls", "read"}).out, testing::HasSubstr("never handed to the supervisor"));
  EXPECT_EQ(RunBox({"calls", "@file-opne"}).err, "error: no call or group '@file-opne'; did you mean '@file-open'?\n");
}

TEST(Box, CompletionOffersWhatCanBeSaid) {
  EXPECT_THAT(RunBox({"completion", "bash"}).out, testing::HasSubstr("complete -F _isla_box isla-box"));
  EXPECT_EQ(BoxComplete({"ex"}), "explain\nexport\n");
  EXPECT_EQ(BoxComplete({"check", "--ar"}), "--arch\n");
  EXPECT_EQ(BoxComplete({"check", "--arch", "a"}), "arm64\n");
  EXPECT_EQ(BoxComplete({"check", ""}), ":files\n");
  EXPECT_EQ(BoxComplete({"calls", "@file-o"}), "@file-open\n");
  EXPECT_EQ(BoxComplete({}), "");
}

// Calls as text ----------------------------------------------------------------------------------------

TEST(CallText, IsReadAsPeopleAndStraceWriteIt) {
  const auto call = [](std::string_view text) {
    const StatusOr<CallExample> parsed = ParseCall(text, Arch::kX86_64);
    EXPECT_TRUE(parsed.ok()) << text << ": " << Message(parsed.status());
    return parsed.ok() ? *parsed : CallExample();
  };
  const CallExample open = call("openat(AT_FDCWD</home>, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>");
  EXPECT_EQ(open.number, 257);
  EXPECT_EQ(open.paths[0], "/etc/passwd");
  EXPECT_EQ(open.arguments[2], 0x80000u);
  EXPECT_EQ(call("open(\"/x\", O_WRONLY|O_CREAT, 0644)").arguments[2], 0644u);
  EXPECT_EQ(call("rename(\"/a\", \"/b\\\"c\")").paths[1], "/b\"c");
  EXPECT_EQ(call("connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr(\"10.0.0.1\")}, 16) = -1 EINPROGRESS").address.ToText(), "10.0.0.1:443");
  EXPECT_EQ(call("connect(3, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, \"::1\", &sin6_addr), sin6_scope_id=0}, 28)").address.ToText(), "[::1]:80");
  EXPECT_EQ(call("connect(3, {sa_family=AF_UNIX, sun_path=\"/run/x\"}, 110)").address_path, "/run/x");
  EXPECT_EQ(call("connect(3, {sa_family=AF_UNIX, sun_path=@\"bus\"}, 110)").address_path, std::string("\0bus", 4));
  EXPECT_EQ(call("connect(3, \"unix:@bus\") exe=/usr/bin/x uid=5").address_path, std::string("\0bus", 4));
  EXPECT_EQ(call("connect(3, \"[::1]:80\") exe=/usr/bin/x uid=5").uid, 5u);
  EXPECT_EQ(call("openat2(3, \"/x\", {flags=O_RDWR|O_CREAT, mode=0600, resolve=RESOLVE_BENEATH}, 24)").fields[2], 8u);
  EXPECT_NE(call("write(1, \"hello\"..., 5)").arguments[1], 0u);
  EXPECT_NE(call("rt_sigaction(SIGINT, {sa_handler=0x1, sa_mask=[INT \"}\"]}, NULL, 8)").arguments[1], 0u);
  EXPECT_EQ(call("rt_sigaction(SIGINT, {}, NULL, 8)").arguments[2], 0u);
  EXPECT_EQ(call("#470(1, 0x2)").arguments[1], 2u);
  EXPECT_EQ(call("kill(-1, SIGKILL)").arguments[0], ~uint64_t{0});
  EXPECT_EQ(call("getpid()").number, 39);
  EXPECT_EQ(call("exit_group(...)").number, 231);
}

TEST(CallText, MistakesAreToldByColumn) {
  const std::pair<const char*, const char*> kMistakes[] = {
      {"", "column 1: expected a call such as openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY)"},
      {"opeant()", "column 1: no system call is named 'opeant'; did you mean 'openat'?"},
      {"openat", "column 7: the call ends here (expected '(')"},
      {"openat(AT_FDCDW)", "column 8: unknown name 'AT_FDCDW'; did you mean 'AT_FDCWD'?"},
      {"openat(AT_FDCWD \"/x\")", "column 17: unexpected '\"' (expected ',')"},
      {"openat(3, /x)", "column 11: expected a string in double quotes"},
      {"openat(3, \"x\")", "column 11: 'x' is not an absolute path: rules see paths as the supervisor resolves them"},
      {"openat(3, \"/x/../y\")", "column 11: '/x/../y' has an empty part, '.' or '..'"},
      {"openat(3, \"/x", "column 11: the string that begins here has no end"},
      {"close(1, 2)", "column 10: close has 1 arguments"},
      {"close(1x)", "column 7: '1x' is not a number"},
      {"close(1) 5", "column 10: expected 'exe=PATH', 'uid=NUMBER' or the end after the call"},
      {"close(1) exe=x", "column 14: 'x' is not an absolute path"},
      {"connect(3, \"10.0.0.1\")", "column 12: expected an address such as \"10.0.0.1:80\", \"[::1]:80\", \"unix:/run/x\" or \"unix:@name\""},
      {"openat2(3, \"/x\", {flgs=0})", "column 19: open_how has no member 'flgs' (expected flags, mode, resolve)"},
      {"write(1, {", "column 10: the bracket that opens here isn't closed"},
      {"#x()", "column 1: expected the number of a call after '#'"},
  };
  for (const auto& [text, error] : kMistakes) {
    const StatusOr<CallExample> call = ParseCall(text, Arch::kX86_64);
    EXPECT_FALSE(call.ok()) << text;
    EXPECT_EQ(Message(call.status()), error) << text;
  }
  EXPECT_EQ(Message(ParseCall("open(\"/x\")", Arch::kArm64).status()), "column 1: arm64 has no system call 'open'");
}

TEST(CallText, WhatIsDescribedCanBeRead) {
  RandomPolicies random(21);
  for (int i = 0; i < 20'000; ++i) {
    (void)random.Make({.calls = 1});
    const NotifiedCall call = random.RandomCall();
    const Syscall* syscall = FindSyscall(Arch::kX86_64, call.number);
    if (syscall == nullptr) continue;
    CallExample example;
    example.number = call.number;
    example.arguments = call.arguments;
    example.paths = {std::string(call.paths[0]), std::string(call.paths[1])};
    example.address = call.address;
    example.address_path = call.address.path;
    example.address.path = {};
    example.fields = call.fields;
    const std::string text = DescribeCall(Arch::kX86_64, example);
    const StatusOr<CallExample> back = ParseCall(text, Arch::kX86_64);
    ASSERT_TRUE(back.ok()) << text << ": " << Message(back.status());
    EXPECT_EQ(DescribeCall(Arch::kX86_64, *back), text);
  }
}

// Differences ------------------------------------------------------------------------------------------

struct Difference {
  const char* before;
  const char* after;
  const char* expected;  // "call: before -> after [reach]" lines
};

TEST(Diff, ChangesAreClassifiedByWhatItTakes) {
  const std::string deny_shadow = R"({"syscalls": ["openat"], "when": "path == '/etc/shadow'", "action": "deny"}, {"syscalls": ["openat"], "action": "perform"})";
  const Difference kCases[] = {
      {"", "", ""},
      // The kernel decides, and would decide otherwise.
      {R"({"syscalls": ["chmod"], "action": {"errno": 1}})", R"({"syscalls": ["chmod"], "action": "allow"})", "chmod: errno EPERM -> allow [restart]\n"},
      {R"({"syscalls": ["chmod"], "action": "allow"})", R"({"syscalls": ["chmod"], "action": {"errno": 1}})", "chmod: allow -> errno EPERM [tighten-only]\n"},
      {R"({"syscalls": ["chmod"], "action": {"errno": 1}})", R"({"syscalls": ["chmod"], "action": "kill"})", "chmod: errno EPERM -> kill [tighten-only]\n"},
      {R"({"syscalls": ["sysinfo"], "action": "allow"})", R"({"syscalls": ["sysinfo"], "action": {"emulate": "sysinfo"}})", "sysinfo: allow -> emulate sysinfo [restart]\n"},
      // The supervisor decides already.
      {R"({"syscalls": ["sysinfo"], "action": {"emulate": "sysinfo"}})", R"({"syscalls": ["sysinfo"], "action": "allow"})", "sysinfo: emulate sysinfo -> allow [live]\n"},
      // The floor refuses it either way; but not with this error, nor by killing.
      {R"({"syscalls": ["ptrace"], "action": {"errno": 1}})", R"({"syscalls": ["ptrace"], "action": "allow"})", ""},
      {R"({"syscalls": ["ptrace"], "action": "allow"})", R"({"syscalls": ["ptrace"], "action": "kill"})", "ptrace: errno EPERM -> kill [tighten-only]\n"},
      {R"({"syscalls": ["ptrace"], "action": {"errno": "EACCES"}})", R"({"syscalls": ["ptrace"], "action": "allow"})", "ptrace: errno EACCES -> errno EPERM [restart]\n"},
      // It refuses some of them.
      {R"({"syscalls": ["socket"], "action": {"errno": "EAFNOSUPPORT"}})", R"({"syscalls": ["socket"], "when": "domain in [AF_UNIX, 40]", "action": "allow"}, {"syscalls": ["socket"], "action": {"errno": "EAFNOSUPPORT"}})",
       "socket: errno EAFNOSUPPORT -> allow [restart]\n"},
      {R"({"syscalls": ["socket"], "action": {"errno": "EAFNOSUPPORT"}})", R"({"syscalls": ["socket"], "when": "domain == 40", "action": "allow"}, {"syscalls": ["socket"], "action": {"errno": "EAFNOSUPPORT"}})", ""},
      {R"({"syscalls": ["ioctl"], "when": "request == TIOCSTI", "action": "allow"}, {"syscalls": ["ioctl"], "action": {"errno": 1}})", R"({"syscalls": ["ioctl"], "action": {"errno": 1}})", ""},
      // Texts that say the same.
      {R"({"syscalls": ["chmod"], "when": "mode has S_ISUID || mode has S_ISGID", "action": {"errno": 1}})",
       R"({"syscalls": ["chmod"], "when": "(mode & 06000) != 0", "action": {"errno": 1}})", ""},
      {R"({"syscalls": ["socket"], "when": "domain < AF_INET6 && domain > AF_UNIX", "action": "kill"})",
       R"({"syscalls": ["socket"], "when": "domain in [2..9]", "action": "kill"})", ""},
      // One flag more.
      {R"({"syscalls": ["chmod"], "when": "mode has S_ISUID", "action": {"errno": 1}})",
       R"({"syscalls": ["chmod"], "when": "mode hasany S_ISUID|S_ISGID", "action": {"errno": 1}})", "chmod: allow -> errno EPERM [tighten-only]\n"},
  };
  for (const Difference& each : kCases) {
    const StatusOr<PolicyDiff> diff = Diff(Decoded(Manifest(each.before)), Decoded(Manifest(each.after)));
    ASSERT_TRUE(diff.ok()) << ToString(diff.status());
    std::string changes;
    for (const CallChange& change : diff->calls) {
      changes += fmt::format("{}: {} -> {} [{}]\n", SyscallText(kNativeArch, change.number), change.before, change.after, ReachName(change.reach));
      EXPECT_TRUE(change.certain);
      const StatusOr<CallExample> example = ParseCall(change.example, kNativeArch);
      EXPECT_TRUE(example.ok()) << change.example << ": " << Message(example.status());
    }
    EXPECT_EQ(changes, each.expected) << each.before << "\n" << each.after;
  }
  const SandboxPolicy shadow = Decoded(Manifest(deny_shadow));
  const SandboxPolicy both = Decoded(Manifest(R"({"syscalls": ["openat"], "when": "path in ['/etc/shadow', '/etc/gshadow']", "action": "deny"}, {"syscalls": ["openat"], "action": "perform"})"));
  const StatusOr<PolicyDiff> diff = Diff(shadow, both);
  ASSERT_TRUE(diff.ok());
  ASSERT_EQ(diff->calls.size(), 1u);
  EXPECT_EQ(diff->calls[0].reach, Reach::kLive);
  EXPECT_EQ(diff->calls[0].example, "openat(0, \"/etc/gshadow\")");
}

TEST(Explain, SaysWhatALimitMakesOfACallThatGoesOn) {
  const SandboxPolicy policy = Decoded(Manifest(R"({"syscalls": ["brk"], "action": {"errno": "ENOMEM"}})", R"(, "limits": {"memory": "512Mi", "pids": 10})"));
  const auto limit = [&policy](std::string_view call) { return Explain(policy, ParseCall(call, kNativeArch).value()).value().limit; };
  EXPECT_EQ(limit("mmap(0, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"), "memory 512Mi: with more in use the kernel kills");
  EXPECT_EQ(limit("clone(0)"), "pids 10: EAGAIN with more processes and threads");
  EXPECT_EQ(limit("brk(0)"), "") << "it is refused by rule";
  EXPECT_EQ(limit("read(0)"), "");
  EXPECT_EQ(LimitsText(policy.sections.resources), "memory 512Mi, pids 10");
}

TEST(Diff, ModesSectionsAndDefaultsCount) {
  const auto diff = [](std::string_view before, std::string_view after) { return Diff(Decoded(Manifest("", before)), Decoded(Manifest("", after))).value(); };
  EXPECT_TRUE(diff("", "").same());
  const PolicyDiff warn = diff("", R"(, "mode": "warn")");
  EXPECT_EQ(warn.reach(), Reach::kRestart);
  EXPECT_EQ(warn.calls[0].number, kCallNumbers);
  EXPECT_EQ(warn.calls[0].after, "allow, written down (enforced: errno ENOSYS)");
  const PolicyDiff fallback = diff("", R"(, "default": "kill")");
  EXPECT_EQ(fallback.calls[0].before, "errno ENOSYS");
  EXPECT_EQ(fallback.calls[0].reach, Reach::kTightenOnly);
  EXPECT_EQ(diff(R"(, "net": {"default": "deny"})", R"(, "net": {"default": "allow"})").sections[0].reach, Reach::kLive);
  EXPECT_EQ(diff("", R"(, "net": {"default": "deny"})").sections[0].reach, Reach::kRestart);
  EXPECT_EQ(diff("", R"(, "limits": {"deadline": "1s"})").sections[0].reach, Reach::kLive);
  const PolicyDiff limits = diff(R"(, "limits": {"memory": "1Gi", "pids": 10})", R"(, "limits": {"memory": "1536Mi", "cpus": "1.5"})");
  EXPECT_EQ(ToText(limits, kNativeArch), "spec.limits.memory: 1Gi -> 1536Mi  [live]\nspec.limits.cpus: none -> 1.5  [live]\nspec.limits.pids: 10 -> none  [live]\n");
  const std::string wide = R"(, "files": {"allow": [{"path": "/", "access": ["read", "write"]}]})", narrow = R"(, "files": {"allow": [{"path": "/usr", "access": ["read"]}]})";
  EXPECT_EQ(diff(wide, narrow).sections[0].reach, Reach::kTightenOnly);
  EXPECT_EQ(diff(narrow, wide).sections[0].reach, Reach::kRestart);
  EXPECT_EQ(diff("", narrow).sections[0].reach, Reach::kTightenOnly);
}

TEST(Diff, FindsWhatRandomCallsFind) {
  // Whenever some random call is decided otherwise, the diff must have a change for its number; and its examples differ.
  RandomPolicies random(31);
  const Policy floor = FloorPolicy(kNativeArch);
  size_t changed = 0;
  for (int round = 0; round < 200; ++round) {
    SandboxPolicy before, after;
    before.policy = random.Make({.calls = 3, .most_rules = 3, .most_depth = 2});
    after.policy = before.policy;
    // One rule gets another action, or goes.
    if (after.policy.rules.size() > 1 && random.Below(2) == 0) after.policy.rules.back().action = Action::Errno(91);
    else if (!after.policy.calls.empty() && !after.policy.calls.begin()->second.empty()) after.policy.calls.begin()->second.erase(after.policy.calls.begin()->second.begin());
    const StatusOr<PolicyDiff> diff = Diff(before, after);
    ASSERT_TRUE(diff.ok()) << ToString(diff.status());
    std::set<int> numbers;
    for (const CallChange& change : diff->calls) numbers.insert(change.number);
    for (int i = 0; i < 500; ++i) {
      const NotifiedCall call = random.RandomCall();
      const Action &was = before.policy.ActionOf(before.policy.Decide(call)), &is = after.policy.ActionOf(after.policy.Decide(call));
      // What the floor decides by itself doesn't change.
      if (was == is || before.policy.calls.count(call.number) == 0 || floor.Decide(call) != 0) continue;
      ++changed;
      EXPECT_EQ(numbers.count(call.number), 1u) << round << " " << SyscallText(kNativeArch, call.number) << " " << was.ToText() << " -> " << is.ToText();
    }
  }
  EXPECT_GT(changed, 500u);
}

// Of run's flags only those are made that the words name.
TEST(Options, EachFlagOfRunIsKnownByItself) {
  for (const std::string& flag : BoxFlags("run")) {
    if (flag == "--help") continue;
    const BoxParse parsed = ParseBox({"run", flag, "1", "--", "true"});
    EXPECT_EQ(parsed.err.find("unknown flag"), std::string::npos) << flag << ": " << parsed.err;
  }
  const BoxParse several = ParseBox({"run", "--verbose", "--cpus=2", "--memory", "1g", "--unshare=net,ipc", "--unshare=pid", "--keep-fd=5", "--keep-fd", "6", "--", "true", "--cpus=9"});
  ASSERT_TRUE(several.err.empty()) << several.err;
  const RunFlags& run = several.options.run;
  EXPECT_TRUE(run.verbose);
  EXPECT_EQ(run.cpus, "2");
  EXPECT_EQ(run.memory, "1g");
  EXPECT_EQ(run.unshare, (std::vector<std::string>{"net", "ipc", "pid"}));
  EXPECT_EQ(run.keep, (std::vector<int>{5, 6}));
  EXPECT_EQ(run.command, (std::vector<std::string>{"true", "--cpus=9"}));
  EXPECT_TRUE(ParseBox({"run", "-v", "--cpus=2", "--", "true"}).options.run.verbose);
  EXPECT_NE(ParseBox({"run", "--polcy=x", "--", "true"}).err.find("did you mean '--policy'"), std::string::npos);
  EXPECT_NE(ParseBox({"run", "--help"}).out.find("--keep-fd"), std::string::npos);
}

}  // namespace
}  // namespace isla::sandbox
