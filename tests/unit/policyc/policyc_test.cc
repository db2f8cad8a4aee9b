// isla-policyc as isla-agentd starts it, by agentd's PolicyCompiler.
#include "agentd/policyc/policyc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>

#include "agentd/policy_compiler.h"
#include "agentd/policyc/confine.h"
#include "agentd/shim/policy.h"
#include "api/base/read_descriptor.h"
#include "api/base/uuid.h"
#include "sandbox/default_policy.h"

namespace isla::agent {
namespace {

using testing::HasSubstr;

constexpr uint32_t kUid = 0x30000000 + 65537;

PolicyText Policy(const std::string& spec, const std::string& name = "p") {
  PolicyText out;
  out.name = name;
  out.text = R"({"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{"name":")" + name + R"("},"spec":)" + spec + "}";
  out.hash = Sha256Hex(out.text);
  return out;
}

class Compiler : public ::testing::Test {
 protected:
  void Use(const std::string& program, Duration limit = std::chrono::seconds(15)) {
    auto loop = Loop::Create();
    ASSERT_TRUE(loop.ok());
    loop_ = *std::move(loop);
    PolicyCompiler::Options options;
    options.program = program;
    options.time_limit = limit;
    auto compiler = PolicyCompiler::Create(options, *loop_);
    ASSERT_TRUE(compiler.ok()) << ToString(compiler.status());
    compiler_ = *std::move(compiler);
  }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it takes another id";
    Use(Real());
  }
  static std::string Real() {
    const char* const bin = std::getenv("ISLA_BIN_DIR");
    return std::string(bin != nullptr ? bin : "build/bin") + "/isla-policyc";
  }
  /// All at once, and then the first of them again. A loop runs once: Use() comes before the next.
  std::vector<Status> PrepareAll(const std::vector<PolicyText>& policies) {
    std::vector<Status> out(policies.size() + 1, Error(Code::kUnknown, "not told"));
    size_t left = policies.size();
    for (size_t i = 0; i < policies.size(); ++i) {
      compiler_->Prepare(policies[i], kUid, [&, i](Status status) {
        out[i] = std::move(status);
        if (--left > 0) return;
        compiler_->Prepare(policies[0], kUid, [&](Status again) {
          out.back() = std::move(again);
          loop_->Exit(0);
        });
      });
    }
    EXPECT_TRUE(loop_->Run().ok());
    return out;
  }
  Status Prepare(const PolicyText& policy) { return PrepareAll({policy}).back(); }
  /// A program in place of isla-policyc.
  std::string Script(const std::string& text) {
    char path[] = "/tmp/isla-policyc-test-XXXXXX";
    UniqueFd fd(mkstemp(path));
    EXPECT_TRUE(WriteAll(fd.get(), "#!/bin/sh\n" + text).ok());
    EXPECT_EQ(fchmod(fd.get(), 0755), 0);
    scripts_.push_back(path);
    return path;
  }
  std::string File(const std::string& bytes) {
    char path[] = "/tmp/isla-policyc-bytes-XXXXXX";
    UniqueFd fd(mkstemp(path));
    EXPECT_TRUE(WriteAll(fd.get(), bytes).ok());
    scripts_.push_back(path);
    return path;
  }
  void TearDown() override {
    for (const std::string& path : scripts_) unlink(path.c_str());
  }

  std::unique_ptr<Loop> loop_;
  std::unique_ptr<PolicyCompiler> compiler_;
  std::vector<std::string> scripts_;
};

TEST_F(Compiler, APolicyIsCompiledOnceAndHasTheNodesOwnFloor) {
  const PolicyText policy = Policy(R"({"base":{"groups":["@container"]},"rules":[{"syscalls":["mkdir","mkdirat"],"action":"deny"}]})");
  for (const Status& status : PrepareAll({policy, policy, policy})) ASSERT_TRUE(status.ok()) << ToString(status);
  const auto fd = compiler_->Open(policy);
  ASSERT_TRUE(fd.ok()) << ToString(fd.status());
  const auto compiled = shim::ParsePolicy(ReadDescriptor(fd->get(), shim::kMaxPolicyBytes).value());
  ASSERT_TRUE(compiled.ok()) << ToString(compiled.status());
  EXPECT_EQ(compiled->hash, policy.hash);
  EXPECT_FALSE(compiled->floor.empty());
  EXPECT_TRUE(compiled->NeedsSupervisor());
  EXPECT_EQ(compiler_->Open(Policy("{}")).status().code(), Code::kNotFound);
  EXPECT_TRUE(compiler_->Open({}).ok()) << "the built-in one is always there";
  EXPECT_EQ(compiler_->Open({"other", "", ""}).status().code(), Code::kNotFound);
}

TEST_F(Compiler, AProgramIsRunByThatProcessAndNoOther) {
  const PolicyText policy = Policy(R"({"base":{"groups":["@container"]},"rules":[{"syscalls":["mkdir"],"action":{"program":"f"}}],"program":{"source":"function f(call) return 'allow' end"}})");
  const PolicyText lacking = Policy(R"({"base":{"groups":["@container"]},"rules":[{"syscalls":["mkdir"],"action":{"program":"g"}}],"program":{"source":"function f(call) return 'allow' end"}})");
  const std::vector<Status> prepared = PrepareAll({policy, lacking});
  EXPECT_TRUE(prepared[0].ok()) << ToString(prepared[0]);
  EXPECT_EQ(prepared[1].code(), Code::kInvalidArgument);
  EXPECT_THAT(Message(prepared[1]), HasSubstr("has no function 'g'"));
}

TEST_F(Compiler, WhatIsWrongIsTold) {
  const Status wrong = Prepare(Policy(R"({"base":{"groups":["@nothing"]}})"));
  EXPECT_EQ(wrong.code(), Code::kInvalidArgument);
  EXPECT_THAT(Message(wrong), HasSubstr("spec.base.groups[0]"));
  Use(Real());
  const Status later = Prepare(Policy(R"({"base":{"groups":["@container"]},"program":{"source":"function f() return 'deny' end"},
      "rules":[{"syscalls":["openat"],"action":{"program":"f"}}],"files":{"allow":[{"path":"/usr","access":["read"]}]}})"));
  EXPECT_TRUE(later.ok()) << "what a function lets be performed is held to files.allow before it is asked";
  Use(Real());
  const Status large = Prepare(Policy(R"({"base":{"groups":["@container"]},"program":{"source":"function f() return 'deny' end","memory":"33Mi"}})"));
  EXPECT_EQ(large.code(), Code::kUnimplemented);
  EXPECT_THAT(Message(large), HasSubstr("spec.program.memory of the sandbox policy 'p' is more than the 32 MiB"));
  Use(Real());
  const Status family = Prepare(Policy(R"({"base":{"groups":["@container"]},"net":{"rules":[{"to":"10.0.0.0/8","action":{"redirect":"[::1]:80"}}]}})"));
  EXPECT_EQ(family.code(), Code::kInvalidArgument);
  EXPECT_THAT(Message(family), HasSubstr("sandbox policy 'p': spec: net.rules[0].action.redirect"));
  Use(Real());
  EXPECT_TRUE(Prepare(Policy(R"({"base":{"groups":["@container"]},"net":{"default":"deny"}})")).ok());
}

TEST_F(Compiler, TwoVersionsAreComparedByWhatTheyDo) {
  const auto compare = [this](const PolicyText& started, const PolicyText& wanted) {
    StatusOr<PolicyChange> out = Error(Code::kUnknown, "not told");
    compiler_->Compare(started, wanted, kUid, [&](StatusOr<PolicyChange> change) {
      out = std::move(change);
      loop_->Exit(0);
    });
    EXPECT_TRUE(loop_->Run().ok());
    Use(Real());
    return out;
  };
  const PolicyText started = Policy(R"({"base":{"groups":["@container"]},"rules":[{"syscalls":["mkdir","mkdirat"],"when":"path under '/srv'","action":{"errno":"EPERM"}},
      {"syscalls":["mkdir","mkdirat"],"action":{"errno":"EEXIST"}}]})");
  const PolicyText without = Policy(R"({"base":{"groups":["@container"]},"rules":[{"syscalls":["mkdir","mkdirat"],"action":{"errno":"EEXIST"}}]})");
  const PolicyText more = Policy(R"({"base":{"groups":["@container","!rmdir"]},"rules":[{"syscalls":["chdir"],"action":"deny"}],"files":{"mask":["/opt"]}})");
  const auto live = compare(started, without);
  ASSERT_TRUE(live.ok()) << ToString(live.status());
  EXPECT_TRUE(live->live) << "the kernel hands over all mkdirs, and will go on to";
  EXPECT_EQ(live->obstacles, "");
  const auto bytes = sandbox::CompiledPolicy::FromBytes(policyc::CompileText(started.text, started.hash).value());
  EXPECT_EQ(live->started_filter, sandbox::FilterId(bytes->filter));
  const auto back = compare(without, started);
  ASSERT_TRUE(back.ok()) << ToString(back.status());
  EXPECT_FALSE(back->live);
  EXPECT_THAT(back->obstacles, HasSubstr("mkdir: errno EEXIST -> errno EPERM (restart)"));
  const auto restart = compare(started, more);
  ASSERT_TRUE(restart.ok()) << ToString(restart.status());
  EXPECT_FALSE(restart->live);
  EXPECT_THAT(restart->obstacles, HasSubstr("chdir: allow -> deny (restart)"));
  EXPECT_THAT(restart->obstacles, HasSubstr("rmdir: allow -> errno ENOSYS (tighten-only)"));
  EXPECT_THAT(restart->obstacles, HasSubstr("spec.files: other mounts (restart)"));
  EXPECT_FALSE(compare(started, Policy("nonsense")).ok());
}

TEST_F(Compiler, APackageThatComesLaterCompilesAnewAndItsTablesArePassedOn) {
  // What a newer isla-policyc might write: a table of a format that this process doesn't read.
  const PolicyText policy = Policy(R"({"base":{"groups":["@container"]}})");
  auto newer = sandbox::CompiledPolicy::FromBytes(policyc::CompileText(policy.text, policy.hash).value()).value();
  newer.table[4] = static_cast<char>(newer.table[4] + 1);
  auto built_in = sandbox::CompileDefaultWithView().value();
  built_in.table[4] = static_cast<char>(built_in.table[4] + 1);
  const std::string program = Script(""), later = Script("case $2 in --built-in) cat " + File(built_in.ToBytes()) + ";; *) cat " + File(newer.ToBytes()) + ";; esac");
  ASSERT_EQ(unlink(program.c_str()), 0);
  ASSERT_EQ(symlink(Real().c_str(), program.c_str()), 0);
  Use(program);
  std::vector<Status> done;
  const auto took = [&](const Status& status) {
    done.push_back(status);
    if (done.size() == 3) loop_->Exit(0);
  };
  compiler_->Prepare(policy, kUid, [&](const Status& status) {
    took(status);
    EXPECT_TRUE(compiler_->IsReady(policy));
    EXPECT_TRUE(compiler_->IsReady({}));
    EXPECT_EQ(rename(later.c_str(), program.c_str()), 0);
    EXPECT_FALSE(compiler_->IsReady(policy));
    EXPECT_FALSE(compiler_->IsReady({})) << "shims of the package don't read what this process made";
    EXPECT_FALSE(compiler_->Open({}).ok());
    compiler_->Prepare(policy, kUid, took);
    compiler_->Prepare({}, kUid, took);
  });
  ASSERT_TRUE(loop_->Run().ok());
  for (const Status& status : done) ASSERT_TRUE(status.ok()) << ToString(status);
  for (const PolicyText& each : {policy, PolicyText()}) {
    const auto fd = compiler_->Open(each);
    ASSERT_TRUE(fd.ok()) << ToString(fd.status());
    const auto bytes = ReadDescriptor(fd->get(), shim::kMaxPolicyBytes).value();
    EXPECT_EQ(shim::ParsePolicy(bytes).status().code(), Code::kUnimplemented) << "by this program: a newer one reads it";
    EXPECT_EQ(sandbox::CompiledPolicy::FromBytesButTable(bytes)->table[4], newer.table[4]);
  }
}

TEST_F(Compiler, AProcessThatHangsIsKilledAndOneThatLiesIsNotBelieved) {
  const PolicyText policy = Policy(R"({"base":{"groups":["@container"]}})");
  Use(Script("exec sleep 1000"), std::chrono::milliseconds(100));
  EXPECT_EQ(Prepare(policy).code(), Code::kDeadlineExceeded);
  Use(Script("kill -SEGV $$"));
  EXPECT_THAT(Message(Prepare(policy)), HasSubstr("signal 11"));
  Use(Script("echo nonsense"));
  EXPECT_FALSE(Prepare(policy).ok());
  // Another policy than it was asked for, and a floor that is open.
  auto other = policyc::CompileText(Policy(R"({"base":{"groups":["@container","mount"]}})").text, "another");
  ASSERT_TRUE(other.ok());
  char path[] = "/tmp/isla-policyc-bytes-XXXXXX";
  UniqueFd bytes(mkstemp(path));
  ASSERT_TRUE(WriteAll(bytes.get(), *other).ok());
  scripts_.push_back(path);
  Use(Script(std::string("cat ") + path));
  EXPECT_THAT(Message(Prepare(policy)), HasSubstr("made another one"));
}

/// A process that confines itself as isla-policyc does, then does this.
pid_t Confined(const std::function<void()>& then) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  if (!policyc::Confine(kUid, {}).ok()) _exit(3);
  then();
  syscall(SYS_exit_group, 0);
  return 0;
}

TEST(Confinement, ItHasNoRightsAndKeepsNone) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: it takes another id";
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const pid_t pid = Confined([] {});
  ASSERT_GT(pid, 0);
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "confining works: " << status;
  dup2(pipes[0], 0);
  const pid_t reader = Confined([] {
    char byte = 0;
    (void)!read(0, &byte, 1);
  });
  std::string text;
  for (int i = 0; i < 2000 && text.find("Seccomp:\t2") == std::string::npos; ++i) {
    usleep(1000);
    text = ReadFile(fmt::format("/proc/{}/status", reader)).value_or("");
  }
  for (const char* line : {"\nUid:\t805371905\t805371905\t805371905\t805371905\n", "\nGid:\t805371905\t805371905\t805371905\t805371905\n", "\nGroups:\t \n",
                           "\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(ReadFile(fmt::format("/proc/{}/limits", reader)).value_or(""), HasSubstr("Max processes             0 "));
  kill(reader, SIGKILL);
  waitpid(reader, nullptr, 0);
  close(pipes[0]);
  close(pipes[1]);
}

TEST(Confinement, WhateverElseItTriesEndsIt) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: it takes another id";
  const std::pair<const char*, std::function<void()>> tries[] = {
      {"open", [] { syscall(SYS_openat, AT_FDCWD, "/etc/hostname", O_RDONLY); }},
      {"socket", [] { syscall(SYS_socket, 2, 1, 0); }},
      {"execve", [] { syscall(SYS_execve, "/bin/true", nullptr, nullptr); }},
      {"clone", [] { syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }},
      {"kill", [] { syscall(SYS_kill, 1, 0); }},
      {"ptrace", [] { syscall(SYS_ptrace, 0, 0, 0, 0); }},
      {"executable memory", [] { syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }},
  };
  for (const auto& [name, does] : tries) {
    const pid_t pid = Confined(does);
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << name << ": " << status;
  }
}

}  // namespace
}  // namespace isla::agent
