// Descriptors and files, in a folder of its own; in memory where there is such a place, since a loaded disk
// takes a minute for what takes milliseconds there.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "api/base/unique_fd.h"

namespace isla {
namespace {

class Files : public testing::Test {
 protected:
  void SetUp() override {
    const char* memory = "/dev/shm/";
    std::string pattern = (access(memory, W_OK) == 0 ? memory : testing::TempDir()) + "isla-files-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { EXPECT_TRUE(RemoveTree(folder_).ok()); }

  std::string Path(std::string_view name) const { return fmt::format("{}/{}", folder_, name); }
  bool Exists(std::string_view name) const {
    struct stat st {};
    return lstat(Path(name).c_str(), &st) == 0;
  }
  void Write(std::string_view name, std::string_view bytes) const {
    ASSERT_TRUE(WriteFileAtomically(Path(name), bytes, 0644, false).ok());
  }

  std::string folder_;
};

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST_F(Files, ADescriptorIsClosedOnceByItsOwner) {
  const int raw = open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    UniqueFd first(raw);
    UniqueFd second(std::move(first));
    EXPECT_TRUE(second.valid());
    EXPECT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
  UniqueFd given(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int released = given.Release();
  EXPECT_FALSE(given.valid());
  given.Reset();
  EXPECT_TRUE(IsOpen(released));
  given.Reset(released);
  given = UniqueFd();
  EXPECT_FALSE(IsOpen(released));
}

TEST_F(Files, AWrittenFileHasItsBytesAndModeAndNoTemporaryIsLeft) {
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "old", 0600, true).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "new", 0640, true).ok());
  EXPECT_EQ(ReadFile(Path("a")).value(), "new");
  struct stat st {};
  ASSERT_EQ(stat(Path("a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  EXPECT_FALSE(Exists("a.tmp"));
}

TEST_F(Files, AWriteThatFailsLeavesTheOldFileAndNothingElse) {
  ASSERT_TRUE(MakeDirectories(Path("a"), 0755).ok());
  EXPECT_FALSE(WriteFileAtomically(Path("a"), "x", 0644, false).ok());  // a folder is in the way of the rename
  EXPECT_FALSE(Exists("a.tmp"));
  EXPECT_EQ(WriteFileAtomically(Path("missing/b"), "x", 0644, false).code(), Code::kNotFound);
}

TEST_F(Files, ATemporaryThatIsALinkIsNotFollowed) {
  Write("victim", "keep");
  ASSERT_EQ(symlink(Path("victim").c_str(), Path("a.tmp").c_str()), 0);
  EXPECT_FALSE(WriteFileAtomically(Path("a"), "x", 0644, false).ok());
  EXPECT_EQ(ReadFile(Path("victim")).value(), "keep");
}

TEST_F(Files, ReadingHasALimitAndCodes) {
  Write("a", "12345");
  EXPECT_EQ(ReadFile(Path("a"), 5).value(), "12345");
  EXPECT_EQ(ReadFile(Path("a"), 4).status().code(), Code::kResourceExhausted);
  EXPECT_EQ(ReadFile(Path("none")).status().code(), Code::kNotFound);
}

TEST_F(Files, FoldersAreMadeWithTheirParents) {
  EXPECT_TRUE(MakeDirectories(Path("x/y/z/"), 0750).ok());
  EXPECT_TRUE(MakeDirectories(Path("x/y/z"), 0750).ok());
  EXPECT_TRUE(std::filesystem::is_directory(Path("x/y/z")));
  Write("file", "");
  EXPECT_EQ(MakeDirectories(Path("file"), 0750).code(), Code::kFailedPrecondition);
  EXPECT_FALSE(MakeDirectories(Path("file/below"), 0750).ok());
  EXPECT_FALSE(MakeDirectories("", 0750).ok());
}

TEST_F(Files, ATreeIsRemovedWithoutFollowingLinks) {
  ASSERT_TRUE(MakeDirectories(Path("outside/inner"), 0755).ok());
  Write("outside/inner/keep", "x");
  ASSERT_TRUE(MakeDirectories(Path("tree/a/b/c"), 0755).ok());
  ASSERT_TRUE(MakeDirectories(Path("tree/empty"), 0755).ok());
  Write("tree/a/file", "x");
  Write("tree/a/b/file", "x");
  ASSERT_EQ(mkfifo(Path("tree/a/fifo").c_str(), 0600), 0);
  ASSERT_EQ(symlink(Path("outside").c_str(), Path("tree/a/link").c_str()), 0);
  ASSERT_EQ(symlink(Path("outside").c_str(), Path("link").c_str()), 0);
  EXPECT_TRUE(RemoveTree(Path("tree")).ok());
  EXPECT_FALSE(Exists("tree"));
  EXPECT_TRUE(RemoveTree(Path("link")).ok());
  EXPECT_FALSE(Exists("link"));
  EXPECT_EQ(ReadFile(Path("outside/inner/keep")).value(), "x");
  EXPECT_TRUE(RemoveTree(Path("tree")).ok());
}

TEST_F(Files, ATreeDeeperThanDescriptorsAndPathsIsRemoved) {
  constexpr int kDepth = 3000;  // longer than PATH_MAX, more levels than descriptors are allowed below
  UniqueFd here(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(mkdirat(here.get(), "deep", 0755), 0);
    here.Reset(openat(here.get(), "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(here.valid());
  }
  ASSERT_TRUE(UniqueFd(openat(here.get(), "leaf", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)).valid());
  here.Reset();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{32, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const Status removed = RemoveTree(Path("deep"));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(removed.ok()) << ToString(removed);
  EXPECT_FALSE(Exists("deep"));
}

TEST_F(Files, AWideTreeIsRemoved) {
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(MakeDirectories(Path(fmt::format("wide/{}", i)), 0755).ok());
    Write(fmt::format("wide/{}/file", i), "x");
  }
  EXPECT_TRUE(RemoveTree(Path("wide")).ok());
  EXPECT_FALSE(Exists("wide"));
}

}  // namespace
}  // namespace isla
