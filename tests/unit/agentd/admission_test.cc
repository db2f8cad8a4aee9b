#include "agentd/admission.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/agentd/fake_node.h"

namespace isla::agent {
namespace {

namespace fs = std::filesystem;
const Resources kRoom{4000, int64_t{1} << 30, 1000};

std::string ReasonOf(isla::v1::LaunchSpec launch, const NodeConfig& config = {}, Resources used = {}) {
  const auto rejection = Admit(config, kRoom, used, launch);
  return rejection.has_value() ? rejection->reason : "";
}

TEST(Admission, ASmallLaunchIsLetIn) { EXPECT_EQ(ReasonOf(SmallLaunch()), ""); }

TEST(Admission, TheLastFreePieceIsGivenAndNotAPieceMore) {
  auto launch = SmallLaunch();
  launch.set_cpu_millis(1000);
  EXPECT_EQ(ReasonOf(launch, {}, {3000, 0, 0}), "");
  EXPECT_EQ(ReasonOf(launch, {}, {3001, 0, 0}), "OutOfCpu");
  EXPECT_EQ(ReasonOf(SmallLaunch(), {}, {0, int64_t{1} << 30, 0}), "OutOfMemory");
  EXPECT_EQ(ReasonOf(SmallLaunch(), {}, {0, 0, 991}), "OutOfTasks");
}

TEST(Admission, WhatNoApiLetsThroughIsRefused) {
  const auto with = [](const std::function<void(isla::v1::LaunchSpec&)>& change) {
    auto launch = SmallLaunch();
    change(launch);
    return ReasonOf(launch);
  };
  EXPECT_EQ(with([](auto& l) { l.clear_argv(); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_argv(0, std::string("a\0b", 3)); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.add_env("NOVALUE"); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.add_env("=x"); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_working_dir("relative"); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_cpu_millis(-1); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_memory_bytes(0); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_timeout_msec(-1); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_network("bridge"); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_image("docker:x"); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.set_sandbox_policy("none"); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) { l.add_argv(std::string(kMaxLaunchBytes, 'x')); }), "InvalidLaunch");
  EXPECT_EQ(with([](auto& l) {
              auto& mount = *l.add_mounts();
              mount.set_host_path("/srv/../etc");
              mount.set_mount_path("/x");
            }),
            "InvalidLaunch");
}

TEST(Admission, TheHostNetworkNeedsTheNodesWord) {
  auto launch = SmallLaunch();
  launch.set_network("host");
  EXPECT_EQ(ReasonOf(launch), "NotAllowed");
  NodeConfig config;
  config.host_network = true;
  EXPECT_EQ(ReasonOf(launch, config), "");
}

class AdmissionPathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/agentd-admission-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    fs::create_directories(folder_ + "/allowed/inner");
    fs::create_directories(folder_ + "/allowed-not");
    fs::create_directories(folder_ + "/secret");
    fs::create_symlink(folder_ + "/secret", folder_ + "/allowed/escape");
    fs::create_symlink(folder_ + "/allowed/inner", folder_ + "/way-in");
    std::ofstream(folder_ + "/allowed/file") << "x";
    config_.image_roots = {folder_ + "/allowed"};
    config_.mount_roots = {{folder_ + "/allowed", true}};
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Image(const std::string& path) {
    auto launch = SmallLaunch();
    launch.set_image("dir:" + path);
    const auto rejection = Admit(config_, kRoom, {}, launch);
    return rejection.has_value() ? rejection->reason : launch.image();
  }
  std::string Mount(const std::string& path, bool read_only) {
    auto launch = SmallLaunch();
    auto& mount = *launch.add_mounts();
    mount.set_host_path(path);
    mount.set_mount_path("/data");
    mount.set_read_only(read_only);
    const auto rejection = Admit(config_, kRoom, {}, launch);
    return rejection.has_value() ? rejection->reason : launch.mounts(0).host_path();
  }

  std::string folder_;
  NodeConfig config_;
};

TEST_F(AdmissionPathTest, AnImageMustLieUnderARootAfterLinksAreFollowed) {
  EXPECT_EQ(Image(folder_ + "/allowed/inner"), "dir:" + folder_ + "/allowed/inner");
  EXPECT_EQ(Image(folder_ + "/way-in"), "dir:" + folder_ + "/allowed/inner");
  EXPECT_EQ(Image(folder_ + "/allowed/escape"), "NotAllowed");
  EXPECT_EQ(Image(folder_ + "/allowed-not"), "NotAllowed") << "a prefix of a name is no folder";
  EXPECT_EQ(Image("/etc"), "NotAllowed");
  EXPECT_EQ(Image(folder_ + "/allowed/../secret"), "InvalidLaunch");
  EXPECT_EQ(Image(folder_ + "/allowed/absent"), "NoSuchImage");
  EXPECT_EQ(Image(folder_ + "/allowed/file"), "NoSuchImage");
}

TEST_F(AdmissionPathTest, WhatLiesOutsideIsNotTold) {
  EXPECT_EQ(Image(folder_ + "/secret"), Image(folder_ + "/no-such-secret"));
}

TEST_F(AdmissionPathTest, AReadOnlyRootIsNotMountedForWriting) {
  EXPECT_EQ(Mount(folder_ + "/allowed/inner", true), folder_ + "/allowed/inner");
  EXPECT_EQ(Mount(folder_ + "/allowed/inner", false), "NotAllowed");
  config_.mount_roots[0].read_only = false;
  EXPECT_EQ(Mount(folder_ + "/allowed/inner", false), folder_ + "/allowed/inner");
}

JournalState WithIds(std::vector<uint32_t> bases) {
  JournalState state;
  int number = 0;
  for (const uint32_t base : bases) state.entries[TestKey(++number)].set_id_base(base);
  return state;
}

TEST(Ids, ARangeIsGivenOnceAndTheLatestComesAgainLast) {
  NodeConfig config;
  config.first_id = 1'000'000;
  config.id_count = 3 * kIdsPerContainer;
  const uint32_t first = config.first_id;
  EXPECT_EQ(AllocateIds(config, {}, {}, 0), first);
  EXPECT_EQ(AllocateIds(config, {}, {}, first), first + kIdsPerContainer);
  EXPECT_EQ(AllocateIds(config, {}, {}, first + 2 * kIdsPerContainer), first);
  EXPECT_EQ(AllocateIds(config, WithIds({first}), {}, 0), first + kIdsPerContainer);
  EXPECT_EQ(AllocateIds(config, WithIds({first}), {first + kIdsPerContainer}, 0), first + 2 * kIdsPerContainer);
  EXPECT_EQ(AllocateIds(config, WithIds({first, first + kIdsPerContainer, first + 2 * kIdsPerContainer}), {}, 0), std::nullopt);
}

TEST(Ids, RangesOfAnotherConfigAreNotOverlapped) {
  NodeConfig config;
  config.first_id = 1'000'000;
  config.id_count = 2 * kIdsPerContainer;
  EXPECT_EQ(AllocateIds(config, WithIds({config.first_id + 1000}), {}, 0), std::nullopt);
  EXPECT_EQ(AllocateIds(config, WithIds({config.first_id - 1000}), {}, 0), config.first_id + kIdsPerContainer);
}

TEST(Logs, TheNodesBoundIsShared) {
  NodeConfig config;
  config.container_log_bytes = 1000 * 1024;
  config.node_log_bytes = 1500 * 1024;
  JournalState state;
  EXPECT_EQ(LogShare(config, state, 0), 1000 * 1024);
  EXPECT_EQ(LogShare(config, state, 1000 * 1024), 500 * 1024);
  EXPECT_EQ(LogShare(config, state, 5000 * 1024), kLeastLogBytes);
}

}  // namespace
}  // namespace isla::agent
