#include "api/base/spawn.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "api/base/memfd.h"
#include "api/base/read_descriptor.h"

namespace isla {
namespace {

/// What `script` writes to its standard output, which is the child's only other descriptor unless `fds` has more.
std::string Output(const std::string& script, std::vector<std::pair<int, int>> fds = {}) {
  const auto out = MakeMemfd("out");
  EXPECT_TRUE(out.ok());
  fds.insert(fds.end(), {{-1, STDIN_FILENO}, {out->get(), STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}});
  const auto pid = SpawnProcess({.program = "/bin/sh", .argv = {"sh", "-c", script}, .fds = fds});
  EXPECT_TRUE(pid.ok()) << ToString(pid.status());
  int status = -1;
  EXPECT_EQ(waitpid(pid.ok() ? *pid : -1, &status, 0), pid.ok() ? *pid : -1);
  EXPECT_EQ(status, 0);
  const auto bytes = ReadDescriptor(out->get(), 1 << 16);
  return bytes.ok() ? *bytes : ToString(bytes.status());
}

TEST(Spawn, GivesWhatIsListedWhateverTheNumbersWere) {
  const auto one = SealedMemfd("one", "1"), two = SealedMemfd("two", "2");
  ASSERT_TRUE(one.ok() && two.ok());
  // Each has the number that the other is to have.
  EXPECT_EQ(Output("cat <&" + std::to_string(one->get()) + " <&" + std::to_string(two->get()), {{one->get(), two->get()}, {two->get(), one->get()}}), "1");
}

TEST(Spawn, GivesNothingElse) {
  // Neither beyond the last nor in a gap, though they aren't close-on-exec.
  const UniqueFd high(fcntl(STDERR_FILENO, F_DUPFD, 50)), low(fcntl(STDERR_FILENO, F_DUPFD, 20));
  ASSERT_TRUE(high.valid() && low.valid());
  const std::string out = Output("for fd in $(seq 3 60); do if [ -e /proc/$$/fd/$fd ]; then echo $fd; fi; done", {{STDERR_FILENO, 30}});
  EXPECT_EQ(out, "30\n");
}

TEST(Spawn, StartsWithoutEnvironmentBlockedSignalsAndTerminal) {
  ASSERT_EQ(setenv("ISLA_SECRET", "x", 1), 0);
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, &before);
  const auto ignored = signal(SIGUSR1, SIG_IGN);
  const std::string out = Output("echo \"secret:$ISLA_SECRET\"; "
                                 "while read name value; do case $name in SigBlk:|SigIgn:) echo $name $value;; esac; done </proc/$$/status\n"
                                 "cut -d' ' -f6 /proc/$$/stat; echo $$");
  signal(SIGUSR1, ignored);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // Whoever runs the test may have had the C library's own two signals ignored, which nothing can reset.
  EXPECT_THAT(out, ::testing::MatchesRegex("secret:\nSigBlk: 0000000000000000\nSigIgn: 0000000[01][08]0000000\n.*"));
  const size_t end = out.rfind('\n', out.size() - 2), begin = out.rfind('\n', end - 1);
  EXPECT_EQ(out.substr(begin + 1, end - begin - 1), out.substr(end + 1, out.size() - end - 2)) << "it leads its session: " << out;
}

TEST(Spawn, OfWhatIsNotThereNamesIt) {
  const auto pid = SpawnProcess({.program = "/nonexistent/program", .argv = {"x"}, .fds = {}});
  EXPECT_EQ(pid.status().code(), Code::kNotFound);
  EXPECT_THAT(Message(pid.status()), ::testing::HasSubstr("start '/nonexistent/program'"));
}

}  // namespace
}  // namespace isla
