// Opening for the caller: what was decided about is what is opened, whatever its threads, links and folders do meanwhile.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "sandbox/supervisor/perform.h"
#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

using Kind = Decision::Kind;
using testing::EndsWith;
using testing::HasSubstr;

const std::vector<int> kOpens = {SYS_open, SYS_openat, SYS_openat2, SYS_creat};

/// Refuses paths that end in "secret", performs the rest.
std::shared_ptr<FakeDecider> NoSecrets() {
  return std::make_shared<FakeDecider>(sandbox::kFactPath0, [](const NotifiedCall& call) {
    return call.paths[0].ends_with("secret") ? Fails(EACCES) : Does(Kind::kPerform);
  });
}

class PerformOpen : public testing::Test {
 protected:
  std::string Run(std::vector<std::string> arguments, std::shared_ptr<const Decider> decider = NoSecrets(), Prey::Options options = {}) {
    options.notified = kOpens;
    Prey prey(options, std::move(arguments));
    Watched supervisor(prey, std::move(decider), {.calls_per_second = 0});
    return prey.Wait();
  }
  std::string Open(const std::string& path, int flags = O_RDONLY, int mode = 0) {
    return Run({"open", "openat", path, std::to_string(flags), std::to_string(mode)});
  }
  TestFolder folder_;
};

TEST_F(PerformOpen, AllFourCallsOpenWithTheirFlags) {
  const std::string file = folder_.Write("file", "text\n");
  for (const char* how : {"open", "openat", "openat2"}) {
    EXPECT_EQ(Run({"open", how, file, std::to_string(O_RDONLY)}), "ok 'text'") << how;
    EXPECT_EQ(Run({"open", how, file, std::to_string(O_RDONLY | O_CLOEXEC)}), "ok 'text' cloexec") << how;
    EXPECT_EQ(Run({"open", how, folder_.path() + "/missing", std::to_string(O_RDONLY)}), "ENOENT") << how;
    EXPECT_EQ(Run({"open", how, folder_.path() + "/secret", std::to_string(O_RDONLY)}), "EACCES") << how;
  }
}

TEST_F(PerformOpen, AThreadThatFlipsThePathNeverGetsTheOther) {
  const std::string allowed = folder_.Write("a-publi", "P"), secret = folder_.Write("asecret", "S");
  const std::string printed = Run({"flip", allowed, secret, "1500"});
  EXPECT_EQ(printed, "secret=0 some=1 refused=1");
}

TEST_F(PerformOpen, ContinueAfterAPathWasReadIsPerformedInstead) {
  const std::string allowed = folder_.Write("a-publi", "P"), secret = folder_.Write("asecret", "S");
  const auto naive = std::make_shared<FakeDecider>(sandbox::kFactPath0, [](const NotifiedCall& call) {
    return call.paths[0].ends_with("secret") ? Fails(EACCES) : Continues();
  });
  EXPECT_EQ(Run({"flip", allowed, secret, "1500"}, naive), "secret=0 some=1 refused=1");
}

TEST_F(PerformOpen, LinksAndDotsAreDecidedByWhereTheyLead) {
  const std::string secret = folder_.Write("secret", "S");
  folder_.Write("file", "text");
  mkdir((folder_.path() + "/sub").c_str(), 0755);
  symlink("secret", (folder_.path() + "/innocent").c_str());
  symlink(secret.c_str(), (folder_.path() + "/sub/absolute").c_str());
  symlink("innocent", (folder_.path() + "/twice").c_str());
  symlink("../file", (folder_.path() + "/sub/up").c_str());
  symlink("loop", (folder_.path() + "/loop").c_str());
  for (const char* path : {"/innocent", "/sub/absolute", "/twice", "/sub/../secret", "//./secret", "/sub/../sub/absolute"}) {
    EXPECT_EQ(Open(folder_.path() + path), "EACCES") << path;
  }
  EXPECT_EQ(Open(folder_.path() + "/sub/up"), "ok 'text'");
  EXPECT_EQ(Open(folder_.path() + "/loop"), "ELOOP");
  EXPECT_EQ(Open(folder_.path() + "/innocent", O_RDONLY | O_NOFOLLOW), "ELOOP");
  EXPECT_EQ(Open(folder_.path() + "/file/x"), "ENOTDIR");
}

TEST_F(PerformOpen, LinksOfStrangersInSharedFoldersAreNotFollowed) {
  if (getuid() != 0 || ReadFile("/proc/sys/fs/protected_symlinks").value_or("0\n") != "1\n") GTEST_SKIP();
  folder_.Write("file", "text");
  const std::string shared = folder_.path() + "/shared";
  ASSERT_EQ(mkdir(shared.c_str(), 0755), 0);
  chmod(shared.c_str(), 01777);
  symlink("../file", (shared + "/trap").c_str());
  EXPECT_EQ(lchown((shared + "/trap").c_str(), 4243, 4243), 0);
  EXPECT_EQ(Open(shared + "/trap"), "EACCES");
  EXPECT_EQ(lchown((shared + "/trap").c_str(), 0, 0), 0);
  EXPECT_EQ(Open(shared + "/trap"), "ok 'text'");
}

TEST_F(PerformOpen, RelativePathsAreOfTheCallersFolder) {
  folder_.Write("file", "text");
  folder_.Write("secret", "S");
  mkdir((folder_.path() + "/sub").c_str(), 0755);
  symlink("../file", (folder_.path() + "/sub/up").c_str());
  symlink((folder_.path() + "/secret").c_str(), (folder_.path() + "/sub/absolute").c_str());
  Prey::Options options;
  options.folder = folder_.path() + "/sub";
  const auto open = [this, &options](const char* path) {
    return Run({"open", "openat", path, std::to_string(O_RDONLY)}, NoSecrets(), options);
  };
  EXPECT_EQ(open("../file"), "ok 'text'");
  EXPECT_EQ(open("up"), "ok 'text'");
  EXPECT_EQ(open("absolute"), "EACCES");
  EXPECT_EQ(open("../secret"), "EACCES");
  EXPECT_EQ(open("nothing"), "ENOENT");
}

TEST_F(PerformOpen, FoldersAndResolveFlagsOfOpenat2AreTheCallers) {
  folder_.Write("file", "text");
  folder_.Write("secret", "S");
  mkdir((folder_.path() + "/sub").c_str(), 0755);
  symlink("/file", (folder_.path() + "/rooted").c_str());
  const auto open = [this](const char* path, uint64_t resolve) {
    Prey::Options options;
    return Run({"openat", folder_.path(), path, std::to_string(resolve)}, std::make_shared<FakeDecider>(sandbox::kFactPath0 | sandbox::kFactFields, [](const NotifiedCall& call) {
      if (call.number == SYS_openat) return Does(Kind::kPerform);  // the folder itself
      return call.paths[0].ends_with("secret") ? Fails(EACCES) : Does(Kind::kPerform);
    }), options);
  };
  EXPECT_EQ(open("file", 0), "ok 'text'");
  EXPECT_EQ(open("sub/../file", RESOLVE_BENEATH), "ok 'text'");
  EXPECT_EQ(open("../x", RESOLVE_BENEATH), "EXDEV");
  EXPECT_EQ(open("rooted", RESOLVE_IN_ROOT), "ok 'text'");
  EXPECT_EQ(open("rooted", RESOLVE_NO_SYMLINKS), "ELOOP");
  EXPECT_EQ(open("../../secret", RESOLVE_IN_ROOT), "EACCES");
}

TEST_F(PerformOpen, WhatOpenat2WouldRefuseIsRefused) {
  const std::string file = folder_.Write("file", "text");
  const auto open = [this, &file](uint64_t flags, uint64_t mode) {
    return Run({"open", "openat2", file, std::to_string(flags), std::to_string(mode)},
               std::make_shared<FakeDecider>(sandbox::kFactPath0 | sandbox::kFactFields, [](const NotifiedCall&) { return Does(Kind::kPerform); }));
  };
  EXPECT_EQ(open(O_RDONLY, 0600), "EINVAL");
  EXPECT_EQ(open(O_RDWR | O_CREAT, 0200000), "EINVAL");
  EXPECT_EQ(open(uint64_t{1} << 40, 0), "EINVAL");
  EXPECT_EQ(open(O_PATH | O_RDWR, 0), "EINVAL");
  EXPECT_EQ(open(O_RDWR | O_CREAT, 0600), "ok 'text'");
}

TEST_F(PerformOpen, CreatesWithTheCallersMaskAndOwner) {
  const std::string path = folder_.path() + "/new";
  EXPECT_EQ(Open(path, O_RDWR | O_CREAT | O_EXCL, 0666), "ok ''");
  struct stat st {};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(st.st_mode & 07777, 0666 & ~mask);
  EXPECT_EQ(Open(path, O_RDWR | O_CREAT | O_EXCL, 0666), "EEXIST");
  EXPECT_EQ(Open(path, O_RDWR | O_CREAT, 0666), "ok ''");
  EXPECT_EQ(Open(folder_.path() + "/no/such", O_RDWR | O_CREAT, 0666), "ENOENT");
  EXPECT_EQ(Open(folder_.path() + "/slash/", O_RDWR | O_CREAT, 0666), "EISDIR");
  folder_.Write("full", "text");
  EXPECT_EQ(Open(folder_.path() + "/full", O_RDWR | O_TRUNC), "ok ''");
  symlink("made", (folder_.path() + "/dangling").c_str());
  EXPECT_EQ(Open(folder_.path() + "/dangling", O_RDWR | O_CREAT, 0600), "ok ''");
  EXPECT_EQ(access((folder_.path() + "/made").c_str(), F_OK), 0);
}

TEST_F(PerformOpen, HasTheCallersRightsAndNoMore) {
  if (getuid() != 0) GTEST_SKIP();
  const std::string file = folder_.Write("rootonly", "S", 0600), open_file = folder_.Write("open", "text", 0644);
  Prey::Options options;
  options.uid = 4242;
  const auto open = [this, &options](const std::string& path, int flags) {
    return Run({"open", "openat", path, std::to_string(flags), "438"}, NoSecrets(), options);
  };
  EXPECT_EQ(open(file, O_RDONLY), "EACCES");
  EXPECT_EQ(open(open_file, O_RDONLY), "ok 'text'");
  EXPECT_EQ(open(open_file, O_RDWR), "EACCES");
  EXPECT_EQ(open(folder_.path() + "/new", O_RDWR | O_CREAT), "EACCES");
  chmod(folder_.path().c_str(), 0777);
  EXPECT_EQ(open(folder_.path() + "/new", O_RDWR | O_CREAT), "ok ''");
  struct stat st {};
  ASSERT_EQ(stat((folder_.path() + "/new").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 4242u);
  // And gave them back.
  EXPECT_EQ(Run({"open", "openat", file, "0"}), "ok 'S'");
}

TEST_F(PerformOpen, ACallersRootIsItsWorld) {
  if (getuid() != 0) GTEST_SKIP();
  const std::string prey = folder_.path() + "/prey";
  ASSERT_EQ(std::system(fmt::format("cp {} {}", PreyPath(), prey).c_str()), 0);
  folder_.Write("file", "inside");
  symlink("/../../../file", (folder_.path() + "/up").c_str());
  symlink("/file", (folder_.path() + "/absolute").c_str());
  Prey::Options options;
  options.root = folder_.path();
  options.program = "/prey";
  std::mutex mutex;  // the runs' order goes through the kernel: no sanitizer sees it
  std::string seen, program;
  const auto decider = std::make_shared<FakeDecider>(sandbox::kFactPath0 | sandbox::kFactExecutable, [&mutex, &seen, &program](const NotifiedCall& call) {
    const std::lock_guard lock(mutex);
    seen = call.paths[0];
    program = call.executable;
    return Does(Kind::kPerform);
  });
  for (const char* path : {"/file", "/up", "/absolute", "../../file", "/../file"}) {
    EXPECT_EQ(Run({"open", "openat", path, "0"}, decider, options), "ok 'inside'") << path;
    const std::lock_guard lock(mutex);
    EXPECT_EQ(seen, folder_.path() + "/file") << path << ": who changes its root gives no file another name";
    EXPECT_EQ(program, prey);
  }
  EXPECT_EQ(Run({"open", "openat", "/etc/passwd", "0"}, decider, options), "ENOENT");
  // A flag that is no scope: absolute paths are of the caller's root all the same.
  const std::string no_xdev = std::to_string(RESOLVE_NO_XDEV);
  EXPECT_EQ(Run({"openat", "/", "/file", no_xdev}, decider, options), "ok 'inside'");
  EXPECT_EQ(Run({"openat", "/", "file", no_xdev}, decider, options), "ok 'inside'");
  EXPECT_EQ(Run({"openat", "/", "/etc/passwd", no_xdev}, decider, options), "ENOENT") << "the node has one";
  symlink("/etc/passwd", (folder_.path() + "/node").c_str());
  EXPECT_NE(Run({"openat", "/", "node", no_xdev}, decider, options).substr(0, 2), "ok");
}

TEST_F(PerformOpen, ProcSelfIsTheCallerAndMagicLinksLeadNowhere) {
  EXPECT_THAT(Open("/proc/self/comm"), HasSubstr("supervisor_prey"));
  EXPECT_THAT(Open("/proc/thread-self/comm"), HasSubstr("supervisor_prey"));
  EXPECT_EQ(Open("/proc/self/root/etc/passwd"), "ELOOP");
  EXPECT_EQ(Open("/proc/self/cwd"), "ELOOP");
  EXPECT_EQ(Open(fmt::format("/proc/{}/fd/0", getpid())), "ELOOP") << "ours are not the caller's";
}

TEST_F(PerformOpen, StringsAreReadAsTheKernelDoes) {
  const std::string file = folder_.Write("file", "text");
  EXPECT_EQ(Run({"strings", file}),
            "end=ok across=ok unended=EFAULT hole=EFAULT null=EFAULT long=ENAMETOOLONG longest=ok empty=ENOENT");
}

TEST_F(PerformOpen, LeavesNoDescriptorsBehindOnEitherSide) {
  const std::string file = folder_.Write("file", "text");
  const auto own = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()); };
  const auto before = own();
  EXPECT_EQ(Run({"fds", file, "500"}), "0");
  EXPECT_EQ(own(), before);
}

TEST_F(PerformOpen, UnderAStormOfSignalsEachOpenHasItsOneDescriptor) {
  const std::string file = folder_.Write("file", "text");
  for (const bool wait_killable : {true, false}) {
    Prey::Options options;
    options.wait_killable = wait_killable;
    // A caller that may be interrupted while it waits has nothing left open for that.
    EXPECT_EQ(Run({"storm-opens", file, "700"}, NoSecrets(), options), "wrong=0 left=0") << wait_killable;
  }
}

TEST_F(PerformOpen, AFullTableOfTheCallerIsItsOwnError) {
  const std::string file = folder_.Write("file", "text");
  EXPECT_EQ(Run({"full-table", file}), "EMFILE ok");
}

TEST_F(PerformOpen, AFifoThatBlocksHoldsUpNobodyAndIsDeniedAtItsDeadline) {
  const std::string fifo = folder_.path() + "/fifo", file = folder_.Write("file", "text");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Prey blocked({.notified = kOpens}, {"open", "openat", fifo, "0"});
  Watched supervisor(blocked, NoSecrets(), {.deadline = std::chrono::milliseconds(300)});
  EXPECT_EQ(blocked.Wait(), "ETIMEDOUT");
  supervisor->Stop();
  EXPECT_EQ(supervisor->counters().expired, 1u);
  EXPECT_THAT(supervisor.AuditText(), HasSubstr("\"verdict\":\"deadline\""));

  Prey both({.notified = kOpens}, {"fifo-and-file", fifo, file, "100"});
  Watched other(both, NoSecrets(), {.calls_per_second = 0, .deadline = std::chrono::milliseconds(2000)});
  EXPECT_EQ(both.Wait(), "100 ETIMEDOUT");
}

TEST_F(PerformOpen, ACallerThatIsKilledFreesTheWorkerThatBlocksForIt) {
  const std::string fifo = folder_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Prey prey({.notified = kOpens}, {"open", "openat", fifo, "0"});
  Watched supervisor(prey, NoSecrets(), {.deadline = std::chrono::hours(1)});
  while (supervisor->counters().received == 0) usleep(1000);
  prey.Kill(SIGKILL);
  prey.Wait();
  supervisor->WaitForEnd();
  supervisor->Stop();  // would wait for ever
}

TEST_F(PerformOpen, StoppingInTheMiddleLeavesTheCallToASuccessor) {
  const std::string fifo = folder_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Prey prey({.notified = kOpens}, {"open", "openat", fifo, "0"});
  const UniqueFd listener = prey.DupListener();
  const bool wait_killable = prey.wait_killable();
  StatusOr<Journal> journal = Journal::Create();
  ASSERT_TRUE(journal.ok());
  UniqueFd kept(fcntl(journal->fd(), F_DUPFD_CLOEXEC, 3));
  Audit audit(UniqueFd(), {}, Clock::Real());
  {
    Supervisor first(prey.TakeListener(), *std::move(journal), NoSecrets(), audit, Clock::Real(), {});
    ASSERT_TRUE(first.Start().ok());
    while (first.workers() == 0) usleep(1000);
    usleep(20'000);  // it blocks by now; if not, the successor has as much to do
    first.Stop();
    EXPECT_EQ(first.counters().refused, 0u);
  }
  StatusOr<Journal> left = Journal::Open(std::move(kept));
  ASSERT_TRUE(left.ok());
  EXPECT_EQ(left->Left().size(), 1u);
  Supervisor second(Listener(UniqueFd(fcntl(listener.get(), F_DUPFD_CLOEXEC, 3)), wait_killable), *std::move(left), NoSecrets(), audit,
                    Clock::Real(), {});
  ASSERT_TRUE(second.Start().ok());
  const UniqueFd writer(open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(WriteAll(writer.get(), "late\n").ok());
  EXPECT_EQ(prey.Wait(), "ok 'late'");
  EXPECT_EQ(second.counters().inherited, 1u);
}

TEST_F(PerformOpen, FileContentsHaveOffsetsOfTheirOwnAndCannotBeWritten) {
  const auto decider = std::make_shared<FakeDecider>(sandbox::kFactPath0, [](const NotifiedCall& call) {
    return call.paths[0] == "/etc/granted" ? Does(Kind::kFile, "four") : Does(Kind::kPerform);
  });
  // Root may open its own descriptor for writing, but the seals hold.
  EXPECT_THAT(Run({"twice", "/etc/granted"}, decider), testing::AnyOf("fo fo write=EACCES through=EPERM map=EPERM",
                                                                      "fo fo write=EACCES through=EACCES map=EACCES"));
  EXPECT_EQ(Run({"open", "openat", "/etc/granted", std::to_string(O_CLOEXEC)}, decider), "ok 'four' cloexec");
  EXPECT_EQ(Run({"open", "openat2", "/etc/granted", std::to_string(O_DIRECTORY)}, decider), "ENOTDIR");
}

TEST_F(PerformOpen, ARedirectedPathIsOpenedInsteadOfTheCallers) {
  const std::string other = folder_.Write("other", "instead");
  const auto decider = std::make_shared<FakeDecider>(sandbox::kFactPath0, [&other](const NotifiedCall& call) {
    return call.paths[0].ends_with("asked") ? Does(Kind::kRedirect, other) : Does(Kind::kPerform);
  });
  EXPECT_EQ(Run({"open", "openat", "/nowhere/asked", "0"}, decider), "ok 'instead'");
}

TEST(LexicalPath, TakesDotsAway) {
  EXPECT_EQ(LexicalPath("/", "/a/../b//c/."), "/b/c");
  EXPECT_EQ(LexicalPath("/x/y", "../z"), "/x/z");
  EXPECT_EQ(LexicalPath("/", "../../.."), "/");
}

}  // namespace
}  // namespace isla::supervisor
