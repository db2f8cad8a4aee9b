// The language of `when`: what it means, and what is said of texts that mean nothing.
#include "sandbox/manifest/expression.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>

#include "sandbox/manifest/condition.h"
#include "sandbox/names/constants.h"
#include "sandbox/policy/signature.h"

namespace isla::sandbox {
namespace {

/// The condition, or "offset: what is wrong" of each mistake.
struct Made {
  Condition condition;
  std::string errors;
};

Made Make(std::string_view call, std::string_view text, Arch arch = Arch::kX86_64) {
  Made out;
  ExpressionError error;
  const auto expression = ParseExpression(text, error);
  if (!expression) {
    out.errors = fmt::format("{}: {}", error.offset, error.what);
    return out;
  }
  std::map<size_t, uint32_t> buckets;
  uint32_t next = 0;
  std::vector<ExpressionError> errors;
  out.condition = MakeCondition(*expression, *FindSyscall(call), arch, buckets, next, errors);
  for (const ExpressionError& each : errors) out.errors += fmt::format("{}{}: {}", out.errors.empty() ? "" : "\n", each.offset, each.what);
  return out;
}

std::string Errors(std::string_view call, std::string_view text) { return Make(call, text).errors; }

bool HoldsFor(std::string_view call, std::string_view text, std::array<uint64_t, 6> arguments, std::string_view path = "/x") {
  const Made made = Make(call, text);
  EXPECT_EQ(made.errors, "") << text;
  NotifiedCall notified;
  notified.arguments = arguments;
  notified.paths[0] = path;
  notified.known = 0xff;
  return Holds(made.condition, notified);
}

TEST(Expression, ComparesNumbersAsTheKernelSeesThem) {
  EXPECT_TRUE(HoldsFor("openat", "flags has O_CREAT", {0, 0, O_CREAT | O_RDWR}));
  EXPECT_FALSE(HoldsFor("openat", "flags has O_CREAT|O_EXCL", {0, 0, O_CREAT}));
  EXPECT_TRUE(HoldsFor("openat", "flags hasany O_CREAT|O_EXCL", {0, 0, O_CREAT}));
  EXPECT_TRUE(HoldsFor("openat", "flags & O_ACCMODE == O_RDWR", {0, 0, O_RDWR | O_CREAT}));
  EXPECT_TRUE(HoldsFor("openat", "(flags & O_ACCMODE) != O_RDONLY", {0, 0, O_RDWR}));
  EXPECT_TRUE(HoldsFor("openat", "(flags & (O_ACCMODE)) in [O_WRONLY, O_RDWR] && mode == 0644", {0, 0, O_RDWR, 0644}));
  EXPECT_TRUE(HoldsFor("openat", "(flags & O_ACCMODE == O_RDWR || flags has O_EXCL) && mode == 0", {0, 0, O_RDWR})) << "a group that begins with a mask";
  EXPECT_TRUE(HoldsFor("openat", "((flags & ~O_CREAT) == 0 && (flags & O_CREAT) in [O_CREAT])", {0, 0, O_CREAT}));
  EXPECT_TRUE(HoldsFor("openat", "dirfd == AT_FDCWD", {static_cast<uint64_t>(AT_FDCWD)}));
  EXPECT_TRUE(HoldsFor("openat", "dirfd == AT_FDCWD", {0xffffff9c}));
  EXPECT_TRUE(HoldsFor("openat", "dirfd == -100", {0xabcdffffff9c}));
  EXPECT_TRUE(HoldsFor("openat", "dirfd < 0", {0x80000000}));
  EXPECT_FALSE(HoldsFor("openat", "dirfd < 0", {0x7fffffff}));
  EXPECT_TRUE(HoldsFor("openat", "dirfd in [-2..2]", {0xffffffff}));
  EXPECT_FALSE(HoldsFor("openat", "dirfd in [-2..2]", {3}));
  EXPECT_TRUE(HoldsFor("openat", "dirfd >= -1 && dirfd <= 1", {0}));
  EXPECT_FALSE(HoldsFor("openat", "dirfd > 1", {0xfffffff0}));
  EXPECT_TRUE(HoldsFor("openat", "mode == 0644", {0, 0, 0, 0xabcd0000 | 0644})) << "umode_t has 16 bits";
  EXPECT_TRUE(HoldsFor("ioctl", "request in [TIOCSTI, TIOCLINUX, 0x5450..0x5452]", {0, 0x5451}));
  EXPECT_TRUE(HoldsFor("mmap", "prot has PROT_EXEC && length > 1M", {0, 2 << 20, PROT_EXEC | PROT_READ}));
  EXPECT_TRUE(HoldsFor("lseek", "offset < 0", {0, ~uint64_t{0}}));
  EXPECT_TRUE(HoldsFor("setuid", "uid == -1", {0xffffffff}));
  EXPECT_TRUE(HoldsFor("read", "buf == 0", {0, 0}));
  EXPECT_TRUE(HoldsFor("read", "buf != 0 && count >= 4K", {0, 1, 4096}));
  EXPECT_TRUE(HoldsFor("fcntl", "cmd == F_SETFL && arg & ~O_NONBLOCK == 0", {0, F_SETFL, O_NONBLOCK}));
}

TEST(Expression, PrecedenceIsThatOfC) {
  EXPECT_TRUE(HoldsFor("close", "fd == 1 || fd == 2 && fd == 3", {1}));
  EXPECT_FALSE(HoldsFor("close", "(fd == 1 || fd == 2) && fd == 3", {1}));
  EXPECT_TRUE(HoldsFor("close", "!(fd == 1) && !false", {2}));
  EXPECT_TRUE(HoldsFor("close", "! fd == 1", {2})) << "of the test after it";
  EXPECT_TRUE(HoldsFor("close", "true", {0}));
}

TEST(Expression, PathsAndCallers) {
  EXPECT_TRUE(HoldsFor("openat", "path under '/etc'", {}, "/etc/shadow"));
  EXPECT_FALSE(HoldsFor("openat", "path under '/etc'", {}, "/etcetera"));
  EXPECT_TRUE(HoldsFor("openat", "pathname in [\"/a\", '/b']", {}, "/b"));
  EXPECT_TRUE(HoldsFor("openat", "path like ['/home/*/.ssh/**', '**.key']", {}, "/srv/tls/x.key"));
  EXPECT_TRUE(HoldsFor("openat", "path != '/etc/shadow'", {}, "/etc/passwd"));
  EXPECT_TRUE(HoldsFor("rename", "anypath under '/x' && oldpath == '/x'", {}, "/x"));
  EXPECT_TRUE(HoldsFor("openat", "caller.exe == '/usr/bin/x' || caller.uid in [0..99]", {}));
  EXPECT_EQ(Make("connect", "addr.ip in ['10.0.0.0/8', '::1'] && addr.port == 443").condition.facts(), kFactAddress);
  EXPECT_EQ(Make("connect", "address.family == AF_UNIX && addr.path == '@bus'").errors, "");
  EXPECT_EQ(Make("openat2", "how.flags has O_CREAT && how.resolve hasany RESOLVE_IN_ROOT").condition.facts(), kFactFields);
  const Made abstract = Make("connect", "addr.path == '@bus'");
  EXPECT_EQ(std::get<TextTest>(abstract.condition.test()).pattern, std::string("\0bus", 4));
}

TEST(Expression, RatesHaveABucketEach) {
  ExpressionError error;
  const auto expression = ParseExpression("rate > 10/s || rate <= 5/m", error);
  ASSERT_TRUE(expression);
  std::map<size_t, uint32_t> buckets;
  uint32_t next = 7;
  std::vector<ExpressionError> errors;
  const Condition first = MakeCondition(*expression, *FindSyscall("open"), kNativeArch, buckets, next, errors);
  EXPECT_EQ(next, 9u);
  EXPECT_EQ(MakeCondition(*expression, *FindSyscall("openat"), kNativeArch, buckets, next, errors), first) << "calls of a rule count together";
  EXPECT_EQ(next, 9u);
  const auto& rate = std::get<RateTest>(first.parts()[1].parts()[0].test());
  EXPECT_EQ(rate.limit, 5u);
  EXPECT_EQ(rate.window_seconds, 60u);
  EXPECT_EQ(rate.bucket, 8u);
}

struct Mistake {
  const char* call;
  const char* text;
  const char* error;
};

TEST(Expression, MistakesAreToldWithPlaceAndExpectation) {
  const Mistake kMistakes[] = {
      {"openat", "", "0: the expression ends here (expected a test, '!' or '(')"},
      {"openat", "flags", "5: the expression ends here (expected one of == != < <= > >= in has hasany under like)"},
      {"openat", "flags = 1", "6: unexpected '=' (expected '==')"},
      {"openat", "flags == 1 flags", "11: unexpected 'flags' (expected '&&', '||' or the end)"},
      {"openat", "flags & O_CREAT", "15: a mask needs a comparison after it: 'flags has X' is true if all bits of X are set, 'flags hasany X' if one of them is"},
      {"openat", "flgs == 0", "0: openat has no argument 'flgs' (it has dirfd, pathname, flags, mode); did you mean 'flags'?"},
      {"getpid", "pid == 0", "0: getpid has no argument 'pid' (it has none)"},
      {"openat", "flags has O_CRAET", "10: unknown name 'O_CRAET'; did you mean 'O_CREAT'?"},
      {"openat", "flags has MAP_PRIVATE", "10: 'MAP_PRIVATE' is no value of 'flags' of openat (expected O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE, O_CREAT, ...)"},
      {"openat", "flags has 0", "10: no bit is set in 0: compare by '==' ('flags & MASK == 0')"},
      {"openat", "flags & 3 == 4", "13: 0x4 has bits that the mask 0x3 hasn't: they are never the same"},
      {"openat", "mode == 0200000", "8: 65536 does not fit 'mode', which has 16 bits"},
      {"openat", "flags == 0x1ffffffff", "9: 8589934591 does not fit 'flags', which has 32 bits"},
      {"openat", "flags == 99999999999999999999", "9: '99999999999999999999' does not fit 64 bits"},
      {"openat", "mode == 089", "8: '089' is not a number"},
      {"openat", "flags == 0x", "9: '0x' is not a number"},
      {"openat", "flags == 'x'", "9: 'flags' is a number (expected a number or the name of one)"},
      {"openat", "flags under '/x'", "0: 'flags' is a number: 'under' and 'like' are for paths"},
      {"openat", "path == 5", "8: 'path' is a text (expected a string such as '/etc')"},
      {"openat", "path < '/x'", "0: 'path' is a text (expected one of == != in under like)"},
      {"openat", "path == 'etc'", "8: 'etc' is not an absolute path"},
      {"openat", "path under '/etc/'", "11: '/etc/' ends in '/'"},
      {"openat", "path == '/a//b'", "8: '/a//b' has an empty part, '.' or '..'"},
      {"openat", "path == '/a/../b'", "8: '/a/../b' has an empty part, '.' or '..'"},
      {"openat", "path like 'etc/*'", "10: a pattern of paths begins with '/' or '*'"},
      {"openat", "path == '/etc", "8: the string that begins here has no end (expected ')"},
      {"rename", "path == '/x'", "0: rename has two paths (it has oldpath, newpath): name one of them, or write 'anypath'"},
      {"setxattr", "path == '/x'", "0: rules can't look at the paths of setxattr (only at those of the group @file-path)"},
      {"sendto", "dest_addr.port == 1", "0: rules can't look at the socket address of sendto (only at those of bind and connect): write rules of spec.net"},
      {"connect", "addr == 0", "0: 'addr' points to memory: look at a part of it ('addr.family', 'addr.port', 'addr.ip', 'addr.path')"},
      {"connect", "addr.prot == 1", "0: 'addr' has no part 'prot' (expected 'addr.family', 'addr.port', 'addr.ip', 'addr.path'); did you mean 'port'?"},
      {"connect", "addr.ip in '10.0.0.1/8'", "11: expected a string with an address or network, such as '10.0.0.0/8' or '::1' (no bits after the prefix)"},
      {"connect", "addr.ip < '10.0.0.1'", "0: 'addr.ip' is an address (expected one of == != in)"},
      {"openat", "dirfd.x == 1", "0: 'dirfd' of openat has no parts"},
      {"read", "buf == 5", "0: 'buf' of read is a pointer: rules can't look behind it, and compare it by '== 0' or '!= 0' only"},
      {"read", "rate > 5", "8: the expression ends here (expected '/s', '/m' or '/h')"},
      {"read", "rate == 5/s", "0: a rate is compared by '>' or '<='"},
      {"read", "rate > 0/s", "7: a rate is from 1 to 1000000000"},
      {"read", "count in [5..1]", "10: the range ends before it begins"},
      {"read", "count == [1, 2]", "9: a list follows 'in', 'under' or 'like' only"},
      {"read", "(count == 1", "11: the expression ends here (expected ')')"},
      {"read", "count == 1)", "10: unexpected ')' (expected '&&', '||' or the end)"},
      {"read", "count @ 1", "6: unexpected '@'"},
      {"read", "count == \xc3\xa9", "9: unexpected byte 0xc3"},
      {"read", "fd == ~(1|2)", "7: '~' stands before a number or a name only"},
  };
  for (const Mistake& each : kMistakes) EXPECT_EQ(Errors(each.call, each.text), each.error) << each.text;
}

TEST(Expression, AllMistakesOfAnExpressionAreTold) {
  EXPECT_EQ(Errors("openat", "flgs == 0 || flags has O_CRAET && path == 'x'"),
            "0: openat has no argument 'flgs' (it has dirfd, pathname, flags, mode); did you mean 'flags'?\n"
            "23: unknown name 'O_CRAET'; did you mean 'O_CREAT'?\n"
            "42: 'x' is not an absolute path");
}

TEST(Expression, DepthAndSizeAreBounded) {
  const std::string deep(40, '(');
  EXPECT_THAT(Errors("read", deep + "true" + std::string(40, ')')), testing::HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(Errors("read", std::string(100, '!') + "true"), testing::HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(Errors("read", std::string(kMaxExpressionBytes + 1, ' ')), testing::HasSubstr("too long"));
  std::string many = "path in ['/0'";
  for (int i = 1; i <= 1100; ++i) many += fmt::format(",'/{}'", i);
  EXPECT_THAT(Errors("openat", many + "]"), testing::HasSubstr("more than 1024 tests"));
}

TEST(Signature, EveryCallsArgumentsHaveKnownTypes) {
  for (const Syscall& call : AllSyscalls()) {
    const auto signature = SignatureOf(call);
    EXPECT_LE(signature.size(), 6u) << call.name;
    for (const Argument& argument : signature) {
      EXPECT_NE(argument.type, nullptr) << call.name << " " << argument.name;
      EXPECT_FALSE(argument.name.empty()) << call.name;
      if (argument.type != nullptr && !argument.type->domain.empty()) {
        EXPECT_FALSE(ConstantsOf(kNativeArch, argument.type->domain).empty()) << argument.type->domain;
      }
    }
  }
}

TEST(Constants, AreThoseOfTheHeaders) {
  const auto value = [](std::string_view name) {
    const auto found = FindConstants(kNativeArch, name);
    EXPECT_FALSE(found.empty()) << name;
    return found.empty() ? 0 : found[0].value;
  };
  EXPECT_EQ(value("O_DIRECTORY"), uint64_t{O_DIRECTORY});
  EXPECT_EQ(value("O_NOFOLLOW"), uint64_t{O_NOFOLLOW});
  EXPECT_EQ(value("O_TMPFILE"), uint64_t{O_TMPFILE});
  EXPECT_EQ(value("O_DIRECT"), uint64_t{O_DIRECT});
  EXPECT_EQ(value("AF_VSOCK"), uint64_t{AF_VSOCK});
  EXPECT_EQ(value("PROT_EXEC"), uint64_t{PROT_EXEC});
  EXPECT_EQ(value("MAP_FIXED_NOREPLACE"), uint64_t{MAP_FIXED_NOREPLACE});
  EXPECT_EQ(value("SIGKILL"), uint64_t{SIGKILL});
  EXPECT_EQ(value("PR_SET_NO_NEW_PRIVS"), uint64_t{PR_SET_NO_NEW_PRIVS});
  EXPECT_EQ(value("S_ISUID"), uint64_t{S_ISUID});
  EXPECT_EQ(value("RESOLVE_IN_ROOT"), uint64_t{RESOLVE_IN_ROOT});
  EXPECT_EQ(static_cast<int>(value("AT_FDCWD")), AT_FDCWD);
  EXPECT_EQ(FindConstants(Arch::kArm64, "O_DIRECTORY")[0].value, 040000u) << "another one than on x86-64";
  EXPECT_TRUE(FindConstants(Arch::kArm64, "MAP_32BIT").empty());
  EXPECT_EQ(FindConstants(kNativeArch, "CLONE_FS").size(), 2u) << "of clone and of unshare";
  EXPECT_EQ(ErrnoOf("EAGAIN"), EAGAIN);
  EXPECT_EQ(ErrnoOf("EWOULDBLOCK"), EAGAIN);
  EXPECT_EQ(ErrnoName(EHWPOISON), "EHWPOISON");
  EXPECT_EQ(ErrnoName(4000), "");
  EXPECT_TRUE(IsCapability("CAP_SYS_ADMIN"));
}

}  // namespace
}  // namespace isla::sandbox
