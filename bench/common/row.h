// Rows of a figure beside its peer, and the quantiles that they are made of.
//
// A row compares two things measured in the same rounds, in short turns of one and the other, so that a machine that is busy is
// busy for both. Its ratio is the median of the rounds' ratios. Nothing asserts a time.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace isla::bench {

using Clk = std::chrono::steady_clock;

inline double Since(Clk::time_point begin) { return std::chrono::duration<double>(Clk::now() - begin).count(); }

/// 0 of nothing.
double Quantile(std::vector<double> values, double q);
inline double Median(std::vector<double> values) { return Quantile(std::move(values), 0.5); }

/// A figure of ours beside a peer's, over the rounds.
class Row {
 public:
  enum class By { kRatio, kDifference, kInverse, kOurs };  // ours / theirs; ours - theirs; theirs / ours; ours alone
  enum class Aim { kNone, kAtMost, kAtLeast };

  Row(std::string what, std::string unit, std::string peer, By by = By::kRatio, Aim aim = Aim::kNone, double bound = 0)
      : what_(std::move(what)), unit_(std::move(unit)), peer_(std::move(peer)), by_(by), aim_(aim), bound_(bound) {}

  void Add(double ours, double theirs = 0);
  void Print() const;
  static void PrintHeader();

 private:
  const std::string what_, unit_, peer_;
  const By by_;
  const Aim aim_;
  const double bound_;
  std::vector<double> ours_, theirs_, compared_;
};

}  // namespace isla::bench
