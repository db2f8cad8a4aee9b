#include "sandbox/policy/call.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace isla::sandbox {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool IsMapped(const std::array<uint8_t, 16>& ip) {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), ip.begin());
}

std::array<uint8_t, 16> Mapped(const void* four_bytes) {
  std::array<uint8_t, 16> out{};
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), out.begin());
  std::memcpy(out.data() + 12, four_bytes, 4);
  return out;
}

std::string IpText(const std::array<uint8_t, 16>& ip, bool brackets) {
  char text[INET6_ADDRSTRLEN] = {};
  if (IsMapped(ip)) {
    inet_ntop(AF_INET, ip.data() + 12, text, sizeof text);
    return text;
  }
  inet_ntop(AF_INET6, ip.data(), text, sizeof text);
  return brackets ? fmt::format("[{}]", text) : std::string(text);
}

std::optional<unsigned> Decimal(std::string_view text, unsigned max) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

/// Address and whether it was written as an IPv4 one.
std::optional<std::pair<std::array<uint8_t, 16>, bool>> IpFromText(std::string_view text) {
  const std::string copy(text);
  if (in_addr four{}; inet_pton(AF_INET, copy.c_str(), &four) == 1) return std::pair(Mapped(&four), true);
  std::array<uint8_t, 16> ip{};
  if (inet_pton(AF_INET6, copy.c_str(), ip.data()) == 1) return std::pair(ip, false);
  return std::nullopt;
}

}  // namespace

std::optional<SocketAddress> SocketAddress::FromBytes(std::string_view bytes) {
  SocketAddress out;
  if (bytes.size() < sizeof out.family) return std::nullopt;
  std::memcpy(&out.family, bytes.data(), sizeof out.family);
  if (out.family == AF_INET) {
    sockaddr_in in{};
    if (bytes.size() < sizeof in) return std::nullopt;
    std::memcpy(&in, bytes.data(), sizeof in);
    out.port = ntohs(in.sin_port);
    out.ip = Mapped(&in.sin_addr);
  } else if (out.family == AF_INET6) {
    // The kernel takes addresses without the scope id, which is younger (SIN6_LEN_RFC2133).
    constexpr size_t kLeast = offsetof(sockaddr_in6, sin6_scope_id);
    sockaddr_in6 in{};
    if (bytes.size() < kLeast) return std::nullopt;
    std::memcpy(&in, bytes.data(), std::min(bytes.size(), sizeof in));
    out.port = ntohs(in.sin6_port);
    std::memcpy(out.ip.data(), &in.sin6_addr, out.ip.size());
  } else if (out.family == AF_UNIX) {
    // An abstract name is all of the bytes; a path ends at its NUL, or with the bytes.
    out.path = bytes.substr(offsetof(sockaddr_un, sun_path));
    if (!out.path.empty() && out.path[0] != '\0') out.path = out.path.substr(0, out.path.find('\0'));
  }
  return out;
}

std::string SocketAddress::ToText() const {
  switch (family) {
    case AF_INET:
    case AF_INET6: return fmt::format("{}:{}", IpText(ip, true), port);
    case AF_UNIX:
      return path.starts_with('\0') ? fmt::format("unix:@{}", path.substr(1)) : fmt::format("unix:{}", path);
    default: return fmt::format("family {}", family);
  }
}

std::optional<IpNetwork> IpNetwork::FromText(std::string_view text) {
  const size_t slash = text.find('/');
  const auto ip = IpFromText(text.substr(0, slash));
  if (!ip) return std::nullopt;
  const auto& [bytes, four] = *ip;
  unsigned bits = 128;
  if (slash != std::string_view::npos) {
    const auto given = Decimal(text.substr(slash + 1), four ? 32 : 128);
    if (!given) return std::nullopt;
    bits = *given + (four ? 96 : 0);
  }
  IpNetwork out{bytes, static_cast<uint8_t>(bits)};
  for (unsigned bit = bits; bit < 128; ++bit) {
    if ((bytes[bit / 8] >> (7 - bit % 8) & 1) != 0) return std::nullopt;
  }
  return out;
}

bool IpNetwork::Contains(const std::array<uint8_t, 16>& address) const {
  const size_t whole = prefix_bits / 8;
  if (std::memcmp(ip.data(), address.data(), whole) != 0) return false;
  const unsigned rest = prefix_bits % 8;
  return rest == 0 || ((ip[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

std::string IpNetwork::ToText() const {
  const bool four = IsMapped(ip) && prefix_bits >= 96;
  return fmt::format("{}/{}", IpText(ip, false), four ? prefix_bits - 96 : prefix_bits);
}

std::optional<SocketAddress> AddressFromText(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const auto port = Decimal(text.substr(colon + 1), 65535);
  const bool brackets = host.starts_with('[') && host.ends_with(']');
  if (brackets) host = host.substr(1, host.size() - 2);
  const auto ip = IpFromText(host);
  if (!port || !ip || ip->second == brackets) return std::nullopt;
  SocketAddress out;
  out.family = brackets ? AF_INET6 : AF_INET;
  out.port = static_cast<uint16_t>(*port);
  out.ip = ip->first;
  return out;
}

bool RateBuckets::Exceeds(size_t index, uint32_t limit, uint64_t window_ns, uint64_t now_ns) {
  if (index >= count_) return false;
  if (limit == 0) return true;
  const uint64_t each = std::max<uint64_t>(1, window_ns / limit);
  std::atomic<uint64_t>& empty_at = buckets_[index];
  uint64_t before = empty_at.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t after = std::max(before, now_ns) + each;
    if (after - now_ns > window_ns) return true;
    if (empty_at.compare_exchange_weak(before, after, std::memory_order_relaxed)) return false;
  }
}

}  // namespace isla::sandbox
