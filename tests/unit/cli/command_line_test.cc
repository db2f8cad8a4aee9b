#include "cli/options.h"
#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::optional<cli::Options> Parse(std::vector<std::string> args, std::string* error = nullptr) {
  TestIo io;
  int code = -1;
  auto options = cli::ParseCommandLine(args, io, code);
  if (error != nullptr) *error = io.err();
  EXPECT_TRUE(options.has_value() || code >= 0);
  return options;
}
std::string ErrorOf(std::vector<std::string> args) {
  std::string error;
  EXPECT_FALSE(Parse(std::move(args), &error).has_value());
  return error;
}
Result Say(std::vector<std::string> args) {
  TestIo io;
  Result result;
  result.code = cli::Main(args, io);
  result.out = io.out();
  result.err = io.err();
  return result;
}

TEST(CommandLine, FlagsMayStandAnywhereAndInAnyForm) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"get", "-n", "x", "se", "-owide", "-Aw"},
           {"get", "se", "-n=x", "-o=wide", "-A", "-w"},
           {"get", "--namespace=x", "se", "--output", "wide", "--watch", "--all-namespaces"},
           {"get", "se", "-nx", "-o", "wide", "--watch=true", "-A"}}) {
    const auto options = Parse(args);
    ASSERT_TRUE(options.has_value());
    EXPECT_EQ(options->ns, "x");
    EXPECT_EQ(options->output, "wide");
    EXPECT_TRUE(options->watch && options->all_namespaces);
    EXPECT_THAT(options->args, ::testing::ElementsAre("se"));
  }
}

TEST(CommandLine, LastOfASingleFlagCountsAndLists) {
  EXPECT_EQ(Parse({"get", "se", "-n", "a", "-n", "b"})->ns, "b");
  EXPECT_THAT(Parse({"apply", "-f", "a", "-f", "b"})->files, ::testing::ElementsAre("a", "b"));
  EXPECT_FALSE(Parse({"delete", "se", "x", "--wait=false"})->wait);
  EXPECT_TRUE(Parse({"delete", "se", "x"})->wait);
}

TEST(CommandLine, NamesOfCommandsMayBeNamesOfObjects) {
  EXPECT_THAT(Parse({"delete", "session", "get", "run"})->args,
              ::testing::ElementsAre("session", "get", "run"));
  EXPECT_THAT(Parse({"logs", "logs"})->args, ::testing::ElementsAre("logs"));
}

TEST(CommandLine, EverythingBehindTwoDashesIsTheCommand) {
  const auto options = Parse({"run", "--name=x", "--", "sh", "-c", "--", "-n", "--help"});
  ASSERT_TRUE(options.has_value());
  EXPECT_THAT(options->run.command, ::testing::ElementsAre("sh", "-c", "--", "-n", "--help"));
  EXPECT_EQ(options->ns, "");
  EXPECT_THAT(Parse({"run", "echo", "hi"})->run.command, ::testing::ElementsAre("echo", "hi"));
}

TEST(CommandLine, DurationsAndNumbers) {
  EXPECT_EQ(*Parse({"wait", "--timeout=90", "x"})->timeout, std::chrono::seconds(90));
  EXPECT_EQ(*Parse({"wait", "--timeout=-1s", "x"})->timeout, std::chrono::seconds(-1));
  EXPECT_EQ(*Parse({"wait", "--timeout", "1h30m", "x"})->timeout, std::chrono::minutes(90));
  EXPECT_EQ(Parse({"logs", "x", "--tail=-1"})->tail, -1);
  EXPECT_GT(Parse({"get", "x", "--request-timeout=0"})->request_timeout, std::chrono::hours(24));
  EXPECT_EQ(Parse({"get", "x", "-v=8"})->verbosity, 8);
  EXPECT_THAT(ErrorOf({"wait", "--timeout=abc", "x"}),
              StartsWith("error: invalid argument \"abc\" for \"--timeout\" flag"));
  EXPECT_THAT(ErrorOf({"wait", "--timeout=99999999999", "x"}),
              StartsWith("error: invalid argument"));
  EXPECT_THAT(ErrorOf({"logs", "x", "--tail=1.5"}), StartsWith("error: invalid argument"));
  EXPECT_THAT(ErrorOf({"logs", "x", "--tail=-2"}), StartsWith("error: invalid argument"));
  EXPECT_THAT(ErrorOf({"get", "x", "-v=-1"}), StartsWith("error: invalid argument"));
}

TEST(CommandLine, MistakesGetASuggestion) {
  EXPECT_EQ(ErrorOf({"gt"}),
            "error: unknown command \"gt\" for \"isla\"\n\nDid you mean this?\n\tget\n\nRun 'isla "
            "--help' for usage.\n");
  EXPECT_EQ(ErrorOf({"xyzzy"}),
            "error: unknown command \"xyzzy\" for \"isla\"\n\nRun 'isla --help' for usage.\n");
  EXPECT_EQ(ErrorOf({"get", "se", "--nmespace=x"}),
            "error: unknown flag: --nmespace\nDid you mean --namespace?\nSee 'isla get --help' for "
            "usage.\n");
  EXPECT_EQ(ErrorOf({"get", "-z"}),
            "error: unknown shorthand flag: 'z' in -z\nSee 'isla get --help' for usage.\n");
  EXPECT_EQ(ErrorOf({"get", "se", "-n"}), "error: flag needs an argument: --namespace\n");
  EXPECT_EQ(ErrorOf({"apply", "--dry-run", "-f", "x"}),
            "error: --dry-run flag without a value was specified. A value must be set: \"none\", "
            "\"server\", or \"client\".\n");
  EXPECT_EQ(ErrorOf({"apply", "--dry-run=yes", "-f", "x"}),
            "error: Invalid dry-run value (yes). Must be \"none\", \"server\", or \"client\".\n");
}

TEST(CommandLine, EveryCommandHasHelpWithExamples) {
  for (const std::string& name : cli::CommandNames()) {
    const Result help = Say({name, "--help"});
    EXPECT_EQ(help.code, 0) << name;
    EXPECT_EQ(help.err, "") << name;
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  ")) << name;
    EXPECT_THAT(help.out, HasSubstr("Usage:\n  isla " + name)) << name;
    EXPECT_EQ(Say({"help", name}).out, help.out);
    EXPECT_EQ(Say({name, "-h"}).out, help.out);
  }
  EXPECT_EQ(Say({}).out, Say({"--help"}).out);
  EXPECT_EQ(Say({"help"}).out, Say({"--help"}).out);
  EXPECT_EQ(Say({"help", "gt"}).code, 1);
}

TEST(CommandLine, HostileArgumentsAreErrorsAndNoCrash) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{""},
                                             {"-"},
                                             {"--"},
                                             {"--", "get"},
                                             {"=x"},
                                             {"-=x"},
                                             {"--=x"},
                                             {"get", ""},
                                             {"get", "--"},
                                             {"get", "-n="},
                                             {"get", std::string(100'000, 'x')},
                                             {"-n"},
                                             {"-v=", "get", "x"},
                                             {"get", "---"},
                                             {"get", "\xff\xfe"},
                                             {"help", ""},
                                             {"__complete"},
                                             {"__complete", ""},
                                             {"__complete", "get", ""}}) {
    std::vector<std::string> all = args;
    TestIo io;
    io.env["ISLA_CONFIG"] = "/dev/null";
    const int code = cli::Main(all, io);
    EXPECT_TRUE(code == 0 || code == 1) << code;
  }
}

class InfoTest : public CliTest {};

TEST_F(InfoTest, Version) {
  EXPECT_EQ(Isla({"version"}).out, "Client Version: v0.1.0\nServer Version: v1.32.0-fake\n");
  EXPECT_EQ(Isla({"version", "--client"}).out, "Client Version: v0.1.0\n");
  EXPECT_EQ(json::Parse(Isla({"version", "-o", "json"}).out)->StringAt({"serverVersion", "major"}),
            "1");
  api_.server().Stop();
  const Result alone = Isla({"version"});
  EXPECT_EQ(alone.code, 1);
  EXPECT_EQ(alone.out, "Client Version: v0.1.0\n");
  EXPECT_THAT(alone.err, StartsWith("The connection to the server "));
}

TEST_F(InfoTest, ApiResources) {
  EXPECT_EQ(Isla({"api-resources"}).out,
            "NAME       SHORTNAMES   APIVERSION   NAMESPACED   KIND\n"
            "sessions   se           isla/v1      true         Session\n"
            "nodes      no           isla/v1      false        Node\n"
            "projects                isla/v1      false        Project\n");
  EXPECT_EQ(Isla({"api-resources", "-o", "name"}).out,
            "sessions.isla\nnodes.isla\nprojects.isla\n");
}

TEST_F(InfoTest, ConfigNeverShowsSecretsUnasked) {
  const std::string file = File(
      "k",
      R"({"current-context":"isla","contexts":[{"name":"isla","context":{"cluster":"c","user":"u"}}],
    "clusters":[{"name":"c","cluster":{"server":"https://h:1","certificate-authority-data":"AAAA"}}],"users":[{"name":"u","user":{"token":"hush"}},7]})");
  EXPECT_EQ(Say({"config", "current-context", "--kubeconfig=" + file}).out, "isla\n");
  const Result view = Say({"config", "view", "--kubeconfig=" + file});
  EXPECT_THAT(view.out, HasSubstr("\"token\": \"REDACTED\""));
  EXPECT_THAT(view.out, HasSubstr("DATA+OMITTED"));
  EXPECT_THAT(view.out, ::testing::Not(HasSubstr("hush")));
  EXPECT_THAT(Say({"config", "view", "--raw", "--kubeconfig=" + file}).out, HasSubstr("hush"));
  EXPECT_THAT(Say({"config", "get-contexts", "--kubeconfig=" + file}).out,
              HasSubstr("*         isla   c"));
  EXPECT_EQ(Say({"config", "set", "--kubeconfig=" + file}).code, 1);
  EXPECT_THAT(Say({"get", "se", "--kubeconfig=" + file, "--context=nope"}).err,
              HasSubstr("context \"nope\" does not exist"));
}

}  // namespace
}  // namespace isla::testing
