// Learning: audit lines to a manifest.
#include "sandbox/box/learn.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sandbox/box/built_in.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/default_policy.h"
#include "sandbox/manifest/sandbox_policy.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/sections.h"

namespace isla::sandbox {
namespace {

std::string Line(const std::string& call, const std::string& arguments, const std::string& exe = "/usr/bin/x") {
  return fmt::format(R"({{"time":"t","policyVersion":"v","rule":"default","tid":2,"exe":"{}","syscall":"{}","args":{{{}}},"verdict":"continue","us":3}})", exe, call, arguments);
}

Observed Seen(const std::vector<std::string>& lines) {
  Observed out;
  for (const std::string& line : lines) EXPECT_TRUE(Observe(line, out).ok()) << line;
  return out;
}

/// Everything is a file, but the folders; nothing has a loader.
FileFacts Facts(std::vector<std::string> folders = {}, std::vector<std::string> missing = {}, std::vector<std::string> made = {}) {
  return {[folders, missing](const std::string& path) {
            if (std::find(missing.begin(), missing.end(), path) != missing.end()) return '\0';
            return std::find(folders.begin(), folders.end(), path) != folders.end() ? 'd' : 'f';
          },
          [](const std::string&) { return std::string(); },
          [made](const std::string& path) { return std::find(made.begin(), made.end(), path) != made.end(); }};
}

using Files = std::map<std::string, uint8_t>;

Files Collapsed(const std::map<std::string, uint8_t>& files, const FileFacts& facts = Facts()) {
  Observed observed;
  observed.files = files;
  return CollapseFiles(observed, facts);
}

TEST(Learn, TheLearningPolicyLooksAtPathsAndLetsAllPass) {
  const Policy policy = LearnPolicy(kNativeArch);
  NotifiedCall call;
  call.number = *SyscallNumber(kNativeArch, "openat");
  EXPECT_EQ(policy.Needs(call.number) & kFactPath0, kFactPath0);
  call.known = kFactPath0;
  call.paths[0] = "/etc/shadow";
  EXPECT_EQ(policy.ActionOf(policy.Decide(call)).ToText(), "allow");
  EXPECT_EQ(policy.Needs(*SyscallNumber(kNativeArch, "renameat2")), kFactPath0 | kFactPath1);
  EXPECT_EQ(policy.Needs(*SyscallNumber(kNativeArch, "connect")), kFactAddress);
  const StatusOr<CompiledPolicy> compiled = CompilePolicy(policy, {}, "learn", "learn");
  ASSERT_TRUE(compiled.ok());
  EXPECT_TRUE(compiled->notifies_rest);
}

TEST(Learn, OpensSayWhatTheyWant) {
  const Observed seen = Seen({Line("openat", R"("folder":-100,"path":"/a/r","a2":"0x80000","a3":"0x0")"), Line("openat", R"("folder":-100,"path":"/a/w","a2":"0x1")"),
                              Line("openat", R"("folder":-100,"path":"/a/rw","a2":"0x2")"), Line("openat", R"("folder":-100,"path":"/b/new","a2":"0x241")"),
                              Line("openat", R"("folder":-100,"path":"/c/pin","a2":"0x200000")"), Line("unlink", R"("path":"/d/gone")"), Line("newfstatat", R"("folder":-100,"path":"/e/seen")"),
                              Line("openat", R"("folder":-100,"path":"/dev/null","a2":"0x241")"), Line("bind", R"("socket":3,"address":"unix:/f/socket","a2":"0x6e")")});
  EXPECT_EQ(seen.files, (Files{{"/a/r", kRead}, {"/a/w", kWrite}, {"/a/rw", kRead | kWrite}, {"/b", kWrite | kCreate}, {"/d", kDelete}, {"/dev/null", kWrite}, {"/f", kCreate}}));
}

TEST(Learn, LinesThatArentOnesAreRefused) {
  Observed out;
  for (const char* line : {"", "{", "[]", "{}", R"({"syscall":"openat"})"}) EXPECT_FALSE(Observe(line, out).ok()) << line;
  EXPECT_TRUE(Observe(R"({"time":"t","dropped":17})", out).ok());
  EXPECT_EQ(out.dropped, 17u);
  // Bytes that a name may have and JSON not: they name nothing here.
  EXPECT_TRUE(Observe(Line("openat", R"("path":"/a/\\x0ab","a2":"0x0")"), out).ok());
  EXPECT_TRUE(out.files.empty());
}

TEST(Learn, ProgramsBecomeTheirFolders) {
  EXPECT_EQ(Collapsed({{"/usr/lib/x/a.so", kRead}, {"/usr/lib/b.so", kRead}, {"/usr/bin/tool", kRead | kExecute}, {"/usr/share/zoneinfo/UTC", kRead}}),
            (Files{{"/usr/bin", kRead | kExecute}, {"/usr/lib", kRead}, {"/usr/share", kRead}}));
}

TEST(Learn, SecretsAndConfigurationStaySingle) {
  std::map<std::string, uint8_t> files;
  for (const char* name : {"passwd", "group", "hosts", "nsswitch.conf", "shadow"}) files[std::string("/etc/") + name] = kRead;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    files[std::string("/home/u/.ssh/") + name] = kRead;
    files[std::string("/home/u/certs/") + name + ".pem"] = kRead;
    files[std::string("/home/u/") + name] = kRead;
    files[std::string("/root/") + name] = kRead;
  }
  EXPECT_EQ(Collapsed(files), files);
}

TEST(Learn, SeveralFilesOfAFolderAreTheFolder) {
  std::map<std::string, uint8_t> files;
  for (const char* name : {"a", "b", "c", "d"}) files[std::string("/home/u/project/src/") + name] = kRead;
  files["/home/u/project/out"] = kRead | kWrite | kCreate;
  EXPECT_EQ(Collapsed(files), (Files{{"/home/u/project/src", kRead}, {"/home/u/project/out", kRead | kWrite | kCreate}}));
  // Used in another way it is another entry.
  files["/home/u/project/src/log"] = kWrite;
  EXPECT_EQ(Collapsed(files).at("/home/u/project/src/log"), kWrite);
}

TEST(Learn, NamesOfTheDayAreForgotten) {
  EXPECT_EQ(Collapsed({{"/proc/42/status", kRead}, {"/proc/7/maps", kRead}}), (Files{{"/proc", kRead}}));
  EXPECT_EQ(Collapsed({{"/tmp/x1/y", kRead | kWrite}}, Facts({"/tmp"}, {"/tmp/x1", "/tmp/x1/y"})), (Files{{"/tmp", kRead | kWrite}}));
  EXPECT_EQ(Collapsed({{"/srv/nowhere", kRead}}, Facts({}, {"/srv/nowhere"})), Files()) << "looked for and not found";
}

TEST(Learn, AListedFolderDoesntOpenAllBelowIt) {
  Observed observed;
  for (const char* path : {"/", "/etc", "/home", "/home/u", "/root", "/srv/project/src", "/tmp"}) observed.files[path] = kRead;
  std::vector<std::string> too_wide;
  EXPECT_EQ(CollapseFiles(observed, Facts({"/", "/etc", "/home", "/home/u", "/root", "/srv/project/src", "/tmp"}), &too_wide), (Files{{"/srv/project/src", kRead}, {"/tmp", kRead}}));
  EXPECT_EQ(too_wide, (std::vector<std::string>{"/", "/etc", "/home", "/home/u", "/root"}));
}

TEST(Learn, TheManifestIsAPolicyThatAllowsWhatWasSeen) {
  const Observed seen = Seen({Line("socket", R"("a0":"0x1","a1":"0x80001","a2":"0x0")"), Line("socket", R"("a0":"0x2","a1":"0x1","a2":"0x0")"), Line("ioctl", R"("a0":"0x1","a1":"0x5401","a2":"0x7ff")"),
                              Line("mmap", R"("a2":"0x3")"), Line("getpid", ""), Line("connect", R"("socket":3,"address":"10.0.0.1:443","a2":"0x10")"), Line("connect", R"("socket":3,"address":"[::1]:80","a2":"0x1c")")});
  const json::Value manifest = LearntManifest(seen, "t", Facts(), kNativeArch);
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(json::Serialize(manifest));
  ASSERT_TRUE(policy.ok()) << ToString(policy.status());
  const auto action = [&policy](std::string_view call, std::array<uint64_t, 6> arguments) {
    NotifiedCall notified;
    notified.number = *SyscallNumber(kNativeArch, call);
    notified.arguments = arguments;
    return policy->policy.ActionOf(policy->policy.Decide(notified)).ToText();
  };
  EXPECT_EQ(action("getpid", {}), "allow");
  EXPECT_EQ(action("execve", {}), "allow") << "no filter hands it over, so it was never seen";
  EXPECT_EQ(action("getppid", {}), "errno 38");
  for (const char* call : {"rt_sigsuspend", "wait4", "poll", "pause"}) EXPECT_EQ(action(call, {}), "allow") << call << ": whether it has to wait is chance";
  EXPECT_EQ(action("socket", {2}), "allow");
  EXPECT_EQ(action("socket", {10}), "errno 1");
  EXPECT_EQ(action("ioctl", {0, 0x5401}), "allow");
  EXPECT_EQ(action("ioctl", {0, 0x5412}), "errno 1");
  EXPECT_EQ(action("mmap", {0, 0, 3}), "allow");
  EXPECT_EQ(action("mmap", {0, 0, 7}), "errno 1");
  ASSERT_TRUE(policy->sections.net);
  EXPECT_FALSE(policy->sections.net->default_allow);
  SocketAddress address = *AddressFromText("10.0.0.1:443");
  ASSERT_NE(policy->sections.net->Decide(NetOperation::kConnect, address), nullptr);
  address.port = 80;
  EXPECT_EQ(policy->sections.net->Decide(NetOperation::kConnect, address), nullptr);
}

TEST(Learn, WhatTheRunMadeIsTheBusinessOfTheFolderThatWasThereBefore) {
  const FileFacts facts = Facts({"/srv", "/srv/work", "/srv/work/repo", "/srv/work/repo/.git"}, {}, {"/srv/work/repo", "/srv/work/repo/.git", "/srv/work/repo/.git/config", "/srv/work/program"});
  EXPECT_EQ(Collapsed({{"/srv/work", kCreate}, {"/srv/work/repo/.git", kWrite | kCreate}, {"/srv/work/repo/.git/config", kRead}, {"/srv/work/program", kRead | kExecute}, {"/srv/work/old", kRead}}, facts),
            (Files{{"/srv/work", kRead | kWrite | kCreate | kExecute}}));
  EXPECT_EQ(Collapsed({{"/srv/work/old", kRead | kWrite}}, facts), (Files{{"/srv/work/old", kRead | kWrite}}));
  // And what it made and removed again; not what it only looked for.
  EXPECT_EQ(Collapsed({{"/srv/gone", kCreate}, {"/srv/gone/file", kRead}, {"/srv/never", kRead}}, Facts({"/srv"}, {"/srv/gone", "/srv/gone/file", "/srv/never"})), (Files{{"/srv", kRead | kCreate}}));
  // Not to the top, whatever was made there.
  EXPECT_EQ(Collapsed({{"/new/file", kWrite}}, Facts({"/new"}, {}, {"/new", "/new/file"})), (Files{}));
}

TEST(Learn, WhoListensOnAnyPortConnectsToAnotherNextTime) {
  const auto decides = [](const std::vector<std::string>& lines, const std::string& to) {
    const json::Value manifest = LearntManifest(Seen(lines), "t", Facts(), kNativeArch);
    const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(json::Serialize(manifest));
    EXPECT_TRUE(policy.ok()) << ToString(policy.status());
    const NetRule* const rule = policy->sections.net->Decide(NetOperation::kConnect, *AddressFromText(to));
    return rule != nullptr && rule->action == NetRule::Kind::kAllow;
  };
  const std::string any = Line("bind", R"("address":"127.0.0.1:0")"), own = Line("connect", R"("address":"127.0.0.1:40001")"), far = Line("connect", R"("address":"10.0.0.1:40001")");
  EXPECT_TRUE(decides({any, own}, "127.0.0.1:50000"));
  EXPECT_FALSE(decides({any, own}, "127.0.0.1:80"));
  EXPECT_FALSE(decides({any, far}, "10.0.0.1:50000"));
  EXPECT_FALSE(decides({own}, "127.0.0.1:50000")) << "it listened nowhere";
  EXPECT_TRUE(decides({own}, "127.0.0.1:40001"));
}

TEST(Learn, MergingIsTheUnion) {
  const auto manifest = [](const std::vector<std::string>& lines) { return LearntManifest(Seen(lines), "t", Facts({"/srv/w", "/srv"}), kNativeArch); };
  json::Value earlier = manifest({Line("socket", R"("a0":"0x1")"), Line("getpid", ""), Line("openat", R"("path":"/srv/a","a2":"0x0")")});
  const json::Value later = manifest({Line("socket", R"("a0":"0x2")"), Line("getppid", ""), Line("openat", R"("path":"/srv/a","a2":"0x1")"), Line("connect", R"("address":"10.0.0.1:443")")});
  const StatusOr<json::Value> merged = MergeManifests(earlier, later);
  ASSERT_TRUE(merged.ok());
  const StatusOr<SandboxPolicy> policy = DecodeSandboxPolicy(json::Serialize(*merged));
  ASSERT_TRUE(policy.ok()) << ToString(policy.status());
  const auto decides = [&policy](std::string_view call, uint64_t argument) {
    NotifiedCall notified;
    notified.number = *SyscallNumber(kNativeArch, call);
    notified.arguments = {argument};
    return policy->policy.ActionOf(policy->policy.Decide(notified)).ToText();
  };
  EXPECT_EQ(decides("getpid", 0), "allow");
  EXPECT_EQ(decides("getppid", 0), "allow");
  EXPECT_EQ(decides("socket", 1), "allow");
  EXPECT_EQ(decides("socket", 2), "allow");
  EXPECT_EQ(decides("socket", 10), "errno 1");
  bool found = false;
  for (const PathAccess& each : policy->sections.files->allow) found = found || (each.path == "/srv/a" && each.access == (kRead | kWrite));
  EXPECT_TRUE(found);
  EXPECT_TRUE(policy->sections.net.has_value());
  // Merging again changes nothing.
  EXPECT_EQ(json::Serialize(*MergeManifests(*merged, later)), json::Serialize(*merged));
  EXPECT_FALSE(MergeManifests(*json::Parse(R"({"spec":{"base":{"profile":{}}}})"), later).ok());
}

TEST(BuiltIn, TheEmbeddedPolicyIsTheDefaultPolicy) {
  const StatusOr<CompiledPolicy> compiled = CompilePolicy(DefaultPolicy(kNativeArch), {}, "default", "built-in");
  ASSERT_TRUE(compiled.ok());
  const CompiledPolicy built_in = BuiltInPolicy();
  EXPECT_EQ(Dump(built_in.floor), Dump(compiled->floor));
  EXPECT_EQ(Dump(built_in.filter), Dump(compiled->filter));
  EXPECT_FALSE(built_in.NeedsSupervisor());
  EXPECT_FALSE(compiled->NeedsSupervisor());
}

}  // namespace
}  // namespace isla::sandbox
