// Connecting, binding and making nodes for the caller, on a copy of its arguments.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "sandbox/supervisor/perform.h"
#include "tests/unit/supervisor/harness.h"

namespace isla::supervisor {
namespace {

using Kind = Decision::Kind;
using testing::HasSubstr;
using testing::StartsWith;

/// Listens, greets everybody who connects.
class Greeter {
 public:
  explicit Greeter(const std::string& text, const std::string& unix_path = {}) {
    sockaddr_un unix{};
    unix.sun_family = AF_UNIX;
    sockaddr_in inet{};
    inet.sin_family = AF_INET;
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof inet;
    socket_.Reset(socket(unix_path.empty() ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (unix_path.empty()) {
      ISLA_CHECK(bind(socket_.get(), reinterpret_cast<sockaddr*>(&inet), sizeof inet) == 0);
      getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&inet), &bytes);
      port_ = ntohs(inet.sin_port);
    } else {
      unix_path.copy(unix.sun_path, sizeof unix.sun_path - 1);
      ISLA_CHECK(bind(socket_.get(), reinterpret_cast<sockaddr*>(&unix), sizeof unix) == 0);
    }
    ISLA_CHECK(listen(socket_.get(), 4096) == 0);
    thread_ = std::jthread([this, text] {
      for (;;) {
        const UniqueFd connection(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!connection.valid()) return;
        ucred peer{};
        socklen_t peer_bytes = sizeof peer;
        getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes);
        peer_uid_ = peer.uid;
        peer_gid_ = peer.gid;
        (void)!send(connection.get(), text.data(), text.size(), MSG_NOSIGNAL);
      }
    });
  }
  ~Greeter() { shutdown(socket_.get(), SHUT_RDWR); }
  uint16_t port() const { return port_; }
  /// Of the last who was greeted on a unix socket.
  uid_t peer_uid() const { return peer_uid_; }
  gid_t peer_gid() const { return peer_gid_; }

 private:
  UniqueFd socket_;
  uint16_t port_ = 0;
  std::atomic<uid_t> peer_uid_{0};
  std::atomic<gid_t> peer_gid_{0};
  std::jthread thread_;
};

std::string Supervise(std::vector<std::string> arguments, FakeDecider::Function decide, SupervisorOptions options = {}, std::string* audit = nullptr,
                      uid_t uid = 0) {
  Prey prey({.notified = {SYS_connect, SYS_bind, SYS_mknod, SYS_mknodat}, .uid = uid}, std::move(arguments));
  options.calls_per_second = 0;
  Watched supervisor(prey, std::make_shared<FakeDecider>(sandbox::kFactAddress | sandbox::kFactPath0, std::move(decide)), std::move(options),
                     {.one_of_allowed = 1});
  std::string printed = prey.Wait();
  supervisor->Stop();
  if (audit != nullptr) *audit = supervisor.AuditText();
  return printed;
}

Decision PerformAll(const NotifiedCall&) { return Does(Kind::kPerform); }

TEST(PerformConnect, ReachesWhatWasAllowedAndTellsWhere) {
  Greeter greeter("hello");
  std::string audit;
  EXPECT_EQ(Supervise({"connect", std::to_string(greeter.port())}, PerformAll, {}, &audit), "ok 'hello'");
  EXPECT_THAT(audit, HasSubstr(fmt::format("\"address\":\"127.0.0.1:{}\"", greeter.port())));
  EXPECT_EQ(Supervise({"connect", "1"}, PerformAll), "ECONNREFUSED");
  EXPECT_EQ(Supervise({"connect", std::to_string(greeter.port())}, [](const NotifiedCall&) { return Fails(EACCES); }), "EACCES");
}

TEST(PerformConnect, AThreadThatFlipsTheAddressNeverGetsTheOther) {
  Greeter allowed("yes"), denied("no");
  const uint16_t port = denied.port();
  const std::string printed = Supervise({"flip-address", std::to_string(allowed.port()), std::to_string(port), "700"}, [port](const NotifiedCall& call) {
    return call.address.port == port ? Fails(EACCES) : Continues();  // which is performed
  });
  EXPECT_EQ(printed, "through=0 some=1 refused=1");
}

TEST(PerformConnect, TheUnspecifiedAddressIsTheLoopbackThatItReaches) {
  Greeter greeter("hello");
  const auto not_the_loopback = [](const NotifiedCall& call) {
    const auto& ip = call.address.ip;
    const bool loopback = ip == sandbox::AddressFromText("127.0.0.1:0")->ip || ip == sandbox::AddressFromText("[::1]:0")->ip;
    return loopback ? Fails(EACCES) : Does(Kind::kPerform);
  };
  for (const char* host : {"127.0.0.1:", "0.0.0.0:", "[::]:", "[::ffff:0.0.0.0]:", "[::1]:"}) {
    EXPECT_EQ(Supervise({"connect", host + std::to_string(greeter.port())}, not_the_loopback), "EACCES") << host;
  }
  EXPECT_EQ(Supervise({"connect", "0.0.0.0:" + std::to_string(greeter.port())}, PerformAll), "ok 'hello'");
}

TEST(PerformConnect, IsRedirectedByRule) {
  Greeter real("real");
  const uint16_t port = real.port();
  EXPECT_EQ(Supervise({"connect", "1"}, [port](const NotifiedCall&) {
              Decision out = Does(Kind::kRedirectAddress, "127.0.0.1");
              out.address = *sandbox::AddressFromText(fmt::format("127.0.0.1:{}", port));
              return out;
            }),
            "ok 'real'");
}

TEST(PerformConnect, UnixPathsAreDecidedByWhereTheyLead) {
  const TestFolder folder;
  const std::string path = folder.path() + "/socket", link = folder.path() + "/link";
  Greeter greeter("unix", path);
  symlink("socket", link.c_str());
  std::string seen;
  const auto decide = [&seen](const NotifiedCall& call) {
    seen = call.address.path;
    return Does(Kind::kPerform);
  };
  EXPECT_EQ(Supervise({"connect", link}, decide), "ok 'unix'");
  EXPECT_EQ(seen, path);
  EXPECT_EQ(Supervise({"connect", folder.path() + "/nobody"}, decide), "ENOENT");
}

TEST(PerformConnect, APeerIsToldTheCallersIdsNotOurs) {
  if (getuid() != 0) GTEST_SKIP();
  const TestFolder folder;
  const std::string path = folder.path() + "/socket";
  Greeter greeter("unix", path);
  chmod(path.c_str(), 0777);
  EXPECT_EQ(Supervise({"connect", path}, PerformAll, {}, nullptr, 4242), "ok 'unix'");
  EXPECT_EQ(greeter.peer_uid(), 4242u) << "else whoever may connect is root to every server that asks";
  EXPECT_EQ(greeter.peer_gid(), 4242u);
  chmod(path.c_str(), 0700);
  EXPECT_EQ(Supervise({"connect", path}, PerformAll, {}, nullptr, 4242), "EACCES");
}

TEST(PerformBind, BindsOnceAndTheCallerOwnsIt) {
  EXPECT_THAT(Supervise({"bind", "0"}, PerformAll), testing::ContainsRegex("^ok port=[1-9][0-9]* again=EINVAL$"));
  const TestFolder folder;
  const std::string path = folder.path() + "/socket";
  EXPECT_THAT(Supervise({"bind", path}, PerformAll), StartsWith("ok again=E"));
  struct stat st {};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
  EXPECT_THAT(Supervise({"bind", path}, PerformAll), StartsWith("EADDRINUSE"));
  EXPECT_THAT(Supervise({"bind", folder.path() + "/no/socket"}, PerformAll), StartsWith("ENOENT"));
}

TEST(PerformMakeNode, HarmlessDevicesOnly) {
  if (getuid() != 0) GTEST_SKIP();
  const TestFolder folder;
  const auto make = [&folder](const char* name, int mode, int major_number, int minor_number) {
    return Supervise({"mknod", folder.path() + "/" + name, std::to_string(mode), std::to_string(major_number), std::to_string(minor_number)}, PerformAll);
  };
  EXPECT_EQ(make("null", S_IFCHR | 0644, 1, 3), "ok 20644 1:3 uid=0");
  EXPECT_EQ(make("null", S_IFCHR | 0644, 1, 3), "EEXIST");
  EXPECT_EQ(make("mem", S_IFCHR | 0644, 1, 1), "EPERM");
  EXPECT_EQ(make("disk", S_IFBLK | 0644, 8, 0), "EPERM");
  EXPECT_EQ(make("fifo", S_IFIFO | 0600, 0, 0), "ok 10600 0:0 uid=0");
  EXPECT_EQ(make("no/where", S_IFIFO | 0600, 0, 0), "ENOENT");
}

TEST(PerformMakeNode, DevicesAreMadeWhereTheirCallerMayAndAreItsOwn) {
  if (getuid() != 0) GTEST_SKIP();
  const TestFolder folder;
  const auto make = [&folder] {
    return Supervise({"mknod", folder.path() + "/null", std::to_string(S_IFCHR | 0644), "1", "3"}, PerformAll, {}, nullptr, 4242);
  };
  EXPECT_EQ(make(), "EACCES");
  chmod(folder.path().c_str(), 0777);
  EXPECT_EQ(make(), "ok 20644 1:3 uid=4242");
}

}  // namespace
}  // namespace isla::supervisor
