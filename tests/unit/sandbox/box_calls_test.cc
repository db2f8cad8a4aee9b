// Calls as strace writes them, which people paste; and what bash completes.
#include <gtest/gtest.h>

#include "sandbox/box/call_text.h"
#include "sandbox/box/completion.h"

namespace isla::sandbox {
namespace {

CallExample Read(std::string_view text) {
  const StatusOr<CallExample> call = ParseCall(text, Arch::kX86_64);
  EXPECT_TRUE(call.ok()) << text << ": " << ToString(call.status());
  return call.ok() ? *call : CallExample();
}

std::string Wrong(std::string_view text) {
  const StatusOr<CallExample> call = ParseCall(text, Arch::kX86_64);
  return call.ok() ? "" : Message(call.status());
}

TEST(CallsAsStraceWritesThem, RemarksAndPidsArePassedOver) {
  EXPECT_EQ(Read(R"(execve("/bin/ls", ["ls", "-l"], 0x7ffd /* 20 vars */) = 0)").arguments[2], 0x7ffdu);
  EXPECT_EQ(Read("getdents64(3, 0x55 /* 10 entries */, 32768) = 280").arguments[2], 32768u);
  for (const char* text : {"[pid  4711] read(3, \"\", 9) = 0", "4711  read(3, \"\", 9) = 0", "read(3, '', 9);"}) {
    EXPECT_EQ(Read(text).number, 0) << text;
    EXPECT_EQ(Read(text).arguments[2], 9u) << text;
  }
  EXPECT_EQ(Wrong("4711"), "column 1: no system call is named '4711'");
  EXPECT_EQ(Wrong("read(3, /* no end"), "column 9: expected a number or the name of one");
}

TEST(CallsAsStraceWritesThem, ArgumentsMayBeNamed) {
  const CallExample call = Read("clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f10) = 12");
  EXPECT_EQ(call.arguments[0], 0x1200011u);
  EXPECT_EQ(call.arguments[1], 0u);
  EXPECT_EQ(call.arguments[3], 0x7f10u);
  EXPECT_EQ(Wrong("clone(flag=0)"), "column 7: clone has no argument 'flag'");
  EXPECT_EQ(Read("clone3({flags=CLONE_VM, stack=0x7f} => {parent_tid=[7]}, 88) = 7").arguments[1], 88u);
}

TEST(CallsAsStraceWritesThem, APointersTargetMayStandWhereANumberMay) {
  for (const char* text : {"ioctl(1, TCGETS, {B38400 opost isig icanon echo ...}) = 0", "fcntl(3, F_SETLK, {l_type=F_RDLCK, l_start=10}) = 0", "prctl(PR_SET_NAME, \"x\") = 0",
                           "rt_sigprocmask(SIG_BLOCK, ~[RTMIN RT_1], [], 8) = 0"}) {
    const CallExample call = Read(text);
    EXPECT_NE(call.arguments[1] | call.arguments[2], 0u) << text;
  }
  EXPECT_NE(Wrong("openat(AT_FDCWD, \"/x\", {O_RDONLY})"), "") << "flags are a number";
}

TEST(CallsAsStraceWritesThem, NumbersHaveItsNames) {
  EXPECT_EQ(Read("futex(0x7f, FUTEX_WAKE_PRIVATE, 1) = 0").arguments[1], 0x81u);
  EXPECT_EQ(Read("fcntl(3, F_SETFD, FD_CLOEXEC) = 0").arguments[2], 1u);
  EXPECT_EQ(Read("rt_sigaction(SIGRT_1, NULL, NULL, 8) = 0").arguments[0], 33u);
  EXPECT_EQ(Read("rt_sigaction(SIGRTMIN, NULL, NULL, 8) = 0").arguments[0], 32u);
  EXPECT_NE(Wrong("rt_sigaction(SIGRT_99, NULL)"), "");
  EXPECT_NE(Wrong("futex(0x7f, FUTEX_NONE_PRIVATE)"), "");
}

TEST(CallsAsStraceWritesThem, PathsMayHaveSingleQuotesAsInConditions) {
  EXPECT_EQ(Read("open('/etc/passwd', O_RDONLY)").paths[0], "/etc/passwd");
  EXPECT_NE(Wrong("open('/etc/passwd\", O_RDONLY)"), "");
}

TEST(BoxCompletion, AfterTwoDashesComesACommandAndThenFiles) {
  EXPECT_EQ(BoxComplete({"run", "--", "l"}), ":commands\n");
  EXPECT_EQ(BoxComplete({"run", "--", "ls", "f"}), ":files\n");
  EXPECT_EQ(BoxComplete({"run", "--policy", "p"}), ":files\n");
}

/// What bash makes of a command line: it splits at '='.
std::string Completed(const std::string& words) {
  const std::string script = "isla-box() { printf '%s' \"$2\"; printf ' %s' \"${@:3}\"; printf '\\n'; }\n" + std::string(BoxCompletionScript()) +
                             "COMP_WORDS=(isla-box " + words + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); compgen() { printf '%s\\n' \"$2\"; }; _isla_box; printf '%s' \"${COMPREPLY[0]}\"";
  setenv("ISLA_TEST_SCRIPT", script.c_str(), 1);
  FILE* const bash = popen("bash -c \"$ISLA_TEST_SCRIPT\"", "r");
  if (bash == nullptr) return "no bash";
  char text[4096];
  const size_t got = fread(text, 1, sizeof text, bash);
  pclose(bash);
  return std::string(text, got);
}

TEST(BoxCompletion, AFlagsValueIsCompletedAfterAnEqualSignToo) {
  EXPECT_EQ(Completed("export --notified al"), "export --notified al");
  EXPECT_EQ(Completed("export --notified = al"), "export --notified al");
  EXPECT_EQ(Completed("export --notified ="), "export --notified ");
}

}  // namespace
}  // namespace isla::sandbox
