// isla, the program, against the real API server over a store in memory, and beside kubectl on the
// same objects.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "tests/cluster/process.h"

namespace isla::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

std::string BinDir() {
  const char* set = getenv("ISLA_BIN_DIR");
  return set != nullptr ? set : "build/bin";
}

class IslaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/isla-cli-e2e-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    // The server ends when its standard input does: a FIFO opened for writing too has no end. exec,
    // so that the process that is killed with the test is the server.
    server_ = std::make_unique<Daemon>(
        "server",
        std::vector<std::string>{
            "/bin/sh", "-c",
            "rm -f \"$1/in\" && mkfifo \"$1/in\" && exec \"$0\" \"$1\" <> \"$1/in\"",
            BinDir() + "/../tests/kubectl_test_server", folder_},
        folder_, folder_ + "/log");
    server_->Start();
    ASSERT_TRUE(Eventually([this] { return server_->Log().find("ready") != std::string::npos; }))
        << server_->Log();
  }
  void TearDown() override {
    server_.reset();
    (void)RemoveTree(folder_);
  }

  std::vector<std::string> Line(std::vector<std::string> args, bool socket) const {
    args.insert(args.begin(),
                {BinDir() + "/isla", socket ? "--socket=" + folder_ + "/api.sock"
                                            : "--kubeconfig=" + folder_ + "/kubeconfig"});
    std::swap(args[1], args[2]);  // the command comes first: what follows "--" must stay behind it
    return args;
  }
  CommandResult Isla(std::vector<std::string> args, const std::string& input = "",
                     bool socket = true) const {
    CommandOptions options;
    options.input = input;
    return RunCommand(Line(std::move(args), socket), options);
  }
  CommandResult Kubectl(std::vector<std::string> args) const {
    args.insert(args.begin(), {"kubectl", "--kubeconfig=" + folder_ + "/kubeconfig"});
    CommandOptions options;
    options.environment = {"HOME=" + folder_};
    return RunCommand(args, options);
  }
  std::string File(const std::string& name, const std::string& text) const {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, text, 0600, false).ok());
    return path;
  }
  static std::string Manifest(const std::string& name, const std::string& labels = "",
                              const std::string& spec = "") {
    return R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":")" + name +
           R"(","labels":{)" + labels + R"(}},
"spec":{"command":["/bin/true"])" +
           spec + "}}\n";
  }

  std::string folder_;
  std::unique_ptr<Daemon> server_;
};

TEST_F(IslaTest, LifeOfASession) {
  const std::string file = File("a.json", Manifest("a", R"("run-ms":"300")"));
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/a created\n");
  EXPECT_EQ(Isla({"apply", "-f", file}).out, "session.isla/a unchanged\n");
  EXPECT_EQ(Isla({"wait", "session/a", "--for=condition=Ready", "--timeout=10s"}).exit_code == 0 ||
                Isla({"get", "session", "a", "-o", "jsonpath={.status.phase}"}).out == "Succeeded",
            true);
  EXPECT_EQ(Isla({"wait", "session/a", "--for=condition=Finished", "--timeout=10s"}).out,
            "session.isla/a condition met\n");
  EXPECT_THAT(Isla({"get", "sessions"}).out, MatchesRegex("NAME +PHASE .*AGE\na +Succeeded .*s\n"));
  EXPECT_THAT(Isla({"describe", "session", "a"}).out, HasSubstr("Phase:              Succeeded\n"));
  EXPECT_EQ(Isla({"logs", "a"}).out, "line 1\nline 2\nline 3\n");
  EXPECT_EQ(Isla({"logs", "a", "--tail=1"}).out, "line 3\n");
  EXPECT_EQ(Isla({"delete", "session", "a"}).out, "session.isla \"a\" deleted\n");
  const CommandResult gone = Isla({"get", "session", "a"});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.err,
              MatchesRegex("Error from server \\(NotFound\\): sessions.* \"a\" not found\n"));
  const CommandResult empty = Isla({"get", "sessions"});
  EXPECT_EQ(empty.exit_code, 0);
  EXPECT_EQ(empty.err, "No resources found in default namespace.\n");
}

TEST_F(IslaTest, WorksOverTlsAsOverTheSocket) {
  const std::string manifest = Manifest("a", R"("hold":"1")");
  EXPECT_EQ(Isla({"apply", "-f", "-"}, manifest, false).out, "session.isla/a created\n");
  EXPECT_EQ(Isla({"apply", "-f", "-"}, manifest, true).out, "session.isla/a unchanged\n");
  EXPECT_EQ(Isla({"config", "current-context"}, "", false).out, "isla\n");
  // Another authority is not trusted, a wrong token not let in.
  auto config = json::Parse(*ReadFile(folder_ + "/kubeconfig"));
  ASSERT_TRUE(config.ok());
  json::Value wrong = *config;
  wrong.Find("users")->items()[0].Find("user")->Set("token", "wrong");
  CommandResult refused = RunCommand(
      {BinDir() + "/isla", "get", "se", "--kubeconfig=" + File("wrong", json::Serialize(wrong))});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, StartsWith("error: You must be logged in to the server ("));
  wrong = *config;
  wrong.Find("clusters")->items()[0].Find("cluster")->Remove("certificate-authority-data");
  refused = RunCommand(
      {BinDir() + "/isla", "get", "se", "--kubeconfig=" + File("wrong", json::Serialize(wrong))});
  EXPECT_THAT(refused.err, StartsWith("Unable to connect to the server: tls:"));
}

TEST_F(IslaTest, KubectlAndIslaTakeTurnsOnOneObject) {
  if (RunCommand({"kubectl", "version", "--client"}).exit_code != 0)
    GTEST_SKIP() << "no kubectl here";
  const std::string file = File(
      "a.json",
      Manifest(
          "a", R"("hold":"1","x":"<&>")",
          R"(,"resources":{"tasks":10,"cpu":"1"},"env":[{"name":"A","value":"\u2028 <b> é\t"}])"));
  std::string text = *ReadFile(file);
  text.replace(text.find(R"(,"x":"<&>")"), 10, "");
  File("a.json", text);
  const std::vector<std::string> apply{"apply", "-f", file};
  EXPECT_EQ(Isla(apply).out, "session.isla/a created\n");
  const std::string annotation =
      Isla({"get", "se/a", "-o", "jsonpath={.metadata.annotations}"}).out;
  EXPECT_EQ(Kubectl(apply).out, "session.isla/a unchanged\n");
  EXPECT_EQ(Isla(apply).out, "session.isla/a unchanged\n");
  // Made by kubectl, gone on with by isla: byte for byte the same annotation.
  EXPECT_EQ(Isla({"delete", "se", "a"}).exit_code, 0);
  EXPECT_EQ(Kubectl(apply).out, "session.isla/a created\n");
  EXPECT_EQ(Isla({"get", "se/a", "-o", "jsonpath={.metadata.annotations}"}).out, annotation);
  EXPECT_EQ(Isla(apply).out, "session.isla/a unchanged\n");
  // A field that one added is removed by the other.
  const std::string more =
      text.replace(text.find(R"("hold":"1")"), 10, R"("hold":"1","more":"yes")");
  File("a.json", more);
  EXPECT_EQ(Kubectl(apply).out, "session.isla/a configured\n");
  std::string less = more;
  File("a.json", less.replace(less.find(R"(,"more":"yes")"), 13, ""));
  EXPECT_EQ(Isla(apply).out, "session.isla/a configured\n");
  EXPECT_EQ(Isla({"get", "se/a", "-o", "jsonpath={.metadata.labels}"}).out, R"({"hold":"1"})");
  EXPECT_EQ(Kubectl(apply).out, "session.isla/a unchanged\n");
}

TEST_F(IslaTest, BadManifestsAreToldWithTheirPlaceAndStoreNothing) {
  const std::string file =
      File("bad.json",
           "{\"apiVersion\":\"isla/v1\",\"kind\":\"Session\",\"metadata\":{\"name\":\"bad\"},\n"
           " \"spec\":{\"command\":[\"x\"],\n"
           "  \"imgae\":\"host\",\n"
           "  \"resources\":{\"cpu\":\"-1\"}}}\n");
  const CommandResult result = Isla({"apply", "-f", file});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, StartsWith("The Session \"bad\" is invalid: "));
  EXPECT_THAT(result.err, HasSubstr("spec.imgae: "));
  EXPECT_THAT(result.err, HasSubstr("bad.json:3:"));
  EXPECT_EQ(Isla({"get", "se", "bad"}).exit_code, 1);
}

TEST_F(IslaTest, WatchGoesOnThroughARestartOfTheServer) {
  ASSERT_EQ(Isla({"apply", "-f", "-"}, Manifest("a", R"("hold":"1")")).exit_code, 0);
  Daemon watch("watch", Line({"get", "sessions", "-w"}, true), folder_, folder_ + "/watch.log");
  watch.Start();
  ASSERT_TRUE(Eventually([&watch] { return watch.Log().find("\na ") != std::string::npos; }));
  // The store in memory is new: the old session is gone, and the history too.
  server_->Kill9();
  ASSERT_TRUE(Eventually([this] {
    server_->Start();
    return Eventually(
        [this] {
          return Isla({"get", "nodes"}).exit_code == 0;
        },
        std::chrono::seconds(3));
  }));
  ASSERT_EQ(Isla({"apply", "-f", "-"}, Manifest("b", R"("hold":"1")")).exit_code, 0);
  EXPECT_TRUE(Eventually([&watch] { return watch.Log().find("\nb ") != std::string::npos; }))
      << watch.Log();
  EXPECT_TRUE(watch.running());
  watch.Kill9();
}

TEST_F(IslaTest, SettingsAreSetExplainedWatchedAndUnset) {
  Daemon watch("watch", Line({"config", "list", "-w", "--prefix=agent"}, true), folder_, folder_ + "/watch.log");
  watch.Start();
  ASSERT_TRUE(Eventually([&] { return watch.Log().find("NAME") != std::string::npos; })) << watch.Log();
  EXPECT_EQ(Isla({"config", "set", "agent/log/level=warn", "agent/log/maxBytes=81920"}).out,
            "agent/log/level set\nagent/log/maxBytes set\n");
  EXPECT_EQ(Isla({"config", "set", "agent/log/level=warn"}).out, "agent/log/level unchanged\n");
  const CommandResult node = Isla({"config", "set", "agent/log/level=debug", "--node=n9"});
  EXPECT_EQ(node.out, "agent/log/level set\n");
  EXPECT_EQ(node.err, "Warning: no node 'n9' has registered so far\n");
  EXPECT_EQ(Isla({"config", "get", "agent/log/level"}).out, "warn\n");
  EXPECT_EQ(Isla({"config", "get", "agent/log", "-o", "yaml"}).out,
            "agent:\n  log:\n    level: warn\n    maxBytes: 81920\n");
  EXPECT_THAT(Isla({"config", "explain", "agent/log", "--node=n9", "--no-headers"}).out,
              MatchesRegex("agent/log/level +debug +node/n9 +info +global: warn\n"
                           "agent/log/maxBytes +81920 +global +16777216\n"
                           "agent/log/nodeMaxBytes +1073741824 +default +1073741824\n"));
  // Nothing of a change that is wrong in part.
  const CommandResult wrong = Isla({"config", "set", "agent/log/levl=info", "agent/log/maxBytes=1", "agent/log/level=info"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("agent/log/levl: Unknown setting: did you mean 'agent/log/level'?"));
  EXPECT_THAT(wrong.err, HasSubstr("agent/log/maxBytes: Invalid value: 1: must be an integer from 65536 to"));
  EXPECT_EQ(Isla({"config", "get", "agent/log/level"}).out, "warn\n");
  const CommandResult conflict = Isla({"config", "set", "agent/log/level=info", "agent/start/maxParallel=2",
                                       "--resource-version=agent/log/level=0,agent/start/maxParallel=0"});
  EXPECT_EQ(conflict.exit_code, 1);
  EXPECT_THAT(conflict.err, HasSubstr("agent/log/level has changed"));
  EXPECT_EQ(Isla({"config", "unset", "agent/log/level", "agent/log/maxBytes"}).out,
            "agent/log/level unset\nagent/log/maxBytes unset\n");
  EXPECT_EQ(Isla({"config", "list"}).err, "Nothing is set in the scope global.\n");
  EXPECT_TRUE(Eventually([&] { return watch.Log().find("unset\nagent/log/maxBytes") != std::string::npos; })) << watch.Log();
  EXPECT_THAT(watch.Log(), MatchesRegex("NAME +VALUE +RESOURCEVERSION +NOTE\n"
                                        "agent/log/level +warn +[0-9]+\n"
                                        "agent/log/maxBytes +81920 +[0-9]+\n"
                                        "agent/log/level +[0-9]+ +unset\n"
                                        "agent/log/maxBytes +[0-9]+ +unset\n"));
}

TEST_F(IslaTest, RunFollowsAndExits) {
  const CommandResult result = Isla({"run", "--rm", "-l", "run-ms=400", "--", "true"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("line 1\nline 2\nline 3\nthe last line\n"));
  EXPECT_THAT(result.err, MatchesRegex("session.isla/run-[a-z0-9]+ created\n"));
  EXPECT_EQ(Isla({"get", "sessions"}).out, "") << "--rm";
}

TEST_F(IslaTest, OneInterruptEndsRunAndLeavesTheSessionRunning) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string name = "r" + std::to_string(signal);
    Daemon run("run", Line({"run", "--name=" + name, "--", "true"}, true), folder_, folder_ + "/" + name);
    run.Start();
    ASSERT_TRUE(Eventually([&run] { return run.Log().find("line 3") != std::string::npos; }))
        << run.Log();
    run.Signal(signal);
    EXPECT_TRUE(Eventually([&run] { return !run.running(); }));
    EXPECT_THAT(run.Log(), HasSubstr("session.isla/" + name + " goes on; to follow it: isla logs -f " + name +
                                     "; to delete it: isla delete session " + name + "\n"));
    EXPECT_EQ(Isla({"get", "se", name, "-o", "jsonpath={.status.phase}"}).out, "Running");
  }
}

TEST_F(IslaTest, AnInterruptEndsRunAlsoWhileNobodyReadsItsOutput) {
  ASSERT_EQ(mkfifo((folder_ + "/full").c_str(), 0600), 0);
  const int full = open((folder_ + "/full").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(full, 0);
  const std::string block(4096, 'x');
  while (write(full, block.data(), block.size()) > 0) {
  }
  std::vector<std::string> argv{"/bin/sh", "-c", "out=$1; shift; exec \"$@\" > \"$out\"", "sh", folder_ + "/full"};
  for (const std::string& word : Line({"run", "--name=r", "--", "true"}, true)) argv.push_back(word);
  Daemon run("run", argv, folder_, folder_ + "/run.log");
  run.Start();
  ASSERT_TRUE(Eventually(
      [this] { return Isla({"get", "se", "r", "-o", "jsonpath={.status.phase}"}).out == "Running"; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // its output is there by then, and stuck
  run.Signal(SIGTERM);
  EXPECT_TRUE(Eventually([&run] { return !run.running(); }, std::chrono::seconds(5)));
  EXPECT_THAT(run.Log(), HasSubstr("session.isla/r goes on; "));
  close(full);
}

TEST_F(IslaTest, DeleteWaitsUntilTheSessionIsGone) {
  ASSERT_EQ(Isla({"apply", "-f", "-"}, Manifest("a", R"("stop-ms":"3000")")).exit_code, 0);
  EXPECT_EQ(Isla({"delete", "se", "a", "--timeout=50ms"}).err,
            "error: timed out waiting for the condition on sessions/a\n");
  EXPECT_EQ(Isla({"wait", "session/a", "--for=delete", "--timeout=60s"}).exit_code, 0);
  EXPECT_EQ(Isla({"get", "se", "a", "--ignore-not-found"}).out, "");
}

TEST_F(IslaTest, CompletionScriptIsValidAndCompletesNames) {
  ASSERT_EQ(Isla({"apply", "-f", "-"}, Manifest("alpha", R"("hold":"1")")).exit_code, 0);
  EXPECT_EQ(RunCommand({BinDir() + "/isla", "__complete", "--socket=" + folder_ + "/api.sock",
                        "get", "sessions", "al"})
                .out,
            "alpha\n");
  const CommandResult bash = RunCommand(
      {"bash", "-c",
       "PATH=" + BinDir() + ":$PATH; export ISLA_CONFIG=" + folder_ +
           "/kubeconfig; source <(isla completion bash) && "
           "COMP_WORDS=(isla get sessions al) COMP_CWORD=3 && _isla && echo \"${COMPREPLY[@]}\""});
  EXPECT_EQ(bash.out, "alpha\n") << bash.err;
}

TEST_F(IslaTest, FullDiskIsAnError) {
  const CommandResult result = RunCommand(
      {"sh", "-c", BinDir() + "/isla get nodes --socket=" + folder_ + "/api.sock > /dev/full"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("No space left on device"));
}

/// The test server, started by a shell of its own that the test kills.
class TestServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/isla-cli-e2e-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    ASSERT_EQ(mkfifo((folder_ + "/in").c_str(), 0600), 0);
    // What the shell leaves behind becomes this process's child, so that its end can be seen.
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  }
  void TearDown() override {
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    (void)RemoveTree(folder_);
  }
  std::string Read(const std::string& file) const { return ReadFile(folder_ + "/" + file).value_or(""); }

  std::string folder_;
};

TEST_F(TestServerTest, EndsWithTheProcessThatStartedItHoweverThatEnds) {
  // Its standard input has no end.
  Daemon shell("shell",
               {"/bin/sh", "-c", "\"$0\" . $$ <> in > out 2>&1 & echo $! > pid; exec sleep 100",
                std::filesystem::absolute(BinDir() + "/../tests/kubectl_test_server")},
               folder_, folder_ + "/log");
  shell.Start();
  ASSERT_TRUE(Eventually([this] { return Read("out").find("ready") != std::string::npos; })) << Read("out");
  const pid_t server = std::stoi(Read("pid"));
  shell.Kill9();
  int status = 0;
  const bool ended = Eventually([&] { return waitpid(server, &status, WNOHANG) == server; });
  EXPECT_TRUE(ended);
  if (!ended) kill(server, SIGKILL);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(TestServerTest, DoesNotBeginIfItsTestIsGoneAlready) {
  const pid_t gone = 4194304;  // no pid is as high
  const CommandResult result = RunCommand({BinDir() + "/../tests/kubectl_test_server", folder_, std::to_string(gone)});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.err, "kubectl_test_server: the test that started this is gone\n");
}

}  // namespace
}  // namespace isla::testing
