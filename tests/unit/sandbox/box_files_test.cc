// Files that isla-box is given: what is said of those that are wrong, and how results are written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <thread>

#include "api/base/json.h"
#include "api/base/unique_fd.h"
#include "sandbox/box/box.h"
#include "sandbox/box/mistakes.h"
#include "sandbox/box/output_file.h"

namespace isla::sandbox {
namespace {

class Io : public BoxIo {
 public:
  void Out(std::string_view text) override { out += text; }
  void Err(std::string_view text) override { err += text; }
  StatusOr<std::string> Read(const std::string& path, size_t) override {
    const auto found = files.find(path);
    return found != files.end() ? StatusOr<std::string>(found->second) : FromErrno(ENOENT, "open '" + path + "'");
  }
  Status CheckWritable(const std::string& path) override { return CheckOutput(path); }
  Status Write(const std::string& path, std::string_view bytes) override { return WriteOutput(path, bytes); }

  std::map<std::string, std::string> files;
  std::string out, err;
};

TEST(BoxMistakes, ATextThatIsNoJsonHasAPlaceAsAnyOther) {
  Io io;
  io.files["p.json"] = "{\"kind\": \"SandboxPolicy\",\n  \"spec\": {,}}";
  EXPECT_EQ(BoxMain({"check", "p.json"}, io), 1);
  EXPECT_THAT(io.err, testing::StartsWith("p.json:2:12: error: ")) << io.err;
  io.err.clear();
  EXPECT_EQ(BoxMain({"check", "-o", "json", "p.json"}, io), 1);
  const StatusOr<json::Value> said = json::Parse(io.out);
  ASSERT_TRUE(said.ok()) << io.out;
  const json::Value& error = said->Find("errors")->items().at(0);
  EXPECT_EQ(error.Int64At({"line"}), 2);
  EXPECT_EQ(error.Int64At({"column"}), 12);
}

TEST(BoxMistakes, CheckWarnsOfAPolicyUnderWhichNothingCanBeRun) {
  for (const char* spec : {R"("base": {"groups": ["@container", "!execve"]})", R"("base": {"groups": ["@container"]}, "rules": [{"syscalls": ["execve"], "action": "kill"}])"}) {
    Io io;
    io.files["p.json"] = fmt::format(R"({{"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {{"name": "t"}}, "spec": {{{}}}}})", spec);
    EXPECT_EQ(BoxMain({"check", "p.json"}, io), 0) << "it may be meant for a library's caller";
    EXPECT_EQ(io.err, "p.json: warning: nothing can be run under this policy: it refuses execve, the call that starts a command\n");
  }
  Io io;
  io.files["p.json"] = R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "t"}, "spec": {"base": {"groups": ["@container"]}}})";
  EXPECT_EQ(BoxMain({"check", "p.json"}, io), 0);
  EXPECT_EQ(io.err, "");
  EXPECT_EQ(BoxMain({"check", "-o", "xml", "p.json"}, io), 2);
  EXPECT_EQ(io.err, "error: --output=xml (expected json)\n");
}

TEST(BoxMistakes, RunSaysThemAsCheckDoes) {
  const std::string text = R"({"apiVersion": "isla/v1", "kind": "SandboxPolicy", "metadata": {"name": "t"},
 "spec": {"base": {"group": ["@container"]}}})";
  Io checked, run;
  checked.files["p.json"] = run.files["p.json"] = run.files["-"] = text;
  EXPECT_EQ(BoxMain({"check", "p.json"}, checked), 1);
  EXPECT_EQ(BoxMain({"run", "--policy=p.json", "--", "true"}, run), 125);
  EXPECT_EQ(run.err, checked.err);
  EXPECT_THAT(run.err, testing::HasSubstr("p.json:2:20: error: spec.base.group: Unknown field: did you mean 'groups'?\n"));
  run.err.clear();
  EXPECT_EQ(BoxMain({"run", "--policy=-", "--", "true"}, run), 125);
  EXPECT_THAT(run.err, testing::HasSubstr("<stdin>:2:20: error: "));
}

TEST(BoxMistakes, WhatIsWrongWithAFlagNamesTheFlag) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"run", "--memory=12x", "--", "true"}, "--memory=12x (expected a size"}, {{"run", "--memory=0", "--", "true"}, "--memory=0 (expected a size"},
      {{"run", "--limit=nofile=x", "--", "true"}, "--limit=nofile=x (expected a number"}, {{"run", "--keep-fd=900", "--", "true"}, "--keep-fd=900: no such descriptor"}};
  for (const auto& [words, expected] : cases) {
    Io io;
    EXPECT_EQ(BoxMain(words, io), 125);
    EXPECT_THAT(io.err, testing::HasSubstr(expected));
  }
}

TEST(BoxMistakes, LearnLooksAtItsFlagsBeforeTheCommandRuns) {
  char folder[] = "/tmp/isla-box-files-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string mark = std::string(folder) + "/ran", out = std::string(folder) + "/out.json";
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"-o", "/no/where/p.json"}, "--output: write '/no/where/p.json'"},
      {{"-o", folder}, "Is a directory"},
      {{"-o", out, "--merge=missing"}, "--merge: open 'missing'"},
      {{"-o", out, "--merge=wrong.json"}, "wrong.json:1:1: error: "},
      {{"-o", out, "--merge=profile.json"}, "spec.base.groups: only a policy that is made of groups"},
      {{"-o", out, "--name=A B"}, "--name=A B (expected lower-case"}};
  for (const auto& [flags, expected] : cases) {
    Io io;
    io.files["wrong.json"] = "{}";
    io.files["profile.json"] = R"({"defaultAction": "SCMP_ACT_ALLOW"})";
    std::vector<std::string> words = {"learn"};
    words.insert(words.end(), flags.begin(), flags.end());
    words.insert(words.end(), {"--", "touch", mark});
    EXPECT_EQ(BoxMain(words, io), 125);
    EXPECT_THAT(io.err, testing::HasSubstr(expected));
    EXPECT_NE(access(mark.c_str(), F_OK), 0) << expected;
    EXPECT_NE(access(out.c_str(), F_OK), 0) << expected;
  }
  std::filesystem::remove_all(folder);
}

class BoxOutput : public ::testing::Test {
 protected:
  BoxOutput() { EXPECT_NE(mkdtemp(folder_), nullptr); }
  ~BoxOutput() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return std::string(folder_) + "/" + name; }
  static mode_t ModeOf(const std::string& path) {
    struct stat st {};
    return lstat(path.c_str(), &st) == 0 ? st.st_mode : 0;
  }
  size_t Files() const { return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {})); }

 private:
  char folder_[32] = "/tmp/isla-box-output-XXXXXX";
};

TEST_F(BoxOutput, AFileIsReplacedAndKeepsItsMode) {
  const mode_t own = umask(027);
  EXPECT_TRUE(WriteOutput(Path("new"), "one").ok());
  umask(own);
  EXPECT_EQ(ModeOf(Path("new")) & 07777, 0640u);
  ASSERT_EQ(chmod(Path("new").c_str(), 0604), 0);
  EXPECT_TRUE(CheckOutput(Path("new")).ok());
  EXPECT_EQ(*ReadFile(Path("new")), "one") << "a question changes nothing";
  EXPECT_TRUE(WriteOutput(Path("new"), "two").ok());
  EXPECT_EQ(*ReadFile(Path("new")), "two");
  EXPECT_EQ(ModeOf(Path("new")) & 07777, 0604u);
  EXPECT_TRUE(CheckOutput(Path("other")).ok());
  EXPECT_EQ(Files(), 1u) << "nothing is left beside it";
}

TEST_F(BoxOutput, WhatALinkLeadsToIsWritten) {
  ASSERT_TRUE(WriteOutput(Path("real"), "one").ok());
  ASSERT_EQ(symlink("real", Path("link").c_str()), 0);
  ASSERT_EQ(symlink("later", Path("loose").c_str()), 0);
  EXPECT_TRUE(WriteOutput(Path("link"), "two").ok());
  EXPECT_TRUE(CheckOutput(Path("loose")).ok());
  EXPECT_TRUE(WriteOutput(Path("loose"), "three").ok());
  EXPECT_EQ(*ReadFile(Path("real")), "two");
  EXPECT_EQ(*ReadFile(Path("later")), "three");
  EXPECT_TRUE(S_ISLNK(ModeOf(Path("link"))));
  EXPECT_TRUE(S_ISLNK(ModeOf(Path("loose"))));
}

TEST_F(BoxOutput, APipeGetsTheBytesAndStaysAPipe) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_TRUE(CheckOutput(Path("pipe")).ok());
  std::string got;
  std::jthread reader([&got, path = Path("pipe")] { got = *ReadFile(path); });
  EXPECT_TRUE(WriteOutput(Path("pipe"), "bytes").ok());
  reader.join();
  EXPECT_EQ(got, "bytes");
  EXPECT_TRUE(S_ISFIFO(ModeOf(Path("pipe"))));
  EXPECT_TRUE(WriteOutput("/dev/null", "x").ok());
  EXPECT_TRUE(S_ISCHR(ModeOf("/dev/null")));
}

TEST_F(BoxOutput, WhatCantBeWrittenIsSaidWithoutBeingTouched) {
  EXPECT_EQ(CheckOutput(Path("no/where")).code(), Code::kNotFound);
  EXPECT_EQ(WriteOutput(Path("no/where"), "x").code(), Code::kNotFound);
  EXPECT_FALSE(CheckOutput(Path("")).ok());
  EXPECT_FALSE(WriteOutput(Path(""), "x").ok());
  if (geteuid() == 0) return;  // nothing is closed to root
  ASSERT_TRUE(WriteOutput(Path("closed"), "one").ok());
  ASSERT_EQ(chmod(Path("closed").c_str(), 0400), 0);
  EXPECT_FALSE(CheckOutput(Path("closed")).ok());
  EXPECT_FALSE(WriteOutput(Path("closed"), "two").ok());
  EXPECT_EQ(*ReadFile(Path("closed")), "one");
}

}  // namespace
}  // namespace isla::sandbox
