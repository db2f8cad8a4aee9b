// isla-box learn: what is learnt of real programs lets them run again, and nothing else.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "sandbox/landlock/landlock.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

class BoxLearn : public ::testing::Test {
 protected:
  std::string learnt() const { return folder_.path() + "/learnt.json"; }

  BoxResult Learn(std::vector<std::string> command, std::vector<std::string> flags = {}) {
    std::vector<std::string> words = {"learn", "-o", learnt()};
    words.insert(words.end(), flags.begin(), flags.end());
    words.emplace_back("--");
    words.insert(words.end(), command.begin(), command.end());
    return folder_.Run(words, {.folder = folder_.path()});
  }
  BoxResult Run(std::vector<std::string> command) {
    command.insert(command.begin(), {"run", "--policy=" + learnt(), "--"});
    return folder_.Run(command, {.folder = folder_.path()});
  }
  /// Learns, and runs the same again.
  void ExpectRunsAgain(const std::vector<std::string>& command) {
    const BoxResult first = Learn(command);
    ASSERT_EQ(first.exit, 0) << first.err;
    const BoxResult again = Run(command);
    EXPECT_EQ(again.exit, 0) << again.err << *ReadFile(learnt());
    EXPECT_EQ(again.out, first.out);
  }
  bool Has(const char* program) { return std::system((std::string("command -v ") + program + " >/dev/null 2>&1").c_str()) == 0; }

  BoxFolder folder_;
};

TEST_F(BoxLearn, AShellRunsAgainAndOthersDont) {
  folder_.Write("input", "text\n");
  ExpectRunsAgain({"sh", "-c", "cat input > output; ls bin"});
  EXPECT_EQ(*ReadFile(folder_.path() + "/output"), "text\n");
  // Other calls, and other files.
  EXPECT_NE(Run({"sh", "-c", "mkdir made"}).exit, 0);
  EXPECT_NE(access((folder_.path() + "/made").c_str(), F_OK), 0);
  if (landlock::Abi() > 0) {
    EXPECT_NE(Run({"sh", "-c", "cat /etc/passwd"}).exit, 0);
  }
}

TEST_F(BoxLearn, ThePolicyGoesToStandardOutputAfterTheCommandsOwn) {
  const BoxResult result = folder_.Run({"learn", "--name=mine", "--", "echo", "hello"});
  ASSERT_EQ(result.out.substr(0, 6), "hello\n") << result.err;
  const StatusOr<json::Value> policy = json::Parse(result.out.substr(6));
  ASSERT_TRUE(policy.ok()) << result.out;
  EXPECT_EQ(policy->StringAt({"metadata", "name"}), "mine");
}

TEST_F(BoxLearn, TheExitStatusIsTheCommands) {
  EXPECT_EQ(Learn({"sh", "-c", "exit 9"}).exit, 9);
  EXPECT_EQ(access(learnt().c_str(), F_OK), 0);
  EXPECT_EQ(Learn({"no-such-program"}).exit, 127);
}

TEST_F(BoxLearn, MergingAddsWhatAnotherRunDoes) {
  folder_.Write("a", "a\n");
  ASSERT_EQ(Learn({"sh", "-c", "cat a"}).exit, 0);
  EXPECT_NE(Run({"sh", "-c", "mkdir made && rmdir made"}).exit, 0);
  ASSERT_EQ(Learn({"sh", "-c", "mkdir made && rmdir made"}, {"--merge=" + learnt()}).exit, 0);
  EXPECT_EQ(Run({"sh", "-c", "mkdir made && rmdir made"}).exit, 0) << *ReadFile(learnt());
  EXPECT_EQ(Run({"sh", "-c", "cat a"}).out, "a\n");
}

TEST_F(BoxLearn, SocketFamiliesAreThoseThatWereUsed) {
  if (!Has("bash")) GTEST_SKIP() << "there is no bash";
  // Nobody listens there: learning doesn't care.
  Learn({"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1 || true"});
  const std::string text = *ReadFile(learnt());
  EXPECT_NE(text.find("AF_INET"), std::string::npos) << text;
  EXPECT_EQ(text.find("AF_INET6"), std::string::npos) << text;
  EXPECT_NE(text.find("127.0.0.1"), std::string::npos) << text;
  const BoxResult same = Run({"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1 || true"});
  EXPECT_NE(same.err.find("Connection refused"), std::string::npos) << same.err;
  const BoxResult other = Run({"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2 || true"});
  // By the group's programs or the supervisor; or, of another port, by Landlock before them.
  const bool refused = other.err.find("Operation not permitted") != std::string::npos || other.err.find("Permission denied") != std::string::npos;
  EXPECT_TRUE(refused) << other.err;
}

TEST_F(BoxLearn, ACompilerRunsAgain) {
  if (!Has("gcc")) GTEST_SKIP() << "there is no gcc";
  folder_.Write("hello.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n");
  ExpectRunsAgain({"gcc", "-o", "hello", "hello.c"});
  EXPECT_EQ(std::system((folder_.path() + "/hello >/dev/null").c_str()), 0);
}

TEST_F(BoxLearn, InterpretersRunAgain) {
  if (!Has("/usr/bin/python3")) GTEST_SKIP() << "there is no python3";
  ExpectRunsAgain({"/usr/bin/python3", "-c", "import json, threading; t = threading.Thread(target=print, args=('hello',)); t.start(); t.join()"});
}

TEST_F(BoxLearn, DatabasesRunAgain) {
  if (!Has("sqlite3")) GTEST_SKIP() << "there is no sqlite3";
  ExpectRunsAgain({"sqlite3", "file.db", "create table if not exists t(x); delete from t; insert into t values(7); select * from t;"});
}

TEST_F(BoxLearn, VersionControlRunsAgain) {
  if (!Has("git")) GTEST_SKIP() << "there is no git";
  ExpectRunsAgain({"sh", "-c", "git init -q repository && cd repository && echo x > f && git add f && git -c user.name=x -c user.email=x@x commit -qm x && git log --format=%s; cd ..; rm -rf repository"});
}

}  // namespace
}  // namespace isla::e2e
