#include "tests/unit/cli/cli_fixture.h"

namespace isla::testing {
namespace {

using ::testing::HasSubstr;

class CompletionTest : public CliTest {
 protected:
  void SetUp() override {
    api_.Put("default", "alpha", nullptr);
    api_.Put("default", "beta", nullptr);
    api_.Put("demo", "gamma", nullptr);
  }
  /// What is offered for these words, the last of which is being typed.
  std::string Offer(std::vector<std::string> words) {
    TestIo io;
    std::vector<std::string> args{"__complete", "--socket=" + api_.socket()};
    args.insert(args.end(), words.begin(), words.end());
    EXPECT_EQ(cli::Main(args, io), 0);
    EXPECT_EQ(io.err(), "");
    return io.out();
  }
};

TEST_F(CompletionTest, CommandsTypesNamesAndFlags) {
  EXPECT_EQ(Offer({"de"}), "describe\ndelete\n");
  EXPECT_EQ(Offer({"get", "s"}), "sessions\n");
  EXPECT_EQ(Offer({"get", "sessions", ""}), "alpha\nbeta\n");
  EXPECT_EQ(Offer({"get", "se", "b"}), "beta\n");
  EXPECT_EQ(Offer({"get", "se/"}), "se/alpha\nse/beta\n");
  EXPECT_EQ(Offer({"get", "-n", "demo", "se", ""}), "gamma\n");
  EXPECT_EQ(Offer({"logs", "-f", ""}), "alpha\nbeta\n");
  EXPECT_EQ(Offer({"get", "--watch-"}), "--watch-only\n");
  EXPECT_EQ(Offer({"get", "-n", ""}), "default\ndemo\n");
  EXPECT_EQ(Offer({"get", "se", "-o", "j"}), "json\n");
  EXPECT_EQ(Offer({"wait", "session/alpha", "--for", "d"}), "delete\n");
  EXPECT_EQ(Offer({"apply", "-f", ""}), ":files\n");
  EXPECT_EQ(Offer({"completion", ""}), "bash\n");
  EXPECT_EQ(Offer({"nonsense", ""}), "");
}

TEST_F(CompletionTest, ServerThatIsGoneOffersNothingAndSaysNothing) {
  api_.server().Stop();
  EXPECT_EQ(Offer({"get", ""}), "");
  EXPECT_EQ(Offer({"get", "se", ""}), "");
}

TEST_F(CompletionTest, NamesThatAShellWouldExpandAreLeftOut) {
  api_.Intercept("GET /apis/isla/v1/namespaces/default/sessions", [](const FakeRequest&) {
    return FakeReply{
        .body =
            R"json({"items":[{"metadata":{"name":"$(reboot)"}},{"metadata":{"name":"`id`"}},{"metadata":{"name":"good"}},{"metadata":{"name":"a\nb"}}]})json"};
  });
  EXPECT_EQ(Offer({"get", "se", ""}), "good\n");
}

TEST_F(CompletionTest, ScriptIsPrinted) {
  TestIo io;
  EXPECT_EQ(cli::Main({"completion", "bash"}, io), 0);
  EXPECT_THAT(io.out(), HasSubstr("complete -F _isla isla"));
  EXPECT_EQ(cli::Main({"completion", "fish"}, io), 1);
}

}  // namespace
}  // namespace isla::testing
