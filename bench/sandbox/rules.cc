// Policies as they grow: what compiling takes, how long the filter is, what a call costs whose rules look at an argument and don't
// hold. The same rules by libseccomp, which compiles tests for equality rightly.
#include <fmt/format.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "api/base/unique_fd.h"
#include "bench/common/plot.h"
#include "bench/sandbox/bench.h"
#include "bench/sandbox/target.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/names/syscalls.h"

namespace isla::bench {
namespace {

constexpr size_t kCalls = 100;          // that have rules, getppid among them
constexpr uint32_t kNever = 0x7ead0000;  // values that no argument has

/// `rules` of (call, value of its first argument).
std::vector<std::pair<int, uint32_t>> RulesOf(size_t rules) {
  std::vector<int> numbers = {SYS_getppid};
  for (const sandbox::Syscall& call : sandbox::AllSyscalls()) {
    const int number = call.NumberOn(sandbox::kNativeArch);
    if (number >= 0 && number != SYS_getppid && numbers.size() < std::min(rules, kCalls)) numbers.push_back(number);
  }
  std::vector<std::pair<int, uint32_t>> out;
  for (size_t i = 0; i < rules; ++i) out.emplace_back(numbers[i % numbers.size()], kNever + static_cast<uint32_t>(i));
  return out;
}

struct Compiled {
  sandbox::Program program;
  double microseconds = 0;
};

Compiled Ours(size_t rules) {
  sandbox::Policy policy;
  policy.rules[0].action = sandbox::Action::Allow();
  for (const auto& [number, value] : RulesOf(rules)) {
    sandbox::NumberTest test;
    test.values = sandbox::IntervalSet::Of(value);
    policy.Append(number, policy.AddRule("r", sandbox::Action::Errno(1)), test);
  }
  const Clk::time_point begin = Clk::now();
  StatusOr<sandbox::Filter> filter = sandbox::Compile(policy);
  ISLA_CHECK_OK(filter);
  return {std::move(filter->program), Since(begin) * 1e6};
}

Compiled Libseccomps(size_t rules) {
  const std::vector<std::pair<int, uint32_t>> all = RulesOf(rules);
  const UniqueFd file(memfd_create("filter", MFD_CLOEXEC));
  const Clk::time_point begin = Clk::now();
  const scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
  seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);  // its binary tree
  for (const auto& [number, value] : all) {
    ISLA_CHECK(seccomp_rule_add(context, SCMP_ACT_ERRNO(1), number, 1, SCMP_A0(SCMP_CMP_EQ, value)) == 0);
  }
  ISLA_CHECK(seccomp_export_bpf(context, file.get()) == 0);
  const double microseconds = Since(begin) * 1e6;
  seccomp_release(context);
  const StatusOr<std::string> bytes = ReadFile(fmt::format("/proc/self/fd/{}", file.get()));
  ISLA_CHECK_OK(bytes);
  StatusOr<sandbox::Program> program = sandbox::FromBytes(*bytes);
  ISLA_CHECK_OK(program);
  return {*std::move(program), microseconds};
}

double CallMicroseconds(const sandbox::Program& program) {
  return Target({.calls = 100'000}, program, false).Nanoseconds() / 1e3;
}

struct Figures {
  std::vector<double> compile, call;
  size_t instructions = 0;
};

}  // namespace

void RunRules(const SandboxSettings& settings) {
  std::printf("\n%-8s %14s %14s   %14s %14s   %14s %14s\n%-8s %14s %14s   %14s %14s   %14s %14s\n", "", "compile, us", "", "instructions", "", "a call, ns", "", "rules",
              "isla", "libseccomp", "isla", "libseccomp", "isla", "libseccomp");
  const char* const names[] = {"isla", "libseccomp"};
  Panel compile{"Compiling", "rules", {{names[0], {}}, {names[1], {}}}}, call{"A call that its rules look at", "rules", {{names[0], {}}, {names[1], {}}}},
      length{"Instructions", "rules", {{names[0], {}}, {names[1], {}}}, true};
  for (const size_t rules : {size_t{10}, size_t{30}, size_t{100}, size_t{300}, size_t{1000}}) {
    Figures figures[2];
    for (int round = 0; round < settings.rounds; ++round) {
      for (int which = 0; which < 2; ++which) {
        const Compiled compiled = which == 0 ? Ours(rules) : Libseccomps(rules);
        figures[which].compile.push_back(compiled.microseconds);
        figures[which].call.push_back(CallMicroseconds(compiled.program));
        figures[which].instructions = compiled.program.size();
      }
    }
    for (size_t which = 0; which < 2; ++which) {
      compile.series[which].points.emplace_back(rules, Median(figures[which].compile));
      call.series[which].points.emplace_back(rules, Median(figures[which].call));
      length.series[which].points.emplace_back(rules, figures[which].instructions);
    }
    std::printf("%-8zu %14.0f %14.0f   %14zu %14zu   %14.0f %14.0f\n", rules, Median(figures[0].compile), Median(figures[1].compile), figures[0].instructions,
                figures[1].instructions, Median(figures[0].call) * 1e3, Median(figures[1].call) * 1e3);
    std::fflush(stdout);
  }
  if (settings.out.empty()) return;
  const std::string path = settings.out + "/rules.svg";
  const Status written = WriteFile(path, Plot("Policies as they grow", {compile, length, call}, 3));
  std::printf("%s\n", written.ok() ? path.c_str() : Message(written).c_str());
}

}  // namespace isla::bench
