#include "bench/common/row.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace isla::bench {

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

void Row::Add(double ours, double theirs) {
  ours_.push_back(ours);
  theirs_.push_back(theirs);
  switch (by_) {
    case By::kRatio: compared_.push_back(ours / theirs); break;
    case By::kDifference: compared_.push_back(ours - theirs); break;
    case By::kInverse: compared_.push_back(theirs / ours); break;
    case By::kOurs: compared_.push_back(ours); break;
  }
}

void Row::PrintHeader() {
  std::printf("%-48s %12s  %-26s %12s  %-16s %s\n", "", "isla", "beside", "", "", "aim");
}

void Row::Print() const {
  const double compared = Median(compared_);
  const bool met = aim_ == Aim::kAtLeast ? compared >= bound_ : compared <= bound_;
  const char* const sign = aim_ == Aim::kAtLeast ? ">=" : "<=";
  const std::string verdict = by_ == By::kDifference ? fmt::format("{:+.0f} {}", compared, unit_)
                              : by_ == By::kRatio    ? fmt::format("ratio {:.2f}", compared)
                              : by_ == By::kOurs     ? std::string()
                                                     : fmt::format("{:.1f} times better", compared);
  std::string aim;
  if (aim_ != Aim::kNone) aim = fmt::format("{} {:g}  {}", sign, bound_, met ? "met" : "MISSED");
  std::printf("%-48s %12s  %-26s %12s  %-16s %s\n", what_.c_str(), fmt::format("{:.1f} {}", Median(ours_), unit_).c_str(),
              peer_.c_str(), by_ == By::kOurs ? "" : fmt::format("{:.1f} {}", Median(theirs_), unit_).c_str(), verdict.c_str(), aim.c_str());
  std::fflush(stdout);
}

}  // namespace isla::bench
