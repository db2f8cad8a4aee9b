// Random policies and calls near their boundaries, from a seed: what compiler, table and diff are compared on.
#pragma once

#include <fmt/format.h>

#include <array>
#include <random>
#include <string>
#include <vector>

#include "sandbox/policy/policy.h"

namespace isla::sandbox {

class RandomPolicies {
 public:
  struct Shape {
    Arch arch = kNativeArch;
    size_t calls = 6;          // how many numbers have rules
    size_t most_rules = 6;     // of a call
    size_t most_depth = 3;     // of a condition
    bool facts = true;         // paths, addresses, uid; else arguments only
    bool rates = false;
    bool supervisor = true;    // actions that the kernel can't do alone
    bool inequalities = true;  // else == and != under a mask only
    Mode mode = Mode::kEnforce;
  };

  explicit RandomPolicies(uint64_t seed) : random_(seed) {}

  Policy Make(const Shape& shape) {
    shape_ = shape;
    buckets_ = 0;
    Policy policy;
    policy.arch = shape.arch;
    policy.mode = shape.mode;
    policy.rules[0].action = RandomAction(0, false);  // for calls that nobody may be asked about, too
    numbers_.clear();
    for (size_t i = 0; i < shape.calls; ++i) {
      // None of the calls that must not be notified: those are below 300, but for execveat.
      const int number = 300 + static_cast<int>(Below(120));
      if (number == 322 || policy.calls.count(number) != 0) continue;
      numbers_.push_back(number);
      for (size_t n = Below(shape.most_rules + 1); n > 0; --n) {
        const RuleId rule = policy.AddRule(fmt::format("rule {}", policy.rules.size()), RandomAction(policy.rules.size(), shape.supervisor));
        policy.Append(number, rule, Below(8) == 0 ? Condition::True() : RandomCondition(shape.most_depth));
      }
    }
    return policy;
  }

  /// A call of the last policy: mostly one with rules, with values near those of its tests.
  NotifiedCall RandomCall() {
    NotifiedCall call;
    call.number = Below(16) == 0 || numbers_.empty() ? static_cast<int>(Below(600)) : numbers_[Below(numbers_.size())];
    for (uint64_t& argument : call.arguments) argument = NearValue();
    call.known = 0xff;
    for (std::string_view& path : call.paths) path = kPaths[Below(kPaths.size())];
    call.executable = kPaths[Below(kPaths.size())];
    call.uid = static_cast<uint32_t>(NearValue());
    for (uint64_t& field : call.fields) field = NearValue();
    constexpr uint16_t kFamilies[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    call.address.family = kFamilies[Below(4)];
    call.address.port = static_cast<uint16_t>(NearValue());
    call.address.ip = IpNetwork::FromText(kAddresses[Below(kAddresses.size())])->ip;
    call.address.path = kPaths[Below(kPaths.size())];
    return call;
  }

  size_t Below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_); }
  uint32_t buckets() const { return buckets_; }
  const std::vector<int>& numbers() const { return numbers_; }

 private:
  static constexpr std::array<uint64_t, 14> kValues = {
      0, 1, 2, 7, 8, 64, 0x80, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x100000007, 0x7fffffffffffffff, ~uint64_t{0}};
  static constexpr std::array<std::string_view, 12> kPaths = {
      "/", "/etc", "/etc/shadow", "/etc/shadow2", "/etcetera", "/usr/lib/x", "/usr/lib", "/usr/lib/x/y.so", "", "/home/a/.ssh/id",
      "/home/b/c", "/usr/libx"};
  static constexpr std::array<std::string_view, 8> kPatterns = {
      "/etc/*", "/usr/**", "/home/*/.ssh/**", "**/x", "/etc/shado?", "/usr/lib*", "/**/y.so", "*"};
  static constexpr std::array<std::string_view, 7> kAddresses = {
      "10.0.0.1", "10.1.2.3", "192.168.0.1", "127.0.0.1", "::1", "2001:db8::5", "::ffff:10.0.0.1"};
  static constexpr std::array<std::string_view, 7> kNetworks = {
      "10.0.0.0/8", "10.0.0.0/16", "0.0.0.0/0", "::/0", "2001:db8::/32", "127.0.0.1", "192.168.0.0/31"};

  uint64_t NearValue() {
    uint64_t value = kValues[Below(kValues.size())];
    switch (Below(6)) {
      case 0: return value + 1;
      case 1: return value - 1;
      case 2: return value | (uint64_t{1} << 32);
      case 3: return value ^ (uint64_t{1} << Below(64));
      default: return value;
    }
  }

  Action RandomAction(size_t which, bool supervisor) {
    // Different ones, so that a wrong rule shows.
    switch (Below(supervisor ? 7 : 4)) {
      case 0: return Action::Allow();
      case 1: return Action::Kill();
      case 2: return Action::Of(Action::Kind::kLog);
      case 3: return Action::Errno(static_cast<int>(which % 90) + 1);
      case 4: return Action::Of(Action::Kind::kPerform);
      case 5: return Action::Of(Action::Kind::kEmulate, fmt::format("e{}", which));
      default: return {Action::Kind::kSpoof, 0, static_cast<int64_t>(which), {}};
    }
  }

  NumberTest RandomNumber() {
    NumberTest test;
    const size_t last = shape_.facts && Below(4) == 0 ? kNumbers : 3;
    test.number = static_cast<Number>(Below(last));
    test.width = static_cast<Width>(Below(3));
    constexpr uint64_t kMasks[] = {~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}, 3, 8, 0xf00000007, 0xffff0000ffff, 0x8000000000000000};
    test.mask = kMasks[Below(8)] & MaskOf(test.width);
    std::vector<Interval> intervals;
    for (size_t n = 1 + Below(3); n > 0; --n) {
      uint64_t a = NearValue() & test.mask, b = shape_.inequalities && Below(2) == 0 ? NearValue() & MaskOf(test.width) : a;
      intervals.push_back({std::min(a, b), std::max(a, b)});
      if (!shape_.inequalities) break;
    }
    test.values = IntervalSet(std::move(intervals));
    if (Below(4) == 0) test.values = test.values.Complement(MaskOf(test.width));
    return test;
  }

  Condition RandomTest() {
    if (!shape_.facts || Below(3) != 0) return RandomNumber();
    switch (Below(shape_.rates ? 4 : 3)) {
      case 0: {
        const auto match = static_cast<Match>(Below(3));
        const std::string_view pattern = match == Match::kGlob ? kPatterns[Below(kPatterns.size())] : kPaths[Below(kPaths.size())];
        return TextTest{static_cast<Text>(Below(4)), match, std::string(pattern)};
      }
      case 1: return NetworkTest{*IpNetwork::FromText(kNetworks[Below(kNetworks.size())])};
      case 2: return NumberTest{Number::kUid, Width::k32, 0xffffffff, IntervalSet::Of(NearValue() & 0xffffffff)};
      default: return RateTest{static_cast<uint32_t>(Below(4)), 1, buckets_++};
    }
  }

  Condition RandomCondition(size_t depth) {
    if (depth == 0 || Below(3) == 0) return RandomTest();
    std::vector<Condition> parts;
    for (size_t n = 1 + Below(3); n > 0; --n) parts.push_back(RandomCondition(depth - 1));
    switch (Below(3)) {
      case 0: return Condition::Not(Condition::And(std::move(parts)));
      case 1: return Condition::And(std::move(parts));
      default: return Condition::Or(std::move(parts));
    }
  }

  std::mt19937_64 random_;
  Shape shape_;
  uint32_t buckets_ = 0;
  std::vector<int> numbers_;
};

}  // namespace isla::sandbox
