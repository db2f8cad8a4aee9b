// Bad manifests through every door: a clear error each, nothing stored, and everybody else goes on.
#include <gtest/gtest.h>

#include "tests/cluster/cluster_suite.h"

namespace isla::testing {
namespace {

class BadInput : public ClusterSuite {
 protected:
  static std::string Keys() { return cluster_->Etcdctl({"get", "/isla/default/spec/session/", "--prefix", "--keys-only"}).out; }

  /// Refused, with every one of `words` in the error, and nothing stored.
  static void ExpectRefused(const std::string& manifest, const std::vector<std::string>& words) {
    const std::string before = Keys();
    const CommandResult result = cluster_->Isla({"apply", "-f", "-"}, manifest);
    const std::string shown = manifest.substr(0, 300);
    EXPECT_EQ(result.exit_code, 1) << shown << "\n" << result.out << result.err;
    for (const std::string& word : words) {
      EXPECT_NE(result.err.find(word), std::string::npos) << shown << "\nexpected: " << word << "\ngot: " << result.err;
    }
    EXPECT_EQ(Keys(), before) << shown;
  }

  static std::string Spec(const std::string& spec) {
    return R"({"apiVersion": "isla/v1", "kind": "Session", "metadata": {"name": "bad"}, "spec": )" + spec + "}";
  }
};

TEST_F(BadInput, BrokenJson) {
  ExpectRefused("{\"apiVersion\": \"isla/v1\",\n  \"kind\": }", {"2:11"});
  ExpectRefused("{\"apiVersion\": \"isla/v1\"", {"1:"});
  ExpectRefused("", {"no objects"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"]})") + "}", {"1:"});
}

TEST_F(BadInput, UnknownAndMisspeltFields) {
  ExpectRefused(Spec(R"({"comand": ["/bin/true"]})"), {"spec.comand", "command"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "resources": {"cpus": "1"}})"), {"spec.resources.cpus", "cpu"});
  ExpectRefused(R"({"apiVersion": "isla/v1", "kind": "Sesion", "metadata": {"name": "bad"}})", {"Sesion"});
  ExpectRefused(R"({"apiVersion": "isla/v2", "kind": "Session", "metadata": {"name": "bad"}})", {"isla/v2"});
}

TEST_F(BadInput, WrongTypes) {
  ExpectRefused(Spec(R"({"command": "/bin/true"})"), {"spec.command"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "resources": {"cpu": 1}})"), {"spec.resources.cpu"});
  ExpectRefused(Spec("[]"), {"spec"});
}

TEST_F(BadInput, NegativeAndAbsurdQuantities) {
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "resources": {"cpu": "-1"}})"), {"spec.resources.cpu", "-1"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "resources": {"memory": "99999Ei"}})"), {"spec.resources.memory"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "resources": {"memory": "0"}})"), {"spec.resources.memory"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "resources": {"memory": "lots"}})"), {"spec.resources.memory", "lots"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "timeout": "-5s"})"), {"spec.timeout"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "resources": {"tasks": -3}})"), {"spec.resources.tasks"});
}

TEST_F(BadInput, EveryErrorIsNamedAtOnce) {
  ExpectRefused(Spec(R"({"command": [], "resources": {"cpu": "-1", "memory": "x"}, "timeout": "soon"})"),
                {"spec.command", "spec.resources.cpu", "spec.resources.memory", "spec.timeout"});
}

TEST_F(BadInput, DeepLargeBadlyEncodedDuplicate) {
  ExpectRefused(Spec("{\"command\": " + std::string(5000, '[') + std::string(5000, ']') + "}"), {"deep"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "env": [{"name": "A", "value": ")" + std::string(400 * 1024, 'x') + "\"}]}"),
                {"larg"});
  ExpectRefused(Spec("{\"command\": [\"\xff\xfe\"]}"), {"UTF-8"});
  ExpectRefused(Spec(R"({"command": ["/bin/true"], "command": ["/bin/false"]})"), {"command", "duplicate"});
}

TEST_F(BadInput, NamesThatAreNone) {
  for (const std::string name : {"a/b", "../x", "", "A", "-a", "a_b", "a b"}) {
    ExpectRefused(R"({"apiVersion": "isla/v1", "kind": "Session", "metadata": {"name": ")" + name +
                      R"("}, "spec": {"command": ["/bin/true"]}})",
                  {"name"});
  }
  ExpectRefused(R"({"apiVersion": "isla/v1", "kind": "Session", "metadata": {"name": "x", "namespace": "nowhere"},
                    "spec": {"command": ["/bin/true"]}})",
                {"nowhere"});
}

TEST_F(BadInput, OneInAFileDoesNotStopTheNext) {
  const CommandResult result =
      cluster_->Isla({"apply", "-f", "-"}, Spec(R"({"comand": []})") + "\n" + MiniCluster::ShellSession("good", "exit 0"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.out.find("session.isla/good created"), std::string::npos) << result.out << result.err;
  EXPECT_TRUE(cluster_->WaitForPhase("good", "Succeeded"));
}

TEST_F(BadInput, ManifestPutWithEtcdctlGetsAVerdictAndTheNextRuns) {
  cluster_->Etcdctl({"put", "/isla/default/manifest/default/broken"}, "{\"kind\": ");
  cluster_->Etcdctl({"put", "/isla/default/manifest/default/bad"}, Spec(R"({"comand": []})"));
  cluster_->Etcdctl({"put", "/isla/default/manifest/default/other"}, Spec(R"({"command": ["/bin/true"]})"));
  cluster_->Etcdctl({"put", "/isla/default/manifest/default/inbox"}, MiniCluster::ShellSession("inbox", "exit 0"));
  EXPECT_TRUE(cluster_->WaitForPhase("inbox", "Succeeded"));
  const auto verdict = [](const std::string& name) {
    return cluster_->Etcdctl({"get", "/isla/default/manifest-status/default/" + name, "--print-value-only"}).out;
  };
  EXPECT_TRUE(Eventually([&] { return verdict("bad").find("spec.comand") != std::string::npos; })) << verdict("bad");
  EXPECT_NE(verdict("other").find("isn't the name in the key"), std::string::npos) << verdict("other");
  EXPECT_NE(verdict("broken").find("Refused"), std::string::npos) << verdict("broken");
  EXPECT_NE(verdict("inbox").find("Applied"), std::string::npos) << verdict("inbox");
}

TEST_F(BadInput, GarbagePutStraightIntoSpecIsServedAsItsStatusAndOthersGoOn) {
  cluster_->Etcdctl({"put", "/isla/default/spec/session/default/garbage"}, std::string("\x00\xff{{{", 5));
  cluster_->Etcdctl({"put", "/isla/default/spec/session/default/wrong"}, R"({"spec": 7, "metadata": []})");
  cluster_->Etcdctl({"put", "/isla/default/status/session/default/garbage"}, "[1");
  cluster_->Etcdctl({"put", "/isla/default/bind/default/garbage"}, "]");
  cluster_->Etcdctl({"put", "/isla/default/run/node0/x/y"}, "]");
  cluster_->Etcdctl({"put", "/isla/default/node/ghost"}, "{}");
  const CommandResult list = cluster_->Isla({"get", "sessions"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  EXPECT_NE(list.out.find("garbage"), std::string::npos) << list.out;
  EXPECT_NE(list.out.find("Invalid"), std::string::npos) << list.out;
  const std::string one = cluster_->Isla({"get", "session", "garbage", "-o", "json"}).out;
  EXPECT_NE(one.find("\"message\""), std::string::npos) << one;
  cluster_->Apply(MiniCluster::ShellSession("goes-on", "exit 0"));
  EXPECT_TRUE(cluster_->WaitForPhase("goes-on", "Succeeded"));
}

}  // namespace
}  // namespace isla::testing
