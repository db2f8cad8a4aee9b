#include "api/object/table.h"

#include <gtest/gtest.h>

#include "tests/unit/object/object_util.h"

namespace isla::api {
namespace {

/// "Column=cell" of each, for the columns that are always shown, or for the wide ones.
std::string Row(const Kind& kind, std::string_view object, int priority = 0) {
  const WallTime now = ParseRfc3339("2026-01-01T01:00:00Z").value();
  const json::Array cells = CellsOf(kind, Read(object), now);
  const std::vector<Column>& columns = ColumnsOf(kind);
  EXPECT_EQ(cells.size(), columns.size());
  std::string out;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].priority == priority) out += fmt::format("{}{}={}", out.empty() ? "" : " ", columns[i].name, cells[i].as_string());
  }
  return out;
}

TEST(Table, ASessionThatRanShowsHowItEnded) {
  const std::string_view session = R"({"metadata":{"name":"x","creationTimestamp":"2026-01-01T00:55:00Z"},
    "spec":{"image":"host","resources":{"cpu":"500m","memory":"64Mi"}},
    "status":{"phase":"Failed","reason":"Error","exitCode":3,"startedAt":"a","finishedAt":"b",
              "containers":[{"node":"n1","incarnation":2,"scope":"isla-u-2.scope"}]}})";
  EXPECT_EQ(Row(SessionKind(), session), "Name=x Phase=Failed Reason=Error Node=n1 Exit=3 Age=5m");
  EXPECT_EQ(Row(SessionKind(), session, 1), "Image=host CPU=500m Memory=64Mi Incarnation=2 Scope=isla-u-2.scope Policy=<none>");
}

TEST(Table, AnExitCodeOfZeroIsShownOnceItHasEnded) {
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x"},"status":{"phase":"Succeeded","reason":"Completed","exitCode":0,"startedAt":"a","finishedAt":"b"}})"),
            "Name=x Phase=Succeeded Reason=Completed Node=<none> Exit=0 Age=<unknown>");
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x"},"status":{"phase":"Running","startedAt":"a"}})"),
            "Name=x Phase=Running Reason=<none> Node=<none> Exit=<none> Age=<unknown>");
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x"},"status":{"phase":"Cancelled","finishedAt":"b"}})"),
            "Name=x Phase=Cancelled Reason=<none> Node=<none> Exit=<none> Age=<unknown>");
}

TEST(Table, ASessionThatNeverStartedOrWasLostHasNoExitCode) {
  // As an older islad wrote it.
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x"},"status":{"phase":"Failed","reason":"StartError","exitCode":0,"finishedAt":"b"}})"),
            "Name=x Phase=Failed Reason=StartError Node=<none> Exit=<none> Age=<unknown>");
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x"},"status":{"phase":"Cancelled","reason":"Stopped","exitCode":143,"finishedAt":"b"}})"),
            "Name=x Phase=Cancelled Reason=Stopped Node=<none> Exit=<none> Age=<unknown>");
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x"},"status":{"phase":"Failed","reason":"Lost","startedAt":"a","finishedAt":"b"}})"),
            "Name=x Phase=Failed Reason=Lost Node=<none> Exit=<none> Age=<unknown>");
}

TEST(Table, ASessionThatWaitsSaysWhy) {
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x","creationTimestamp":"2026-01-01T00:59:58Z"},
    "status":{"phase":"Pending","conditions":[{"type":"Ready","status":"False","reason":"no"},
                                              {"type":"Scheduled","status":"False","reason":"OutOfCpu"}]}})"),
            "Name=x Phase=Pending Reason=OutOfCpu Node=<none> Exit=<none> Age=2s");
}

TEST(Table, ANewSessionIsPendingAndADeletedOneTerminating) {
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x","creationTimestamp":"2026-01-01T01:00:00Z"}})"),
            "Name=x Phase=Pending Reason=<none> Node=<none> Exit=<none> Age=0s");
  EXPECT_EQ(Row(SessionKind(), R"({"metadata":{"name":"x","deletionTimestamp":"t"},"status":{"phase":"Running"}})"),
            "Name=x Phase=Terminating Reason=<none> Node=<none> Exit=<none> Age=<unknown>");
}

TEST(Table, ASessionUnderAnOlderVersionOfItsPolicySaysWhy) {
  const std::string_view session = R"({"metadata":{"name":"x"},"spec":{"sandbox":{"policy":"web"}},
    "status":{"phase":"Running","conditions":[{"type":"PolicyCurrent","status":"False","reason":"PolicyRestartRequired"}],
              "containers":[{"node":"n1","incarnation":1,"policyVersion":"0123456789abcdef0123"}]}})";
  EXPECT_EQ(Row(SessionKind(), session), "Name=x Phase=Running Reason=PolicyRestartRequired Node=n1 Exit=<none> Age=<unknown>");
  EXPECT_EQ(Row(SessionKind(), session, 1), "Image=<none> CPU=<none> Memory=<none> Incarnation=1 Scope=<none> Policy=web@0123456789ab");
}

TEST(Table, GarbageHasCellsToo) {
  for (const char* object : {"{}", "[]", "null", R"({"metadata":1,"status":[]})",
                             R"({"status":{"containers":{},"conditions":1,"exitCode":"x","phase":{},"finishedAt":"b"}})",
                             R"({"status":{"containers":[1],"conditions":[null]}})"}) {
    for (const Kind& kind : AllKinds()) EXPECT_NE(Row(kind, object), "") << object;
  }
}

TEST(Table, NodesShowWhetherTheyAreReady) {
  const std::string_view node = R"({"metadata":{"name":"n1","creationTimestamp":"2025-12-30T01:00:00Z"},
    "status":{"connected":true,"conditions":[{"type":"Ready","status":"True"}],"capacity":{"cpu":"2","memory":"4Gi"},
              "kernel":"6.1.0","agentVersion":"0.1.0","gateway":"islad-1","orphans":[{"uid":"u"}]}})";
  EXPECT_EQ(Row(NodeKind(), node), "Name=n1 Status=Ready CPU=2 Memory=4Gi Age=2d");
  EXPECT_EQ(Row(NodeKind(), node, 1), "Kernel=6.1.0 Agent=0.1.0 Gateway=islad-1 Orphans=1");
  EXPECT_EQ(Row(NodeKind(), R"({"metadata":{"name":"n"},"status":{"connected":true,"conditions":[{"type":"Ready","status":"Unknown"}]}})"),
            "Name=n Status=NotReady CPU=<none> Memory=<none> Age=<unknown>");
}

TEST(Table, ProjectsShowTheirPhase) {
  EXPECT_EQ(Row(ProjectKind(), R"({"metadata":{"name":"default"}})"), "Name=default Status=Active Age=<unknown>");
  EXPECT_EQ(Row(ProjectKind(), R"({"metadata":{"name":"p","deletionTimestamp":"t"},"status":{"phase":"Active"}})"),
            "Name=p Status=Terminating Age=<unknown>");
}

TEST(Table, TheFirstColumnIsTheNameAndHeadersHaveNoSpaces) {
  for (const Kind& kind : AllKinds()) {
    EXPECT_EQ(ColumnsOf(kind)[0].format, "name");
    for (const Column& column : ColumnsOf(kind)) EXPECT_EQ(column.name.find(' '), std::string::npos);
  }
}

}  // namespace
}  // namespace isla::api
