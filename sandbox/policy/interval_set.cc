#include "sandbox/policy/interval_set.h"

#include <fmt/format.h>

#include <algorithm>

namespace isla::sandbox {
namespace {

constexpr uint64_t kMax = ~uint64_t{0};

std::vector<Interval> Normal(std::vector<Interval> in) {
  std::sort(in.begin(), in.end(), [](const Interval& a, const Interval& b) { return a.first < b.first; });
  std::vector<Interval> out;
  for (const Interval& each : in) {
    if (!out.empty() && (out.back().last == kMax || each.first <= out.back().last + 1)) {
      out.back().last = std::max(out.back().last, each.last);
    } else {
      out.push_back(each);
    }
  }
  return out;
}

}  // namespace

IntervalSet::IntervalSet(std::initializer_list<Interval> intervals)
    : IntervalSet(std::vector<Interval>(intervals)) {}
IntervalSet::IntervalSet(std::vector<Interval> intervals) : intervals_(Normal(std::move(intervals))) {}

bool IntervalSet::Contains(uint64_t value) const {
  const auto after = std::upper_bound(intervals_.begin(), intervals_.end(), value,
                                      [](uint64_t v, const Interval& each) { return v < each.first; });
  return after != intervals_.begin() && value <= std::prev(after)->last;
}

IntervalSet IntervalSet::Complement(uint64_t max) const {
  IntervalSet out;
  uint64_t next = 0;
  for (const Interval& each : intervals_) {
    if (each.first > max) break;
    if (each.first > next) out.intervals_.push_back({next, each.first - 1});
    if (each.last >= max) return out;
    next = each.last + 1;
  }
  out.intervals_.push_back({next, max});
  return out;
}

IntervalSet IntervalSet::Union(const IntervalSet& other) const {
  std::vector<Interval> all = intervals_;
  all.insert(all.end(), other.intervals_.begin(), other.intervals_.end());
  return IntervalSet(std::move(all));
}

IntervalSet IntervalSet::Intersection(const IntervalSet& other) const {
  IntervalSet out;
  auto a = intervals_.begin();
  auto b = other.intervals_.begin();
  while (a != intervals_.end() && b != other.intervals_.end()) {
    const uint64_t first = std::max(a->first, b->first), last = std::min(a->last, b->last);
    if (first <= last) out.intervals_.push_back({first, last});
    if (a->last < b->last) {
      ++a;
    } else {
      ++b;
    }
  }
  return out;
}

std::string IntervalSet::ToText() const {
  if (empty()) return "none";
  std::string out;
  for (const Interval& each : intervals_) {
    if (!out.empty()) out += ", ";
    out += each.first == each.last ? fmt::format("{:#x}", each.first) : fmt::format("{:#x}..{:#x}", each.first, each.last);
  }
  return out;
}

}  // namespace isla::sandbox
