#include "agentd/node_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isla::agent {
namespace {

using ::testing::HasSubstr;

TEST(NodeConfig, AnAbsentFileAllowsNothing) {
  const auto config = ReadNodeConfig("/nonexistent/node.json");
  ASSERT_TRUE(config.ok());
  EXPECT_FALSE(config->host_network);
  EXPECT_TRUE(config->image_roots.empty());
  EXPECT_TRUE(config->mount_roots.empty());
}

TEST(NodeConfig, EveryMemberIsRead) {
  const auto config = ParseNodeConfig(R"({"capacity": {"cpuMillis": 2000, "memoryBytes": 1024, "tasks": 7},
    "hostNetwork": true, "imageRoots": ["/srv/images"], "mountRoots": [{"path": "/srv/data", "readOnly": false}],
    "ids": {"first": 1000000, "count": 262144}, "logs": {"containerBytes": 8192, "nodeBytes": 65536}, "labels": {"zone": "a"}})");
  ASSERT_TRUE(config.ok()) << ToString(config.status());
  EXPECT_EQ(LimitCapacity({8000, 4096, 100}, *config), (Resources{2000, 1024, 7}));
  EXPECT_EQ(LimitCapacity({1000, 4096, 3}, *config), (Resources{1000, 1024, 3})) << "a ceiling, not a claim";
  EXPECT_TRUE(config->host_network);
  EXPECT_EQ(config->image_roots, std::vector<std::string>{"/srv/images"});
  EXPECT_FALSE(config->mount_roots.at(0).read_only);
  EXPECT_EQ(config->first_id, 1000000u);
  EXPECT_EQ(config->container_log_bytes, 8192);
  EXPECT_EQ(config->labels.at("zone"), "a");
}

TEST(NodeConfig, DefaultIdsAreNobodyElses) {
  const NodeConfig config;
  EXPECT_GT(config.first_id, 1879048191u) << "systemd-nspawn's";
  EXPECT_LE(uint64_t{config.first_id} + config.id_count, 0x7FFE0000u) << "systemd's foreign ids";
  EXPECT_EQ(config.id_count % kIdsPerContainer, 0u);
}

TEST(NodeConfig, WhatIsWrongIsNamedWithItsPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"hostNetwrok": true})", "hostNetwrok: unknown member (line 1:"},
      {R"({"hostNetwork": "yes"})", "hostNetwork: expected true or false, got string"},
      {R"({"capacity": {"cpu": 1}})", "capacity.cpu: unknown member"},
      {R"({"capacity": {"cpuMillis": "2"}})", "capacity.cpuMillis: expected an integer, got string"},
      {R"({"capacity": {"tasks": -1}})", "capacity.tasks: must be between"},
      {R"({"imageRoots": "/srv"})", "imageRoots: expected an array"},
      {R"({"imageRoots": ["srv"]})", "imageRoots: must be an absolute path"},
      {R"({"mountRoots": [{"readOnly": true}]})", "mountRoots: an entry needs a path"},
      {R"({"ids": {"first": 0}})", "ids.first: must be between"},
      {R"({"ids": {"first": 4294000000, "count": 4294000000}})", "ids: first + count is beyond"},
      {R"({"logs": {"nodeBytes": 1}})", "logs.nodeBytes: must be between"},
      {R"({"labels": {"a": 1}})", "labels.a: expected a string"},
      {R"([])", "expected an object, got array"},
      {R"({"hostNetwork": true,})", "line 1:"},
  };
  for (const auto& [text, error] : cases) {
    const auto config = ParseNodeConfig(text);
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_EQ(config.status().code(), Code::kInvalidArgument) << text;
    EXPECT_THAT(Message(config.status()), HasSubstr(std::string(error) == "line 1:" ? "1:" : error)) << text;
  }
}

}  // namespace
}  // namespace isla::agent
