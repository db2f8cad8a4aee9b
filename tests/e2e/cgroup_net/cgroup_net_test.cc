// What a process in a control group can connect to, bind, and send to, as the kernel decides by the programs of a section.
#include "sandbox/cgroup_net/cgroup_net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>

namespace isla::cgroup_net {
namespace {

using sandbox::IpNetwork;
using sandbox::NetRule;
using sandbox::NetSection;

/// Where cgroup v2 is; "" if it isn't.
std::string Hierarchy() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, path, type, rest; mounts >> device >> path >> type && std::getline(mounts, rest);) {
    if (type == "cgroup2") return path;
  }
  return {};
}

sockaddr_storage AddressOf(const std::string& text, socklen_t& size) {
  const auto address = *sandbox::AddressFromText(text);
  sockaddr_storage out{};
  if (text.starts_with("[")) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&v6.sin6_addr, address.ip.data(), 16);
    size = sizeof v6;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&v4.sin_addr, address.ip.data() + 12, 4);
    size = sizeof v4;
  }
  return out;
}

UniqueFd Socket(const std::string& address, int type) { return UniqueFd(socket(address.starts_with("[") ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0)); }

uint16_t PortOf(int fd) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size);
  return ntohs(own.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(own).sin_port : reinterpret_cast<sockaddr_in6&>(own).sin6_port);
}

int Connect(const std::string& to, int type = SOCK_STREAM) {
  const UniqueFd fd = Socket(to, type);
  socklen_t size = 0;
  const sockaddr_storage address = AddressOf(to, size);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 ? 0 : errno;
}
int Bind(const std::string& to) {
  const UniqueFd fd = Socket(to, SOCK_STREAM);
  socklen_t size = 0;
  const sockaddr_storage address = AddressOf(to, size);
  return bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 ? 0 : errno;
}
int Send(const std::string& to) {
  const UniqueFd fd = Socket(to, SOCK_DGRAM);
  socklen_t size = 0;
  const sockaddr_storage address = AddressOf(to, size);
  return sendto(fd.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&address), size) == 1 ? 0 : errno;
}
int FastOpen(const std::string& to) {
  const UniqueFd fd = Socket(to, SOCK_STREAM);
  socklen_t size = 0;
  const sockaddr_storage address = AddressOf(to, size);
  return sendto(fd.get(), "x", 1, MSG_FASTOPEN, reinterpret_cast<const sockaddr*>(&address), size) >= 0 ? 0 : errno;
}

NetRule Rule(const std::string& network, uint16_t port, NetRule::Kind action) {
  NetRule out;
  out.network = *IpNetwork::FromText(network);
  if (port != 0) out.first_port = out.last_port = port;
  out.action = action;
  return out;
}

class CgroupNetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root may attach programs";
    const std::string hierarchy = Hierarchy();
    ASSERT_FALSE(hierarchy.empty()) << "no cgroup v2 is mounted";
    path_ = hierarchy + "/isla-net-test-" + std::to_string(getpid());
    ASSERT_EQ(mkdir(path_.c_str(), 0755), 0) << path_ << ": " << std::strerror(errno);
    cgroup_.Reset(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(cgroup_.valid());
    listener_ = Socket("127.0.0.1:0", SOCK_STREAM);
    socklen_t size = 0;
    const sockaddr_storage any = AddressOf("127.0.0.1:0", size);
    ASSERT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), size), 0);
    ASSERT_EQ(listen(listener_.get(), 16), 0);
    port_ = PortOf(listener_.get());
  }
  void TearDown() override {
    cgroup_.Reset();
    if (!path_.empty()) rmdir(path_.c_str());
  }

  /// What `call` gives to a process in the group: 0 or an errno.
  int Inside(const std::function<int()>& call) const {
    const pid_t pid = fork();
    if (pid == 0) {
      const UniqueFd procs(openat(cgroup_.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
      if (write(procs.get(), "0", 1) != 1) _exit(255);
      _exit(call());
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string Listener(const std::string& host = "127.0.0.1") const { return host + ":" + std::to_string(port_); }

  std::string path_;
  UniqueFd cgroup_, listener_;
  uint16_t port_ = 0;
};

TEST_F(CgroupNetTest, ConnectsBindsAndSendsAreDecided) {
  NetSection net;
  net.default_allow = false;
  net.rules = {Rule("127.0.0.0/8", port_, NetRule::Kind::kAllow), Rule("127.0.0.0/8", 53, NetRule::Kind::kAllow)};
  net.rules[1].connect = net.rules[1].bind = false;
  const auto attached = CgroupNet::Attach(cgroup_.get(), net);
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(Inside([this] { return Connect(Listener()); }), 0);
  EXPECT_EQ(Inside([this] { return Connect("[::ffff:127.0.0.1]:" + std::to_string(port_)); }), 0);
  EXPECT_EQ(Inside([this] { return Connect(Listener("127.0.0.2")); }), ECONNREFUSED) << "allowed, and nobody there";
  EXPECT_EQ(Inside([] { return Connect("127.0.0.1:1"); }), EPERM);
  EXPECT_EQ(Inside([] { return Connect("[::1]:1"); }), EPERM);
  EXPECT_EQ(Inside([] { return Connect("127.0.0.1:1", SOCK_DGRAM); }), EPERM);
  EXPECT_EQ(Inside([] { return FastOpen("127.0.0.1:1"); }), EPERM);
  EXPECT_EQ(Inside([] { return Bind("127.0.0.1:0"); }), EPERM);
  EXPECT_EQ(Inside([this] { return Bind(Listener("127.0.0.3")); }), 0);
  EXPECT_EQ(Inside([] { return Send("127.0.0.1:53"); }), 0);
  EXPECT_EQ(Inside([] { return Send("127.0.0.1:54"); }), EPERM);
  EXPECT_EQ(Inside([] { return Send("[::ffff:127.0.0.1]:54"); }), EPERM);
  EXPECT_EQ(Connect("127.0.0.1:1"), ECONNREFUSED) << "who isn't in the group isn't asked about";
}

TEST_F(CgroupNetTest, TheUnspecifiedAddressIsNoWayAroundADenial) {
  NetSection net;
  net.rules = {Rule("127.0.0.0/8", port_, NetRule::Kind::kDeny), Rule("::1", port_, NetRule::Kind::kDeny)};
  EXPECT_EQ(Inside([this] { return Connect(Listener("0.0.0.0")); }), 0) << "it does reach the loopback";
  const auto attached = CgroupNet::Attach(cgroup_.get(), net);
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(Inside([this] { return Connect(Listener("0.0.0.0")); }), EPERM);
  EXPECT_EQ(Inside([this] { return Connect("[::]:" + std::to_string(port_)); }), EPERM);
  EXPECT_EQ(Inside([this] { return Connect("[::ffff:0.0.0.0]:" + std::to_string(port_)); }), EPERM);
}

TEST_F(CgroupNetTest, ConnectionsAreRedirected) {
  NetSection net;
  net.rules = {Rule("10.9.8.7", 80, NetRule::Kind::kRedirect)};
  net.rules[0].redirect = Listener();
  const auto attached = CgroupNet::Attach(cgroup_.get(), net);
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(Inside([] { return Connect("10.9.8.7:80"); }), 0);
  EXPECT_EQ(Inside([] { return Connect("[::ffff:10.9.8.7]:80"); }), 0);
}

TEST_F(CgroupNetTest, ASectionIsReplacedWhileTheGroupRuns) {
  NetSection closed;
  closed.default_allow = false;
  auto attached = CgroupNet::Attach(cgroup_.get(), closed);
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(Inside([this] { return Connect(Listener()); }), EPERM);
  ASSERT_TRUE(attached->Replace(NetSection()).ok());
  EXPECT_EQ(Inside([this] { return Connect(Listener()); }), 0);
  // What can't be compiled leaves all as it is.
  NetSection wrong = closed;
  wrong.rules = {Rule("10.0.0.0/8", 80, NetRule::Kind::kRedirect)};
  wrong.rules[0].redirect = "[::1]:80";
  EXPECT_EQ(attached->Replace(wrong).code(), Code::kInvalidArgument);
  EXPECT_EQ(Inside([this] { return Connect(Listener()); }), 0);
  ASSERT_TRUE(attached->Replace(closed).ok());
  EXPECT_EQ(Inside([this] { return Connect(Listener()); }), EPERM);
}

TEST_F(CgroupNetTest, StaysInForceWhenWhoeverAttachedItIsGone) {
  NetSection closed;
  closed.default_allow = false;
  {
    const auto attached = CgroupNet::Attach(cgroup_.get(), closed);
    ASSERT_TRUE(attached.ok()) << attached.status();
  }
  EXPECT_EQ(Inside([this] { return Connect(Listener()); }), EPERM);
  cgroup_.Reset();
  EXPECT_EQ(rmdir(path_.c_str()), 0) << "and goes with the group";
}

TEST_F(CgroupNetTest, AThousandRulesLoad) {
  NetSection net;
  net.default_allow = false;
  for (int i = 0; i < 1000; ++i) net.rules.push_back(Rule(fmt::format("10.{}.{}.0/24", i / 256, i % 256), static_cast<uint16_t>(1 + i), NetRule::Kind::kDeny));
  net.rules.push_back(Rule("127.0.0.1", port_, NetRule::Kind::kAllow));
  const auto attached = CgroupNet::Attach(cgroup_.get(), net);
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(Inside([this] { return Connect(Listener()); }), 0);
  EXPECT_EQ(Inside([] { return Connect("10.0.5.1:6"); }), EPERM);
}

TEST_F(CgroupNetTest, WithoutRightsItSaysSo) {
  EXPECT_TRUE(CanLoad());
  EXPECT_EQ(Inside([] {
              if (setuid(65534) != 0) return 1;
              return CanLoad() ? 2 : 0;
            }),
            0);
}

}  // namespace
}  // namespace isla::cgroup_net
