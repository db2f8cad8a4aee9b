// isla-box reload: limits, the audit, and the net section of a command that runs; and that its isla-box waits for nobody meanwhile.
#include <fcntl.h>
#include <glob.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

class BoxReload : public ::testing::Test {
 protected:
  /// /etc/isla-made is made up, other opens are performed; with more of a spec.
  std::string Policy(const std::string& name, const std::string& more = "", const std::string& rules = "") {
    return folder_.Write(name, R"({"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{"name":"t"},"spec":{"base":{"groups":["@container"]},"rules":[)" + rules + R"(
      {"name":"file","syscalls":["openat"],"when":"path == '/etc/isla-made'","action":{"file":{"content":"made\n"}}},{"name":"others","syscalls":["openat"],"action":"perform"}])" + more + "}}");
  }
  void Need(const std::string& what, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"run", "-v"});
    flags.insert(flags.end(), {"--", "true"});
    const BoxResult result = folder_.Run(flags);
    if (result.err.find(what + ": kept by the kernel") == std::string::npos) GTEST_SKIP() << "no control group keeps it here: " << result.err;
  }
  /// Until its socket is there.
  void Await(const BoxProcess& process) {
    const std::string path = folder_.path() + "/runtime/isla-box/" + std::to_string(process.pid());
    ASSERT_TRUE(Eventually([&path] { return access(path.c_str(), F_OK) == 0; }));
  }
  std::string Text(const std::string& name) { return ReadFile(folder_.path() + "/" + name).value_or(""); }

  BoxFolder folder_;
  OwnSockets sockets_{folder_};
};

TEST_F(BoxReload, LimitsOfTheGroupChangeLive) {
  Need("memory", {"--memory=64m"});
  if (IsSkipped()) return;
  // It asks for more when it is told to.
  const std::string fifo = folder_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  BoxProcess process({folder_.box(), "run", "--memory=64m", "--pids=10", "--", "/usr/bin/python3", "-c", "print('ready', flush=True)\nopen('" + fifo + "').read()\nx = bytearray(150 << 20)\nprint('had it')"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  const std::string pid = std::to_string(process.pid());
  const BoxResult less = folder_.Run({"reload", pid, "--memory=1m"});
  EXPECT_EQ(less.exit, 1);
  EXPECT_NE(less.err.find("in use already"), std::string::npos) << less.err;
  const BoxResult more = folder_.Run({"reload", pid, "--memory=400m", "--pids=20"});
  EXPECT_EQ(more.exit, 0) << more.err;
  EXPECT_NE(more.out.find("memory: 400 MiB  [live]"), std::string::npos) << more.out;
  const BoxResult without = folder_.Run({"reload", pid, "--cpus=0.5"});
  EXPECT_EQ(without.exit, 1) << "it has no group with that controller, or is told so";
  EXPECT_NE(without.err.find("cpu"), std::string::npos) << without.err;
  ASSERT_EQ(std::system(("timeout 20 sh -c 'echo go > " + fifo + "'").c_str()), 0);
  const BoxResult result = process.Finish();
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_NE(result.out.find("had it"), std::string::npos);
}

TEST_F(BoxReload, APolicysLimitsChangeLiveBesideTheFlags) {
  const std::string one = Policy("one.json", R"(,"limits":{"memory":"128Mi","pids":30})"), two = Policy("two.json", R"(,"limits":{"memory":"192Mi"})");
  for (const char* what : {"memory", "pids"}) Need(what, {"--policy=" + one});
  if (IsSkipped()) return;
  BoxProcess process({folder_.box(), "run", "--policy=" + one, "--pids=20", "--", "/usr/bin/python3", "-c", "import time\nx = b'x' * (32 << 20)\nprint('ready', flush=True)\ntime.sleep(100)"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  const auto limits = [this] {
    const std::string top = folder_.Run({"top"}).out;
    const size_t at = top.find("limits: ");
    return at == std::string::npos ? top : top.substr(at + 8, top.find('\n', at) - at - 8);
  };
  EXPECT_EQ(limits(), "memory 128Mi, pids 20");
  const BoxResult more = folder_.Run({"reload", "--policy=" + two});
  EXPECT_EQ(more.exit, 0) << more.err;
  EXPECT_NE(more.out.find("spec.limits.memory: 128Mi -> 192Mi  [live]\nspec.limits.pids: 30 -> none  [live]\n"), std::string::npos) << more.out;
  EXPECT_EQ(limits(), "memory 192Mi, pids 20") << "the flag's holds";
  const BoxResult asked = folder_.Run({"reload", "--memory=1g", "--pids=25"});
  EXPECT_EQ(asked.exit, 0) << asked.err;
  EXPECT_NE(asked.out.find("memory: 1 GiB, but no more than spec.limits.memory (192 MiB)  [live]\n"), std::string::npos) << asked.out;
  EXPECT_EQ(limits(), "memory 192Mi, pids 25");
  ASSERT_EQ(folder_.Run({"reload", "--rollback"}).exit, 0);
  EXPECT_EQ(limits(), "memory 128Mi, pids 25") << "what flags asked for is of no version";
  // All of a version, or none: more can be had of its pids, less memory than is in use can't.
  const BoxResult refused = folder_.Run({"reload", "--policy=" + Policy("three.json", R"(,"limits":{"memory":"4Mi","pids":10})")});
  EXPECT_EQ(refused.exit, 1) << refused.out;
  EXPECT_NE(refused.err.find("in use already"), std::string::npos) << refused.err;
  EXPECT_EQ(limits(), "memory 128Mi, pids 25");
}

TEST_F(BoxReload, WithoutAGroupLimitsAreRefused) {
  BoxProcess process({folder_.box(), "run", "--policy=" + Policy("one.json"), "--", "sh", "-c", "echo ready; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  const BoxResult refused = folder_.Run({"reload", "--memory=1g"});
  EXPECT_EQ(refused.exit, 1);
  EXPECT_NE(refused.err.find("no control group"), std::string::npos) << refused.err;
  const BoxResult policy = folder_.Run({"reload", "--policy=" + Policy("two.json", R"(,"limits":{"memory":"1Gi"})")});
  EXPECT_EQ(policy.exit, 1);
  EXPECT_NE(policy.err.find("spec.limits.memory: none -> 1Gi: the run has no control group with the controller 'memory'  [restart]"), std::string::npos) << policy.err;
  EXPECT_EQ(folder_.Run({"reload", "--memory=lots"}).exit, 2);
  EXPECT_EQ(folder_.Run({"reload"}).exit, 2) << "nothing is to change";
  EXPECT_EQ(folder_.Run({"reload", "--rollback", "--memory=1g"}).exit, 2);
}

TEST_F(BoxReload, TheAuditGoesElsewhereAndSamplesOtherwise) {
  const std::string fifo = folder_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  BoxProcess process({folder_.box(), "run", "--policy=" + Policy("one.json"), "--", "sh", "-c", AtEachPoke(fifo, "cat /etc/isla-made")});
  const auto poke = [&fifo] { Poke(fifo); };
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  poke();
  ASSERT_TRUE(process.WaitForOutput("made\n"));
  // From nowhere to a file, relative to where we are.
  const BoxResult to_one = folder_.Run({"reload", "--audit=one"}, {.folder = folder_.path()});
  ASSERT_EQ(to_one.exit, 0) << to_one.err;
  poke();
  EXPECT_TRUE(Eventually([this] { return Text("one").find("isla-made") != std::string::npos; }));
  EXPECT_EQ(Text("one").find("continue"), std::string::npos);
  // And to another, with everything that goes on.
  ASSERT_EQ(folder_.Run({"reload", "--audit=" + folder_.path() + "/two", "--policy=" + Policy("all.json", R"(,"audit":{"oneOfAllowed":1})")}).exit, 0);
  const std::string before = Text("one");
  poke();
  EXPECT_TRUE(Eventually([this] { return Text("two").find("isla-made") != std::string::npos && Text("two").find("libc.so") != std::string::npos; })) << Text("two");
  EXPECT_EQ(Text("one"), before);
  // So does the supervisor that comes after this one.
  const StatusOr<json::Value> status = json::Parse(folder_.Run({"top", "-o", "json"}).out);
  ASSERT_TRUE(status.ok());
  const int64_t supervisor = status->items().at(0).Int64At({"supervisor"}).value_or(-1);
  ASSERT_GT(supervisor, 1);
  const size_t had = Text("two").size();
  kill(static_cast<pid_t>(supervisor), SIGKILL);
  poke();
  EXPECT_TRUE(Eventually([this, had] { return Text("two").size() > had; }));
  EXPECT_EQ(folder_.Run({"reload", "--audit=/nowhere/file"}).exit, 1);
}

TEST_F(BoxReload, BoundsOfTheSupervisorChangeLive) {
  BoxProcess process({folder_.box(), "run", "--policy=" + Policy("one.json"), "--", "sh", "-c", "echo ready; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  const BoxResult result = folder_.Run({"reload", "--policy=" + Policy("two.json", R"(,"limits":{"callsPerSecond":100,"deadline":"1s"})")});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_NE(result.out.find("spec.limits"), std::string::npos) << result.out;
  EXPECT_EQ(folder_.Run({"reload", "--rollback"}).exit, 0);
  EXPECT_EQ(folder_.Run({"reload", "--rollback"}).exit, 1);
}

TEST_F(BoxReload, NetThatTheKernelKeepsIsReplaced) {
  const auto policy = [this](const std::string& name, const std::string& to) {
    return folder_.Policy(R"("base":{"groups":["@container"]},"net":{"default":"deny","rules":[{"to":")" + to + R"(","action":"allow"}]})", name);
  };
  Need("net", {"--policy=" + policy("one.json", "192.0.2.0/24")});
  if (IsSkipped()) return;
  const std::string fifo = folder_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  // No call is notified, so there is no supervisor to ask.
  BoxProcess process({folder_.box(), "run", "--policy=" + policy("one.json", "192.0.2.0/24"), "--", "/usr/bin/python3", "-c",
                      "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ndef ask():\n  try:\n    return s.sendto(b'x', ('127.0.0.1', 9))\n  except OSError as e:\n    return -e.errno\n"
                      "print('ready', ask(), flush=True)\nfor i in range(2):\n  open('" + fifo + "').read()\n  print('then', ask(), flush=True)"});
  const auto poke = [&fifo] { Poke(fifo); };
  ASSERT_TRUE(process.WaitForOutput("ready -1\n"));
  Await(process);
  const BoxResult opened = folder_.Run({"reload", "--policy=" + policy("two.json", "127.0.0.0/8")});
  ASSERT_EQ(opened.exit, 0) << opened.err;
  poke();
  EXPECT_TRUE(process.WaitForOutput("then 1\n"));
  ASSERT_EQ(folder_.Run({"reload", "--rollback"}).exit, 0);
  poke();
  EXPECT_TRUE(process.WaitForOutput("then -1\n"));
  EXPECT_EQ(process.Finish().exit, 0);
}

// The loop ----------------------------------------------------------------------------------------------------

/// Many conditions of many tests each: comparing two such policies takes seconds.
std::string Slow(const std::string& last) {
  std::string rules;
  for (int i = 0; i < 60; ++i) {
    std::string when;
    for (int test = 0; test < 6; ++test) when += fmt::format("{}(flags & {:#x}) == {:#x}", test == 0 ? "" : " || ", 1 << ((i + test * 5) % 24), 1 << ((i + test * 5) % 24));
    rules += fmt::format(R"x({{"syscalls":["openat"],"when":"path like '/x{}/**' && ({})","action":{{"errno":"{}"}}}},)x", i, when, i % 2 == 0 ? "EPERM" : last);
  }
  return rules;
}

TEST_F(BoxReload, WhileLargePoliciesAreComparedTheRunGoesOn) {
  const std::string one = Policy("one.json", "", Slow("EACCES")), two = Policy("two.json", "", Slow("EROFS"));
  BoxProcess process({folder_.box(), "run", "--policy=" + one, "--", "sh", "-c", "trap 'echo got' USR1; echo ready; while :; do sleep 0.05; done"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  BoxProcess reload({folder_.box(), "reload", std::to_string(process.pid()), "--policy=" + two});
  // A clerk is at it.
  ASSERT_TRUE(Eventually([&process] { return Children(process.pid()).size() >= 3; }));
  // Signals are passed on, another's question is answered, though this one's isn't yet.
  kill(process.pid(), SIGUSR1);
  EXPECT_TRUE(process.WaitForOutput("got"));
  EXPECT_EQ(folder_.Run({"top", std::to_string(process.pid())}).exit, 0);
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.Finish().exit, 128 + SIGTERM) << "and it ends when it has to";
  EXPECT_NE(reload.Finish().exit, 0);
}

TEST_F(BoxReload, ManyWhoAskAtOnceAreAllAnswered) {
  BoxProcess process({folder_.box(), "run", "--policy=" + Policy("one.json"), "--", "sh", "-c", "echo ready; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  const std::string ask = "for i in 1 2 3 4 5 6 7 8; do " + folder_.box() + " top " + std::to_string(process.pid()) + " -o json >/dev/null || echo failed; done";
  EXPECT_EQ(BoxProcess({"sh", "-c", "(" + ask + ") & (" + ask + ") & (" + ask + ") & wait"}).Finish().out, "");
}

TEST_F(BoxReload, APeerThatSaysNothingHoldsNobodyUp) {
  BoxProcess process({folder_.box(), "run", "--policy=" + Policy("one.json"), "--", "sh", "-c", "trap 'echo got' USR1; echo ready; while :; do sleep 0.05; done"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Await(process);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder_.path() + "/runtime/isla-box/" + std::to_string(process.pid())).c_str(), sizeof address.sun_path - 1);
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 3; ++i) {
    silent.emplace_back(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(silent.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  kill(process.pid(), SIGUSR1);
  EXPECT_TRUE(process.WaitForOutput("got"));
  EXPECT_EQ(folder_.Run({"top", std::to_string(process.pid())}).exit, 0);
  // More than there are clerks: they wait until the silent ones are given up.
  for (int i = 0; i < 3; ++i) {
    silent.emplace_back(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(silent.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_TRUE(Eventually([this, &process] { return folder_.Run({"top", std::to_string(process.pid())}).exit == 0; }));
  EXPECT_TRUE(Eventually([&process] { return Children(process.pid()).size() <= 2; })) << "no clerk stays";
}

}  // namespace
}  // namespace isla::e2e
