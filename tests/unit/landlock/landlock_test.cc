// Landlock: what sections mean for each ABI (pure), and what the kernel makes of it (in a child, where it has Landlock).
#include "sandbox/landlock/landlock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>

#include "api/base/unique_fd.h"
#include "sandbox/landlock/landlock_abi.h"

namespace isla::landlock {
namespace {

using sandbox::NetRule;
using sandbox::Sections;

Sections Files(std::vector<sandbox::PathAccess> allow) {
  Sections out;
  out.files.emplace();
  out.files->allow = std::move(allow);
  return out;
}

Sections Exec(std::vector<std::string> allow) {
  Sections out;
  out.exec = sandbox::ExecSection{std::move(allow)};
  return out;
}

NetRule Rule(uint16_t first, uint16_t last, NetRule::Kind kind = NetRule::Kind::kAllow, bool connect = true, bool bind = true) {
  NetRule out;
  out.first_port = first;
  out.last_port = last;
  out.action = kind;
  out.connect = connect;
  out.bind = bind;
  return out;
}

Plan PlanOf(const Sections& sections, int abi, const Options& options = {}) {
  StatusOr<Plan> plan = MakePlan(sections, abi, options);
  EXPECT_TRUE(plan.ok()) << ToString(plan.status());
  return plan.ok() ? *std::move(plan) : Plan();
}

// The plan --------------------------------------------------------------------------------------------------

TEST(LandlockPlan, SectionsThatRestrictNothingNeedNoKernel) {
  Sections sections;
  EXPECT_TRUE(PlanOf(sections, 0).empty());
  sections.files.emplace();
  sections.files->mask = {"/etc/shadow"};
  sections.exec.emplace();
  EXPECT_TRUE(PlanOf(sections, 0).empty());
  EXPECT_TRUE(PlanOf(sections, 7).empty());
}

TEST(LandlockPlan, WithoutLandlockThePolicyIsRefusedByField) {
  const StatusOr<Plan> files = MakePlan(Files({{"/usr", sandbox::kRead}}), 0, {});
  ASSERT_EQ(files.status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(Message(files.status()).find("files.allow"), 0u);
  const StatusOr<Plan> exec = MakePlan(Exec({"/bin/sh"}), 0, {});
  ASSERT_EQ(exec.status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(Message(exec.status()).find("exec.allow"), 0u);
  const Plan without = PlanOf(Files({{"/usr", sandbox::kRead}}), 0, {.go_on_without = true});
  EXPECT_TRUE(without.empty());
  ASSERT_EQ(without.lost.size(), 1u);
}

TEST(LandlockPlan, EachAbiHandlesAllThatItKnows) {
  const Sections sections = Files({{"/x", sandbox::kRead}});
  const auto handled = [&sections](int abi) { return PlanOf(sections, abi).layers.at(0).files; };
  EXPECT_EQ(handled(1), (uint64_t{1} << 13) - 1);
  EXPECT_EQ(handled(2), (uint64_t{1} << 14) - 1);
  EXPECT_EQ(handled(3), (uint64_t{1} << 15) - 1);
  EXPECT_EQ(handled(4), (uint64_t{1} << 15) - 1);
  EXPECT_EQ(handled(5), (uint64_t{1} << 16) - 1);
  EXPECT_EQ(handled(99), (uint64_t{1} << 16) - 1) << "of what comes later nothing is asked";
  EXPECT_EQ(PlanOf(sections, 1).lost.size(), 3u);
  EXPECT_EQ(PlanOf(sections, 2).lost.size(), 2u);
  EXPECT_TRUE(PlanOf(sections, 5).lost.empty());
}

TEST(LandlockPlan, NoRightIsGivenThatTheKernelDoesntKnow) {
  for (int abi = 1; abi < 9; ++abi) {
    for (uint8_t access = 0; access < 32; ++access) {
      const Layer layer = PlanOf(Files({{"/x", access}}), abi).layers.at(0);
      EXPECT_EQ(layer.paths.at(0).rights & ~layer.files, 0u);
      EXPECT_EQ(layer.paths.at(0).rights & (kMakeChar | kMakeBlock), 0u) << "nobody makes devices";
    }
  }
}

TEST(LandlockPlan, ExecWithFilesIsALayerOfItsOwnAndKeepsRenamingPossible) {
  Sections sections = Files({{"/usr", sandbox::kRead | sandbox::kExecute}});
  sections.exec = sandbox::ExecSection{{"/usr/bin/python3"}};
  const Plan plan = PlanOf(sections, 7);
  ASSERT_EQ(plan.layers.size(), 2u);
  EXPECT_EQ(plan.layers[1].files, kExecute | kRefer);
  EXPECT_EQ(plan.layers[1].paths, (std::vector<PathRule>{{"/usr/bin/python3", kExecute}, {"/", kRefer}}));
  EXPECT_EQ(PlanOf(Exec({"/bin/sh"}), 1).layers.at(0).files, kExecute);
}

TEST(LandlockPlan, PortsAreThoseThatSomeRuleLetsThrough) {
  Sections sections;
  sections.net.emplace();
  sections.net->rules = {Rule(443, 443), Rule(8000, 8001, NetRule::Kind::kAllow, false, true), Rule(22, 22, NetRule::Kind::kDeny), Rule(80, 80, NetRule::Kind::kRedirect, true, false)};
  EXPECT_TRUE(PlanOf(sections, 4).empty()) << "allowed unless a rule says no: ports alone forbid nothing";
  sections.net->default_allow = false;
  EXPECT_TRUE(PlanOf(sections, 3).empty());
  EXPECT_TRUE(PlanOf(sections, 4, {.ports = false}).empty());
  const Plan plan = PlanOf(sections, 4);
  ASSERT_EQ(plan.layers.size(), 1u);
  EXPECT_EQ(plan.layers[0].files, 0u);
  EXPECT_EQ(plan.layers[0].ports, kConnectTcp | kBindTcp);
  EXPECT_EQ(plan.layers[0].port_rules, (std::vector<PortRule>{{80, kConnectTcp}, {443, kConnectTcp | kBindTcp}, {8000, kBindTcp}, {8001, kBindTcp}}));
  sections.net->rules.push_back(Rule(1, 65535, NetRule::Kind::kAllow, true, false));
  EXPECT_EQ(PlanOf(sections, 4).layers.at(0).ports, kBindTcp) << "too many to name: left to net's own enforcement";
}

TEST(LandlockPlan, ScopesAreForClosedFileTreesOnRequest) {
  const Sections sections = Files({{"/usr", sandbox::kRead}});
  EXPECT_EQ(PlanOf(sections, 7).layers.at(0).scoped, 0u);
  EXPECT_EQ(PlanOf(sections, 7, {.scopes = true}).layers.at(0).scoped, kScopeAbstractUnixSocket | kScopeSignal);
  EXPECT_EQ(PlanOf(sections, 5, {.scopes = true}).layers.at(0).scoped, 0u);
  EXPECT_EQ(PlanOf(sections, 5, {.scopes = true}).lost.size(), 1u);
}

// The kernel -------------------------------------------------------------------------------------------------

class LandlockKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Abi() < 1) GTEST_SKIP() << "this kernel has no Landlock";
    char name[] = "/tmp/isla-landlock-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    for (const char* each : {"/in", "/out", "/in/sub"}) ASSERT_EQ(mkdir((folder_ + each).c_str(), 0755), 0);
    for (const char* each : {"/in/file", "/out/file"}) ASSERT_TRUE(WriteFileAtomically(folder_ + each, "text", 0644, false).ok());
  }
  void TearDown() override {
    if (!folder_.empty()) {
      EXPECT_TRUE(RemoveTree(folder_).ok());
    }
  }

  /// What `body` returns in a child that was restricted: a number below 200.
  int Restricted(const Sections& sections, const std::function<int()>& body, const Options& options = {}) {
    const Plan plan = PlanOf(sections, Abi(), options);
    const pid_t child = fork();
    if (child == 0) {
      const UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      missing_.clear();
      if (!Restrict(plan, root.get(), &missing_).ok()) _exit(201);
      _exit(body());
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 202;
  }

  /// errno of opening, 0 if it could be.
  static int Open(const std::string& path, int flags) {
    const UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC, 0644));
    return fd.valid() ? 0 : errno;
  }
  static int Errno(int result) { return result == 0 ? 0 : errno; }

  std::string folder_;
  std::vector<std::string> missing_;
};

TEST_F(LandlockKernel, ReadingIsWhereItIsAllowedOnly) {
  const Sections sections = Files({{folder_ + "/in", sandbox::kRead}});
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/in/file", O_RDONLY); }), 0);
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/in", O_RDONLY | O_DIRECTORY); }), 0);
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/in/file", O_WRONLY); }), EACCES);
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/in/new", O_WRONLY | O_CREAT); }), EACCES);
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/out/file", O_RDONLY); }), EACCES);
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/in/../out/file", O_RDONLY); }), EACCES);
  EXPECT_EQ(Restricted(sections, [this] { return Errno(unlink((folder_ + "/in/file").c_str())); }), EACCES);
}

TEST_F(LandlockKernel, CreatingAndDeletingAreRightsOfTheirOwn) {
  const Sections create = Files({{folder_ + "/in", sandbox::kRead | sandbox::kWrite | sandbox::kCreate}});
  EXPECT_EQ(Restricted(create, [this] { return Open(folder_ + "/in/new", O_WRONLY | O_CREAT | O_EXCL); }), 0);
  EXPECT_EQ(Restricted(create, [this] { return Errno(mkdir((folder_ + "/in/folder").c_str(), 0755)); }), 0);
  EXPECT_EQ(Restricted(create, [this] { return Errno(unlink((folder_ + "/in/new").c_str())); }), EACCES);
  EXPECT_EQ(Restricted(create, [this] { return Errno(mkdir((folder_ + "/out/folder").c_str(), 0755)); }), EACCES);
  const Sections remove = Files({{folder_ + "/in", sandbox::kDelete}});
  EXPECT_EQ(Restricted(remove, [this] { return Errno(unlink((folder_ + "/in/new").c_str())); }), 0);
  EXPECT_EQ(Restricted(remove, [this] { return Errno(rmdir((folder_ + "/in/folder").c_str())); }), 0);
}

TEST_F(LandlockKernel, RenamingAcrossFoldersNeedsBothEnds) {
  if (Abi() < kAbiRefer) GTEST_SKIP() << "Landlock ABI " << Abi() << " has no REFER";
  constexpr uint8_t kAll = sandbox::kRead | sandbox::kWrite | sandbox::kCreate | sandbox::kDelete;
  const auto move = [this](const char* from, const char* to) { return Errno(rename((folder_ + from).c_str(), (folder_ + to).c_str())); };
  EXPECT_EQ(Restricted(Files({{folder_ + "/in", kAll}}), [&move] { return move("/in/file", "/out/moved"); }), EACCES);
  EXPECT_EQ(Restricted(Files({{folder_ + "/in", kAll}}), [&move] { return move("/in/file", "/in/sub/file"); }), 0);
  EXPECT_EQ(Restricted(Exec({"/bin"}), [&move] { return move("/in/sub/file", "/in/file"); }), 0) << "a list of programs forbids no renaming";
}

TEST_F(LandlockKernel, TruncatingOutsideIsForbidden) {
  if (Abi() < kAbiTruncate) GTEST_SKIP() << "Landlock ABI " << Abi() << " has no TRUNCATE";
  const Sections sections = Files({{folder_ + "/in", sandbox::kRead | sandbox::kWrite}, {folder_ + "/out", sandbox::kRead}});
  EXPECT_EQ(Restricted(sections, [this] { return Errno(truncate((folder_ + "/in/file").c_str(), 0)); }), 0);
  EXPECT_EQ(Restricted(sections, [this] { return Errno(truncate((folder_ + "/out/file").c_str(), 0)); }), EACCES);
}

TEST_F(LandlockKernel, ARuleMayNameAFile) {
  const Sections sections = Files({{folder_ + "/in/file", sandbox::kRead | sandbox::kWrite | sandbox::kCreate | sandbox::kDelete}});
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/in/file", O_RDWR); }), 0);
  EXPECT_EQ(Restricted(sections, [this] { return Open(folder_ + "/in", O_RDONLY); }), EACCES);
}

TEST_F(LandlockKernel, WhatIsMissingIsLeftOutAndTold) {
  const Sections sections = Files({{folder_ + "/nowhere", sandbox::kRead}, {folder_ + "/in", sandbox::kRead}});
  EXPECT_EQ(Restricted(sections, [this] { return missing_ == std::vector<std::string>{folder_ + "/nowhere"} ? 0 : 1; }), 0);
}

TEST_F(LandlockKernel, OnlyListedProgramsRun) {
  const auto run = [](const char* path) {
    return [path] {
      execl(path, path, nullptr);
      return 100 + errno;
    };
  };
  EXPECT_EQ(Restricted(Exec({"/usr/bin/true", "/lib64", "/lib"}), run("/usr/bin/true")), 0);
  EXPECT_EQ(Restricted(Exec({"/usr/bin/true", "/lib64", "/lib"}), run("/usr/bin/false")), 100 + EACCES);
  Sections both = Files({{"/", sandbox::kRead}});
  both.exec = sandbox::ExecSection{{"/usr"}};
  EXPECT_EQ(Restricted(both, run("/usr/bin/true")), 100 + EACCES) << "the stricter of both";
}

TEST_F(LandlockKernel, PathsAreResolvedInsideTheRootThatWasGiven) {
  ASSERT_EQ(symlink("/out", (folder_ + "/in/link").c_str()), 0);  // of the root: folder_/in has no /out
  const Plan plan = PlanOf(Files({{"/link/file", sandbox::kRead}, {"/../out/file", sandbox::kRead}}), Abi());
  const pid_t child = fork();
  if (child == 0) {
    const UniqueFd root(open((folder_ + "/in").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    std::vector<std::string> missing;
    if (!Restrict(plan, root.get(), &missing).ok() || missing.size() != 2) _exit(100);
    _exit(Open(folder_ + "/out/file", O_RDONLY));
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), EACCES);
}

TEST_F(LandlockKernel, PortsThatNoRuleAllowsCantBeUsed) {
  if (Abi() < kAbiPorts) GTEST_SKIP() << "Landlock ABI " << Abi() << " has no ports";
  Sections sections;
  sections.net.emplace();
  sections.net->default_allow = false;
  sections.net->rules = {Rule(0, 0)};  // bind only: nobody listens there
  const auto bound = [](uint16_t port) {
    return [port] {
      const UniqueFd any(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      return Errno(bind(any.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
    };
  };
  EXPECT_EQ(Restricted(sections, bound(0)), 0);
  EXPECT_EQ(Restricted(sections, bound(47811)), EACCES);
}

TEST_F(LandlockKernel, AScopedTreeDoesntReachAbstractSocketsOutside) {
  if (Abi() < kAbiScopes) GTEST_SKIP() << "Landlock ABI " << Abi() << " has no scopes";
  const std::string name = folder_;  // as unique as the folder
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const UniqueFd server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(server.get(), 8), 0);
  const auto connected = [&address, length] {
    const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return Errno(connect(client.get(), reinterpret_cast<const sockaddr*>(&address), length));
  };
  const Sections sections = Files({{"/usr", sandbox::kRead}});
  EXPECT_EQ(Restricted(sections, connected), 0);
  EXPECT_EQ(Restricted(sections, connected, {.scopes = true}), EPERM);
}

}  // namespace
}  // namespace isla::landlock
