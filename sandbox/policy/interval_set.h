// A set of unsigned 64-bit numbers as closed intervals: what a test of a number accepts. Every comparison that
// a policy can state (==, <, in, signed ones too) is such a set, so negation is the complement, "and" the
// intersection, and "can't ever hold" is emptiness. A regular value type.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace isla::sandbox {

struct Interval {
  uint64_t first = 0, last = 0;  // both within; first <= last
  friend bool operator==(const Interval&, const Interval&) = default;
};

class IntervalSet {
 public:
  IntervalSet() = default;  // empty
  /// The union; in any order, overlapping as they like.
  IntervalSet(std::initializer_list<Interval> intervals);
  explicit IntervalSet(std::vector<Interval> intervals);
  static IntervalSet Of(uint64_t value) { return IntervalSet({{value, value}}); }
  static IntervalSet Range(uint64_t first, uint64_t last) { return IntervalSet({{first, last}}); }
  static IntervalSet All() { return IntervalSet({{0, ~uint64_t{0}}}); }

  bool empty() const { return intervals_.empty(); }
  bool Contains(uint64_t value) const;
  /// Sorted, disjoint, none touching the next.
  const std::vector<Interval>& intervals() const { return intervals_; }

  /// The numbers from 0 to `max` that are not in this.
  IntervalSet Complement(uint64_t max = ~uint64_t{0}) const;
  IntervalSet Union(const IntervalSet& other) const;
  IntervalSet Intersection(const IntervalSet& other) const;

  /// "5", "0..3", "0..3, 7", "none".
  std::string ToText() const;

  friend bool operator==(const IntervalSet&, const IntervalSet&) = default;

 private:
  std::vector<Interval> intervals_;
};

}  // namespace isla::sandbox
