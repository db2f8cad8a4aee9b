// The programs mean what NetSection::Decide() says, by an interpreter of the few instructions that they are made of. Whether the
// kernel takes them is tests/e2e/cgroup_net's.
#include "sandbox/cgroup_net/net_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <random>

namespace isla::cgroup_net {
namespace {

using sandbox::IpNetwork;
using sandbox::NetOperation;
using sandbox::NetRule;
using sandbox::NetSection;
using sandbox::SocketAddress;
using ::testing::HasSubstr;

struct Ran {
  bool allowed = false;
  bpf_sock_addr context{};
};

/// What the verifier would refuse fails the test: jumps out of the program or backwards, unknown instructions, words beyond the context.
Ran Interpret(const std::vector<bpf_insn>& code, bpf_sock_addr context) {
  Ran out;
  out.context = context;
  uint64_t reg[11] = {};
  for (size_t at = 0; at < code.size(); ++at) {
    const bpf_insn& insn = code[at];
    const auto imm = static_cast<uint32_t>(insn.imm);
    uint64_t& to = reg[insn.dst_reg];
    const uint64_t from = reg[insn.src_reg];
    const auto word = [&out](int16_t offset) {
      EXPECT_TRUE(offset >= 0 && static_cast<size_t>(offset) + 4 <= sizeof(bpf_sock_addr) && offset % 4 == 0) << offset;
      return reinterpret_cast<char*>(&out.context) + offset;
    };
    bool jumps = false;
    switch (insn.code) {
      case BPF_ALU64 | BPF_MOV | BPF_X: to = from; break;
      case BPF_ALU64 | BPF_MOV | BPF_K: to = static_cast<uint64_t>(int64_t{insn.imm}); break;
      case BPF_ALU | BPF_MOV | BPF_X: to = static_cast<uint32_t>(from); break;
      case BPF_ALU | BPF_MOV | BPF_K: to = imm; break;
      case BPF_ALU | BPF_AND | BPF_K: to = static_cast<uint32_t>(to) & imm; break;
      case BPF_ALU | BPF_END | BPF_TO_BE: to = ntohs(static_cast<uint16_t>(to)); break;
      case BPF_LDX | BPF_MEM | BPF_W: {
        uint32_t value = 0;
        std::memcpy(&value, word(insn.off), 4);
        to = value;
        break;
      }
      case BPF_STX | BPF_MEM | BPF_W: {
        const auto value = static_cast<uint32_t>(from);
        std::memcpy(word(insn.off), &value, 4);
        break;
      }
      case BPF_JMP32 | BPF_JNE | BPF_K: jumps = static_cast<uint32_t>(to) != imm; break;
      case BPF_JMP32 | BPF_JLT | BPF_K: jumps = static_cast<uint32_t>(to) < imm; break;
      case BPF_JMP32 | BPF_JGT | BPF_K: jumps = static_cast<uint32_t>(to) > imm; break;
      case BPF_JMP | BPF_EXIT: out.allowed = reg[0] == 1; return out;
      default: ADD_FAILURE() << "instruction " << int{insn.code} << " at " << at; return out;
    }
    if (jumps) {
      EXPECT_GE(insn.off, 0);
      at += static_cast<size_t>(insn.off);
    }
  }
  ADD_FAILURE() << "the program has no end";
  return out;
}

bpf_sock_addr ContextOf(const SocketAddress& address) {
  bpf_sock_addr out{};
  out.user_family = address.family;
  out.user_port = htons(address.port);
  if (address.family == AF_INET) std::memcpy(&out.user_ip4, address.ip.data() + 12, 4);
  else std::memcpy(out.user_ip6, address.ip.data(), 16);
  return out;
}

SocketAddress AddressOf(const bpf_sock_addr& context) {
  SocketAddress out;
  out.family = static_cast<uint16_t>(context.user_family);
  out.port = ntohs(static_cast<uint16_t>(context.user_port));
  if (out.family == AF_INET) {
    out.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(out.ip.data() + 12, &context.user_ip4, 4);
  } else {
    std::memcpy(out.ip.data(), context.user_ip6, 16);
  }
  return out;
}

/// What connecting to the unspecified address means.
SocketAddress Meant(SocketAddress address, NetOperation operation) {
  if (operation == NetOperation::kBind) return address;
  const auto is = [&address](const char* text) { return address.ip == sandbox::AddressFromText(text)->ip; };
  if (is("0.0.0.0:0")) address.ip = sandbox::AddressFromText("127.0.0.1:0")->ip;
  else if (is("[::]:0")) address.ip = sandbox::AddressFromText("[::1]:0")->ip;
  return address;
}

NetRule Rule(const std::string& network, NetRule::Kind kind, uint16_t first = 0, uint16_t last = 65535) {
  NetRule out;
  out.network = *IpNetwork::FromText(network);
  out.action = kind;
  out.first_port = first;
  out.last_port = last;
  return out;
}

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}
  uint64_t Below(uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random_); }

  /// Few different ones, so that rules meet addresses.
  std::array<uint8_t, 16> Ip(bool ipv4) {
    std::array<uint8_t, 16> out{};
    if (ipv4) out = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    else if (Below(3) != 0) out[0] = 0x20, out[1] = static_cast<uint8_t>(Below(2)), out[7] = static_cast<uint8_t>(0x80 * Below(2));
    if (Below(6) != 0) {
      out[12] = static_cast<uint8_t>(std::array{10, 127, 192, 255}[Below(4)]);
      out[13] = static_cast<uint8_t>(Below(2) * 0xa8);
      out[15] = static_cast<uint8_t>(Below(4));
    }
    return out;
  }
  uint16_t Port() { return static_cast<uint16_t>(std::array{0, 1, 22, 80, 443, 8080, 65534, 65535}[Below(8)]); }
  NetSection Section() {
    NetSection out;
    out.default_allow = Below(2) == 0;
    for (uint64_t i = Below(9); i > 0; --i) {
      NetRule rule;
      const bool ipv4 = Below(2) == 0;
      rule.network.ip = Ip(ipv4);
      rule.network.prefix_bits = static_cast<uint8_t>(Below(4) == 0 ? Below(129) : std::array{0, 32, 64, 96, 104, 120, 127, 128}[Below(8)]);
      for (unsigned bit = rule.network.prefix_bits; bit < 128; ++bit) rule.network.ip[bit / 8] &= static_cast<uint8_t>(~(0x80u >> bit % 8));
      rule.connect = Below(3) != 0, rule.bind = Below(3) != 0, rule.send = Below(3) != 0;
      if (Below(2) == 0) {
        rule.first_port = Port();
        rule.last_port = std::max(rule.first_port, Port());
      }
      rule.action = std::array{NetRule::Kind::kAllow, NetRule::Kind::kDeny, NetRule::Kind::kRedirect}[Below(3)];
      rule.redirect = "127.0.0.9:99";
      out.rules.push_back(rule);
    }
    return out;
  }

 private:
  std::mt19937_64 random_;
};

TEST(NetProgram, MeansWhatTheSectionDecides) {
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    Generator generator(seed);
    const NetSection net = generator.Section();
    for (const Hook& hook : kHooks) {
      const auto code = Compile(net, hook);
      ASSERT_TRUE(code.ok()) << code.status();
      for (int i = 0; i < 40; ++i) {
        SocketAddress address;
        address.family = hook.ipv6 ? AF_INET6 : AF_INET;
        address.ip = generator.Ip(!hook.ipv6 || generator.Below(3) == 0);
        address.port = generator.Port();
        const SocketAddress meant = Meant(address, hook.operation);
        const NetRule* const rule = net.Decide(hook.operation, meant);
        const Ran ran = Interpret(*code, ContextOf(address));
        const std::string where = fmt::format("seed {} {} {}", seed, hook.name, address.ToText());
        ASSERT_EQ(ran.allowed, rule == nullptr ? net.default_allow : rule->action != NetRule::Kind::kDeny) << where;
        if (!ran.allowed) continue;
        const SocketAddress after = AddressOf(ran.context);
        const bool redirected = rule != nullptr && rule->action == NetRule::Kind::kRedirect;
        ASSERT_EQ(after.ip, redirected ? sandbox::AddressFromText("127.0.0.9:99")->ip : meant.ip) << where;
        ASSERT_EQ(after.port, redirected ? 99 : meant.port) << where;
      }
    }
  }
}

TEST(NetProgram, TheUnspecifiedAddressIsTheLoopbackItReaches) {
  NetSection net;
  net.rules = {Rule("127.0.0.0/8", NetRule::Kind::kDeny), Rule("::1", NetRule::Kind::kDeny)};
  for (const auto& [hook, text] : {std::pair(kHooks[0], "0.0.0.0:80"), std::pair(kHooks[4], "0.0.0.0:53"), std::pair(kHooks[1], "[::]:80"), std::pair(kHooks[5], "[::]:53")}) {
    SocketAddress address = *sandbox::AddressFromText(text);
    EXPECT_FALSE(Interpret(*Compile(net, hook), ContextOf(address)).allowed) << hook.name;
  }
  // ::ffff:0.0.0.0
  SocketAddress mapped = *sandbox::AddressFromText("0.0.0.0:80");
  mapped.family = AF_INET6;
  EXPECT_FALSE(Interpret(*Compile(net, kHooks[1]), ContextOf(mapped)).allowed);
  // To bind there is to listen everywhere.
  EXPECT_TRUE(Interpret(*Compile(net, kHooks[2]), ContextOf(*sandbox::AddressFromText("0.0.0.0:80"))).allowed);
}

TEST(NetProgram, AnIpv4SocketCantBeLedToIpv6) {
  NetSection net;
  net.rules = {Rule("10.0.0.0/8", NetRule::Kind::kRedirect)};
  net.rules[0].redirect = "[::1]:80";
  EXPECT_TRUE(Compile(net, kHooks[1]).ok());
  EXPECT_THAT(std::string(Compile(net, kHooks[0]).status().message()), HasSubstr("net.rules[0].action.redirect: an IPv4 address can't be redirected to '[::1]:80'"));
  // A rule that no IPv4 address can meet is none of an IPv4 socket's business.
  net.rules[0].network = *IpNetwork::FromText("2001:db8::/32");
  EXPECT_TRUE(Compile(net, kHooks[0]).ok());
}

TEST(NetProgram, NothingFollowsARuleThatAlwaysDecides) {
  NetSection net;
  net.rules = {Rule("::/0", NetRule::Kind::kDeny), Rule("10.0.0.0/8", NetRule::Kind::kAllow)};
  for (const Hook& hook : kHooks) {
    const auto code = Compile(net, hook);
    ASSERT_TRUE(code.ok());
    EXPECT_EQ(code->back().code, BPF_JMP | BPF_EXIT);
    EXPECT_EQ(std::count_if(code->begin(), code->end(), [](const bpf_insn& insn) { return insn.code == (BPF_JMP | BPF_EXIT); }), 1) << hook.name;
  }
}

}  // namespace
}  // namespace isla::cgroup_net
