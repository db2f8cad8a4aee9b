#include "sandbox/compiled_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sandbox/bpf/evaluator.h"
#include "sandbox/default_policy.h"
#include "sandbox/table/rule_table.h"
#include "tests/unit/sandbox/random_policy.h"

namespace isla::sandbox {
namespace {

Sections ManySections() {
  Sections out;
  out.files = FilesSection{{{"/usr", kRead | kExecute}, {"/tmp", 31}}, {"/proc/kcore"}, {"/etc"}};
  out.exec = ExecSection{{"/usr/bin"}};
  out.net = NetSection{false,
                       {{"dns", true, false, true, *IpNetwork::FromText("10.0.0.53"), 53, 53, NetRule::Kind::kAllow, ""},
                        {"web", true, false, false, *IpNetwork::FromText("::/0"), 80, 90, NetRule::Kind::kRedirect, "127.0.0.1:3128"}}};
  out.view = ViewSection{true, false, "box", {{"/etc/hostname", "box\n"}}};
  out.limits = {5, std::chrono::milliseconds(70)};
  out.resources = {uint64_t{1} << 40, 1500, 100};
  out.audit = {100, 3};
  out.program = ProgramSection{"function f() end", 1 << 20, std::chrono::microseconds(500), 13};
  return out;
}

CompiledPolicy Compiled() {
  RandomPolicies random(5);
  return CompilePolicy(random.Make({}), ManySections(), "web", std::string(64, 'a')).value();
}

TEST(CompiledPolicy, ComesBackFromItsBytes) {
  const CompiledPolicy policy = Compiled();
  EXPECT_TRUE(policy.NeedsSupervisor());
  const StatusOr<CompiledPolicy> back = CompiledPolicy::FromBytes(policy.ToBytes());
  ASSERT_TRUE(back.ok()) << ToString(back.status());
  EXPECT_EQ(back->name, "web");
  EXPECT_EQ(back->hash, policy.hash);
  EXPECT_EQ(back->arch, policy.arch);
  EXPECT_EQ(back->mode, policy.mode);
  EXPECT_EQ(ToBytes(back->floor), ToBytes(policy.floor));
  EXPECT_EQ(ToBytes(back->filter), ToBytes(policy.filter));
  EXPECT_EQ(back->notified, policy.notified);
  EXPECT_EQ(back->table, policy.table);
  EXPECT_EQ(back->sections, policy.sections);
  EXPECT_EQ(back->ToBytes(), policy.ToBytes());
}

TEST(Sections, LimitsOfResourcesAreASectionThatProgramsOfBeforeItRefuse) {
  // Who doesn't know the name says so, as this one of a name that it doesn't know. A policy without such limits goes on to be read by all.
  EXPECT_EQ(ToJson(Sections()).Find("resources"), nullptr);
  json::Value value = ToJson(ManySections());
  ASSERT_NE(value.Find("resources"), nullptr);
  value.Set("resources2", *value.Find("resources"));
  EXPECT_EQ(SectionsFromJson(value).status().code(), Code::kUnimplemented);
  json::Value negative = ToJson(ManySections());
  negative.Set("resources", json::Value::MakeObject({{"memoryBytes", -1}, {"cpuMillis", 0}, {"tasks", 0}}));
  EXPECT_EQ(SectionsFromJson(negative).status().code(), Code::kInvalidArgument);
}

TEST(CompiledPolicy, DamageIsFound) {
  const std::string bytes = Compiled().ToBytes();
  EXPECT_EQ(CompiledPolicy::FromBytes("").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(CompiledPolicy::FromBytes("ISLAPOL2" + bytes.substr(8)).status().code(), Code::kUnimplemented);
  for (size_t at = 8; at < bytes.size(); at += 37) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    EXPECT_EQ(CompiledPolicy::FromBytes(damaged).status().code(), Code::kDataLoss) << at;
  }
  EXPECT_FALSE(CompiledPolicy::FromBytes(bytes.substr(0, bytes.size() / 2)).ok());
}

TEST(CompiledPolicy, OneOfAnotherPackageIsToldFromADamagedOne) {
  StatusOr<CompiledPolicy> policy = CompileDefaultWithView();
  ASSERT_TRUE(policy.ok());
  std::string bytes = policy->ToBytes();
  bytes[7] = '2';  // the format
  EXPECT_EQ(CompiledPolicy::FromBytes(bytes).status().code(), Code::kUnimplemented);
  EXPECT_EQ(CompiledPolicy::FromBytesButTable(bytes).status().code(), Code::kUnimplemented);
  ++policy->table[4];  // its table's
  const Status table = CompiledPolicy::FromBytes(policy->ToBytes()).status();
  EXPECT_EQ(table.code(), Code::kUnimplemented);
  EXPECT_NE(Message(table).find("they are of different packages"), std::string::npos) << Message(table);
  const StatusOr<CompiledPolicy> handed_on = CompiledPolicy::FromBytesButTable(policy->ToBytes());
  ASSERT_TRUE(handed_on.ok()) << ToString(handed_on.status());
  EXPECT_EQ(handed_on->ToBytes(), policy->ToBytes());
}

TEST(Sections, OneThatIsNotKnownIsRefusedAsNobodyWouldEnforceIt) {
  json::Value sections = ToJson(Sections());
  sections.Set("later", json::Value::MakeObject());
  const Status status = SectionsFromJson(sections).status();
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_NE(Message(status).find("'later'"), std::string::npos);
}

TEST(CompiledPolicy, TheFloorIsAFilterOfItsOwn) {
  Policy lax;
  lax.rules[0].action = Action::Allow();
  const StatusOr<CompiledPolicy> policy = CompilePolicy(lax, {}, "lax", "");
  ASSERT_TRUE(policy.ok());
  EXPECT_FALSE(policy->NeedsSupervisor());
  EXPECT_EQ(RunProgram(policy->filter, NativeCall(165)), SECCOMP_RET_ALLOW);
  EXPECT_EQ(RunProgram(policy->floor, NativeCall(425)), SECCOMP_RET_ERRNO | 38) << "io_uring_setup";
}

TEST(NetSection, FirstMatchingRuleDecides) {
  const NetSection net = *ManySections().net;
  const auto decide = [&net](NetOperation operation, std::string_view address) {
    const NetRule* rule = net.Decide(operation, *AddressFromText(address));
    return rule == nullptr ? std::string("none") : rule->name;
  };
  EXPECT_EQ(decide(NetOperation::kConnect, "10.0.0.53:53"), "dns");
  EXPECT_EQ(decide(NetOperation::kSend, "10.0.0.53:53"), "dns");
  EXPECT_EQ(decide(NetOperation::kBind, "10.0.0.53:53"), "none");
  EXPECT_EQ(decide(NetOperation::kConnect, "[::ffff:10.0.0.53]:53"), "dns") << "the same address by its other name";
  EXPECT_EQ(decide(NetOperation::kConnect, "1.2.3.4:85"), "web");
  EXPECT_EQ(decide(NetOperation::kConnect, "1.2.3.4:91"), "none");
  SocketAddress local;
  local.family = AF_UNIX;
  EXPECT_EQ(net.Decide(NetOperation::kConnect, local), nullptr);
}

TEST(Sections, OnlyTheNormalFormIsRead) {
  EXPECT_TRUE(SectionsFromJson(ToJson(Sections())).ok());
  EXPECT_FALSE(SectionsFromJson(json::Value::MakeObject()).ok());
  json::Value bad = ToJson(ManySections());
  bad.Member("net").Member("rules").items()[1].Set("redirect", "nowhere");
  EXPECT_FALSE(SectionsFromJson(bad).ok());
  bad = ToJson(ManySections());
  bad.Member("program").Set("onError", 0);
  EXPECT_FALSE(SectionsFromJson(bad).ok());
}

TEST(PolicyCache, KeepsTheOnesAskedForLast) {
  PolicyCache cache(2);
  const auto insert = [&cache](const std::string& hash) {
    CompiledPolicy policy;
    policy.hash = hash;
    return cache.Insert(std::move(policy));
  };
  const auto a = insert("a");
  insert("b");
  EXPECT_EQ(cache.Find("a"), a);
  EXPECT_EQ(insert("a"), a) << "the one that was there";
  insert("c");
  EXPECT_EQ(cache.Find("b"), nullptr);
  EXPECT_EQ(cache.Find("a"), a);
}

}  // namespace
}  // namespace isla::sandbox
