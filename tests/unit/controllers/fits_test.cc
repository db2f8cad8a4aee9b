#include "api/base/fits.h"

#include <gtest/gtest.h>

#include <limits>

namespace isla {
namespace {

constexpr Resources kNode{4000, int64_t{8} << 30, 1000};

TEST(Fits, ExactlyTheWholeNodeFits) { EXPECT_EQ(Fits(kNode, kNode, {}), Fit::kFits); }

TEST(Fits, NamesTheFirstResourceThatIsShort) {
  EXPECT_EQ(Fits({1, 0, 0}, kNode, {4000, 0, 0}), Fit::kOutOfCpu);
  EXPECT_EQ(Fits({0, 1, 0}, kNode, {0, int64_t{8} << 30, 0}), Fit::kOutOfMemory);
  EXPECT_EQ(Fits({0, 0, 2}, kNode, {0, 0, 999}), Fit::kOutOfTasks);
  EXPECT_EQ(FitReason(Fit::kOutOfTasks), "OutOfTasks");
}

TEST(Fits, ANodeUsedBeyondItsCapacityHasNothingLeft) {
  EXPECT_EQ(Fits({1, 0, 0}, {1000, 1, 1}, {2000, 0, 0}), Fit::kOutOfCpu);
  EXPECT_EQ(Fits({0, 0, 0}, {1000, 1, 1}, {2000, 9, 9}), Fit::kFits);
}

TEST(Fits, SumsDoNotOverflow) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(Add({most, most, most}, {1, 1, 1}), (Resources{most, most, most}));
  EXPECT_EQ(Fits({most, 0, 0}, kNode, {1, 0, 0}), Fit::kOutOfCpu);
}

TEST(Fits, TheMessageSaysWhatIsFree) {
  EXPECT_EQ(FitMessage(Fit::kOutOfCpu, {2000, 0, 0}, kNode, {3500, 0, 0}),
            "cpu: asks for 2000m, 500m of 4000m are free");
}

}  // namespace
}  // namespace isla
