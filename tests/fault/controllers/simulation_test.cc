// The controllers under every fault that the simulation knows. ISLA_SIM_SEED=n runs that seed alone, and
// ISLA_SIM_RUNS=n as many seeds for each plan.
#include "tests/fault/controllers/simulation.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "api/base/log.h"

namespace isla::controllers {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

struct Totals {
  int placed = 0, fenced = 0, crashes = 0, ended = 0;
};

Totals RunSeeds(SimPlan plan) {
  SetLogLevel(LogLevel::kError);
  const uint64_t only = FromEnvironment("ISLA_SIM_SEED", 0);
  const uint64_t runs = only != 0 ? 1 : FromEnvironment("ISLA_SIM_RUNS", 6);
  Totals totals;
  for (uint64_t i = 0; i < runs; ++i) {
    plan.seed = only != 0 ? only : 1000 + i;
    Simulation simulation(plan);
    simulation.Run();
    for (const std::string& error : simulation.errors()) ADD_FAILURE() << "seed " << plan.seed << ": " << error;
    totals.placed += simulation.placed();
    totals.fenced += simulation.fenced();
    totals.crashes += simulation.crashes();
    totals.ended += simulation.ended();
  }
  return totals;
}

TEST(Simulation, ConvergesWithoutFaults) {
  const Totals totals = RunSeeds({});
  EXPECT_GT(totals.placed, 10);
  EXPECT_GT(totals.ended, 10);
  EXPECT_EQ(totals.fenced, 0);
}

TEST(Simulation, ConvergesWhenViewsAreStale) {
  SimPlan plan;
  plan.stale = 0.9;
  EXPECT_GT(RunSeeds(plan).placed, 10);
}

TEST(Simulation, ConvergesWhenWritesAreLostUnknownOrLate) {
  SimPlan plan;
  plan.faults = {.dropped = 0.15, .unknown_done = 0.15, .unknown_not_done = 0.15, .late = 0.1, .read_fails = 0.3};
  EXPECT_GT(RunSeeds(plan).placed, 10);
}

TEST(Simulation, ConvergesWhenTheLeaderDiesAfterAnyWrite) {
  SimPlan plan;
  plan.crash = 0.2;
  EXPECT_GT(RunSeeds(plan).crashes, 10);
}

TEST(Simulation, NoWriteOfAnOldLeaderLands) {
  SimPlan plan;
  plan.leader_change = 0.02;
  plan.stale = 0.5;
  EXPECT_GT(RunSeeds(plan).fenced, 3);
}

TEST(Simulation, ConvergesWhenNodesRefuseAndReboot) {
  SimPlan plan;
  plan.nack = 0.3;
  plan.reboot = 0.02;
  EXPECT_GT(RunSeeds(plan).placed, 10);
}

TEST(Simulation, ConvergesUnderAllOfItAtOnce) {
  SimPlan plan;
  plan.faults = {.dropped = 0.1, .unknown_done = 0.1, .unknown_not_done = 0.1, .late = 0.1, .read_fails = 0.2};
  plan.crash = 0.05;
  plan.leader_change = 0.01;
  plan.nack = 0.15;
  plan.reboot = 0.01;
  plan.stale = 0.5;
  EXPECT_GT(RunSeeds(plan).placed, 10);
}

}  // namespace
}  // namespace isla::controllers
