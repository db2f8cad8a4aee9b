// isla-box top and reload: a running command's counters, and another policy for it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

class BoxControl : public ::testing::Test {
 protected:
  std::string Policy(const std::string& name, const std::string& content, const std::string& more = "") {
    return folder_.Write(name, R"({"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{"name":"t"},"spec":{"base":{"groups":["@container"]},"rules":[
      {"name":"file","syscalls":["openat"],"when":"path == '/etc/isla-made'","action":{"file":{"content":")" + content + R"(\n"}}},{"name":"others","syscalls":["openat"],"action":"perform"})" + more + "]}}");
  }
  BoxFolder folder_;
  OwnSockets sockets_{folder_};
};

TEST_F(BoxControl, TopCountsByRuleAndReloadSwapsThem) {
  const std::string fifo = folder_.path() + "/fifo", one = Policy("one.json", "one"), two = Policy("two.json", "two");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  BoxProcess process({folder_.box(), "run", "--policy=" + one, "--", "sh", "-c", AtEachPoke(fifo, "cat /etc/isla-made")});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  Poke(fifo);
  ASSERT_TRUE(process.WaitForOutput("one\n"));
  const std::string pid = std::to_string(process.pid());
  const BoxResult top = folder_.Run({"top"});
  EXPECT_EQ(top.exit, 0) << top.err;
  EXPECT_NE(top.out.find(pid + "  policy t  version 1-"), std::string::npos) << top.out;
  EXPECT_NE(top.out.find("rewritten  file"), std::string::npos) << top.out;
  const BoxResult as_json = folder_.Run({"top", pid, "-o", "json"});
  const StatusOr<json::Value> parsed = json::Parse(as_json.out);
  ASSERT_TRUE(parsed.ok()) << as_json.out << as_json.err;
  EXPECT_EQ(parsed->items().at(0).Int64At({"pid"}).value_or(0), process.pid());

  EXPECT_EQ(folder_.Run({"reload", pid, "--policy=" + two, "--dry-run"}).exit, 0);
  const BoxResult reloaded = folder_.Run({"reload", "--policy=" + two});
  EXPECT_EQ(reloaded.exit, 0) << reloaded.err;
  EXPECT_NE(reloaded.out.find("version 2-"), std::string::npos) << reloaded.out;
  Poke(fifo);
  EXPECT_TRUE(process.WaitForOutput("two\n"));
  EXPECT_EQ(folder_.Run({"reload", pid, "--rollback"}).exit, 0);
  Poke(fifo);
  EXPECT_TRUE(process.WaitForOutput("two\none\n"));
  EXPECT_EQ(folder_.Run({"reload", pid, "--rollback"}).exit, 1);
}

TEST_F(BoxControl, WhatCantChangeLiveIsRefusedWithTheReason) {
  const std::string one = Policy("one.json", "one");
  BoxProcess process({folder_.box(), "run", "--policy=" + one, "--", "sh", "-c", "echo ready; exec sleep 100"});
  ASSERT_TRUE(process.WaitForOutput("ready"));
  const std::string pid = std::to_string(process.pid());
  ASSERT_TRUE(Eventually([this, &pid] { return folder_.Run({"top", pid}).exit == 0; }));
  const BoxResult tighter = folder_.Run({"reload", pid, "--policy=" + Policy("tighter.json", "one", R"(,{"syscalls":["mkdir"],"action":{"errno":"EPERM"}})")});
  EXPECT_EQ(tighter.exit, 1);
  EXPECT_NE(tighter.err.find("tighten-only"), std::string::npos) << tighter.err;
  const BoxResult invalid = folder_.Run({"reload", pid, "--policy=" + folder_.Write("bad.json", "{}")});
  EXPECT_EQ(invalid.exit, 1);
  EXPECT_NE(invalid.err.find("refused"), std::string::npos);
  EXPECT_NE(invalid.err.find("/bad.json:1:1: error: apiVersion: Required value"), std::string::npos) << invalid.err;
  EXPECT_EQ(folder_.Run({"reload", pid, "--policy=/nowhere"}).exit, 2);
  EXPECT_EQ(folder_.Run({"reload", "1", "--policy=" + one}).exit, 2) << "there is no such run";
}

TEST_F(BoxControl, ACommandCantReachTheControlSocket) {
  const std::string one = Policy("one.json", "one"), two = Policy("two.json", "two");
  const std::string run = folder_.path() + "/runtime/isla-box";
  // Neither its own, nor that of another run.
  BoxProcess other({folder_.box(), "run", "--policy=" + one, "--", "sh", "-c", "cat /etc/isla-made; exec sleep 100"});
  ASSERT_TRUE(other.WaitForOutput("one"));
  ASSERT_TRUE(Eventually([this] { return folder_.Run({"top"}).out.find("policy t") != std::string::npos; }));
  EXPECT_EQ(folder_.Run({"run", "--policy=" + one, "--", "sh", "-c", "ls -A " + run}).out, "");
  // By another way to the same folder its socket is there, and refuses whoever isn't outside.
  const BoxResult by_bind = folder_.Run({"run", "--tmpfs=/srv", "--bind=" + run + ":/srv/isla-box", "--setenv=XDG_RUNTIME_DIR=/srv", "--", folder_.box(), "reload", std::to_string(other.pid()), "--policy=" + two});
  EXPECT_NE(by_bind.exit, 0) << by_bind.out;
  const BoxResult version = folder_.Run({"top"});
  EXPECT_NE(version.out.find("version 1-"), std::string::npos) << version.out;
}

TEST_F(BoxControl, SocketsOfTheDeadAreRemoved) {
  const std::string socket_folder = folder_.path() + "/runtime/isla-box";
  {
    BoxProcess process({folder_.box(), "run", "--policy=" + Policy("one.json", "one"), "--", "sh", "-c", "cat /etc/isla-made; exec sleep 100"});
    ASSERT_TRUE(process.WaitForOutput("one"));
    const std::string path = socket_folder + "/" + std::to_string(process.pid());
    ASSERT_TRUE(Eventually([&path] { return access(path.c_str(), F_OK) == 0; }));
    kill(process.pid(), SIGKILL);
    process.Finish();
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
    // And of one that died before it listened.
    ASSERT_EQ(link(path.c_str(), (path + "~").c_str()), 0);
  }
  EXPECT_EQ(folder_.Run({"top"}).out, "nothing runs under a supervisor\n");
  EXPECT_EQ(rmdir(socket_folder.c_str()), 0) << "it is empty again";
}

}  // namespace
}  // namespace isla::e2e
