// Ways around a policy, tried from inside by a static program: what decides about a path is where it leads, whoever asks by whatever call.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "api/base/unique_fd.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

constexpr const char* kRefuses = R"("base":{"groups":["@container"]},"rules":[{"name":"no","syscalls":["open","openat","openat2"],"when":"path == '/etc/hostname'","action":"deny"},
  {"syscalls":["open","openat","openat2"],"action":"perform"}])";

class BoxEvasion : public ::testing::Test {
 protected:
  BoxEvasion() {
    const char* bin = std::getenv("ISLA_BIN_DIR");
    std::filesystem::copy_file(std::string(bin == nullptr ? "." : bin) + "/../tests/probe/evasion", probe());
  }
  std::string probe() const { return folder_.path() + "/bin/evasion"; }
  /// What the probe prints; each line is a way and what came of it.
  BoxResult Try(const std::string& spec, const std::string& way) {
    return folder_.Run({"run", "--no-namespaces", "--policy=" + folder_.Policy(spec), "--", probe(), way});
  }

  BoxFolder folder_;
};

TEST_F(BoxEvasion, EveryWayToWriteAPathLeadsToTheSameDecision) {
  const BoxResult result = Try(kRefuses, "paths");
  EXPECT_EQ(result.exit, 0) << result.err;
  std::istringstream lines(result.out);
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) EXPECT_EQ(line.find("opened"), std::string::npos) << line;
  EXPECT_GE(count, 12U) << result.out;
  EXPECT_NE(result.out.find("plain: EPERM\n"), std::string::npos) << result.out;
}

TEST_F(BoxEvasion, ALinkThatIsSwappedMeanwhileNeverLeadsToTheOther) {
  const BoxResult result = Try(kRefuses, "swap");
  EXPECT_EQ(result.out, "opened some: 1, refused some: 1, leaked: 0\n") << result.err;
}

TEST_F(BoxEvasion, CallsOfAnotherTableAndRingsAreNoWay) {
  EXPECT_EQ(Try(kRefuses, "io_uring").out, "setup: ENOSYS\n");
#if defined(__x86_64__)
  const BoxResult int80 = Try(kRefuses, "int80");
  EXPECT_EQ(int80.out.find("opened"), std::string::npos) << int80.out;
  EXPECT_TRUE(int80.exit != 0 || !int80.out.empty()) << "neither ended nor answered";
#endif
}

// A filter of the command's own can make calls fail that ours would have answered; it can allow nothing.
TEST_F(BoxEvasion, AFilterInsideGainsNothing) {
  const BoxResult result = Try(kRefuses, "inner");
  EXPECT_EQ(result.out, "listener: EBUSY\nallow: 1\nlog: 1\ntrace: 1\nnotify: 38\nerrno: 77\n") << result.err;
}

// With MSG_FASTOPEN a call that sends connects.
TEST_F(BoxEvasion, AConnectionIsDecidedAboutWhateverCallAsksForIt) {
  const std::string base = R"("base":{"groups":["@container"]},)";
  const std::string refused = "sendto: EOPNOTSUPP\nsendmsg: EOPNOTSUPP\nsendmmsg: EOPNOTSUPP\n";
  EXPECT_EQ(Try(base + R"("rules":[{"syscalls":["connect"],"when":"addr.ip == '127.0.0.1'","action":"deny"},{"syscalls":["connect"],"action":"perform"}])", "fastopen").out,
            "connect: EPERM\n" + refused + "deferred: EPERM\n");
  const std::string net = R"("net":{"default":"allow","rules":[{"to":"127.0.0.0/8","operations":["connect"],"action":"deny"}]})";
  EXPECT_EQ(Try(base + net, "fastopen").out, "connect: EPERM\n" + refused + "deferred: EPERM\n");
  const std::string open = Try(R"("base":{"groups":["@container"]})", "fastopen").out;
  EXPECT_EQ(open.find("EPERM"), std::string::npos) << open;
  EXPECT_EQ(open.find("connect: opened\n"), 0u) << open;
}

// Landlock knows no path of a file in memory, so a list of what may be executed would not be one.
TEST_F(BoxEvasion, NothingIsExecutedFromMemoryWhereExecutionIsAList) {
  const std::string base = R"("base":{"groups":["@container"]})", list = R"("exec":{"allow":[")" + probe() + R"("]})";
  EXPECT_EQ(Try(base, "memfd").out, "ran\n") << "without a list it is allowed";
  EXPECT_EQ(Try(base + "," + list, "memfd").out, "memfd: EACCES\n");
  EXPECT_EQ(Try(base + R"(,"files":{"allow":[{"path":"/","access":["read"]},{"path":")" + probe() + R"(","access":["execute"]}]})", "memfd").out, "memfd: EACCES\n");
  const std::string sealed = Try(base + "," + list, "memfd-noexec").out;
  EXPECT_TRUE(sealed == "exec: EACCES\n" || sealed == "memfd: EINVAL\n") << sealed << " (kernels before 6.3 don't know the flag)";
  // A rule of the policy comes first: who needs it says so.
  EXPECT_EQ(Try(base + "," + list + R"(,"rules":[{"syscalls":["memfd_create"],"action":"allow"}])", "memfd").out, "ran\n");
}

}  // namespace
}  // namespace isla::e2e
