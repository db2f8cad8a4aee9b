// A grant of one cpu and 512 MiB, seen by programs of every kind: the files bound, the calls emulated, all agree.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/view/view_files.h"
#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

constexpr uint64_t kMemory = 512 << 20;

class ViewPrograms : public testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "binds need root";
    const StatusOr<std::vector<view::ViewFile>> made = view::GrantedFiles({.cpus = view::FirstCpus(1), .memory_bytes = kMemory});
    ASSERT_TRUE(made.ok());
    for (size_t i = 0; i < made->size(); ++i) {
      binds_.emplace_back(folder_.Write(std::to_string(i), (*made)[i].content, 0444), (*made)[i].path);
    }
  }

  /// What the program prints; "" if it isn't installed.
  std::string Run(const std::string& program, std::vector<std::string> arguments) {
    if (access(program.c_str(), X_OK) != 0) return {};
    Prey::Options options;
    options.program = program;
    options.notified = {SYS_sched_getaffinity, SYS_sysinfo};
    options.prepare = [this] {
      if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(110);
      for (const auto& [from, to] : binds_) {
        if (mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) _exit(111);
      }
    };
    Prey prey(options, std::move(arguments));
    SupervisorOptions supervisor_options;
    supervisor_options.grant.cpus = 1;
    supervisor_options.grant.memory_bytes = kMemory;
    Watched supervisor(prey, std::make_shared<FakeDecider>(0, [](const NotifiedCall& call) {
      return Does(Decision::Kind::kEmulate, call.number == SYS_sysinfo ? "sysinfo" : "affinity");
    }), std::move(supervisor_options));
    return prey.Wait();
  }

  TestFolder folder_;
  std::vector<std::pair<std::string, std::string>> binds_;
};

TEST_F(ViewPrograms, AllCountOneCpu) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> programs = {
      {"/usr/bin/nproc", {}},
      {"/usr/bin/getconf", {"_NPROCESSORS_ONLN"}},
      {"/usr/bin/getconf", {"_NPROCESSORS_CONF"}},
      {"/usr/bin/busybox", {"nproc"}},
      {"/usr/bin/grep", {"-c", "^processor", "/proc/cpuinfo"}},
      {"/usr/bin/grep", {"-c", "^cpu[0-9]", "/proc/stat"}},
      {"/usr/bin/python3", {"-c", "import os; print(os.cpu_count())"}},
      {"/usr/bin/python3", {"-c", "import os; print(len(os.sched_getaffinity(0)))"}},
      {"/usr/bin/node", {"-p", "require('os').cpus().length"}},
  };
  for (const auto& [program, arguments] : programs) {
    const std::string printed = Run(program, arguments);
    if (printed.empty()) continue;
    EXPECT_EQ(printed, "1") << program << " " << (arguments.empty() ? "" : arguments.back());
  }
#ifdef ISLA_VIEW_OMP
  EXPECT_EQ(Run(ISLA_VIEW_OMP, {}), "1 1") << "libgomp, std::thread";
#endif
}

TEST_F(ViewPrograms, AllCountTheGrantedMemory) {
  const std::string pages = Run("/usr/bin/getconf", {"_PHYS_PAGES"});
  EXPECT_EQ(pages, std::to_string(kMemory / static_cast<uint64_t>(getpagesize())));
  if (const std::string free = Run("/usr/bin/free", {"-b"}); !free.empty()) {
    EXPECT_THAT(free, testing::HasSubstr(" 536870912 "));
  }
  if (const std::string node = Run("/usr/bin/node", {"-p", "require('os').totalmem()"}); !node.empty()) {
    EXPECT_EQ(node, "536870912");
  }
}

}  // namespace
}  // namespace isla::supervisor
