// A system call as rules see it: what the kernel hands over (number and arguments), and what the supervisor
// finds out about it (strings and addresses behind pointers, who calls).
//
// All views point to memory of the caller of RuleTable::Decide(): nothing here allocates.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace isla::sandbox {

/// What may be known of a call, as bits. What stands behind a pointer can be changed by another thread after
/// it was looked at: see kPointerFacts.
using Facts = uint8_t;
inline constexpr Facts kFactPath0 = 1;        // the string of the call's first path argument
inline constexpr Facts kFactPath1 = 2;        // of its second (rename, link)
inline constexpr Facts kFactAddress = 4;      // the socket address
inline constexpr Facts kFactFields = 8;       // the words of the struct (openat2's open_how)
inline constexpr Facts kFactExecutable = 16;  // of the calling process
inline constexpr Facts kFactUid = 32;         // of the calling thread
inline constexpr Facts kFactRate = 64;        // a clock and buckets
/// A call must not be let go on (SECCOMP_USER_NOTIF_FLAG_CONTINUE) because of these: the kernel would read
/// them again. It is performed for the caller instead.
inline constexpr Facts kPointerFacts = kFactPath0 | kFactPath1 | kFactAddress | kFactFields;

/// A socket address, decoded. IPv4 addresses, and IPv6 addresses that are mapped ones of them
/// (::ffff:a.b.c.d), look the same: what can be reached by one name must not be hidden behind another.
struct SocketAddress {
  uint16_t family = AF_UNSPEC;   // as the caller wrote it
  uint16_t port = 0;             // inet and inet6, host byte order
  std::array<uint8_t, 16> ip{};  // inet6; IPv4 as ::ffff:a.b.c.d
  std::string_view path;         // unix; abstract names begin with a NUL

  /// From the bytes of a struct sockaddr; nothing if they are too few for their family. The path views `bytes`.
  /// Families but unix, inet and inet6 give the family alone.
  static std::optional<SocketAddress> FromBytes(std::string_view bytes);
  /// "10.0.0.1:80", "[::1]:80", "unix:/run/x", "unix:@abstract", "family 16".
  std::string ToText() const;
};

/// A network, "10.0.0.0/8" or "2001:db8::/32". IPv4 ones are kept as parts of ::ffff:0:0/96.
struct IpNetwork {
  std::array<uint8_t, 16> ip{};  // bits after the prefix are 0
  uint8_t prefix_bits = 0;       // 0 to 128

  /// An address alone is a network of one. Nothing if it is no address, or has bits set after its prefix.
  static std::optional<IpNetwork> FromText(std::string_view text);
  bool Contains(const std::array<uint8_t, 16>& address) const;
  std::string ToText() const;
  friend bool operator==(const IpNetwork&, const IpNetwork&) = default;
};

/// "127.0.0.1:8080", "[::1]:8080" as an address; nothing if it is neither.
std::optional<SocketAddress> AddressFromText(std::string_view text);

/// How many calls came lately: a bucket for every rate test of a table. A bucket holds `limit` calls and drains by
/// `limit` each window; a call that doesn't fit exceeds the rate. Lock-free; safe from many threads.
class RateBuckets {
 public:
  explicit RateBuckets(size_t count)
      : buckets_(count == 0 ? nullptr : std::make_unique<std::atomic<uint64_t>[]>(count)), count_(count) {}

  size_t count() const { return count_; }
  /// Puts a call into bucket `index`; true if it doesn't fit (then it isn't put there). `now_ns` is
  /// CLOCK_MONOTONIC. An index beyond the buckets never exceeds.
  bool Exceeds(size_t index, uint32_t limit, uint64_t window_ns, uint64_t now_ns);

 private:
  std::unique_ptr<std::atomic<uint64_t>[]> buckets_;  // when the bucket will be empty, in ns
  size_t count_;
};

struct NotifiedCall {
  int number = -1;  // of the policy's architecture
  std::array<uint64_t, 6> arguments{};

  Facts known = 0;  // which of the following are set
  /// In the order of the call's path arguments. Absolute, without "." and "..", as the container sees it. A null
  /// pointer where the kernel allows one is "".
  std::array<std::string_view, 2> paths{};
  SocketAddress address;
  std::array<uint64_t, 3> fields{};
  std::string_view executable;  // as the container sees it
  uint32_t uid = 0;             // in the container's user namespace
  uint64_t now_ns = 0;          // CLOCK_MONOTONIC
  RateBuckets* rates = nullptr;
};

}  // namespace isla::sandbox
