// Functions of a policy that answer calls of real processes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "sandbox/policy/policy.h"
#include "sandbox/table/rule_table.h"
#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

using sandbox::Action;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint16_t kOnError = EREMOTE;
constexpr const char* kNobody = "99999999";  // the priority of a process that can't be
const std::vector<int> kCalls = {SYS_getpriority, SYS_open, SYS_openat, SYS_openat2, SYS_connect, SYS_bind, SYS_uname};

/// A table whose every rule asks the function f of `source`.
std::shared_ptr<const Decider> Asks(const std::string& source, sandbox::Mode mode = sandbox::Mode::kEnforce,
                                    std::chrono::microseconds time = std::chrono::milliseconds(50)) {
  sandbox::Policy policy;
  policy.mode = mode;
  const sandbox::RuleId rule = policy.AddRule("asks", Action::Of(Action::Kind::kProgram, "f"));
  for (const int number : kCalls) policy.Append(number, rule);
  const sandbox::ProgramSection program = {source, 1u << 20, time, kOnError};
  const StatusOr<std::string> table = sandbox::RuleTable::Build(policy, &program);
  ISLA_CHECK_OK(table);
  return TableDecider::FromBytes(*table, "v1").value();
}

class ProgramCalls : public testing::Test {
 protected:
  std::string Run(std::vector<std::string> arguments, std::shared_ptr<const Decider> decider) {
    Prey prey({.notified = kCalls}, std::move(arguments));
    Watched supervisor(prey, std::move(decider), {.calls_per_second = 0});
    const std::string printed = prey.Wait();
    supervisor->Stop();
    audit_ = supervisor.AuditText();
    counters_ = supervisor->counters();
    return printed;
  }
  std::string Once(const std::string& answer, sandbox::Mode mode = sandbox::Mode::kEnforce) {
    return Run({"once", kNobody}, Asks("function f(call) " + answer + " end", mode));
  }
  std::string Open(const std::string& body, int flags = O_RDONLY) {
    return Run({"open", "openat", path_, std::to_string(flags), "384"}, Asks("function f(call) " + body + " end"));
  }

  TestFolder folder_;
  const std::string path_ = folder_.Write("file", "text\n");
  std::string audit_;
  Counters counters_;
};

TEST_F(ProgramCalls, AnswerWithValuesErrorsAndDeath) {
  EXPECT_EQ(Once("return {spoof = call.args.who - 99999990}"), "9 ok");
  EXPECT_EQ(Once("return {errno = 'EACCES'}"), "-1 EACCES");
  EXPECT_EQ(Once("return 'deny'"), "-1 EPERM");
  EXPECT_THAT(audit_, HasSubstr("\"rule\":\"asks\""));
  EXPECT_THAT(audit_, HasSubstr("\"verdict\":\"errno EPERM\""));
  EXPECT_EQ(Once("return 'kill'"), "signal 9");
}

TEST_F(ProgramCalls, LetGoOnWhatHasNoPointers) {
  EXPECT_THAT(Once("return 'allow'"), testing::EndsWith("ESRCH")) << "the kernel's own answer";
  EXPECT_EQ(counters_.continued, 1u);
  EXPECT_EQ(audit_, "");
  EXPECT_THAT(Once("return 'log'"), testing::EndsWith("ESRCH"));
  EXPECT_THAT(audit_, HasSubstr("\"verdict\":\"continue\""));
}

TEST_F(ProgramCalls, KnowTheirCaller) {
  EXPECT_EQ(Once("if ends(call.exe, 'supervisor_prey') and call.uid == " + std::to_string(getuid()) + " and call.pid > 1 then return {spoof = 1} end return 'deny'"), "1 ok");
}

TEST_F(ProgramCalls, OpenForTheCallerByTheResolvedPath) {
  ASSERT_EQ(symlink("file", (folder_.path() + "/link").c_str()), 0);
  const auto link = [this](const std::string& body) {
    return Run({"open", "openat", folder_.path() + "/./link", "0"}, Asks("function f(call) " + body + " end"));
  };
  EXPECT_EQ(link("if basename(call.path) == 'file' and call.args.pathname == call.path then return 'perform' end return 'deny'"), "ok 'text'");
  EXPECT_EQ(Open("return 'deny'"), "EPERM");
  EXPECT_EQ(Open("if has(call.args.flags, O_WRONLY) then return {errno = 'EROFS'} end return 'perform'", O_WRONLY), "EROFS");
  EXPECT_EQ(Run({"open", "openat2", path_, "0"}, Asks("function f(call) if call.args.how.flags == O_RDONLY then return 'perform' end return 'deny' end")), "ok 'text'");
}

TEST_F(ProgramCalls, GiveOtherFilesAndTheirOwnText) {
  const std::string other = folder_.Write("other", "OTHER\n");
  EXPECT_EQ(Open("return {redirect = {path = '" + other + "'}}"), "ok 'OTHER'");
  EXPECT_EQ(Open("return {file = {content = 'for ' .. basename(call.path) .. '\\n'}}"), "ok 'for file'");
  EXPECT_EQ(Open("return {file = {content = 'x'}}", O_WRONLY), "EACCES");
}

TEST_F(ProgramCalls, DecideOnTheAddressThatIsUsed) {
  const std::string source = "function f(call) if within(call.address.ip, '127.0.0.0/8') and call.address.port ~= 9 then return 'perform' end return {errno = 'EACCES'} end";
  EXPECT_EQ(Run({"connect", "1"}, Asks(source)), "ECONNREFUSED") << "nobody listens";
  EXPECT_EQ(Run({"connect", "9"}, Asks(source)), "EACCES");
  const std::string path = folder_.path() + "/socket";
  EXPECT_EQ(Run({"connect", path}, Asks("function f(call) if call.address.path == '" + path + "' then return 'perform' end return 'deny' end")), "ENOENT");
}

TEST_F(ProgramCalls, LeadElsewhere) {
  const UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in inet{};
  inet.sin_family = AF_INET;
  inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof inet;
  ASSERT_EQ(bind(listening.get(), reinterpret_cast<sockaddr*>(&inet), sizeof inet), 0);
  ASSERT_EQ(listen(listening.get(), 4), 0);
  ASSERT_EQ(getsockname(listening.get(), reinterpret_cast<sockaddr*>(&inet), &bytes), 0);
  const std::jthread greeter([&listening] {
    const UniqueFd connection(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    (void)!write(connection.get(), "hello", 5);
  });
  const std::string there = "127.0.0.1:" + std::to_string(ntohs(inet.sin_port));
  EXPECT_EQ(Run({"connect", "1"}, Asks("function f(call) return {redirect = {address = '" + there + "'}} end")), "ok 'hello'");
  shutdown(listening.get(), SHUT_RDWR);
}

TEST_F(ProgramCalls, NeverGoOnAfterALookBehindAPointer) {
  EXPECT_EQ(Open("return 'allow'"), "EREMOTE");
  EXPECT_EQ(counters_.continued, 0u);
  EXPECT_THAT(audit_, HasSubstr("as the program failed: f: "));
  EXPECT_THAT(audit_, HasSubstr("must be perform"));
}

TEST_F(ProgramCalls, AThreadThatFlipsThePathNeverGetsTheOther) {
  const std::string allowed = folder_.Write("a-publi", "P"), secret = folder_.Write("asecret", "S");
  EXPECT_EQ(Run({"flip", allowed, secret, "300"}, Asks("function f(call) if ends(call.path, 'secret') then return {errno = 'EACCES'} end return 'perform' end")),
            "secret=0 some=1 refused=1");
}

TEST_F(ProgramCalls, WhatEverGoesWrongIsOnError) {
  EXPECT_EQ(Once("error('why')"), "-1 EREMOTE");
  EXPECT_THAT(audit_, HasSubstr("\"verdict\":\"errno EREMOTE, as the program failed: f: program:1: why\""));
  EXPECT_EQ(Once("while true do end"), "-1 EREMOTE");
  EXPECT_THAT(audit_, HasSubstr("takes longer than"));
  EXPECT_EQ(Once("local t = {} for i = 1, 1 << 40 do t[i] = {} end"), "-1 EREMOTE");
  EXPECT_EQ(Once("return nil"), "-1 EREMOTE");
  EXPECT_EQ(Once("return 'perform'"), "-1 EREMOTE");
  EXPECT_EQ(Run({"once", kNobody}, Asks("function f(")), "-1 EREMOTE");
  EXPECT_EQ(Run({"once", kNobody}, Asks("")), "-1 EREMOTE");
}

TEST_F(ProgramCalls, AreRefusedWithoutAProgram) {
  sandbox::Policy policy;
  policy.Append(SYS_getpriority, policy.AddRule("asks", Action::Of(Action::Kind::kProgram, "f")));
  EXPECT_EQ(Run({"once", kNobody}, TableDecider::FromBytes(sandbox::RuleTable::Build(policy).value(), "v1").value()), "-1 EPERM");
}

TEST_F(ProgramCalls, InWarnModeARefusalIsWrittenDownAndGoesOn) {
  EXPECT_THAT(Once("return {errno = 'EACCES'}", sandbox::Mode::kWarn), testing::EndsWith("ESRCH"));
  EXPECT_THAT(audit_, HasSubstr("\"verdict\":\"continue, enforced: errno EACCES\""));
  EXPECT_THAT(Once("error('why')", sandbox::Mode::kWarn), testing::EndsWith("ESRCH"));
  EXPECT_EQ(Once("return {spoof = 4}", sandbox::Mode::kWarn), "4 ok");
}

TEST_F(ProgramCalls, OneThatHangsHoldsUpNobodyElse) {
  // Each call of the loop costs its time; the receiver goes on meanwhile.
  sandbox::Policy policy;
  policy.Append(SYS_openat, policy.AddRule("asks", Action::Of(Action::Kind::kProgram, "f")));
  policy.Append(SYS_getpriority, policy.AddRule("spoof", Action{Action::Kind::kSpoof, 0, 8, {}}));
  const sandbox::ProgramSection program = {"function f() while true do end end", 1u << 20, std::chrono::seconds(1), kOnError};
  const auto decider = TableDecider::FromBytes(sandbox::RuleTable::Build(policy, &program).value(), "v1").value();
  Prey slow({.notified = kCalls}, {"open", "openat", path_, "0"});
  Watched supervisor(slow, decider, {.calls_per_second = 0, .deadline = std::chrono::milliseconds(200)});
  EXPECT_THAT(slow.Wait(), testing::AnyOf("ETIMEDOUT", "EREMOTE"));
  supervisor->Stop();
  EXPECT_EQ(supervisor->counters().received, 1u);
}

TEST_F(ProgramCalls, ManyThreadsAskAtATime) {
  Prey prey({.notified = {SYS_getpriority}}, {"fork-ask", "40"});
  Watched supervisor(prey, Asks("function f(call) return {spoof = call.args.who + 7} end"), {.calls_per_second = 0});
  EXPECT_EQ(prey.Wait(), "40");
}

TEST_F(ProgramCalls, ANewTableHasItsOwnProgram) {
  Prey prey({.notified = {SYS_getpriority}}, {"until", "44", "42"});
  Watched supervisor(prey, Asks("function f(call) return {spoof = 42} end"), {.calls_per_second = 0});
  EXPECT_EQ(prey.ReadLine(), "here");
  supervisor->Replace(Asks("function f(call) return {spoof = 44} end"));
  EXPECT_EQ(prey.Wait(), "ok");
}

}  // namespace
}  // namespace isla::supervisor
