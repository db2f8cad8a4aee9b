#include "api/base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace isla {
namespace {

using ::testing::HasSubstr;

TEST(Metrics, PrintsWhatWasCounted) {
  Metrics metrics;
  metrics.AddCounter("isla_test_things_total", "things", {{"kind", "a"}}).Increment(2);
  metrics.AddGauge("isla_test_level", "level").Set(7);
  metrics.AddHistogram("isla_test_seconds", "time").Observe(0.003);
  const std::string text = metrics.Serialize();
  EXPECT_THAT(text, HasSubstr("isla_test_things_total{kind=\"a\"} 2"));
  EXPECT_THAT(text, HasSubstr("isla_test_level 7"));
  EXPECT_THAT(text, HasSubstr("isla_test_seconds_bucket{le=\"0.005\"} 1"));
  EXPECT_THAT(text, HasSubstr("# HELP isla_test_things_total things"));
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameMetric) {
  Metrics metrics;
  metrics.AddCounter("isla_test_total", "t", {{"code", "OK"}}).Increment();
  metrics.AddCounter("isla_test_total", "t", {{"code", "OK"}}).Increment();
  metrics.AddCounter("isla_test_total", "t", {{"code", "ABORTED"}}).Increment(5);
  EXPECT_EQ(metrics.AddCounter("isla_test_total", "t", {{"code", "OK"}}).value(), 2);
}

TEST(Metrics, AHandleMadeByDefaultCountsNothing) {
  const Counter counter;
  counter.Increment();
  EXPECT_EQ(counter.value(), 0);
  Gauge().Set(3);
  Histogram().Observe(1);
}

}  // namespace
}  // namespace isla
