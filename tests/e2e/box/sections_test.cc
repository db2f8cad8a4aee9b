// isla-box run: what each section of a policy does to a command, and that none is overlooked.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "api/base/unique_fd.h"
#include "sandbox/landlock/landlock.h"
#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

constexpr const char* kBase = R"("base":{"groups":["@container"]})";

class BoxSections : public ::testing::Test {
 protected:
  BoxResult RunWith(const std::string& spec, std::vector<std::string> words) {
    std::vector<std::string> all = {"run", "--policy=" + folder_.Policy(kBase + ("," + spec))};
    all.insert(all.end(), words.begin(), words.end());
    return folder_.Run(all);
  }
  void NeedLandlock() {
    if (landlock::Abi() < 1) GTEST_SKIP() << "this kernel has no Landlock";
  }

  BoxFolder folder_;
};

TEST_F(BoxSections, RulesHold) {
  const BoxResult result = RunWith(R"("rules":[{"syscalls":["mkdir","mkdirat"],"action":{"errno":"EROFS"}}])", {"--", "mkdir", folder_.path() + "/x"});
  EXPECT_NE(result.exit, 0);
  EXPECT_NE(result.err.find("Read-only file system"), std::string::npos) << result.err;
}

TEST_F(BoxSections, ThePolicyMayComeFromStandardInput) {
  const std::string text = R"({"apiVersion":"isla/v1","kind":"SandboxPolicy","metadata":{"name":"t"},"spec":{"base":{"groups":["@container"]},"rules":[{"syscalls":["getppid"],"action":{"errno":"EPERM"}}]}})";
  EXPECT_EQ(folder_.Run({"run", "--policy=-", "--", "true"}, {.input = text}).exit, 0);
  const BoxResult bad = folder_.Run({"run", "--policy=-", "--", "true"}, {.input = R"({"kind":"SandboxPolicy"})"});
  EXPECT_EQ(bad.exit, 125);
  EXPECT_NE(bad.err.find("apiVersion"), std::string::npos) << bad.err;
}

TEST_F(BoxSections, FilesAllowClosesAllElse) {
  NeedLandlock();
  folder_.Write("in", "text\n");
  const std::string spec = R"("files":{"allow":[{"path":"/usr","access":["read","execute"]},{"path":"/lib64","access":["read","execute"]},{"path":"/etc/ld.so.cache","access":["read"]},{"path":"/dev","access":["read","write"]},{"path":")" +
                           folder_.path() + R"(/in","access":["read"]}]})";
  EXPECT_EQ(RunWith(spec, {"--", "/usr/bin/cat", folder_.path() + "/in"}).out, "text\n");
  EXPECT_NE(RunWith(spec, {"--", "/usr/bin/cat", "/etc/passwd"}).err.find("Permission denied"), std::string::npos);
  EXPECT_NE(RunWith(spec, {"--", "/usr/bin/touch", folder_.path() + "/new"}).exit, 0);
  // Calls that are performed are held to the same paths: the supervisor has no Landlock.
  const std::string performed = spec + R"(,"rules":[{"syscalls":["open","openat","openat2"],"action":"perform"}])";
  EXPECT_EQ(RunWith(performed, {"--", "/usr/bin/cat", folder_.path() + "/in"}).out, "text\n");
  EXPECT_NE(RunWith(performed, {"--", "/usr/bin/cat", "/etc/passwd"}).err.find("Permission denied"), std::string::npos);
  EXPECT_NE(RunWith(performed, {"--", "/usr/bin/sh", "-c", "echo x > " + folder_.path() + "/in"}).exit, 0);
  EXPECT_EQ(*ReadFile(folder_.path() + "/in"), "text\n");
}

TEST_F(BoxSections, ExecAllowIsAListOfPrograms) {
  NeedLandlock();
  const std::string spec = R"("exec":{"allow":["/usr/bin/dash","/usr/bin/true","/lib64","/usr/lib"]})";
  EXPECT_EQ(RunWith(spec, {"--", "/bin/sh", "-c", "/usr/bin/true"}).exit, 0);
  EXPECT_EQ(RunWith(spec, {"--", "/bin/sh", "-c", "/usr/bin/id"}).exit, 126);
  const BoxResult own = RunWith(spec, {"--", "/usr/bin/id"});
  EXPECT_EQ(own.exit, 126);
  EXPECT_NE(own.err.find("spec.exec.allow"), std::string::npos) << own.err;
}

TEST_F(BoxSections, MaskAndReadOnlyAreMounts) {
  folder_.Write("secret", "secret\n");
  ASSERT_EQ(mkdir((folder_.path() + "/folder").c_str(), 0755), 0);
  folder_.Write("folder/file", "text\n");
  const std::string spec = R"("files":{"mask":[")" + folder_.path() + R"(/secret","/nowhere"],"readOnly":[")" + folder_.path() + R"(/folder"]})";
  EXPECT_EQ(RunWith(spec, {"--", "cat", folder_.path() + "/secret", folder_.path() + "/folder/file"}).out, "text\n");
  const BoxResult written = RunWith(spec, {"--", "sh", "-c", "echo x > " + folder_.path() + "/folder/file"});
  EXPECT_NE(written.err.find("Read-only"), std::string::npos) << written.err;
  // Everything.
  const BoxResult all = RunWith(R"("files":{"readOnly":["/"]})", {"--", "sh", "-c", "echo x > " + folder_.path() + "/folder/file || echo no; echo x > /dev/null && echo yes"});
  EXPECT_EQ(all.out, "no\nyes\n") << all.err;
}

TEST_F(BoxSections, TheViewIsTheGrant) {
  const std::string spec = R"("view":{"cpus":"granted","memory":"granted","hostname":"granted","files":[{"path":"/etc/hostname","content":"other\n"}]})";
  const BoxResult result = RunWith(spec, {"--cpus=0.5", "--memory=512m", "--", "sh", "-c",
                                          "nproc; getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; grep -c ^processor /proc/cpuinfo; uname -n; cat /etc/hostname; grep MemTotal /proc/meminfo | tr -s ' '; getconf _PHYS_PAGES"});
  EXPECT_EQ(result.out, "1\n1\n1\n1\ngranted\nother\nMemTotal: 524288 kB\n131072\n") << result.err;
}

TEST_F(BoxSections, WhatCantBeHonouredIsRefusedByItsField) {
  const std::pair<std::string, std::vector<std::string>> cases[] = {
      {R"("view":{"cpus":"granted"})", {"spec.view.cpus"}},
      {R"("view":{"memory":"granted"})", {"spec.view.memory"}},
      {R"("view":{"files":[{"path":"/etc/passwd","content":""}]})", {"spec.view", "--no-namespaces"}},
      {R"("view":{"files":[{"path":"/no/such/file","content":""}]})", {"spec.view.files[0].path"}},
      {R"("view":{"hostname":"x"})", {"spec.view.hostname", "--share=uts"}},
      {R"("files":{"mask":["/etc/shadow"]})", {"spec.files.mask", "--share=mount"}},
      {R"("files":{"readOnly":["/etc"]})", {"spec.files.readOnly", "--no-namespaces"}},
      {R"("net":{"default":"deny"})", {"spec.net.default", "--cgroup=no"}},
      {R"("net":{"rules":[{"to":"10.0.0.0/8","action":"deny"}]})", {"spec.net.rules[0]", "--cgroup=no"}},
  };
  for (const auto& [spec, words] : cases) {
    std::vector<std::string> flags(words.begin() + 1, words.end());
    flags.insert(flags.end(), {"--", "true"});
    const BoxResult result = RunWith(spec, flags);
    EXPECT_EQ(result.exit, 125) << spec;
    EXPECT_NE(result.err.find(words[0]), std::string::npos) << spec << ": " << result.err;
  }
}

TEST_F(BoxSections, FunctionsOfThePolicyAnswer) {
  const std::string spec = R"("rules":[{"syscalls":["openat"],"action":{"program":"decide"}}],"program":{"source":"function decide(call) if call.path == '/etc/hostname' then return 'deny' end return 'perform' end"})";
  const BoxResult result = RunWith(spec, {"--", "sh", "-c", "cat /etc/hostname; cat /dev/null && echo yes"});
  EXPECT_NE(result.err.find("Operation not permitted"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "yes\n");
  if (landlock::Abi() < 1) return;
  // What a function lets be performed is bounded by files.allow all the same.
  const std::string closed = spec + R"(,"files":{"allow":[{"path":"/usr","access":["read","execute"]},{"path":"/lib64","access":["read","execute"]},{"path":"/dev","access":["read","write"]}]})";
  EXPECT_NE(RunWith(closed, {"--", "/usr/bin/cat", "/etc/passwd"}).err.find("Permission denied"), std::string::npos);
}

// net ---------------------------------------------------------------------------------------------------------

/// Accepts connections on a port of loopback, and says hello.
class Greeter {
 public:
  Greeter() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
    EXPECT_EQ(listen(socket_.get(), 8), 0);
    EXPECT_EQ(getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] {
      for (;;) {
        const UniqueFd client(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client.valid()) return;
        (void)!write(client.get(), "hello\n", 6);
      }
    });
  }
  ~Greeter() { shutdown(socket_.get(), SHUT_RDWR); }
  std::string port() const { return std::to_string(port_); }

 private:
  UniqueFd socket_;
  uint16_t port_ = 0;
  std::jthread thread_;
};

std::string Connect(const std::string& address, const std::string& port) { return "exec 3<>/dev/tcp/" + address + "/" + port + " && head -1 <&3"; }

TEST_F(BoxSections, ConnectionsAreDecidedByTheirAddress) {
  const Greeter allowed, other;
  const std::string spec = R"("net":{"default":"deny","rules":[{"operations":["send"],"action":"allow"},{"name":"one","operations":["connect"],"to":"127.0.0.0/8","ports":)" + allowed.port() +
                           R"(,"action":"allow"}]})";
  const BoxResult yes = RunWith(spec, {"--", "bash", "-c", Connect("127.0.0.1", allowed.port())});
  EXPECT_EQ(yes.out, "hello\n") << yes.err;
  const BoxResult no = RunWith(spec, {"--audit=" + folder_.path() + "/audit", "--", "bash", "-c", Connect("127.0.0.1", other.port())});
  EXPECT_NE(no.err.find("Operation not permitted"), std::string::npos) << no.err;
  EXPECT_NE(ReadFile(folder_.path() + "/audit")->find("net.default"), std::string::npos);
  // An address by another name.
  EXPECT_EQ(RunWith(spec, {"--", "bash", "-c", Connect("::ffff:127.0.0.1", other.port())}).out, "");
}

TEST_F(BoxSections, ConnectionsCanBeRedirected) {
  const Greeter greeter;
  const std::string spec = R"("net":{"rules":[{"operations":["connect"],"to":"192.0.2.1","ports":80,"action":{"redirect":"127.0.0.1:)" + greeter.port() + R"("}}]})";
  for (const char* by : {"--cgroup=auto", "--cgroup=no"}) EXPECT_EQ(RunWith(spec, {by, "--", "bash", "-c", Connect("192.0.2.1", "80")}).out, "hello\n") << by;
}

TEST_F(BoxSections, WithoutNetworkASectionOfItIsKeptByTheNamespace) {
  const Greeter greeter;
  const BoxResult result = RunWith(R"("net":{"default":"deny"})", {"--unshare=net", "--", "bash", "-c", Connect("127.0.0.1", greeter.port())});
  EXPECT_EQ(result.exit, 1) << result.err;
}

}  // namespace
}  // namespace isla::e2e
