// The small values that policies are made of: sets of numbers, globs, addresses, networks, rates.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <random>

#include "sandbox/policy/call.h"
#include "sandbox/policy/glob.h"
#include "sandbox/policy/interval_set.h"
#include "sandbox/policy/policy.h"

namespace isla::sandbox {
namespace {

constexpr uint64_t kTop = ~uint64_t{0};

TEST(IntervalSet, IsNormalHoweverItIsMade) {
  EXPECT_EQ(IntervalSet({{5, 6}, {1, 2}, {3, 3}, {7, 9}}).intervals(), (std::vector<Interval>{{1, 3}, {5, 9}}));
  EXPECT_EQ(IntervalSet({{1, kTop}, {5, 6}}).intervals(), (std::vector<Interval>{{1, kTop}}));
  EXPECT_TRUE(IntervalSet().empty());
  EXPECT_EQ(IntervalSet().Complement(), IntervalSet::All());
  EXPECT_EQ(IntervalSet::All().Complement(), IntervalSet());
  EXPECT_EQ(IntervalSet::Of(0).Complement(7).ToText(), "0x1..0x7");
  EXPECT_EQ(IntervalSet({{1, 1}, {3, 4}}).ToText(), "0x1, 0x3..0x4");
  EXPECT_EQ(IntervalSet().ToText(), "none");
}

TEST(IntervalSet, OperationsAreThoseOfSets) {
  std::mt19937 random(1);
  const auto any = [&random] {
    std::vector<Interval> out;
    for (int n = static_cast<int>(random() % 4); n > 0; --n) {
      const uint64_t a = random() % 20, b = random() % 20;
      out.push_back({std::min(a, b), std::max(a, b)});
    }
    return IntervalSet(out);
  };
  for (int round = 0; round < 2000; ++round) {
    const IntervalSet a = any(), b = any();
    for (uint64_t v = 0; v < 24; ++v) {
      ASSERT_EQ(a.Union(b).Contains(v), a.Contains(v) || b.Contains(v));
      ASSERT_EQ(a.Intersection(b).Contains(v), a.Contains(v) && b.Contains(v));
      ASSERT_EQ(a.Complement(22).Contains(v), v <= 22 && !a.Contains(v));
    }
  }
}

TEST(Glob, StarsStopAtSlashesAndDoubleStarsDont) {
  const auto matches = [](std::string_view pattern, std::string_view text) { return GlobMatches(pattern, text); };
  EXPECT_TRUE(matches("/home/*/.ssh/**", "/home/a/.ssh/id"));
  EXPECT_TRUE(matches("/home/*/.ssh/**", "/home/a/.ssh/keys/id"));
  EXPECT_FALSE(matches("/home/*/.ssh/**", "/home/a/b/.ssh/id"));
  EXPECT_FALSE(matches("/home/*/.ssh/**", "/home/a/.ssh"));
  EXPECT_TRUE(matches("**.so", "/usr/lib/x.so"));
  EXPECT_TRUE(matches("*", "")) << "a star is nothing, too";
  EXPECT_TRUE(matches("/etc/shadow?", "/etc/shadow-"));
  EXPECT_FALSE(matches("/etc?shadow", "/etc/shadow"));
  EXPECT_TRUE(matches("a\\*b", "a*b"));
  EXPECT_FALSE(matches("a\\*b", "axb"));
  EXPECT_TRUE(matches("/**/x", "/a/b/x"));
  EXPECT_FALSE(matches("/a", "/ab"));
  EXPECT_FALSE(matches("/ab", "/a"));
  EXPECT_EQ(WhatIsWrongWithGlob("a\\"), "ends in a backslash");
  EXPECT_EQ(WhatIsWrongWithGlob(std::string(256, 'a')), "is longer than 255 bytes");
  EXPECT_EQ(WhatIsWrongWithGlob("a\\\\"), "");
}

/// The definition, by recursion.
bool Defined(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.starts_with("**")) {
    return Defined(pattern.substr(2), text) || (!text.empty() && Defined(pattern, text.substr(1)));
  }
  if (pattern[0] == '*') {
    return Defined(pattern.substr(1), text) || (!text.empty() && text[0] != '/' && Defined(pattern, text.substr(1)));
  }
  if (text.empty()) return false;
  if (pattern[0] == '?') return text[0] != '/' && Defined(pattern.substr(1), text.substr(1));
  if (pattern[0] == '\\') pattern.remove_prefix(1);
  return !pattern.empty() && pattern[0] == text[0] && Defined(pattern.substr(1), text.substr(1));
}

TEST(Glob, MatchesItsDefinitionOnRandomTexts) {
  std::mt19937 random(7);
  const auto any = [&random](std::string_view letters, size_t most) {
    std::string out;
    for (size_t n = random() % most; n > 0; --n) out += letters[random() % letters.size()];
    return out;
  };
  size_t matched = 0;
  for (int round = 0; round < 200'000; ++round) {
    const std::string pattern = any("ab/**?\\", 8), text = any("ab/", 9);
    if (!WhatIsWrongWithGlob(pattern).empty()) continue;
    ASSERT_EQ(GlobMatches(pattern, text), Defined(pattern, text)) << pattern << " on " << text;
    matched += GlobMatches(pattern, text) ? 1 : 0;
  }
  EXPECT_GT(matched, 5000u);
}

TEST(Glob, HostileTextsTakeBoundedTime) {
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "**a";
  EXPECT_FALSE(GlobMatches(pattern + "b", std::string(4096, 'a')));
}

TEST(SocketAddress, MappedAddressesAreTheirIpv4Ones) {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(80);
  inet_pton(AF_INET, "10.1.2.3", &four.sin_addr);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(80);
  inet_pton(AF_INET6, "::ffff:10.1.2.3", &six.sin6_addr);
  const auto bytes = [](const auto& address) { return std::string_view(reinterpret_cast<const char*>(&address), sizeof address); };
  const auto a = SocketAddress::FromBytes(bytes(four)), b = SocketAddress::FromBytes(bytes(six));
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->ip, b->ip);
  EXPECT_EQ(a->port, 80);
  EXPECT_EQ(b->family, AF_INET6);
  EXPECT_EQ(a->ToText(), "10.1.2.3:80");
  EXPECT_FALSE(SocketAddress::FromBytes(bytes(four).substr(0, 8)));
  EXPECT_TRUE(SocketAddress::FromBytes(bytes(six).substr(0, 24))) << "as the kernel takes it";
  EXPECT_FALSE(SocketAddress::FromBytes("x"));
}

TEST(SocketAddress, UnixPathsEndWhereTheKernelEndsThem) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, "/run/x\0junk", 11);
  const std::string_view bytes(reinterpret_cast<const char*>(&address), sizeof address);
  EXPECT_EQ(SocketAddress::FromBytes(bytes)->path, "/run/x");
  EXPECT_EQ(SocketAddress::FromBytes(bytes.substr(0, 6))->path, "/run") << "no NUL: the bytes end it";
  std::memcpy(address.sun_path, "\0abstract", 9);
  EXPECT_EQ(SocketAddress::FromBytes(bytes.substr(0, 2 + 9))->path, std::string_view("\0abstract", 9));
  EXPECT_EQ(SocketAddress::FromBytes(bytes.substr(0, 2 + 9))->ToText(), "unix:@abstract");
  EXPECT_EQ(SocketAddress::FromBytes(std::string_view("\x10\0\1\2", 4))->ToText(), "family 16");
}

TEST(IpNetwork, ContainsWhatItsPrefixSays) {
  const auto contains = [](std::string_view network, std::string_view address) {
    return IpNetwork::FromText(network)->Contains(IpNetwork::FromText(address)->ip);
  };
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.1"));
  EXPECT_TRUE(contains("192.168.0.0/31", "192.168.0.1"));
  EXPECT_FALSE(contains("192.168.0.0/31", "192.168.0.2"));
  EXPECT_TRUE(contains("0.0.0.0/0", "1.2.3.4"));
  EXPECT_FALSE(contains("0.0.0.0/0", "::1"));
  EXPECT_TRUE(contains("::/0", "1.2.3.4"));
  EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::1"));
  for (const char* bad : {"", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0/8", "x", "10.0.0.0/", "10.0.0.0/-1", "::1/64"}) {
    EXPECT_FALSE(IpNetwork::FromText(bad)) << bad;
  }
  for (const char* good : {"10.0.0.0/8", "2001:db8::/33", "::/0", "0.0.0.0/0", "10.1.2.3/32"}) {
    EXPECT_EQ(IpNetwork::FromText(good)->ToText(), good);
  }
  EXPECT_EQ(AddressFromText("[::1]:8080")->ToText(), "[::1]:8080");
  EXPECT_EQ(AddressFromText("127.0.0.1:0")->ToText(), "127.0.0.1:0");
  for (const char* bad : {"127.0.0.1", "::1:80", "[127.0.0.1]:80", "127.0.0.1:65536", ":80", "[::1]"}) {
    EXPECT_FALSE(AddressFromText(bad)) << bad;
  }
}

TEST(RateBuckets, ABucketHoldsItsLimitAndDrainsByItEachWindow) {
  constexpr uint64_t kSecond = 1'000'000'000;
  RateBuckets buckets(2);
  uint64_t now = 5 * kSecond;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(buckets.Exceeds(0, 10, kSecond, now)) << i;
  EXPECT_TRUE(buckets.Exceeds(0, 10, kSecond, now));
  EXPECT_FALSE(buckets.Exceeds(1, 10, kSecond, now)) << "another bucket";
  now += kSecond / 10;
  EXPECT_FALSE(buckets.Exceeds(0, 10, kSecond, now)) << "one has drained";
  EXPECT_TRUE(buckets.Exceeds(0, 10, kSecond, now));
  now += 60 * kSecond;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(buckets.Exceeds(0, 10, kSecond, now)) << "no more than full: " << i;
  EXPECT_TRUE(buckets.Exceeds(0, 10, kSecond, now));
  EXPECT_TRUE(buckets.Exceeds(0, 0, kSecond, now)) << "a limit of none";
  EXPECT_FALSE(buckets.Exceeds(7, 0, kSecond, now)) << "no such bucket";
}

TEST(Condition, ConstantsFoldAndJunctionsFlatten) {
  const Condition path = TextTest{Text::kPath0, Match::kExact, "/x"}, uid = NumberTest{Number::kUid, Width::k32, 0xffffffff, IntervalSet::Of(0)};
  EXPECT_EQ(Condition::And({Condition::True(), path}), path);
  EXPECT_EQ(Condition::And({path, Condition::False(), uid}).kind(), Condition::Kind::kFalse);
  EXPECT_EQ(Condition::Or({path, Condition::True()}).kind(), Condition::Kind::kTrue);
  EXPECT_EQ(Condition::Or({Condition::Or({path, uid}), path}).parts().size(), 3u);
  EXPECT_EQ(Condition::Not(Condition::Not(path)), path);
  EXPECT_EQ(Condition::And({}).kind(), Condition::Kind::kTrue);
  EXPECT_EQ(Condition::Or({}).kind(), Condition::Kind::kFalse);
  EXPECT_EQ(Condition::And({path, uid}).facts(), kFactPath0 | kFactUid);
  const Condition rate = RateTest{1, 1, 0};
  EXPECT_EQ(Condition::And({rate, Condition::False()}).kind(), Condition::Kind::kAnd) << "it counts all the same";
}

}  // namespace
}  // namespace isla::sandbox
