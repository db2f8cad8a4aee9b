#include "cli/describe.h"

#include <gtest/gtest.h>

namespace isla::cli {
namespace {

const WallTime kNow = *ParseRfc3339("2026-11-22T10:00:10Z");

TEST(Describe, ACommandThatWasNeverStartedHasNoExitCode) {
  const json::Value object = *json::Parse(R"({"apiVersion":"isla/v1","kind":"Session","metadata":{"name":"x"},"spec":{"command":["nothing"]},
    "status":{"phase":"Failed","reason":"CommandNotFound","message":"execute nothing: No such file or directory","exitCode":0,"finishedAt":"2026-11-22T10:00:03Z",
      "containers":[{"name":"main","state":"Exited","exitCode":0,"cause":"start-error","finishedAt":"2026-11-22T10:00:03Z"}]}})");
  const std::string text = DescribeObject(object, kNow);
  EXPECT_NE(text.find("CommandNotFound"), std::string::npos) << text;
  EXPECT_EQ(text.find("Exit Code"), std::string::npos) << text;
}

TEST(Describe, SessionHasItsSections) {
  const json::Value object = *json::Parse(R"({"apiVersion":"isla/v1","kind":"Session",
    "metadata":{"name":"hello","namespace":"default","uid":"u-1","generation":1,"createdBy":"root","creationTimestamp":"2026-11-22T10:00:00Z",
      "labels":{"a":"b"},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","note":"x"}},
    "spec":{"type":"batch","image":"host","command":["sh","-c","echo 'hi'"],"env":[{"name":"A","value":"1"}],"resources":{"cpu":"500m","memory":"64Mi"},
      "mounts":[{"hostPath":"/a","mountPath":"/b"},{"hostPath":"/c","mountPath":"/d","readOnly":false}]},
    "status":{"phase":"Failed","reason":"OOMKilled","exitCode":137,"startedAt":"2026-11-22T10:00:02.000000Z","finishedAt":"2026-11-22T10:00:03.250000Z",
      "conditions":[{"type":"Scheduled","status":"True","reason":"Placed","lastTransitionTime":"2026-11-22T10:00:01Z"}],
      "containers":[{"name":"main","state":"Exited","node":"n1","scope":"isla-x.scope","startedAt":"2026-11-22T10:00:02.000000Z","finishedAt":"2026-11-22T10:00:03.250000Z","exitCode":137,"signal":9,"cause":"oom","peakMemoryBytes":67108864,"cpuTimeUsec":1500}],
      "history":[{"phase":"Pending","at":"2026-11-22T10:00:00.000000Z"},{"phase":"Running","at":"2026-11-22T10:00:00.012500Z"},
                 {"phase":"Failed","at":"2026-11-22T10:00:03.250000Z","reason":"OOMKilled","message":"used more than 64Mi"}]}})");
  EXPECT_EQ(DescribeObject(object, kNow),
            R"(Name:               hello
Namespace:          default
Labels:             a=b
Annotations:        note: x
API Version:        isla/v1
Kind:               Session
UID:                u-1
Created:            2026-11-22T10:00:00Z (10s ago)
Created By:         root
Generation:         1
Phase:              Failed
Reason:             OOMKilled
Started:            2026-11-22T10:00:02.000000Z (8s ago)
Finished:           2026-11-22T10:00:03.250000Z (6s ago)
Duration:           1.25s
Exit Code:          137
Spec:
  Type:             batch
  Image:            host
  Command:          sh -c 'echo '\''hi'\'''
  Environment:
    A:              1
  CPU:              500m
  Memory:           64Mi
  Mounts:
    /b    from /a   (ro)
    /d    from /c   (rw)
Conditions:
  TYPE        STATUS   AGE   REASON   MESSAGE
  Scheduled   True     9s    Placed
Containers:
  main:
    State:          Exited
    Node:           n1
    Scope:          isla-x.scope
    Cause:          oom
    Signal:         9
    Exit Code:      137
    Peak Memory:    64Mi
    CPU Time:       1.5ms
History:
  PHASE     AT                            AFTER     REASON      MESSAGE
  Pending   2026-11-22T10:00:00.000000Z   +0ms
  Running   2026-11-22T10:00:00.012500Z   +12.5ms
  Failed    2026-11-22T10:00:03.250000Z   +3.25s    OOMKilled   used more than 64Mi
)");
}

TEST(Describe, TheVersionOfAPolicyThatIsInForceAndTheOneThatIsNot) {
  const json::Value object = *json::Parse(R"({"kind":"Session","metadata":{"name":"x"},"spec":{"sandbox":{"policy":"web"}},
    "status":{"phase":"Running","conditions":[{"type":"PolicyCurrent","status":"False","reason":"PolicyRestartRequired","message":"mkdir: allow -> deny"}],
              "containers":[{"name":"main","state":"Running","policyVersion":"abc","policyRefused":"def"}]}})");
  const std::string out = DescribeObject(object, kNow);
  EXPECT_NE(out.find("Sandbox:          web"), std::string::npos) << out;
  EXPECT_NE(out.find("Policy Version: abc"), std::string::npos) << out;
  EXPECT_NE(out.find("Policy Refused: def"), std::string::npos) << out;
  EXPECT_NE(out.find("PolicyRestartRequired   mkdir: allow -> deny"), std::string::npos) << out;
}

TEST(Describe, OtherKindsAreShownAsTheyAre) {
  const json::Value object =
      *json::Parse(R"({"apiVersion":"isla/v1","kind":"Node","metadata":{"name":"n1"},"spec":{},
    "status":{"connected":true,"bootId":"x","features":["a","b"],"orphans":[{"uid":"u","incarnation":2}],"conditions":[{"type":"Ready","status":"True"}]}})");
  EXPECT_EQ(DescribeObject(object, kNow), R"(Name:               n1
Labels:             <none>
Annotations:        <none>
API Version:        isla/v1
Kind:               Node
Created:
Spec:               {}
Status:
  Connected:        true
  Boot Id:          x
  Features:         a, b
  Orphans:
    Uid:            u
    Incarnation:    2
Conditions:
  TYPE    STATUS   AGE   REASON   MESSAGE
  Ready   True
)");
}

TEST(Describe, HostileObjectsAreShownAndNeverBreakTheTerminal) {
  for (
      const char* text :
      {"{}", R"({"metadata":7,"status":[],"spec":"x","kind":"Session"})",
       R"({"kind":"Session","status":{"conditions":[7,null,[]],"containers":[{}],"history":[{"at":"x"},{}]}})",
       R"({"kind":"Session","spec":{"command":{"a":1},"env":[1],"mounts":["x"],"nodeSelector":5},"status":{"startedAt":"z","finishedAt":"y"}})",
       R"({"kind":"X","a":{"b":{"c":[[[{"d":[]}]]]}}})"}) {
    EXPECT_FALSE(DescribeObject(*json::Parse(text), kNow).empty());
  }
  const std::string out = DescribeObject(
      *json::Parse(R"({"kind":"Session","metadata":{"name":"\u001b[2Jx\nFake: line"}})"), kNow);
  EXPECT_EQ(out.find('\x1b'), std::string::npos);
  EXPECT_NE(out.find("^[[2Jx^JFake: line"), std::string::npos);
}

}  // namespace
}  // namespace isla::cli
