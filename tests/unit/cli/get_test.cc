#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class GetTest : public CliTest {
 protected:
  void SetUp() override {
    api_.Put("default", "a", [](json::Value& object) {
      object.Member("metadata").Member("labels").Set("team", "blue");
    });
    api_.SetPhase("a", "Running");
    api_.Put("default", "long-name", nullptr);
    api_.Put("demo", "b",
             [](json::Value& object) { object.Member("spec").Set("image", "dir:/x"); });
  }
};

TEST_F(GetTest, TableHasTheServersColumns) {
  EXPECT_EQ(Isla({"get", "sessions"}).out,
            "NAME        PHASE\n"
            "a           Running\n"
            "long-name   <none>\n");
  EXPECT_EQ(Isla({"get", "se", "-o", "wide", "-n", "demo"}).out,
            "NAME   PHASE    IMAGE\n"
            "b      <none>   dir:/x\n");
  EXPECT_EQ(Isla({"get", "Session", "-A", "--no-headers"}).out,
            "default   a           Running\n"
            "default   long-name   <none>\n"
            "demo      b           <none>\n");
  EXPECT_EQ(Isla({"get", "session", "a", "--show-labels"}).out,
            "NAME   PHASE     LABELS\n"
            "a      Running   team=blue\n");
}

TEST_F(GetTest, NamesAndPathsAndSeveralTypes) {
  EXPECT_EQ(Isla({"get", "session/a"}).out, "NAME   PHASE\na      Running\n");
  EXPECT_EQ(Isla({"get", "sessions", "long-name", "a"}).out,
            "NAME        PHASE\nlong-name   <none>\na           Running\n");
  EXPECT_EQ(Isla({"get", "se,no"}).out,
            "NAME                     PHASE\n"
            "session.isla/a           Running\n"
            "session.isla/long-name   <none>\n"
            "\n"
            "NAME           PHASE\n"
            "node.isla/n1   <none>\n");
  EXPECT_EQ(Isla({"get", "all"}).out, Isla({"get", "sessions"}).out);
  EXPECT_EQ(Isla({"get", "sessions", "-l", "team=blue", "-o", "name"}).out, "session.isla/a\n");
  EXPECT_EQ(Isla({"get", "sessions", "--field-selector=metadata.name=long-name", "-oname"}).out,
            "session.isla/long-name\n");
}

TEST_F(GetTest, MissingNamesAreErrorsAndTheOthersAreShown) {
  const Result result = Isla({"get", "session", "a", "nope"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, "NAME   PHASE\na      Running\n");
  EXPECT_EQ(result.err, "Error from server (NotFound): sessions \"nope\" not found\n");
  const Result ignored = Isla({"get", "session", "nope", "--ignore-not-found"});
  EXPECT_EQ(ignored.code, 0);
  EXPECT_EQ(ignored.out + ignored.err, "");
}

TEST_F(GetTest, NothingFoundIsSaidOnStandardErrorWithExitCodeZero) {
  const Result result = Isla({"get", "sessions", "-n", "empty"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "No resources found in empty namespace.\n");
  EXPECT_EQ(Isla({"get", "sessions", "-A", "-l", "no=such"}).err, "No resources found\n");
}

TEST_F(GetTest, WholeObjects) {
  const Result one = Isla({"get", "session", "a", "-o", "json"});
  EXPECT_THAT(one.out,
              StartsWith("{\n    \"apiVersion\": \"isla/v1\",\n    \"kind\": \"Session\",\n"));
  EXPECT_TRUE(json::Parse(one.out).ok());
  const auto list = json::Parse(Isla({"get", "sessions", "-o", "json"}).out);
  ASSERT_TRUE(list.ok());
  EXPECT_EQ(list->StringAt({"kind"}), "List");
  EXPECT_EQ(list->Find("items")->items().size(), 2U);
  EXPECT_THAT(Isla({"get", "session/a", "-o", "yaml"}).out,
              HasSubstr("kind: Session\nmetadata:\n"));
  EXPECT_EQ(Isla({"get", "sessions", "-o", "name"}).out,
            "session.isla/a\nsession.isla/long-name\n");
  EXPECT_EQ(Isla({"get", "session", "a", "-o", "jsonpath={.status.phase}"}).out, "Running");
  EXPECT_EQ(Isla({"get", "sessions", "-o", "jsonpath={.items[*].metadata.name}"}).out,
            "a long-name");
  EXPECT_EQ(Isla({"get", "sessions", "-n", "empty", "-o", "json"}).code, 0);
}

TEST_F(GetTest, WrongArgumentsAreToldAsKubectlTellsThem) {
  const auto error = [this](std::vector<std::string> args) {
    const Result result = Isla(std::move(args));
    EXPECT_EQ(result.code, 1);
    return result.err;
  };
  EXPECT_THAT(error({"get"}), HasSubstr("error: Required resource not specified.\n"));
  EXPECT_EQ(error({"get", "foo"}), "error: the server doesn't have a resource type \"foo\"\n");
  EXPECT_EQ(
      error({"get", "sesion"}),
      "error: the server doesn't have a resource type \"sesion\" (did you mean \"session\"?)\n");
  EXPECT_EQ(error({"get", "se", "a", "-l", "x=y"}),
            "error: name cannot be provided when a selector is specified\n");
  EXPECT_EQ(error({"get", "se", "a", "-A"}),
            "error: a resource cannot be retrieved by name across all namespaces\n");
  EXPECT_THAT(error({"get", "se/a", "b"}),
              HasSubstr("there is no need to specify a resource type as a separate argument"));
  EXPECT_THAT(error({"get", "se/a/b"}), HasSubstr("may not have more than one slash"));
  EXPECT_THAT(error({"get", "se/"}), HasSubstr("must have a single resource and name"));
  EXPECT_EQ(error({"get", "se,no", "-w"}), "error: you may only specify a single resource type\n");
  EXPECT_EQ(error({"get", "se", "a", "b", "-w"}),
            "error: only one name can be watched: name none and use -l to watch several\n");
  EXPECT_EQ(error({"get", "se", "nope", "-w"}),
            "Error from server (NotFound): sessions \"nope\" not found\n");
  EXPECT_THAT(error({"get", "se", "-o", "jsonpath={.a..b}"}), HasSubstr("'..' is not supported"));
}

TEST_F(GetTest, WatchPrintsTheTableAndThenARowForEachChange) {
  Background watch(api_, {"get", "sessions", "-w"});
  ASSERT_TRUE(watch.SeesOut("long-name   <none>\n"));
  api_.SetPhase("a", "Succeeded");
  ASSERT_TRUE(watch.SeesOut("a           Succeeded\n"));
  api_.server().Stop();  // a restart of the server in the middle
  api_.server().Restart();
  api_.SetPhase("long-name", "Failed");
  ASSERT_TRUE(watch.SeesOut("long-name   Failed\n"));
  watch.io().Interrupt();
  watch.Join();
  EXPECT_EQ(watch.io().out(),
            "NAME        PHASE\n"
            "a           Running\n"
            "long-name   <none>\n"
            "a           Succeeded\n"
            "long-name   Failed\n");
}

TEST_F(GetTest, WatchOfANameShowsNoStrangersAndEventsHaveAColumn) {
  Background watch(api_, {"get", "session", "a", "-w", "--output-watch-events"});
  ASSERT_TRUE(watch.SeesOut("ADDED"));
  api_.SetPhase("long-name", "Failed");
  api_.SetPhase("a", "Succeeded");
  api_.Remove("default", "a");
  ASSERT_TRUE(watch.SeesOut("DELETED"));
  watch.io().Interrupt();
  watch.Join();
  EXPECT_EQ(watch.io().out(),
            "EVENT   NAME   PHASE\n"
            "ADDED   a      Running\n"
            "MODIFIED   a      Succeeded\n"
            "DELETED    a      Succeeded\n");
}

TEST_F(GetTest, WatchOnlySkipsWhatIsThereAndGivesWholeObjectsToo) {
  Background watch(api_, {"get", "sessions", "--watch-only", "-o", "name"});
  for (int i = 0; i < 200 && api_.server().Calls().size() < 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  api_.SetPhase("long-name", "Failed");
  ASSERT_TRUE(watch.SeesOut("session.isla/long-name\n"));
  watch.io().Interrupt();
  watch.Join();
  EXPECT_EQ(watch.io().out(), "session.isla/long-name\n");
}

TEST_F(GetTest, VerbosityShowsTheCalls) {
  EXPECT_THAT(
      Isla({"get", "se", "-v=6"}).err,
      HasSubstr("GET unix:" + api_.socket() + "/apis/isla/v1/namespaces/default/sessions 200 in"));
  EXPECT_THAT(Isla({"get", "se", "-v", "9"}).err, HasSubstr("Response Body: {\"kind\":\"Table\""));
}

TEST_F(GetTest, DescribeShowsObjectsOneAfterTheOther) {
  const Result result = Isla({"describe", "sessions"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(
      result.out,
      StartsWith(
          "Name:               a\nNamespace:          default\nLabels:             team=blue\n"));
  EXPECT_THAT(result.out, HasSubstr("\n\n\nName:               long-name\n"));
  EXPECT_EQ(Isla({"describe", "se", "nope"}).err,
            "Error from server (NotFound): sessions \"nope\" not found\n");
  EXPECT_EQ(Isla({"describe", "se", "-n", "empty"}).err,
            "No resources found in empty namespace.\n");
}

}  // namespace
}  // namespace isla::testing
