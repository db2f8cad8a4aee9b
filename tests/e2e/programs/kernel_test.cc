// The kernel's own tests of seccomp, from Debian's linux-source: outside, to know the kernel that all else is tested on; and
// inside a sandbox, as far as nesting allows.
#include <gmock/gmock.h>
#include <unistd.h>

#include <map>
#include <string_view>
#include <sstream>

#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

constexpr const char* kSource = "/usr/src/linux-source-6.1.tar.xz";

/// What can't pass inside, and why. A name that ends with '.' stands for all that begin with it.
struct Hindrance {
  std::string_view name, why;
};
constexpr Hindrance kHindered[] = {
    {"global.mode_strict_support", "the kernel doesn't take a process with a filter to strict mode"},
    {"global.mode_strict_cannot_call_prctl", "the same"},
    {"global.mode_filter_get_seccomp", "it expects to have no filter yet"},
    {"TSYNC.two_sibling_want_nnp", "no_new_privs is set already"},
    {"global.syscall_restart", "the floor forbids ptrace"},
    {"global.get_metadata", "the floor forbids ptrace"},
    {"TRACE_poke.", "the floor forbids ptrace"},
    {"TRACE_syscall.", "the floor forbids ptrace"},
    {"O_SUSPEND_SECCOMP.", "the floor forbids ptrace"},
    {"global.user_notification_child_pid_ns", "the floor forbids new user namespaces"},
    {"global.user_notification_fault_recv", "the floor forbids new user namespaces"},
    {"global.user_notification_filter_empty", "it needs clone3, which looks missing"},
    {"global.user_notification_filter_empty_threaded", "it needs clone3, which looks missing"},
};

const Hindrance* Hindered(const std::string& name) {
  for (const Hindrance& each : kHindered) {
    if (each.name == name || (each.name.ends_with('.') && name.starts_with(each.name))) return &each;
  }
  return nullptr;
}

/// By name: whether it passed.
std::map<std::string, bool> Results(const std::string& tap) {
  std::map<std::string, bool> out;
  std::istringstream lines(tap);
  for (std::string line; std::getline(lines, line);) {
    const bool passed = line.starts_with("ok "), failed = line.starts_with("not ok ");
    if (!passed && !failed) continue;
    std::istringstream words(line.substr(passed ? 3 : 7));
    std::string number, name;
    words >> number >> name;
    if (name == "#") name += number;  // "# SKIP why"
    // Not every test says its name only once.
    if (const auto [at, first] = out.emplace(name, passed); !first) at->second = at->second && passed;
  }
  return out;
}

class BoxKernel : public BoxTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(access(kSource, R_OK), 0) << kSource << " isn't there; scripts/packages.test names its package";
    const std::string tests = "linux-source-6.1/tools/testing/selftests/";
    const BoxResult unpacked = Bare({"tar", "-xJf", kSource, "--strip-components=4", tests + "seccomp/seccomp_bpf.c", tests + "kselftest_harness.h",
                                         tests + "kselftest.h", tests + "clone3/clone3_selftests.h"});
    ASSERT_EQ(unpacked.exit, 0) << Describe(unpacked);
  }
  /// Those who wait for what never comes give up after `timeout` seconds, those that trace after `trace_timeout`.
  void Build(const std::string& program, int timeout, int trace_timeout) {
    const std::string seconds = std::to_string(timeout), trace_seconds = std::to_string(trace_timeout);
    const BoxResult built = Bare(
        {"sh", "-ec", "sed -i 's/^#define TEST_TIMEOUT_DEFAULT .*/#define TEST_TIMEOUT_DEFAULT " + seconds + "/' kselftest_harness.h\n" +
                          "sed -E 's/^TEST_F\\((TRACE_[a-z]+|O_SUSPEND_SECCOMP), ([a-zA-Z_]+)\\)/TEST_F_TIMEOUT(\\1, \\2, " + trace_seconds + ")/' seccomp/seccomp_bpf.c > seccomp/timed.c\n" +
                          "gcc -O2 -w -pthread -o " + program + " seccomp/timed.c -lcap"});
    ASSERT_EQ(built.exit, 0) << Describe(built);
  }
};

TEST_F(BoxKernel, SelftestsOfSeccompPassOutsideAndInsideAsFarAsNestingAllows) {
  Build("outside", 30, 30);
  const BoxResult bare = Bare({Path("outside")});
  const auto outside = Results(bare.out);
  EXPECT_GE(outside.size(), 80U) << Describe(bare);
  for (const auto& [name, passed] : outside) EXPECT_TRUE(passed) << name << " says that all else is tested on another kernel than we think\n" << bare.out;

  Build("inside", 6, 1);
  const BoxResult boxed = Boxed({}, {Path("inside")}, std::chrono::seconds(240));
  const auto inside = Results(boxed.out);
  EXPECT_EQ(inside.size(), outside.size()) << Describe(boxed);
  for (const auto& [name, passed] : inside) EXPECT_TRUE(passed || Hindered(name) != nullptr) << name << "\n" << boxed.out;
  for (const Hindrance& each : kHindered) {
    if (each.name.ends_with('.')) continue;
    const auto found = inside.find(std::string(each.name));
    EXPECT_TRUE(found != inside.end() && !found->second) << each.name << " passes: is it still so that " << each.why << "?";
  }
}

}  // namespace
}  // namespace isla::e2e
