#include <gtest/gtest.h>

#include "controllers/gateway/run_batch.h"

namespace isla::controllers {
namespace {

isla::v1::Report Report(uint64_t sequence, const std::string& uid) {
  isla::v1::Report report;
  report.set_sequence(sequence);
  report.set_uid(uid);
  report.set_incarnation(1);
  return report;
}

TEST(ReportQueue, NothingIsAcknowledgedBeforeTheFirstIsDone) {
  ReportQueue queue;
  queue.Add(Report(5, "a"));
  queue.Add(Report(6, "b"));
  EXPECT_EQ(queue.done_up_to(), 4U);
  queue.Done(6);
  EXPECT_EQ(queue.done_up_to(), 4U);
  queue.Done(5);
  EXPECT_EQ(queue.done_up_to(), 6U);
}

TEST(ReportQueue, ANewerReportOfAContainerReplacesTheOlder) {
  ReportQueue queue;
  queue.Add(Report(1, "a"));
  queue.Add(Report(2, "b"));
  queue.Add(Report(3, "a"));
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_EQ(queue.done_up_to(), 0U);
  queue.Done(2);
  EXPECT_EQ(queue.done_up_to(), 0U);  // what 1 said isn't kept before 3 is
  queue.Done(3);
  EXPECT_EQ(queue.done_up_to(), 3U);
}

TEST(ReportQueue, AnOlderReportThatComesLateChangesNothing) {
  ReportQueue queue;
  queue.Add(Report(7, "a"));
  queue.Add(Report(3, "a"));
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(queue.pending().begin()->first, 7U);
}

TEST(ReportQueue, DoneOfAReportThatWasReplacedMeanwhileKeepsTheNewer) {
  ReportQueue queue;
  queue.Add(Report(1, "a"));
  queue.Add(Report(2, "a"));
  queue.Done(1);
  EXPECT_EQ(queue.size(), 1U);
  queue.Add(Report(3, "a"));
  EXPECT_EQ(queue.size(), 1U);
}

}  // namespace
}  // namespace isla::controllers
