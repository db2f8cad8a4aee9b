// isla-box run on a terminal: what the keyboard does to it and to its command, and how the terminal is left.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <memory>

#include "api/base/clock.h"
#include "api/base/unique_fd.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

constexpr std::chrono::seconds kLimit{20};

/// A shell on a terminal of its own, at whose keyboard a test is.
class Screen {
 public:
  /// `words` is the leader of the terminal's session.
  explicit Screen(const std::vector<std::string>& words) {
    int master = -1;
    const winsize size = {24, 80, 0, 0};
    const pid_t parent = getpid();
    pid_ = forkpty(&master, nullptr, nullptr, &size);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      setenv("PS1", "", 1);
      setenv("TERM", "dumb", 1);
      unsetenv("ENV");
      std::vector<char*> argv;
      for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(1);
    }
    master_.Reset(master);
    fcntl(master, F_SETFD, FD_CLOEXEC);
  }
  ~Screen() {
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  int master() const { return master_.get(); }
  void Type(const std::string& text) { EXPECT_EQ(write(master_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size())); }
  /// Reads until this text has come after all that was waited for before.
  bool Shows(const std::string& text) {
    const MonotonicTime until = Clock::Real().Monotonic() + kLimit;
    for (;;) {
      const size_t at = seen_.find(text, from_);
      if (at != std::string::npos) {
        from_ = at + text.size();
        return true;
      }
      if (Clock::Real().Monotonic() > until) return false;
      pollfd input = {master_.get(), POLLIN, 0};
      if (poll(&input, 1, 100) <= 0) continue;
      char bytes[4096];
      const ssize_t got = read(master_.get(), bytes, sizeof bytes);
      if (got <= 0) return false;
      seen_.append(bytes, static_cast<size_t>(got));
    }
  }
  const std::string& seen() const { return seen_; }
  termios Settings() const {
    termios out{};
    tcgetattr(master_.get(), &out);
    return out;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd master_;
  std::string seen_;
  size_t from_ = 0;
};

class BoxTerminal : public ::testing::Test {
 protected:
  /// An interactive shell with job control: bash, without anybody's settings.
  std::unique_ptr<Screen> Shell() const {
    auto out = std::make_unique<Screen>(std::vector<std::string>{"/bin/bash", "--norc", "--noprofile", "--noediting", "-i"});
    out->Type("PS1=; stty -echo; echo be''gun\n");
    EXPECT_TRUE(out->Shows("begun")) << out->seen();
    return out;
  }
  std::string Box(const std::string& words) const { return folder_.box() + " run " + words; }

  BoxFolder folder_;
};

/// With namespaces and without: the command is then isla-box's own child.
constexpr const char* kWhere[] = {"--unshare=ipc", "--share=pid", "--no-namespaces"};

TEST_F(BoxTerminal, InterruptReachesTheCommandOnce) {
  for (const char* where : kWhere) {
    const auto shell = Shell();
    shell->Type(Box(std::string(where) + " -- sh -c 'trap \"echo caught\" INT; echo re''ady; while ! read line; do :; done; echo done'; echo status $?\n"));
    ASSERT_TRUE(shell->Shows("ready")) << where << shell->seen();
    shell->Type("\x03");
    EXPECT_TRUE(shell->Shows("caught")) << where << shell->seen();
    shell->Type("\n");
    EXPECT_TRUE(shell->Shows("status 0")) << where << shell->seen();
    EXPECT_EQ(shell->seen().find("caught", shell->seen().find("caught") + 1), std::string::npos) << "once: " << shell->seen();
    // And one that catches nothing dies of it.
    shell->Type(Box(std::string(where) + " -- sh -c 'echo then; exec sleep 100'; echo status $?\n"));
    ASSERT_TRUE(shell->Shows("then")) << where << shell->seen();
    shell->Type("\x03");
    EXPECT_TRUE(shell->Shows("status 130")) << where << shell->seen();
  }
}

TEST_F(BoxTerminal, StopsAndGoesOnAsAJobOfTheShell) {
  for (const char* where : kWhere) {
    const auto shell = Shell();
    shell->Type(Box(std::string(where) + " -- sh -c 'echo re''ady; read line; echo had $line'\n"));
    ASSERT_TRUE(shell->Shows("ready")) << where << shell->seen();
    shell->Type("\x1a");
    ASSERT_TRUE(shell->Shows("Stopped")) << where << shell->seen();
    shell->Type("echo in be''tween\n");
    ASSERT_TRUE(shell->Shows("in between")) << where << shell->seen();
    shell->Type("fg\n");
    ASSERT_TRUE(shell->Shows("sh -c")) << where << shell->seen();
    shell->Type("it\n");
    EXPECT_TRUE(shell->Shows("had it")) << where << shell->seen();
    shell->Type("echo then $?\n");
    EXPECT_TRUE(shell->Shows("then 0")) << where << shell->seen();
  }
}

TEST_F(BoxTerminal, AJobInTheBackgroundStopsWhenItReads) {
  for (const char* where : kWhere) {
    const auto shell = Shell();
    shell->Type(Box(std::string(where) + " -- sh -c 'read line; echo had $line' & wait $!; echo stat''us $?\n"));
    ASSERT_TRUE(shell->Shows("status 149")) << where << shell->seen();  // 128 and SIGTTIN
    shell->Type("fg\n");
    ASSERT_TRUE(shell->Shows("sh -c")) << where << shell->seen();
    shell->Type("it\n");
    EXPECT_TRUE(shell->Shows("had it")) << where << shell->seen();
  }
}

TEST_F(BoxTerminal, ACommandThatIgnoresStopSignalsIsntLeftBehind) {
  const auto shell = Shell();
  shell->Type(Box("-- sh -c 'trap \"\" TSTP; echo re''ady; read line; echo had $line'; echo status $?\n"));
  ASSERT_TRUE(shell->Shows("ready")) << shell->seen();
  shell->Type("\x1a");
  shell->Type("it\n");
  EXPECT_TRUE(shell->Shows("had it")) << "isla-box is still in front: " << shell->seen();
  EXPECT_TRUE(shell->Shows("status 0")) << shell->seen();
}

TEST_F(BoxTerminal, AShellInsideHasJobControlAndCanSuspendItself) {
  const auto shell = Shell();
  shell->Type(Box("-- bash --norc --noprofile --noediting -i\n"));
  shell->Type("PS1=; echo inn''er $$\n");
  ASSERT_TRUE(shell->Shows("inner 2")) << shell->seen();
  // A job of the inner shell.
  shell->Type("sh -c 'echo jo\"\"b; exec sleep 100'\n");
  ASSERT_TRUE(shell->Shows("job")) << shell->seen();
  shell->Type("\x1a");
  ASSERT_TRUE(shell->Shows("Stopped")) << shell->seen();
  shell->Type("kill -9 %1; while kill -0 %1 2>/dev/null; do sleep 0.01; done; suspend -f\n");
  // The outer shell has the terminal.
  ASSERT_TRUE(shell->Shows("Stopped")) << shell->seen();
  shell->Type("echo out''er $(( $$ > 2 ))\n");
  ASSERT_TRUE(shell->Shows("outer 1")) << shell->seen();
  shell->Type("fg\n");
  shell->Type("echo inn''er again $$; exit 7\n");
  ASSERT_TRUE(shell->Shows("inner again 2")) << shell->seen();
  shell->Type("echo status $?\n");
  EXPECT_TRUE(shell->Shows("status 7")) << shell->seen();
}

TEST_F(BoxTerminal, WithoutJobControlAboveTheTerminalIsGivenBackToo) {
  // A script is no shell that takes the terminal back, and its command's group is gone.
  const std::string script = folder_.Write("script", Box("-- bash --norc --noprofile --noediting -i") + "\nread line; echo the script had $line\n");
  Screen screen({"/bin/sh", script});
  screen.Type("PS1=; echo inn''er\n");
  ASSERT_TRUE(screen.Shows("inner\r\n")) << screen.seen();
  screen.Type("exit\n");
  ASSERT_TRUE(screen.Shows("exit")) << screen.seen();
  screen.Type("it\n");
  EXPECT_TRUE(screen.Shows("the script had it")) << screen.seen();
}

TEST_F(BoxTerminal, SettingsAreRestoredAfterADeathBySignalOnly) {
  for (const char* where : kWhere) {
    const std::string script = folder_.Write("script", Box(std::string(where) + " -- sh -c 'stty raw -echo; echo re''ady; kill -KILL $$'") + "\necho killed $?; read line; " +
                                                           Box(std::string(where) + " -- stty -echo") + "\necho chan''ged; read line\n");
    Screen screen({"/bin/sh", script});
    const termios before = screen.Settings();
    ASSERT_TRUE(screen.Shows("killed 137")) << where << screen.seen();
    const termios after = screen.Settings();
    EXPECT_EQ(after.c_lflag, before.c_lflag) << where;
    EXPECT_EQ(after.c_iflag, before.c_iflag) << where;
    EXPECT_EQ(after.c_oflag, before.c_oflag) << where;
    screen.Type("\n");
    ASSERT_TRUE(screen.Shows("changed")) << where << screen.seen();
    EXPECT_EQ(screen.Settings().c_lflag & ECHO, 0u) << "what a command does on purpose stays";
  }
}

TEST_F(BoxTerminal, TheCommandIsToldOfTheWindowsSize) {
  for (const char* more : {"--unshare=ipc", "--no-namespaces", "--new-session"}) {
    const auto shell = Shell();
    shell->Type(Box(std::string(more) + " -- bash --norc -c 'trap \"stty size <&0\" WINCH; stty size; while ! read -t 0.1 line; do :; done'\n"));
    ASSERT_TRUE(shell->Shows("24 80")) << more << shell->seen();
    const winsize size = {50, 132, 0, 0};
    ASSERT_EQ(ioctl(shell->master(), TIOCSWINSZ, &size), 0);
    EXPECT_TRUE(shell->Shows("50 132")) << more << shell->seen();
    shell->Type("\n");
  }
}

TEST_F(BoxTerminal, InANewSessionTheKeyboardsInterruptIsPassedOn) {
  const auto shell = Shell();
  shell->Type(Box("--new-session -- sh -c 'trap \"echo caught; exit 3\" INT; echo re''ady; while :; do sleep 0.05; done'; echo status $?\n"));
  ASSERT_TRUE(shell->Shows("ready")) << shell->seen();
  shell->Type("\x03");
  EXPECT_TRUE(shell->Shows("caught")) << shell->seen();
  EXPECT_TRUE(shell->Shows("status 3")) << shell->seen();
  // And it has no terminal of its own.
  shell->Type(Box("--new-session -- sh -c 'true </dev/tty'; echo status $?\n"));
  EXPECT_TRUE(shell->Shows("status 2")) << shell->seen();
}

TEST_F(BoxTerminal, NothingCanBeTypedIntoTheTerminal) {
  const std::string program = folder_.Write("type.py", R"(import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
for request in (0x5412, 0x541c, 0x100005412, 0xffffffff00005412):
    # By the raw call: the kernel looks at 32 bits of the request.
    got = libc.syscall(ctypes.c_long(16), ctypes.c_long(0), ctypes.c_ulong(request), ctypes.c_char_p(b'\x03'))
    print(got, errno.errorcode[ctypes.get_errno()])
)");
  for (const char* where : kWhere) {
    const auto shell = Shell();
    shell->Type(Box(std::string(where) + " -- /usr/bin/python3 " + program + "; echo status $?\n"));
    ASSERT_TRUE(shell->Shows("status 0")) << where << shell->seen();
    size_t refused = 0;
    for (size_t at = 0; (at = shell->seen().find("-1 EPERM", at)) != std::string::npos; ++at) ++refused;
    EXPECT_EQ(refused, 4u) << where << shell->seen();
  }
}

TEST_F(BoxTerminal, ACallIsAnsweredWhileTheJobIsStoppedAndAfter) {
  const std::string policy = folder_.Policy(R"("base":{"groups":["@container"]},"rules":[{"syscalls":["openat"],"action":"perform"}])");
  const auto shell = Shell();
  shell->Type(Box("--policy=" + policy + " -- sh -c 'echo re''ady; read line; cat /etc/hostname >/dev/null && echo had $line'\n"));
  ASSERT_TRUE(shell->Shows("ready")) << shell->seen();
  shell->Type("\x1a");
  ASSERT_TRUE(shell->Shows("Stopped")) << shell->seen();
  shell->Type("fg\n");
  ASSERT_TRUE(shell->Shows("sh -c")) << shell->seen();
  shell->Type("it\n");
  EXPECT_TRUE(shell->Shows("had it")) << shell->seen();
}

}  // namespace
}  // namespace isla::e2e
