#include "agentd/shim/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agentd/shim/launch_check.h"

namespace isla::shim {
namespace {

using testing::HasSubstr;

LaunchRequest Good() {
  LaunchRequest r;
  r.uid = "0b7bd1a6-1111-4222-8333-444455556666";
  r.incarnation = 2;
  r.scope = "isla-0b7bd1a6-1111-4222-8333-444455556666-2.scope";
  r.hostname = "box";
  r.run_dir = "/run/isla/x";
  r.log_path = "/var/log/x";
  r.log_max_bytes = 1 << 20;
  r.init_path = "/usr/bin/isla-init";
  r.image = "dir:/srv/image";
  r.overlay_dir = "/srv/upper";
  r.argv = {"a", "b c", ""};
  r.env = {"A=b", "B="};
  r.working_dir = "/work";
  r.cpu_millis = 1500;
  r.memory_bytes = int64_t{1} << 40;
  r.tasks = 64;
  r.tmpfs_bytes = 1 << 20;
  r.timeout_msec = 5;
  r.grace_period_msec = 6;
  r.host_network = true;
  r.mounts = {{"/a", "/b", false}};
  r.id_base = 0xf0000000;
  r.supervisor_path = "/usr/bin/isla-supervisor";
  return r;
}

TEST(LaunchRequest, ComesBackAsItWas) {
  const json::Value first = ToJson(Good());
  const StatusOr<LaunchRequest> read = LaunchRequestFromJson(first);
  ASSERT_TRUE(read.ok()) << ToString(read.status());
  EXPECT_EQ(json::Serialize(ToJson(*read)), json::Serialize(first));
  EXPECT_EQ(read->id_base, 0xf0000000);
  EXPECT_EQ(read->memory_bytes, int64_t{1} << 40);
  EXPECT_TRUE(CheckLaunchRequest(*read).ok()) << ToString(CheckLaunchRequest(*read));
}

TEST(LaunchRequest, UnknownMembersAreIgnoredAndMissingOnesAreNot) {
  json::Value value = ToJson(Good());
  value.Set("later", "x");
  EXPECT_TRUE(LaunchRequestFromJson(value).ok());
  const json::Value good = ToJson(Good());
  for (const json::Member& member : good.members()) {
    json::Value less = good;
    less.Remove(member.name);
    if (member.name == "supervisorPath") {  // agentds of before there was one don't send it
      EXPECT_TRUE(LaunchRequestFromJson(less).ok());
      continue;
    }
    const Status status = LaunchRequestFromJson(less).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << member.name;
    EXPECT_THAT(Message(status), HasSubstr("'" + member.name + "' is missing"));
  }
}

TEST(LaunchRequest, EveryWrongTypeIsRefusedByName) {
  const json::Value good = ToJson(Good());
  for (const json::Member& member : good.members()) {
    for (const json::Value& wrong : {json::Value(), json::Value(true), json::Value(-1), json::Value("x"),
                                     json::Value::Number("1.5"), json::Value::Number("1e30"),
                                     json::Value::MakeArray({1}), json::Value::MakeObject()}) {
      if (wrong.type() == member.value.type() && !wrong.is_number() && !wrong.is_array()) continue;
      json::Value value = good;
      value.Set(member.name, wrong);
      const Status status = LaunchRequestFromJson(value).status();
      EXPECT_EQ(status.code(), Code::kInvalidArgument) << member.name << " = " << json::Serialize(wrong);
    }
  }
}

TEST(LaunchRequest, ANulInATextIsRefused) {
  json::Value value = ToJson(Good());
  value.Set("hostname", std::string("a\0b", 3));
  EXPECT_FALSE(LaunchRequestFromJson(value).ok());
  value = ToJson(Good());
  value.Set("argv", json::Value::MakeArray({std::string("\0", 1)}));
  EXPECT_FALSE(LaunchRequestFromJson(value).ok());
}

TEST(LaunchRequest, AnotherVersionIsRefused) {
  json::Value value = ToJson(Good());
  value.Set("version", kProtocolVersion + 1);
  EXPECT_EQ(LaunchRequestFromJson(value).status().code(), Code::kInvalidArgument);
}

TEST(CheckLaunchRequest, RefusesWhatRootMustNotActOn) {
  const std::pair<const char*, void (*)(LaunchRequest&)> changes[] = {
      {"uid", [](LaunchRequest& r) { r.uid = "../../etc"; }},
      {"scope", [](LaunchRequest& r) { r.scope = "ssh.service"; }},
      {"hostname", [](LaunchRequest& r) { r.hostname = ""; }},
      {"hostname", [](LaunchRequest& r) { r.hostname = "a b"; }},
      {"hostname", [](LaunchRequest& r) { r.hostname = std::string(64, 'a'); }},
      {"argv", [](LaunchRequest& r) { r.argv.clear(); }},
      {"argv", [](LaunchRequest& r) { r.argv = {""}; }},
      {"env", [](LaunchRequest& r) { r.env = {"NOVALUE"}; }},
      {"env", [](LaunchRequest& r) { r.env = {"=x"}; }},
      {"workingDir", [](LaunchRequest& r) { r.working_dir = "/a/../b"; }},
      {"runDir", [](LaunchRequest& r) { r.run_dir = "run"; }},
      {"logPath", [](LaunchRequest& r) { r.log_path = ""; }},
      {"initPath", [](LaunchRequest& r) { r.init_path = "/x/"; }},
      {"image", [](LaunchRequest& r) { r.image = "docker:x"; }},
      {"image", [](LaunchRequest& r) { r.image = "dir:relative"; }},
      {"overlayDir", [](LaunchRequest& r) { r.overlay_dir = "/a//b"; }},
      {"cpuMillis", [](LaunchRequest& r) { r.cpu_millis = 0; }},
      {"memoryBytes", [](LaunchRequest& r) { r.memory_bytes = 1024; }},
      {"tasks", [](LaunchRequest& r) { r.tasks = 1; }},
      {"tmpfsBytes", [](LaunchRequest& r) { r.tmpfs_bytes = r.memory_bytes + 1; }},
      {"gracePeriodMsec", [](LaunchRequest& r) { r.grace_period_msec = INT64_MAX; }},
      {"timeoutMsec", [](LaunchRequest& r) { r.timeout_msec = INT64_MAX; }},
      {"idBase", [](LaunchRequest& r) { r.id_base = 0; }},
      {"idBase", [](LaunchRequest& r) { r.id_base = 65535; }},
      {"idBase", [](LaunchRequest& r) { r.id_base = UINT32_MAX - 65536; }},
      {"mounts.hostPath", [](LaunchRequest& r) { r.mounts[0].host_path = "/a/./b"; }},
      {"mounts.mountPath", [](LaunchRequest& r) { r.mounts[0].mount_path = "/"; }},
      {"mounts.mountPath", [](LaunchRequest& r) { r.mounts[0].mount_path = "/proc/self"; }},
      {"mounts.mountPath", [](LaunchRequest& r) { r.mounts[0].mount_path = "/dev"; }},
      {"mounts", [](LaunchRequest& r) { r.mounts.resize(257, r.mounts[0]); }},
  };
  for (const auto& [member, change] : changes) {
    LaunchRequest request = Good();
    change(request);
    const Status status = CheckLaunchRequest(request);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << member;
    EXPECT_THAT(Message(status), HasSubstr(std::string("'") + member + "'"));
  }
}

TEST(IsCleanPath, MeansWhatItSays) {
  for (const char* path : {"/", "/a", "/a/b.c", "/a/...", "/.a"}) EXPECT_TRUE(IsCleanPath(path)) << path;
  for (const char* path : {"", "a", "/a/", "//", "//a", "/a//b", "/.", "/..", "/a/..", "/a/./b"}) {
    EXPECT_FALSE(IsCleanPath(path)) << path;
  }
  EXPECT_FALSE(IsCleanPath("/" + std::string(256, 'a')));
}

TEST(ExitRecord, ComesBackAsItWas) {
  ExitRecord record;
  record.exit_code = 137;
  record.signal = 9;
  record.cause = "oom";
  record.oom_kills = 2;
  record.started_at_ns = 1795362137123456789;
  record.finished_at_ns = 1795362138123456789;
  record.peak_memory_bytes = int64_t{1} << 41;
  record.cpu_time_usec = 12;
  record.log_dropped_bytes = 13;
  record.at_command = true;
  const StatusOr<ExitRecord> read = ExitRecordFromJson(ToJson(record));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(json::Serialize(ToJson(*read)), json::Serialize(ToJson(record)));
  EXPECT_EQ(read->started_at_ns, 1795362137123456789);
  EXPECT_TRUE(read->at_command);
  json::Value older = ToJson(record);
  older.Remove("atCommand");
  ASSERT_TRUE(ExitRecordFromJson(older).ok());
  EXPECT_FALSE(ExitRecordFromJson(older)->at_command);
}

}  // namespace
}  // namespace isla::shim
