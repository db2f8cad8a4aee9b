// wait, delete, logs: commands that go on until something happens.
#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class WaitTest : public CliTest {
 protected:
  void Condition(const std::string& type, const std::string& status, int generation = 1) {
    api_.Put("default", "a", [&](json::Value& object) {
      object.Member("status").Set(
          "conditions",
          json::Value::MakeArray({json::Value::MakeObject(
              {{"type", type}, {"status", status}, {"observedGeneration", generation}})}));
    });
  }
};
class DeleteTest : public CliTest {
 protected:
  void PutHeld(const std::string& name) {
    api_.Put("default", name, [](json::Value& object) {
      object.Member("metadata").Set("finalizers", json::Value::MakeArray({"isla/session"}));
    });
  }
  std::string last_;
};
class LogsTest : public CliTest {};

TEST_F(WaitTest, ConditionThatHoldsIsMetAtOnce) {
  Condition("Ready", "True");
  EXPECT_EQ(Isla({"wait", "session/a", "--for=condition=Ready"}).out,
            "session.isla/a condition met\n");
  EXPECT_EQ(Isla({"wait", "session", "a", "--for", "condition=ready=TRUE"}).code, 0);
  EXPECT_EQ(Isla({"wait", "sessions", "--all", "--for=condition=Ready", "-o", "name"}).out,
            "session.isla/a\n");
}

TEST_F(WaitTest, ConditionIsWaitedFor) {
  Condition("Ready", "False");
  Background wait(api_, {"wait", "session/a", "--for=condition=Ready"});
  for (int i = 0; i < 400 && api_.server().Calls().size() < 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  Condition("Ready", "True");
  EXPECT_EQ(wait.Join(), 0);
  EXPECT_EQ(wait.io().out(), "session.isla/a condition met\n");
}

TEST_F(WaitTest, ConditionOfAnOlderSpecDoesNotCount) {
  Condition("Ready", "True", 1);
  api_.Put("default", "a",
           [](json::Value& object) { object.Member("metadata").Set("generation", 2); });
  const Result result = Isla({"wait", "session/a", "--for=condition=Ready", "--timeout=50ms"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "error: timed out waiting for the condition on sessions/a\n");
}

TEST_F(WaitTest, ZeroLooksOnce) {
  Condition("Ready", "False");
  EXPECT_EQ(Isla({"wait", "session/a", "--for=condition=Ready", "--timeout=0"}).err,
            "error: timed out waiting for the condition on sessions/a\n");
}

TEST_F(WaitTest, WhatCannotHappenAnyMoreIsNotWaitedFor) {
  api_.SetPhase("a", "Failed");
  api_.Put("default", "a",
           [](json::Value& object) { object.Member("status").Set("reason", "OOMKilled"); });
  EXPECT_EQ(Isla({"wait", "session/a", "--for=condition=Ready"}).err,
            "error: the condition on sessions/a will never be met: Failed: OOMKilled\n");
  EXPECT_EQ(Isla({"wait", "session/a", "--for=phase=Succeeded"}).code, 1);
  EXPECT_EQ(Isla({"wait", "session/a", "--for=phase=Succeeded,Failed"}).code, 0);
}

TEST_F(WaitTest, DeletionIsWaitedForAndWhatIsGoneIsFine) {
  api_.Put("default", "a", nullptr);
  Background wait(api_, {"wait", "session/a", "--for=delete"});
  for (int i = 0; i < 400 && api_.server().Calls().size() < 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  api_.Remove("default", "a");
  EXPECT_EQ(wait.Join(), 0);
  EXPECT_EQ(Isla({"wait", "session/a", "--for=delete"}).code, 0);
  EXPECT_EQ(Isla({"wait", "session/a", "--for=condition=Ready"}).err,
            "Error from server (NotFound): sessions \"a\" not found\n");
}

TEST_F(WaitTest, JsonPath) {
  api_.SetPhase("a", "Running");
  EXPECT_EQ(Isla({"wait", "session/a", "--for=jsonpath={.status.phase}=Running"}).code, 0);
  EXPECT_EQ(Isla({"wait", "session/a", "--for=jsonpath='{.status.phase}'", "--timeout=0"}).code, 0);
  EXPECT_EQ(Isla({"wait", "session/a", "--for=jsonpath={.status.result}", "--timeout=0"}).code, 1);
}

TEST_F(WaitTest, WrongGoals) {
  for (const char* goal : {"", "foo", "condition=", "phase=", "x=y", "jsonpath={.a..b}"}) {
    EXPECT_EQ(Isla({"wait", "session/a", std::string("--for=") + goal}).code, 1) << goal;
  }
  EXPECT_THAT(Isla({"wait", "session/a"}).err, StartsWith("error: --for is required"));
  EXPECT_EQ(
      Isla({"wait", "sessions", "--for=delete"}).err,
      "error: resource(s) were provided, but no name, label selector, or --all flag specified\n");
  EXPECT_EQ(Isla({"wait", "sessions", "--all", "--for=condition=Ready"}).err,
            "error: no matching resources found\n");
}

TEST_F(DeleteTest, WaitsForFinalizers) {
  PutHeld("a");
  Background gone(api_, {"delete", "session", "a"});
  ASSERT_TRUE(gone.SeesOut("session.isla \"a\" deleted\n"));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  api_.Remove("default", "a");
  EXPECT_EQ(gone.Join(), 0);
}

TEST_F(DeleteTest, AnotherObjectOfTheSameNameIsNotWaitedFor) {
  PutHeld("a");
  Background gone(api_, {"delete", "session/a"});
  ASSERT_TRUE(gone.SeesOut("deleted"));
  api_.Remove("default", "a");
  PutHeld("a");
  EXPECT_EQ(gone.Join(), 0);
  EXPECT_FALSE(api_.Get("default", "a").is_null());
}

TEST_F(DeleteTest, WaitEndsByItsTimeoutOrNotAtAll) {
  PutHeld("a");
  EXPECT_EQ(Isla({"delete", "session", "a", "--wait=false"}).code, 0);
  const Result late = Isla({"delete", "session", "a", "--timeout=50ms"});
  EXPECT_EQ(late.code, 1);
  EXPECT_EQ(late.err, "error: timed out waiting for the condition on sessions/a\n");
}

TEST_F(DeleteTest, DryRunGoesInTheBodyAndDeletesNothing) {
  api_.Put("default", "a", nullptr);
  EXPECT_EQ(Isla({"delete", "session", "a", "--dry-run=server"}).out,
            "session.isla \"a\" deleted (server dry run)\n");
  EXPECT_EQ(Isla({"delete", "session", "a", "--dry-run=client"}).out,
            "session.isla \"a\" deleted (dry run)\n");
  EXPECT_FALSE(api_.Get("default", "a").is_null());
  const auto requests = api_.server().Requests();
  EXPECT_THAT(requests[1].body, HasSubstr("\"dryRun\":[\"All\"]"));
}

TEST_F(DeleteTest, GracePeriods) {
  const auto body = [this](std::vector<std::string> flags) {
    api_.Put("default", "a", nullptr);
    flags.insert(flags.begin(), {"delete", "session", "a"});
    EXPECT_EQ(Isla(flags).code, 0);
    for (const FakeRequest& request : api_.server().Requests()) {
      if (request.method == "DELETE") last_ = request.body;
    }
    return last_;
  };
  EXPECT_THAT(body({}), Not(HasSubstr("gracePeriod")));
  EXPECT_THAT(body({"--now"}), HasSubstr("\"gracePeriodSeconds\":1"));
  EXPECT_THAT(body({"--grace-period=7"}), HasSubstr("\"gracePeriodSeconds\":7"));
  EXPECT_THAT(body({"--grace-period=0"}), HasSubstr("\"gracePeriodSeconds\":1"));
  EXPECT_THAT(body({"--force"}), HasSubstr("\"gracePeriodSeconds\":0"));
  api_.Put("default", "a", nullptr);
  const Result forced = Isla({"delete", "session", "a", "--force"});
  EXPECT_EQ(forced.out, "session.isla \"a\" force deleted\n");
  EXPECT_THAT(forced.err, StartsWith("Warning: Immediate deletion"));
  EXPECT_EQ(Isla({"delete", "se", "a", "--force", "--grace-period=5"}).err,
            "error: --force and --grace-period greater than 0 cannot be specified together\n");
  EXPECT_EQ(Isla({"delete", "se", "a", "--now", "--grace-period=5"}).err,
            "error: --now and --grace-period cannot be specified together\n");
  EXPECT_THAT(Isla({"delete", "se", "a", "--grace-period=x"}).err,
              StartsWith("error: invalid argument \"x\" for \"--grace-period\" flag"));
}

TEST_F(DeleteTest, SelectorsAllAndFiles) {
  api_.Put("default", "a", nullptr);
  api_.Put("default", "b", nullptr);
  api_.Put("demo", "c", nullptr);
  EXPECT_EQ(Isla({"delete", "sessions"}).err,
            "error: resource(s) were provided, but no name was specified\n");
  EXPECT_EQ(Isla({"delete", "sessions", "--all"}).out,
            "session.isla \"a\" deleted\nsession.isla \"b\" deleted\n");
  EXPECT_EQ(Isla({"delete", "sessions", "--all"}).err, "No resources found\n");
  EXPECT_EQ(Isla({"delete", "sessions", "--all", "-A", "-oname"}).out, "session.isla/c\n");
  api_.Put("default", "a", nullptr);
  const std::string file = File(
      "a.json",
      R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"a"}} {"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"zz"}})");
  const Result files = Isla({"delete", "-f", file});
  EXPECT_EQ(files.code, 1);
  EXPECT_EQ(files.out, "session.isla \"a\" deleted\n");
  EXPECT_EQ(files.err, "Error from server (NotFound): sessions \"zz\" not found\n");
  EXPECT_EQ(Isla({"delete", "-f", file, "--ignore-not-found"}).code, 0);
  EXPECT_THAT(Isla({"delete"}).err, HasSubstr("You must provide one or more resources"));
}

TEST_F(DeleteTest, ManyOfOneTypeAreWaitedForByOneWatch) {
  for (const char* name : {"a", "b", "c"}) PutHeld(name);
  Background gone(api_, {"delete", "sessions", "a", "b", "c"});
  ASSERT_TRUE(gone.SeesOut("\"c\" deleted"));
  for (const char* name : {"c", "a", "b"}) api_.Remove("default", name);
  EXPECT_EQ(gone.Join(), 0);
  int watches = 0;
  for (const std::string& call : api_.server().Calls())
    watches += call.find("watch=true") != std::string::npos ? 1 : 0;
  EXPECT_LE(watches, 1);
}

TEST_F(LogsTest, PrintsWhatIsThere) {
  api_.SetPhase("a", "Running");
  api_.Log("2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n");
  EXPECT_EQ(Isla({"logs", "a"}).out, "one\ntwo\n");
  EXPECT_EQ(Isla({"logs", "session/a", "--timestamps"}).out,
            "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n");
  Isla({"logs", "a", "--tail=5", "--since=1m30s"});
  EXPECT_THAT(api_.server().Calls().back(), HasSubstr("tailLines=5&sinceSeconds=90"));
}

TEST_F(LogsTest, Errors) {
  EXPECT_EQ(Isla({"logs", "nope"}).err,
            "Error from server (NotFound): sessions \"nope\" not found\n");
  EXPECT_THAT(Isla({"logs"}).err, StartsWith("error: expected 'logs"));
  EXPECT_THAT(Isla({"logs", "node/n1"}).err, HasSubstr("only sessions have them"));
  EXPECT_THAT(Isla({"logs", "a", "--tail=x"}).err,
              HasSubstr("invalid argument \"x\" for \"--tail\" flag"));
  EXPECT_THAT(Isla({"logs", "a", "--since=-5s"}).err, HasSubstr("--since"));
  api_.SetPhase("p", "Pending");
  EXPECT_EQ(Isla({"logs", "p"}).err,
            "Error from server (BadRequest): session \"p\" has not been started yet\n");
}

TEST_F(LogsTest, FollowingGoesOnThroughARestartAndEndsWithTheSession) {
  api_.SetPhase("a", "Pending");
  Background logs(api_, {"logs", "-f", "a"});
  for (int i = 0; i < 400 && api_.server().Calls().size() < 4; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  api_.SetPhase("a", "Running");
  api_.Log("2026-01-01T00:00:01Z one\n");
  ASSERT_TRUE(logs.SeesOut("one\n"));
  api_.server().Stop();
  api_.Log("2026-01-01T00:00:01Z two\n");
  api_.server().Restart();
  ASSERT_TRUE(logs.SeesOut("two\n"));
  api_.Log("2026-01-01T00:00:03Z three\n", true);
  ASSERT_TRUE(logs.SeesOut("three\n"));
  api_.SetPhase("a", "Succeeded");
  EXPECT_EQ(logs.Join(), 0);
  EXPECT_EQ(logs.io().out(), "one\ntwo\nthree\n");
}

TEST_F(LogsTest, FollowingASessionThatIsDeletedBeforeItStartsIsAnError) {
  api_.SetPhase("a", "Pending");
  Background logs(api_, {"logs", "-f", "a"});
  for (int i = 0; i < 400 && api_.server().Calls().size() < 4; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  api_.Remove("default", "a");
  EXPECT_EQ(logs.Join(), 1);
  EXPECT_THAT(logs.io().err(), HasSubstr("session.isla/a is gone, it was never started"));
}

}  // namespace
}  // namespace isla::testing
