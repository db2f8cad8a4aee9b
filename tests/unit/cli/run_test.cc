#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class RunTest : public CliTest {
 protected:
  /// The session runs at once, prints a line, and ends as `end` says.
  void EndBy(std::function<void(json::Value& status)> end) {
    api_.Log("2026-01-01T00:00:01Z hello\n", true);
    api_.OnCreate([this, end](const std::string& name) {
      api_.SetPhase(name, "Running");
      api_.Put("default", name, [&end](json::Value& object) {
        json::Value container =
            json::Value::MakeObject({{"name", "main"}, {"startedAt", "2026-01-01T00:00:00Z"}});
        object.Member("status").Set("containers", json::Value::MakeArray({container}));
        end(object.Member("status"));
      });
    });
  }
};

TEST_F(RunTest, PrintsTheOutputAndExitsWithItsStatus) {
  EndBy([](json::Value& status) {
    status.Set("phase", "Failed");
    status.Set("reason", "Error");
    status.Set("exitCode", 7);
  });
  const Result result = Isla({"run", "--", "sh", "-c", "exit 7"});
  EXPECT_EQ(result.code, 7);
  EXPECT_EQ(result.out, "hello\n");
  EXPECT_EQ(result.err, "session.isla/run-abcde created\n");
}

TEST_F(RunTest, QuietSaysNothingOfItsOwnAndSuccessIsZero) {
  EndBy([](json::Value& status) { status.Set("phase", "Succeeded"); });
  const Result result = Isla({"run", "-q", "--name=x", "--", "true"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "hello\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(RunTest, EachEndHasItsExitCode) {
  const auto ended = [this](std::function<void(json::Value&)> end) {
    EndBy(std::move(end));
    static int count = 0;
    return Isla({"run", "-q", "--name=s" + std::to_string(++count), "--", "x"});
  };
  Result result = ended([](json::Value& s) {
    s.Set("phase", "Failed");
    s.Set("reason", "OOMKilled");
    s.Set("message", "used more than 64Mi");
    s.Set("exitCode", 137);
  });
  EXPECT_EQ(result.code, 137);
  EXPECT_EQ(result.err, "error: session.isla/s1 failed: OOMKilled: used more than 64Mi\n");
  result = ended([](json::Value& s) {
    s.Set("phase", "Failed");
    s.Set("reason", "Timeout");
    s.Set("message", "ran longer than 1s");
  });
  EXPECT_EQ(result.code, 124);
  result = ended([](json::Value& s) {
    s.Set("phase", "Failed");
    s.Set("reason", "StartError");
    s.Set("message", "exec /x: no such file");
    s.Set("exitCode", 1);
  });
  EXPECT_EQ(result.code, 125);
  EXPECT_EQ(result.err, "error: session.isla/s3 could not be started: exec /x: no such file\n");
  for (const auto& [reason, code] : {std::pair("CommandNotFound", 127), std::pair("CommandNotExecutable", 126)}) {
    result = ended([reason = reason](json::Value& s) {
      s.Set("phase", "Failed");
      s.Set("reason", reason);
      s.Set("message", "execute x: why");
    });
    EXPECT_EQ(result.code, code);
    EXPECT_THAT(result.err, HasSubstr("could not be started: execute x: why\n"));
  }
  result = ended([](json::Value& s) {
    s.Set("phase", "Failed");
    s.Set("reason", "Error");
    s.Find("containers")->items()[0].Set("signal", 11);
  });
  EXPECT_EQ(result.code, 139);
  result = ended([](json::Value& s) {
    s.Set("phase", "Failed");
    s.Set("reason", "NodeLost");
  });
  EXPECT_EQ(result.code, 125);
  EXPECT_EQ(result.err, "error: session.isla/s7 is Failed: NodeLost\n");
  result = ended([](json::Value& s) { s.Set("phase", "Cancelled"); });
  EXPECT_EQ(result.code, 125);
}

TEST_F(RunTest, FlagsBecomeTheManifest) {
  EndBy([](json::Value& status) { status.Set("phase", "Succeeded"); });
  TestIo io;
  io.env["MINE"] = "own value";
  const int code = cli::Main({"run",
                              "--socket=" + api_.socket(),
                              "-q",
                              "--name=x",
                              "--image=dir:/r",
                              "--cpu=500m",
                              "--memory=64Mi",
                              "--timeout=1m",
                              "-e",
                              "A=b=c",
                              "-e",
                              "MINE",
                              "-e",
                              "UNSET",
                              "--mount=/a:/b",
                              "--mount=/c:/d:rw",
                              "--network=host",
                              "-l",
                              "k=v",
                              "--node-selector=disk=ssd",
                              "-w",
                              "/tmp",
                              "--",
                              "echo",
                              "-n",
                              "--flag"},
                             io);
  EXPECT_EQ(code, 0) << io.err();
  json::Value spec = *api_.Get("default", "x").Find("spec");
  EXPECT_EQ(
      json::Serialize(spec),
      R"({"type":"batch","command":["echo","-n","--flag"],"image":"dir:/r","workingDir":"/tmp","timeout":"1m","network":"host",)"
      R"("resources":{"cpu":"500m","memory":"64Mi"},"env":[{"name":"A","value":"b=c"},{"name":"MINE","value":"own value"}],)"
      R"("mounts":[{"hostPath":"/a","mountPath":"/b"},{"hostPath":"/c","mountPath":"/d","readOnly":false}],"nodeSelector":{"disk":"ssd"}})");
  EXPECT_EQ(api_.Get("default", "x").StringAt({"metadata", "labels", "k"}), "v");
}

TEST_F(RunTest, BadFlagsCreateNothingAndAreNotTakenForTheCommandsStatus) {
  for (const std::vector<std::string>& flags :
       std::vector<std::vector<std::string>>{{"-e", "=x"},
                                             {"--mount=/a"},
                                             {"--mount=a:/b"},
                                             {"--mount=/a:b"},
                                             {"--mount=/a:/b:/c"},
                                             {"-l", "x"},
                                             {"--rm", "-d"},
                                             {"--no-such-flag"},
                                             {"--cpu"},
                                             {"--dry-run"},
                                             {"--dry-run=maybe"},
                                             {"--request-timeout=soon"},
                                             {"-o", "wide"}}) {
    std::vector<std::string> args{"run"};
    args.insert(args.end(), flags.begin(), flags.end());
    args.insert(args.end(), {"--", "x"});
    EXPECT_EQ(Isla(args).code, 125) << flags[0];
  }
  EXPECT_EQ(Isla({"run", "--help"}).code, 0);
  EXPECT_EQ(Isla({"run"}).code, 125);
  for (const std::string& call : api_.server().Calls()) EXPECT_THAT(call, StartsWith("GET"));
}

TEST_F(RunTest, RefusedManifestExits125) {
  api_.Intercept("POST", [](const FakeRequest&) {
    return FakeReply{
        .status = 422,
        .body =
            R"({"kind":"Status","reason":"Invalid","code":422,"message":"m","details":{"kind":"Session","name":"x","causes":[{"field":"spec.cpu","message":"bad"}]}})"};
  });
  const Result result = Isla({"run", "--", "x"});
  EXPECT_EQ(result.code, 125);
  EXPECT_EQ(result.err, "The Session \"x\" is invalid: spec.cpu: bad\n");
}

TEST_F(RunTest, RemoveDeletesItAtTheEnd) {
  EndBy([](json::Value& status) { status.Set("phase", "Succeeded"); });
  EXPECT_EQ(Isla({"run", "--rm", "--name=x", "--", "true"}).code, 0);
  EXPECT_TRUE(api_.Get("default", "x").is_null());
}

TEST_F(RunTest, DetachPrintsTheNameAndDryRunCreatesNothing) {
  EXPECT_EQ(Isla({"run", "-d", "--", "x"}).out, "session.isla/run-abcde created\n");
  EXPECT_EQ(Isla({"run", "--name=y", "--dry-run=server", "--", "x"}).out,
            "session.isla/y created (server dry run)\n");
  const Result client = Isla({"run", "--name=y", "--dry-run=client", "-o", "json", "--", "x"});
  EXPECT_EQ(json::Parse(client.out)->StringAt({"metadata", "name"}), "y");
  EXPECT_TRUE(api_.Get("default", "y").is_null());
}

TEST_F(RunTest, SaysWhyItWaits) {
  api_.OnCreate([this](const std::string& name) {
    api_.Put("default", name, [](json::Value& object) {
      object.Member("status").Set(
          "conditions",
          json::Value::MakeArray({json::Value::MakeObject({{"type", "Scheduled"},
                                                           {"status", "False"},
                                                           {"reason", "Unschedulable"},
                                                           {"message", "no node has 64 CPUs"}})}));
    });
  });
  Background run(api_, {"run", "--name=x", "--", "x"});
  ASSERT_TRUE(
      run.SeesErr("session.isla/x is waiting: Pending: Unschedulable: no node has 64 CPUs\n"));
  api_.Remove("default", "x");
  EXPECT_EQ(run.Join(), 125);
  EXPECT_THAT(run.io().err(), HasSubstr("error: session.isla/x was deleted\n"));
}

TEST_F(RunTest, AnInterruptLeavesAtOnceAndSaysThatTheSessionGoesOn) {
  api_.OnCreate([this](const std::string& name) { api_.SetPhase(name, "Running"); });
  api_.Log("2026-01-01T00:00:01Z one\n");
  Background run(api_, {"run", "--name=x", "--", "x"});
  ASSERT_TRUE(run.SeesOut("one\n"));
  run.io().Interrupt();
  EXPECT_EQ(run.Join(), 130);
  EXPECT_EQ(run.io().err(),
            "session.isla/x created\n\nsession.isla/x goes on; to follow it: isla logs -f x; to delete it: isla "
            "delete session x\n");
  EXPECT_EQ(api_.Get("default", "x").StringAt({"status", "phase"}), "Running");
}

TEST_F(RunTest, AnInterruptWhileItWaitsForItsStartLeavesToo) {
  Background run(api_, {"run", "--name=x", "-n", "lab", "--", "x"});
  ASSERT_TRUE(run.SeesErr("session.isla/x created\n"));
  run.io().Interrupt();
  EXPECT_EQ(run.Join(), 130);
  EXPECT_THAT(run.io().err(),
              HasSubstr("\nsession.isla/x goes on; to follow it: isla -n lab logs -f x; to delete it: isla -n lab "
                        "delete session x\n"));
}

TEST_F(RunTest, AnInterruptedSessionIsNotRemovedAndThatIsSaid) {
  api_.OnCreate([this](const std::string& name) { api_.SetPhase(name, "Running"); });
  api_.Log("2026-01-01T00:00:01Z one\n");
  Background run(api_, {"run", "--name=x", "--rm", "--", "x"});
  ASSERT_TRUE(run.SeesOut("one\n"));
  run.io().Interrupt();
  EXPECT_EQ(run.Join(), 130);
  EXPECT_FALSE(api_.Get("default", "x").is_null()) << "it goes on";
  EXPECT_THAT(run.io().err(), HasSubstr("goes on, and is not removed when it ends; "));
}

TEST_F(RunTest, OutputThatCannotBeHadDoesNotHideTheExitCode) {
  EndBy([](json::Value& status) {
    status.Set("phase", "Failed");
    status.Set("exitCode", 3);
  });
  api_.Intercept("GET /apis/isla/v1/namespaces/default/sessions/x/log", [](const FakeRequest&) {
    return FakeReply{
        .status = 404,
        .body = R"({"kind":"Status","reason":"NotFound","message":"the log is gone","code":404})"};
  });
  const Result result = Isla({"run", "-q", "--name=x", "--", "x"});
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.err, "Error from server (NotFound): the log is gone\n");
}

TEST_F(RunTest, SurvivesARestartOfTheServer) {
  Background run(api_, {"run", "-q", "--name=x", "--", "x"});
  for (int i = 0; i < 400 && api_.server().Calls().size() < 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  api_.server().Stop();
  api_.server().Restart();
  api_.Log("2026-01-01T00:00:01Z one\n");
  api_.SetPhase("x", "Running");
  ASSERT_TRUE(run.SeesOut("one\n"));
  api_.server().Stop();
  api_.Log("2026-01-01T00:00:02Z two\n", true);
  api_.SetPhase("x", "Succeeded");
  api_.server().Restart();
  EXPECT_EQ(run.Join(), 0);
  EXPECT_EQ(run.io().out(), "one\ntwo\n");
}

}  // namespace
}  // namespace isla::testing
