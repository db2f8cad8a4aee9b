// Functions of a policy: what they see, what they may answer, and that no source gets out of its bounds.
#include "sandbox/program/policy_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "sandbox/box/call_text.h"
#include "sandbox/box/explain.h"
#include "sandbox/box/test_table.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/constants.h"
#include "sandbox/policy/signature.h"
#include "sandbox/table/rule_table.h"

namespace isla::sandbox {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint16_t kOnError = 71;

ProgramSection Section(std::string source) {
  return {std::move(source), 1u << 20, std::chrono::milliseconds(20), kOnError};
}

/// For much work that must be done on any machine and under every sanitizer.
ProgramSection Slow(std::string source) { return {std::move(source), 4u << 20, std::chrono::seconds(1), kOnError}; }

CallExample Call(std::string_view text) {
  StatusOr<CallExample> call = ParseCall(text, Arch::kX86_64);
  EXPECT_TRUE(call.ok()) << Message(call.status());
  return call.ok() ? *std::move(call) : CallExample();
}

/// The answer as text, "errno EACCES"; or "error: ..." (then the action must be onError).
std::string Answer(const PolicyProgram& program, const NotifiedCall& call) {
  const ProgramAnswer answer = program.Run("f", call, 42);
  if (answer.error.empty()) return answer.action.ToText();
  EXPECT_EQ(answer.action, Action::Errno(kOnError));
  return "error: " + answer.error;
}

std::string AnswerOf(const std::string& source, std::string_view call = "getpriority(0, 5)") {
  const PolicyProgram program(Section(source), Arch::kX86_64);
  const CallExample example = Call(call);
  return Answer(program, example.View());
}

/// What an expression is, as text: a redirect of an open goes anywhere.
std::string Value(const std::string& expression, std::string_view call = "openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY)") {
  const std::string answer = AnswerOf("function f(call) return {redirect = {path = '/' .. tostring(" + expression + ")}} end", call);
  const std::string prefix = "redirect /";
  return answer.starts_with(prefix) ? answer.substr(prefix.size()) : answer;
}

// What it sees -----------------------------------------------------------------------------------------

TEST(Program, SeesTheCallByTheNamesOfItsArguments) {
  const std::string_view call = "openat(AT_FDCWD, \"/etc/hosts\", O_WRONLY|O_CREAT, 0644) exe=/bin/cat uid=1000";
  const std::map<std::string, std::string> values = {
      {"call.name", "openat"}, {"call.number", "257"}, {"call.exe", "/bin/cat"}, {"call.uid", "1000"}, {"call.pid", "42"},
      {"call.path", "/etc/hosts"}, {"call.path2", "nil"}, {"call.address", "nil"}, {"call.args.dirfd", "-100"},
      {"call.args.pathname", "/etc/hosts"}, {"call.args.flags", "65"}, {"call.args.mode", "420"}, {"call.args[3]", "65"},
      {"call.args.flags & O_ACCMODE == O_WRONLY", "true"}, {"call.args.dirfd == AT_FDCWD", "true"}};
  for (const auto& [expression, value] : values) EXPECT_EQ(Value(expression, call), value) << expression;
}

TEST(Program, SeesAddressesAndWordsOfStructures) {
  const auto field = [](const std::string& expression, std::string_view call) {
    return AnswerOf("function f(call) if " + expression + " then return 'deny' end return {spoof = 0} end", call);
  };
  EXPECT_EQ(field("call.address.ip == '10.0.0.1' and call.address.port == 443 and call.address.family == AF_INET", "connect(3, \"10.0.0.1:443\")"), "deny");
  EXPECT_EQ(field("call.args.addr.ip == '::1' or call.address.ip == '::1'", "connect(3, \"[::1]:80\")"), "deny");
  EXPECT_EQ(field("call.address.path == '/run/x' and call.address.port == nil", "connect(3, \"unix:/run/x\")"), "deny");
  EXPECT_EQ(field("call.args.how.resolve == RESOLVE_IN_ROOT and call.args.how.flags == O_RDWR", "openat2(3, \"/x\", {flags=O_RDWR, resolve=RESOLVE_IN_ROOT}, 24)"), "deny");
  EXPECT_EQ(field("call.path == '/a' and call.path2 == '/b'", "rename(\"/a\", \"/b\")"), "deny");
}

TEST(Program, NumbersHaveTheWidthThatTheKernelGivesThem) {
  CallExample call = Call("getpriority(0, 5)");
  call.arguments = {0xffffffff00000001, 0xffffffffffffffff};
  const PolicyProgram program(Section("function f(call) if call.args.which == 1 and call.args.who == -1 and call.args[1] ~= 1 then return 'deny' end return {spoof = 0} end"), Arch::kX86_64);
  const std::vector<Argument> signature = SignatureOf(*FindSyscall("getpriority"));
  ASSERT_EQ(signature[0].name, "which");
  EXPECT_EQ(Answer(program, call.View()), "deny") << "the upper half of an int is nobody's";
}

TEST(Program, WhatIsNotKnownIsNotThere) {
  NotifiedCall call;
  call.number = 257;
  call.arguments = {1, 0x1000};
  const PolicyProgram program(Section("function f(call) if call.path == nil and call.exe == nil and call.uid == nil and call.args.pathname == 0x1000 then return 'deny' end return 'perform' end"), Arch::kX86_64);
  EXPECT_EQ(Answer(program, call), "deny");
}

TEST(Program, HelpersMeanWhatConditionsMean) {
  const std::map<std::string, std::string> values = {
      {"under('/etc/x', '/etc')", "true"}, {"under('/etc', '/etc')", "true"}, {"under('/etcetera', '/etc')", "false"}, {"under('/x', '/')", "true"},
      {"like('/home/a/.ssh/id', '/home/*/.ssh/**')", "true"}, {"like('/home/a/b', '/home/*')", "false"},
      {"within('10.1.2.3', '10.0.0.0/8')", "true"}, {"within('11.1.2.3', '10.0.0.0/8')", "false"}, {"within('::1', '::/0')", "true"},
      {"within('::ffff:10.1.2.3', '10.0.0.0/8')", "true"},
      {"has(7, 3)", "true"}, {"has(5, 3)", "false"}, {"hasany(5, 3)", "true"}, {"hasany(4, 3)", "false"},
      {"basename('/a/b.c')", "b.c"}, {"basename('/')", ""}, {"basename('x')", "x"}, {"dirname('/a/b')", "/a"}, {"dirname('/a')", "/"}, {"dirname('x')", "."},
      {"starts('abc', 'ab')", "true"}, {"ends('abc', 'bc')", "true"}, {"ends('abc', 'ab')", "false"}, {"find('abcb', 'b')", "2"}, {"find('abc', 'x')", "nil"},
      {"sub('hello', 2, 3)", "el"}, {"sub('hello', -2)", "lo"}, {"sub('hello', 4, 2)", ""}, {"sub('hello', -99, 99)", "hello"}, {"sub('', 1)", ""},
      {"byte('a')", "97"}, {"byte('a', 2)", "nil"}, {"lower('AbC')", "abc"}, {"#'abc'", "3"}, {"EACCES", "13"}, {"AF_UNIX", "1"}, {"tostring(1.5)", "1.5"},
      {"tostring({})", "table"}, {"tostring(under)", "function"}, {"type(next)", "function"}, {"tonumber('0x10')", "16"}, {"select('#', 1, 2)", "2"}};
  for (const auto& [expression, value] : values) EXPECT_EQ(Value(expression), value) << expression;
  EXPECT_THAT(Value("like('x', '\\\\')"), HasSubstr("ends in a backslash"));
  EXPECT_THAT(Value("within('x', '10.0.0.0/8')"), HasSubstr("no internet address"));
  EXPECT_THAT(Value("within('10.0.0.1', '10.0.0.1/8')"), HasSubstr("no network"));
}

TEST(Program, AMisspeltNameIsAnErrorAndNotNil) { EXPECT_THAT(Value("has(65, O_CRAET)"), HasSubstr("there is no 'O_CRAET'")); }

TEST(Program, AConstantMeansTheSameWhateverItIsAConstantOf) {
  for (const std::string& name : AllConstantNames()) {
    const std::vector<Constant> found = FindConstants(Arch::kX86_64, name);
    for (const Constant& each : found) EXPECT_EQ(each.value, found.front().value) << name;
  }
}

TEST(Program, RatesAreCountedForAllStatesTogether) {
  const PolicyProgram program(Section("function f(call) if rate('uid' .. call.uid, 3, 60) then return 'deny' end return {spoof = 1} end"), Arch::kX86_64);
  CallExample example = Call("getpriority(0, 5) uid=1");
  NotifiedCall call = example.View();
  call.now_ns = 1'000'000'000'000;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Answer(program, call), "spoof 1");
  EXPECT_EQ(Answer(program, call), "deny");
  call.uid = 2;
  EXPECT_EQ(Answer(program, call), "spoof 1") << "another key";
  call.uid = 1;
  call.now_ns += 60'000'000'000;
  EXPECT_EQ(Answer(program, call), "spoof 1");
  call.now_ns = 0;
  for (int i = 0; i < 9; ++i) EXPECT_EQ(Answer(program, call), "spoof 1") << "without a clock nothing is counted";
}

TEST(Program, RatesThatNobodyAsksForAnyMoreMakeRoomForOthers) {
  const PolicyProgram program(Slow("function f(call) for i = 1, 1000 do rate('k' .. call.args.who .. ' ' .. i, 5) end return {spoof = 1} end"), Arch::kX86_64);
  CallExample example = Call("getpriority(0, 5)");
  NotifiedCall call = example.View();
  call.now_ns = 1'000'000'000'000;
  EXPECT_EQ(Answer(program, call), "spoof 1");
  call.arguments[1] = 6;
  EXPECT_THAT(Answer(program, call), HasSubstr("more than 1024 rates"));
  call.now_ns += 10'000'000'000;
  EXPECT_EQ(Answer(program, call), "spoof 1");
}

// What it may answer -----------------------------------------------------------------------------------

std::string Returns(const std::string& value, std::string_view call) { return AnswerOf("function f(call) return " + value + " end", call); }

TEST(Program, AnswersAreTheActionsOfRules) {
  constexpr std::string_view kOpen = "openat(AT_FDCWD, \"/x\", O_RDONLY)", kConnect = "connect(3, \"10.0.0.1:80\")", kPlain = "getpriority(0, 5)";
  EXPECT_EQ(Returns("'deny'", kPlain), "deny");
  EXPECT_EQ(Returns("'kill'", kPlain), "kill");
  EXPECT_EQ(Returns("'allow'", kPlain), "allow");
  EXPECT_EQ(Returns("'log'", kPlain), "log");
  EXPECT_EQ(Returns("'perform'", kOpen), "perform");
  EXPECT_EQ(Returns("{errno = 'EACCES'}", kPlain), Action::Errno(13).ToText());
  EXPECT_EQ(Returns("{errno = 13}", kPlain), Action::Errno(13).ToText());
  EXPECT_EQ(Returns("{spoof = 7}", kPlain), "spoof 7");
  EXPECT_EQ(Returns("{emulate = 'uname'}", "uname(0x1000)"), "emulate uname");
  EXPECT_EQ(Returns("{redirect = {path = '/dev/null'}}", kOpen), "redirect /dev/null");
  EXPECT_EQ(Returns("{redirect = {address = '127.0.0.1:80'}}", kConnect), "redirect 127.0.0.1:80");
  EXPECT_THAT(Returns("{file = {content = 'text'}}", kOpen), StartsWith("file"));
}

TEST(Program, ACallWhosePointersWereLookedAtIsNeverLetGoOn) {
  for (const char* word : {"'allow'", "'log'"}) {
    EXPECT_THAT(Returns(word, "openat(AT_FDCWD, \"/x\", O_RDONLY)"), HasSubstr("must be perform"));
    EXPECT_THAT(Returns(word, "connect(3, \"10.0.0.1:80\")"), HasSubstr("must be perform"));
    EXPECT_THAT(Returns(word, "openat2(3, \"/x\", {flags=O_RDWR}, 24)"), HasSubstr("must be perform"));
    EXPECT_THAT(Returns(word, "unlink(\"/x\")"), HasSubstr("can't let the call go on"));
    EXPECT_THAT(Returns(word, "stat(\"/x\")"), HasSubstr("can't let the call go on"));
  }
}

TEST(Program, WhatIsNoActionOfThisCallIsAnError) {
  for (const char* value :
       {"nil", "", "true", "1", "1.5", "'alow'", "''", "'deny '", "{}", "{'deny'}", "{deny = true}", "{errno = 0}", "{errno = 4096}", "{errno = -1}",
        "{errno = 13.5}", "{errno = 'EFOO'}", "{errno = {}}", "{errno = 13, spoof = 0}", "{spoof = -1}", "{spoof = 1.5}", "{spoof = '1'}", "{spoof = true}",
        "{emulate = 'uname'}", "{emulate = 'x'}", "{emulate = 1}", "'perform'", "{file = {content = 'x'}}", "{file = 'x'}", "{file = {}}",
        "{file = {content = 1}}", "{file = {content = 'x', 2}}", "{redirect = {path = '/x'}}", "{redirect = {address = '127.0.0.1:80'}}", "{redirect = '/x'}",
        "{redirect = {}}", "{redirect = {path = '/x', address = '127.0.0.1:80'}}", "{[1] = 'deny'}", "{[{}] = 1}", "f", "under", "{program = 'f'}", "{action = 'deny'}"}) {
    EXPECT_THAT(Returns(value, "getpriority(0, 5)"), StartsWith("error: ")) << value;
  }
  for (const char* value : {"{redirect = {path = 'x'}}", "{redirect = {path = ''}}", "{redirect = {path = '/x\\0y'}}", "{redirect = {path = 1}}", "{redirect = {address = '127.0.0.1:80'}}",
                            "{redirect = {other = '/x'}}"}) {
    EXPECT_THAT(Returns(value, "openat(AT_FDCWD, \"/x\", O_RDONLY)"), StartsWith("error: ")) << value;
  }
  for (const char* value : {"{redirect = {address = '127.0.0.1'}}", "{redirect = {address = 'x'}}", "{redirect = {path = '/x'}}"}) {
    EXPECT_THAT(Returns(value, "connect(3, \"10.0.0.1:80\")"), StartsWith("error: ")) << value;
  }
}

// Bounds -----------------------------------------------------------------------------------------------

/// Sources whose f must fail, by what the error says.
struct Hostile {
  const char* what;
  const char* source;
  const char* error;
};

constexpr Hostile kHostile[] = {
    {"an endless loop", "function f() while true do end end", "takes longer"},
    {"an endless goto", "function f() ::a:: goto a end", "takes longer"},
    {"a long loop of a for", "function f() for i = 1, 1 << 60 do end end", "takes longer"},
    {"tail calls", "function f() return f() end", "takes longer"},
    {"next over an emptied table", "local t = {} for i = 1, 8000 do t['k' .. i] = 1 end for k in pairs(t) do t[k] = nil end function f() while true do next(t) end end", "takes longer"},
    {"globs", "local p = '*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b' local s = 'a' for i = 1, 14 do s = s .. s end function f() while true do like(s, p) end end", "takes longer"},
    {"comparing long strings", "local s = 'a' for i = 1, 15 do s = s .. s end local a, b = s .. 'x', s .. 'x' function f() local n = 0 while true do if a == b then n = n + 1 end end end", "takes longer"},
    {"garbage", "function f() while true do local t = {} end end", "takes longer"},
    {"a table that grows", "function f() local t = {} for i = 1, 1 << 40 do t[i] = i end end", ""},
    {"a table of tables", "function f() local t = {} while true do t = {t} end end", ""},
    {"a string that doubles", "function f() local s = 'x' while true do s = s .. s end end", "longer than 65536 bytes"},
    {"many long strings", "local s = 'a' for i = 1, 15 do s = s .. s end function f() local t = {} for i = 1, 1 << 40 do t[i] = s .. i end end", ""},
    {"recursion", "function f() return 1 + f() end", ""},
    {"mutual recursion with arguments", "local g function f(...) return (g(1, 2, 3, ...)) end function g(...) return (f(4, 5, 6, ...)) end", ""},
    {"closures", "function f() local t = {} for i = 1, 1 << 40 do t[i] = function() return i, t end end end", ""},
    {"an index of nil", "function f(call) return call.nothing.more end", "attempt to index a nil value"},
    {"calling a string", "function f() return ('x'):rep(1 << 30) end", "attempt to index a string value"},
    {"arithmetic on strings", "function f() return '10' + 1 end", "attempt to perform arithmetic on a string value"},
    {"an error that is a table", "function f() error({}) end", "an error that is a table"},
    {"an error that is nil", "function f() error() end", "an error that is a nil"},
    {"an error that is a function", "function f() error(f) end", "an error that is a function"},
    {"an error with controls", "function f() error('\\27[2J\\n\\0x', 0) end", "?[2J??x"},
    {"an assertion", "function f() assert(false, 'no') end", "no"},
    {"a global in a call", "function f() x = 1 end", "globals can't be set in a call"},
    {"a variable that closes", "function f() local x <close> = {} end", "got a non-closable value"},
    {"no such function", "function g() end", "no function of this name"},
    {"a variable instead of a function", "f = 1", "no function of this name"},
    {"a source that is none", "function f(", "expected near <eof>"},
    {"a source that never ends", "while true do end", "takes longer"},
    {"a source that fails", "error('at once')", "at once"},
    {"a source that eats memory", "local t = {} for i = 1, 1 << 40 do t[i] = {i} end", ""},
    {"bytes that were compiled elsewhere", "\x1bLua", "attempt to load a binary chunk"},
};

TEST(Program, NoSourceGetsOutOfItsBounds) {
  for (const Hostile& each : kHostile) {
    const std::string answer = AnswerOf(each.source);
    EXPECT_THAT(answer, StartsWith("error: ")) << each.what;
    EXPECT_THAT(answer, HasSubstr(each.error)) << each.what;
    EXPECT_LE(answer.size(), 400u) << each.what;
  }
}

TEST(Program, DeeplyNestedSourcesAreRefused) {
  const auto repeated = [](std::string_view text, size_t times) {
    std::string out;
    for (size_t i = 0; i < times; ++i) out += text;
    return out;
  };
  for (const char* open : {"(", "{", "a[", "-", "function() ", "do ", "if x then ", "a.b(", "not ", "2^", "x.."}) {
    const std::string answer = AnswerOf("return " + repeated(open, 60'000 / std::string_view(open).size()));
    EXPECT_THAT(answer, StartsWith("error: ")) << open;
  }
  EXPECT_THAT(AnswerOf("local a = " + repeated("a or ", 10'000) + "a function f() return 'deny' end"), testing::AnyOf("deny", StartsWith("error: ")));
}

TEST(Program, NothingThatLeadsOutIsOffered) {
  for (const char* name :
       {"pcall", "xpcall", "load", "loadstring", "loadfile", "dofile", "require", "module", "package", "io", "os", "debug", "string", "table", "math", "utf8", "coroutine",
        "collectgarbage", "getmetatable", "setmetatable", "rawset", "rawget", "rawequal", "rawlen", "print", "warn", "_G", "_VERSION", "newproxy", "unpack"}) {
    EXPECT_THAT(Value(name), HasSubstr("there is no")) << name;
  }
  // What a chunk can still name: its environment, which shows nothing and takes nothing.
  EXPECT_EQ(Value("next(_ENV)"), "nil");
  EXPECT_THAT(AnswerOf("function f() _ENV.x = 1 end"), HasSubstr("globals can't be set"));
  EXPECT_EQ(AnswerOf("function f() local _ENV = {} return 'deny' end"), "deny");
}

TEST(Program, WhatIsRedefinedIsRedefinedForItselfAlone) {
  const std::string redefines = "function under() return true end function f() if under('/a', '/b') then return 'deny' end return 'kill' end";
  EXPECT_EQ(AnswerOf(redefines), "deny");
  EXPECT_EQ(Value("under('/a', '/b')"), "false");
}

TEST(Program, AStateThatFailedIsThrownAwayAndAHealthyOneIsKept) {
  const PolicyProgram program(Section("local n = 0 function f(call) n = n + 1 if call.args.who == 9 then error('x') end return {spoof = n} end"), Arch::kX86_64);
  const CallExample good = Call("getpriority(0, 5)"), bad = Call("getpriority(0, 9)");
  EXPECT_EQ(program.states_made(), 0u) << "nothing runs before the first call";
  EXPECT_EQ(Answer(program, good.View()), "spoof 1");
  EXPECT_EQ(Answer(program, good.View()), "spoof 2");
  EXPECT_EQ(program.states_made(), 1u);
  EXPECT_THAT(Answer(program, bad.View()), HasSubstr("program:1: x"));
  EXPECT_EQ(Answer(program, good.View()), "spoof 1") << "nothing of the failed one is left";
  EXPECT_EQ(program.states_made(), 2u);
}

TEST(Program, ManyCallsLeaveNoGarbageBehind) {
  const PolicyProgram program({"function f(call) local t = {} for i = 1, 50 do t[i] = call.path .. i end return 'perform' end", 256 << 10, std::chrono::seconds(1), kOnError}, Arch::kX86_64);
  const CallExample call = Call("openat(AT_FDCWD, \"/some/longer/path/of/a/file\", O_RDONLY)");
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(Answer(program, call.View()), "perform") << i;
  EXPECT_EQ(program.states_made(), 1u);
}

TEST(Program, ThreadsHaveStatesOfTheirOwn) {
  const PolicyProgram program(Section("local at = 0 function f(call) at = call.args.who local s = 0 for i = 1, 200 do s = s + i end if at ~= call.args.who then return 'kill' end return {spoof = at} end"), Arch::kX86_64);
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&program, &wrong, thread] {
      CallExample call = Call("getpriority(0, 5)");
      call.arguments[1] = static_cast<uint64_t>(thread);
      for (int i = 0; i < 300; ++i) {
        const ProgramAnswer answer = program.Run("f", call.View(), 0);
        if (answer.action.kind != Action::Kind::kSpoof || answer.action.value != thread) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(program.states_made(), 4u);
}

// In a policy ------------------------------------------------------------------------------------------

std::string Manifest(std::string_view source, std::string_view rules) {
  return fmt::format(R"({{"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {{"name": "t"}}, "spec": {{
"base": {{"groups": ["@container"]}}, "rules": [{}],
"program": {{"onError": {{"errno": "EREMOTE"}}, "source": "{}"}}}}}})", rules, source);
}
constexpr std::string_view kRule = R"({"syscalls": ["getpriority"], "action": {"program": "f"}})";

std::string MistakesOf(const std::string& text) {
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(text);
  return policy.ok() ? "" : Message(policy.status());
}

TEST(Program, AllStatesTogetherTakeNoMoreThanItsMemory) {
  ProgramSection section = Slow("function f(call) local t = {} for i = 1, 1 << 40 do t[i] = {i} end end");
  section.memory_bytes = 2u << 20;
  const PolicyProgram program(section, Arch::kX86_64);
  const CallExample call = Call("getpriority(0, 5)");
  std::atomic<bool> over{false};
  std::atomic<size_t> most{0};
  {
    const std::jthread watcher([&](const std::stop_token&) {
      while (!over) most = std::max<size_t>(most, program.memory_used());
    });
    std::vector<std::jthread> threads;
    for (int n = 0; n < 4; ++n) {
      threads.emplace_back([&] {
        for (int i = 0; i < 5; ++i) EXPECT_THAT(Answer(program, call.View()), testing::AnyOf(HasSubstr("takes more than"), HasSubstr("takes longer than")));
      });
    }
    threads.clear();
    over = true;
  }
  EXPECT_LE(most, section.memory_bytes);
  EXPECT_GT(most, section.memory_bytes / 2);
  EXPECT_EQ(program.memory_used(), 0u) << "a state that failed is thrown away";
}

TEST(Program, StatesThatNobodyUsesMakeRoom) {
  // Each keeps most of the memory in a table, so two states can't both live.
  ProgramSection section = Slow("local kept = {} function f(call) if #kept == 0 then for i = 1, 20000 do kept[i] = i + 0.5 end end if call.args[1] == 1 then f({args = {0}}) end return 'allow' end");
  section.memory_bytes = 1u << 20;
  const PolicyProgram program(section, Arch::kX86_64);
  const CallExample call = Call("getpriority(0, 5)");
  std::vector<std::jthread> threads;
  for (int n = 0; n < 4; ++n) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) (void)Answer(program, call.View());
    });
  }
  threads.clear();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Answer(program, call.View()), "allow") << "alone it always has room";
  EXPECT_LE(program.memory_used(), section.memory_bytes);
}

TEST(Program, MistakesInASourceAreToldByTheirPlaceInTheManifest) {
  const std::string text = Manifest(R"(function f()\n  return 'deny'\nend\n  retrn 1\n)", kRule);
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(text);
  ASSERT_FALSE(policy.ok());
  const FieldErrors errors = FieldErrorsOf(policy.status());
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].field, "spec.program.source");
  EXPECT_THAT(errors[0].detail, HasSubstr("line 4 of it: syntax error near '1'"));
  EXPECT_EQ(errors[0].position.line, 3u);
  EXPECT_EQ(text.substr(text.find("\"program\": {\"onError") + errors[0].position.column - 1, 5), "retrn");
}

TEST(Program, FunctionsThatRulesNameMustBeThere) {
  EXPECT_EQ(MistakesOf(Manifest("function f() return 'deny' end", kRule)), "");
  EXPECT_EQ(MistakesOf(Manifest("f = function() return 'deny' end", kRule)), "");
  EXPECT_THAT(MistakesOf(Manifest("function g() end", kRule)), HasSubstr("has no function 'f'; did you mean 'g'?"));
  EXPECT_THAT(MistakesOf(Manifest("local function f() end", kRule)), HasSubstr("has no function 'f'"));
  EXPECT_THAT(MistakesOf(Manifest("f = 1", kRule)), HasSubstr("has no function 'f'"));
  EXPECT_THAT(MistakesOf(Manifest("f = under", kRule)), HasSubstr("has no function 'f'"));
  EXPECT_THAT(MistakesOf(Manifest("-- function f()", kRule)), HasSubstr("has no function 'f'"));
}

TEST(Program, ASourceThatNeverEndsIsRefusedWithThePolicy) {
  EXPECT_THAT(MistakesOf(Manifest("while true do end", kRule)), HasSubstr("takes longer than"));
  EXPECT_THAT(MistakesOf(Manifest("local t = {} for i = 1, 1 << 40 do t[i] = {i} end", kRule)), HasSubstr("it takes"));
  EXPECT_THAT(MistakesOf(Manifest("os.exit(0)", kRule)), HasSubstr("there is no 'os'"));
}

TEST(Program, ExplainAndTestAskTheFunction) {
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(Manifest(
      "function f(call) if call.args.who == 1 then return {spoof = 3} end if call.args.who == 2 then error('why') end return 'deny' end", kRule));
  ASSERT_TRUE(policy.ok()) << Message(policy.status());
  const auto explained = [&policy](std::string_view call) { return ToText(*policy, Explain(*policy, Call(call)).value()); };
  EXPECT_THAT(explained("getpriority(0, 1)"), HasSubstr("program   f answers spoof 3\n=> spoof 3, by rules[0]"));
  EXPECT_THAT(explained("getpriority(0, 2)"), HasSubstr("program   f fails, so it is onError: program:1: why\n=> errno EREMOTE, by rules[0]"));
  const auto tests = ParseTable("getpriority(0, 1) -> spoof 3 by rules[0]\ngetpriority(0, 0) -> deny\ngetpriority(0, 2) -> errno EREMOTE\n"
                                "getpriority(0, 1) -> program f\ngetpriority(0, 1) -> deny\n");
  ASSERT_TRUE(tests.ok());
  std::vector<bool> passed;
  const auto results = RunTable(*policy, *tests);
  ASSERT_TRUE(results.ok());
  for (const TableResult& each : *results) passed.push_back(each.passed);
  EXPECT_THAT(passed, ElementsAre(true, true, true, true, false));
}

TEST(Program, TravelsInTheRuleTable) {
  const StatusOr<CompiledPolicy> compiled = CompileManifest(Manifest("function f() return 'deny' end", kRule));
  ASSERT_TRUE(compiled.ok()) << Message(compiled.status());
  const RuleTable table = RuleTable::FromBytes(compiled->table).value();
  const std::optional<ProgramSection> program = table.program();
  ASSERT_TRUE(program.has_value());
  EXPECT_EQ(*program, *compiled->sections.program);
  NotifiedCall call;
  call.number = 140;
  EXPECT_EQ(table.Decide(call).kind, Decision::Kind::kProgram);
  EXPECT_EQ(table.Decide(call).text, "f");
  EXPECT_FALSE(RuleTable::FromBytes(CompileManifest(R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "t"}, "spec": {"base": {"groups": ["@default"]}}})")->table)->program());
}

}  // namespace
}  // namespace isla::sandbox
