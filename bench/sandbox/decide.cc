// What the supervisor takes to decide: one table of a hundred rules, of different kinds.
#include <fmt/format.h>
#include <sys/syscall.h>
#include <time.h>

#include "api/base/status.h"
#include "bench/sandbox/bench.h"
#include "sandbox/program/policy_program.h"
#include "sandbox/table/rule_table.h"

namespace isla::bench {
namespace {

using sandbox::Action;
using sandbox::NotifiedCall;
using sandbox::Policy;
using sandbox::RuleTable;

constexpr int kRules = 100;

/// Of the processor: nothing here waits, and others' turns are not counted.
double ThreadNanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

std::string PathOfRule(int rule) { return fmt::format("/srv/tenants/{}/data/file-{}", rule % 7, rule); }

RuleTable TableOf(const Policy& policy) {
  const StatusOr<std::string> bytes = RuleTable::Build(policy);
  ISLA_CHECK_OK(bytes);
  StatusOr<RuleTable> table = RuleTable::FromBytes(*bytes);
  ISLA_CHECK_OK(table);
  return *std::move(table);
}

double Nanoseconds(const RuleTable& table, const NotifiedCall& call) {
  constexpr int kTimes = 200'000;
  uint64_t sum = 0;
  const double begin = ThreadNanoseconds();
  for (int i = 0; i < kTimes; ++i) sum += table.Decide(call).rule;
  const double spent = ThreadNanoseconds() - begin;
  ISLA_CHECK(sum != 1);  // it is used
  return spent / kTimes;
}

/// An openat, by rules on paths of which `matching` is the only one that holds; beyond them: none does.
double DecidePath(sandbox::Match match, int matching) {
  Policy policy;
  for (int i = 0; i < kRules; ++i) {
    sandbox::TextTest test;
    test.match = match;
    test.pattern = match == sandbox::Match::kGlob ? fmt::format("/srv/*/{}/data/file-{}", i % 7, i) : PathOfRule(i);
    policy.Append(SYS_openat, policy.AddRule(fmt::format("rules[{}]", i), Action::Of(Action::Kind::kDeny)), test);
  }
  const std::string path = PathOfRule(matching);
  NotifiedCall call;
  call.number = SYS_openat;
  call.known = sandbox::kFactPath0;
  call.paths[0] = path;
  return Nanoseconds(TableOf(policy), call);
}

/// A connect, by rules on networks and ports of which the last holds.
double DecideAddress() {
  Policy policy;
  for (int i = 0; i < kRules; ++i) {
    sandbox::NumberTest port;
    port.number = sandbox::Number::kPort;
    port.width = sandbox::Width::k16;
    port.mask = 0xffff;
    port.values = sandbox::IntervalSet::Of(443);
    policy.Append(SYS_connect, policy.AddRule(fmt::format("rules[{}]", i), Action::Of(Action::Kind::kDeny)),
                  sandbox::Condition::And({sandbox::NetworkTest{*sandbox::IpNetwork::FromText(fmt::format("10.{}.0.0/16", i))}, port}));
  }
  NotifiedCall call;
  call.number = SYS_connect;
  call.known = sandbox::kFactAddress;
  call.address = *sandbox::AddressFromText(fmt::format("10.{}.1.2:443", kRules - 1));
  return Nanoseconds(TableOf(policy), call);
}

/// A function of the policy, in a state that is there.
double AskFunction() {
  const sandbox::PolicyProgram program({"function f(call) if under(call.path, '/etc') then return 'deny' end return 'perform' end", 1u << 20, std::chrono::milliseconds(10), 1},
                                       sandbox::kNativeArch);
  NotifiedCall call;
  call.number = SYS_openat;
  call.known = sandbox::kFactPath0 | sandbox::kFactExecutable | sandbox::kFactUid;
  call.paths[0] = "/srv/tenants/1/data/file-1";
  call.executable = "/usr/bin/cat";
  constexpr int kTimes = 5'000;
  const std::string function = "f";
  program.Run(function, call, 1);
  const double begin = ThreadNanoseconds();
  for (int i = 0; i < kTimes; ++i) ISLA_CHECK(program.Run(function, call, 1).error.empty());
  return (ThreadNanoseconds() - begin) / kTimes;
}

}  // namespace

void RunDecide(const SandboxSettings& settings) {
  const auto row = [](const char* what, double most) { return Row(what, "ns", "", Row::By::kOurs, most > 0 ? Row::Aim::kAtMost : Row::Aim::kNone, most); };
  Row exact = row("one of 100 rules: paths, the last holds", 100), none = row("one of 100 rules: paths, none holds", 100),
      under = row("one of 100 rules: folders, the last holds", 100), globs = row("one of 100 rules: patterns, the last holds", 0),
      networks = row("one of 100 rules: networks and ports, the last", 0), function = row("a function of the policy's program", 0);
  for (int round = 0; round < settings.rounds; ++round) {
    exact.Add(DecidePath(sandbox::Match::kExact, kRules - 1));
    none.Add(DecidePath(sandbox::Match::kExact, kRules));
    under.Add(DecidePath(sandbox::Match::kUnder, kRules - 1));
    globs.Add(DecidePath(sandbox::Match::kGlob, kRules - 1));
    networks.Add(DecideAddress());
    function.Add(AskFunction());
  }
  for (const Row* each : {&exact, &none, &under, &globs, &networks, &function}) each->Print();
}

}  // namespace isla::bench
