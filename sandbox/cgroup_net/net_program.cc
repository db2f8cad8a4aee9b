#include "sandbox/cgroup_net/net_program.h"

#include <netinet/in.h>

#include <cstddef>
#include <cstring>
#include <span>

namespace isla::cgroup_net {
namespace {

using sandbox::IpNetwork;
using sandbox::NetOperation;
using sandbox::NetRule;
using sandbox::SocketAddress;

// r6: the context. r1: everything else. Each test reads the context anew: what the verifier knows of a register after one rule it would
// carry into the next, and a thousand rules would be more combinations than it looks at.
constexpr uint8_t kContext = BPF_REG_6, kScratch = BPF_REG_1;
constexpr size_t kWords = 4;

using Words = std::array<uint32_t, kWords>;

Words WordsOf(const std::array<uint8_t, 16>& ip) {
  Words out;
  std::memcpy(out.data(), ip.data(), sizeof out);
  return out;
}

Words MaskOf(uint8_t prefix_bits) {
  std::array<uint8_t, 16> bytes{};
  for (unsigned bit = 0; bit < prefix_bits; ++bit) bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] | 0x80u >> bit % 8);
  return WordsOf(bytes);
}

/// ::ffff:0:0/96, what IPv4 is a part of.
constexpr IpNetwork kIpv4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96};

/// The words of a mapped IPv4 address.
Words Mapped(uint32_t last) {
  Words out = WordsOf(kIpv4.ip);
  out[3] = last;
  return out;
}

class Assembler {
 public:
  explicit Assembler(bool ipv6) : ipv6_(ipv6) {}

  void Emit(uint8_t code, uint8_t to, uint8_t from = 0, int16_t offset = 0, uint32_t imm = 0) {
    bpf_insn insn{};
    insn.code = code;
    insn.dst_reg = to & 15u;
    insn.src_reg = from & 15u;
    insn.off = offset;
    insn.imm = static_cast<int32_t>(imm);
    code_.push_back(insn);
  }
  void LoadContext(uint8_t to, size_t offset) { Emit(BPF_LDX | BPF_MEM | BPF_W, to, kContext, static_cast<int16_t>(offset)); }
  void StoreContext(size_t offset, uint32_t value) {
    Emit(BPF_ALU | BPF_MOV | BPF_K, kScratch, 0, 0, value);
    Emit(BPF_STX | BPF_MEM | BPF_W, kContext, kScratch, static_cast<int16_t>(offset));
  }
  void Return(bool allow) {
    Emit(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, allow ? 1 : 0);
    Emit(BPF_JMP | BPF_EXIT, 0);
  }
  /// A jump to wherever Land() is called next with its index.
  size_t Jump(uint8_t operation, uint8_t reg, uint32_t imm) {
    Emit(BPF_JMP32 | operation | BPF_K, reg, 0, 0, imm);
    return code_.size() - 1;
  }
  void Land(std::span<const size_t> jumps) {
    for (const size_t jump : jumps) code_[jump].off = static_cast<int16_t>(code_.size() - jump - 1);
  }

  void Begin() { Emit(BPF_ALU64 | BPF_MOV | BPF_X, kContext, BPF_REG_1); }

  void SetAddress(const Words& words) {
    for (size_t i = ipv6_ ? 0 : 3; i < kWords; ++i) StoreContext(OffsetOf(i), words[i]);
  }
  void SetPort(uint16_t port) { StoreContext(offsetof(bpf_sock_addr, user_port), htons(port)); }

  /// The unspecified address becomes the loopback's.
  void LoopbackForUnspecified() {
    const Words loopback4 = Mapped(htonl(INADDR_LOOPBACK));
    Replace(Mapped(0), loopback4);
    if (ipv6_) Replace(Words{}, WordsOf({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  }

  /// Emits the test of an address; false, and nothing, if it can never hold. The jumps of a failing test are added to `fails`.
  bool TestNetwork(const IpNetwork& network, std::vector<size_t>& fails) {
    const Words value = WordsOf(network.ip), mask = MaskOf(network.prefix_bits), mapped = Mapped(0);
    for (size_t i = 0; i < kWords && mask[i] != 0; ++i) {
      if (!ipv6_ && i < 3) {
        if ((mapped[i] & mask[i]) != value[i]) return false;
        continue;
      }
      LoadContext(kScratch, OffsetOf(i));
      if (mask[i] != ~0u) Emit(BPF_ALU | BPF_AND | BPF_K, kScratch, 0, 0, mask[i]);
      fails.push_back(Jump(BPF_JNE, kScratch, value[i]));
    }
    return true;
  }
  void TestPort(uint16_t first, uint16_t last, std::vector<size_t>& fails) {
    if (first == 0 && last == 65535) return;
    LoadContext(kScratch, offsetof(bpf_sock_addr, user_port));
    Emit(BPF_ALU | BPF_END | BPF_TO_BE, kScratch, 0, 0, 16);
    if (first > 0) fails.push_back(Jump(BPF_JLT, kScratch, first));
    if (last < 65535) fails.push_back(Jump(BPF_JGT, kScratch, last));
  }

  std::vector<bpf_insn> Take() { return std::move(code_); }

 private:
  /// Where a word of the address is. Of IPv4 there is only the last.
  size_t OffsetOf(size_t word) const { return ipv6_ ? offsetof(bpf_sock_addr, user_ip6) + 4 * word : offsetof(bpf_sock_addr, user_ip4); }

  void Replace(const Words& from, const Words& to) {
    std::vector<size_t> others;
    for (size_t i = ipv6_ ? 0 : 3; i < kWords; ++i) {
      LoadContext(kScratch, OffsetOf(i));
      others.push_back(Jump(BPF_JNE, kScratch, from[i]));
    }
    SetAddress(to);
    Land(others);
  }

  const bool ipv6_;
  std::vector<bpf_insn> code_;
};

bool IsOf(const NetRule& rule, NetOperation operation) {
  switch (operation) {
    case NetOperation::kConnect: return rule.connect;
    case NetOperation::kBind: return rule.bind;
    case NetOperation::kSend: return rule.send;
  }
  return false;
}

/// What a matching rule does.
Status Act(const NetRule& rule, size_t index, const Hook& hook, Assembler& out) {
  if (rule.action != NetRule::Kind::kRedirect) {
    out.Return(rule.action == NetRule::Kind::kAllow);
    return OkStatus();
  }
  const auto to = sandbox::AddressFromText(rule.redirect);
  if (!to) return Errorf(Code::kInvalidArgument, "net.rules[{}].action.redirect: '{}' is no address with a port", index, rule.redirect);
  const Words words = WordsOf(to->ip);
  if (!hook.ipv6 && !kIpv4.Contains(to->ip)) {
    return Errorf(Code::kInvalidArgument, "net.rules[{}].action.redirect: an IPv4 address can't be redirected to '{}': give a rule for IPv6 networks, and another for IPv4 ones", index,
                  rule.redirect);
  }
  out.SetAddress(words);
  out.SetPort(to->port);
  out.Return(true);
  return OkStatus();
}

}  // namespace

StatusOr<std::vector<bpf_insn>> Compile(const sandbox::NetSection& net, const Hook& hook) {
  Assembler out(hook.ipv6);
  out.Begin();
  if (hook.operation != NetOperation::kBind) out.LoopbackForUnspecified();
  for (size_t i = 0; i < net.rules.size(); ++i) {
    const NetRule& rule = net.rules[i];
    if (!IsOf(rule, hook.operation)) continue;
    std::vector<size_t> fails;
    if (!out.TestNetwork(rule.network, fails)) continue;
    out.TestPort(rule.first_port, rule.last_port, fails);
    RETURN_IF_ERROR(Act(rule, i, hook, out));
    out.Land(fails);
    if (fails.empty()) return out.Take();  // it always decides: the verifier refuses code that nothing reaches
  }
  out.Return(net.default_allow);
  return out.Take();
}

}  // namespace isla::cgroup_net
