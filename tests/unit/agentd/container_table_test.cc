#include "agentd/container_table.h"

#include <gtest/gtest.h>

namespace isla::agent {
namespace {

constexpr Phase kPhases[] = {Phase::kAccepted, Phase::kStarting, Phase::kCreated, Phase::kRunning, Phase::kEnding,
                             Phase::kExited,   Phase::kCleaning, Phase::kGone,    Phase::kRefused, Phase::kAdopting};

TEST(ContainerTable, OnlyWhatNeverBeganIsStarted) {
  for (const Phase phase : kPhases) {
    for (const Desired desired : {Desired::kRun, Desired::kStop, Desired::kOrphan}) {
      const bool starts = NextAction(desired, phase) == Action::kStart;
      EXPECT_EQ(starts, desired == Desired::kRun && phase == Phase::kAccepted) << PhaseName(phase);
    }
  }
}

TEST(ContainerTable, AnOrphanIsNeverTouched) {
  for (const Phase phase : kPhases) EXPECT_EQ(NextAction(Desired::kOrphan, phase), Action::kNone) << PhaseName(phase);
}

TEST(ContainerTable, RunNeverStopsOrRemovesAnything) {
  for (const Phase phase : kPhases) {
    const Action action = NextAction(Desired::kRun, phase);
    EXPECT_TRUE(action == Action::kNone || action == Action::kStart) << PhaseName(phase);
  }
}

TEST(ContainerTable, StopLeadsOnFromEveryPhaseThatIsNotOnItsWay) {
  for (const Phase phase : {Phase::kAccepted, Phase::kStarting, Phase::kCreated, Phase::kRunning, Phase::kExited}) {
    EXPECT_NE(NextAction(Desired::kStop, phase), Action::kNone) << PhaseName(phase);
  }
}

TEST(ContainerTable, ResourcesAreHeldAsLongAsAProcessMayBeThere) {
  for (const Phase phase : kPhases) {
    const bool over = phase == Phase::kExited || phase == Phase::kCleaning || phase == Phase::kGone || phase == Phase::kRefused;
    EXPECT_EQ(HoldsResources(phase), !over) << PhaseName(phase);
  }
}

}  // namespace
}  // namespace isla::agent
