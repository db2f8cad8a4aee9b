#include "tests/cluster/mini_cluster.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "api/base/json.h"

namespace isla::testing {
namespace {

std::string Binary(const std::string& name) {
  const char* folder = getenv("ISLA_BIN_DIR");
  EXPECT_NE(folder, nullptr) << "ISLA_BIN_DIR is not set: run by ctest";
  return std::string(folder == nullptr ? "." : folder) + "/" + name;
}

}  // namespace

MiniCluster::MiniCluster(const MiniClusterOptions& options) : options_(options) {
  // /run, a tmpfs in a cell: an overlay's upper layer may lie there.
  char name[] = "/run/isla-test-XXXXXX";
  root_ = mkdtemp(name);
  const auto folder = [this](const std::string& part) {
    mkdir(Folder(part).c_str(), 0700);
    return Folder(part);
  };
  const std::string etcd = folder("etcd");
  etcd_ = std::make_unique<Daemon>(
      "etcd",
      // A killed etcd leaves its client socket behind, and 3.4 then refuses to start: "address already in use".
      std::vector<std::string>{"/bin/sh", "-c", "rm -f c.sock:0; exec \"$@\"", "etcd",
                               "etcd", "--name=test", "--data-dir=data", "--logger=zap", "--log-outputs=stderr",
                               "--listen-client-urls=unix://c.sock:0", "--advertise-client-urls=unix://c.sock:0",
                               "--listen-peer-urls=unix://p.sock:0", "--initial-advertise-peer-urls=unix://p.sock:0",
                               "--initial-cluster=test=unix://p.sock:0"},
      etcd, etcd + "/log");
  std::string gateways;
  for (int i = 0; i < options.islads; ++i) {
    const std::string at = folder("islad" + std::to_string(i));
    std::vector<std::string> argv{Binary("islad"), "--store=etcd:unix://" + EtcdSocket(), "--data-dir=" + at + "/data",
                                  "--run-dir=" + at + "/run", "--id=islad" + std::to_string(i)};
    if (options.islad_flags.empty()) argv.push_back("--api-listen=");
    argv.insert(argv.end(), options.islad_flags.begin(), options.islad_flags.end());
    islads_.push_back(std::make_unique<Daemon>("islad" + std::to_string(i), argv, at, at + "/log"));
    gateways += (i == 0 ? "" : ",") + ("unix://" + GatewaySocket(i));
  }
  for (int i = 0; i < options.agents; ++i) {
    const std::string at = folder("agent" + std::to_string(i));
    if (!options.node_config.empty()) std::ofstream(at + "/node.json") << options.node_config;
    agents_.push_back(std::make_unique<Daemon>(
        "agent" + std::to_string(i),
        std::vector<std::string>{Binary("isla-agentd"), "--node=" + NodeName(i), "--gateway=" + gateways,
                                 "--state-dir=" + StateDir(i), "--run-dir=" + RunDir(i),
                                 "--node-config=" + at + "/node.json"},
        at, at + "/log"));
  }
}

MiniCluster::~MiniCluster() {
  if (::testing::Test::HasFailure()) std::fprintf(stderr, "%s", Explain().c_str());
  for (auto& agent : agents_) agent->Kill9();
  for (auto& islad : islads_) islad->Kill9();
  if (etcd_ != nullptr) etcd_->Kill9();
  RunCommand({"systemctl", "kill", "--signal=KILL", "isla-*.scope"});
  Eventually([] { return RunCommand({"systemctl", "list-units", "--plain", "--no-legend", "isla-*.scope"}).out.empty(); },
             std::chrono::seconds(5));
  RunCommand({"rm", "-rf", "--one-file-system", root_});
}

std::string MiniCluster::NodeName(int i) const { return "node" + std::to_string(i); }
std::string MiniCluster::EtcdSocket() const { return Folder("etcd") + "/c.sock:0"; }
std::string MiniCluster::ApiSocket(int i) const { return Folder("islad" + std::to_string(i)) + "/run/api.sock"; }
std::string MiniCluster::GatewaySocket(int i) const {
  return Folder("islad" + std::to_string(i)) + "/run/gateway/gateway.sock";
}
std::string MiniCluster::KubeConfig(int i) const { return Folder("islad" + std::to_string(i)) + "/data/kubeconfig"; }
std::string MiniCluster::RunDir(int i) const { return Folder("agent" + std::to_string(i)) + "/run"; }
std::string MiniCluster::StateDir(int i) const { return Folder("agent" + std::to_string(i)) + "/state"; }

void MiniCluster::Start() {
  etcd_->Start();
  for (auto& islad : islads_) islad->Start();
  for (auto& agent : agents_) agent->Start();
  for (int i = 0; i < options_.agents; ++i) {
    const bool ready = Eventually(
        [this, i] {
          return Isla({"wait", "node/" + NodeName(i), "--for=condition=Ready", "--timeout=1s"}).exit_code == 0;
        },
        std::chrono::seconds(30));
    ASSERT_TRUE(ready) << NodeName(i) << " is not ready";
  }
}

CommandResult MiniCluster::Isla(std::vector<std::string> arguments, const std::string& input,
                                std::chrono::milliseconds timeout) {
  arguments.insert(arguments.begin(), {Binary("isla"), "--socket=" + ApiSocket(via_)});
  CommandOptions options;
  options.input = input;
  options.timeout = timeout;
  return RunCommand(arguments, options);
}

CommandResult MiniCluster::Etcdctl(std::vector<std::string> arguments, const std::string& input) {
  arguments.insert(arguments.begin(), {"etcdctl", "--endpoints=unix://" + EtcdSocket()});
  CommandOptions options;
  options.input = input;
  options.environment = {"ETCDCTL_API=3"};
  return RunCommand(arguments, options);
}

void MiniCluster::Apply(const std::string& manifest) {
  const CommandResult result = Isla({"apply", "-f", "-"}, manifest);
  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
}

std::string MiniCluster::Field(const std::string& session, const std::string& path) {
  const CommandResult result = Isla({"get", "session", session, "-o", "json"});
  if (result.exit_code != 0) return "";
  const auto object = json::Parse(result.out, {.max_bytes = 1 << 20, .max_depth = 64});
  if (!object.ok()) return "unreadable: " + ToString(object.status());
  const json::Value* at = &*object;
  for (size_t begin = 0; begin <= path.size() && at != nullptr;) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    if (at->is_array()) {
      const size_t index = static_cast<size_t>(std::atoi(part.c_str()));
      at = index < at->items().size() ? &at->items()[index] : nullptr;
    } else {
      at = at->Find(part);
    }
    begin = end + 1;
  }
  if (at == nullptr) return "";
  return at->is_string() ? at->as_string() : json::Serialize(*at);
}

std::string MiniCluster::Phase(const std::string& session) { return Field(session, "status.phase"); }

bool MiniCluster::WaitForPhase(const std::string& session, const std::string& phase,
                               std::chrono::milliseconds timeout) {
  return Eventually([&] { return Phase(session) == phase; }, timeout);
}

std::string MiniCluster::Explain() {
  std::string text = "\n===== sessions\n" + Isla({"get", "sessions,nodes", "-o", "yaml"}).out;
  for (const auto& daemon : islads_) text += "\n===== " + daemon->name() + "\n" + daemon->Log();
  for (const auto& daemon : agents_) text += "\n===== " + daemon->name() + "\n" + daemon->Log();
  return text;
}

std::string MiniCluster::ShellSession(const std::string& name, const std::string& script, const std::string& extra) {
  json::Value object = json::Value::MakeObject({
      {"apiVersion", "isla/v1"},
      {"kind", "Session"},
      {"metadata", json::Value::MakeObject({{"name", name}})},
      {"spec", json::Value::MakeObject({
                   {"command", json::Value::MakeArray({"/bin/sh", "-c", script})},
                   {"resources", json::Value::MakeObject({{"cpu", "100m"}, {"memory", "32Mi"}, {"tasks", 64}})},
                   {"terminationGracePeriod", "2s"},
               })},
  });
  if (!extra.empty()) {
    const auto more = json::Parse("{" + extra + "}");
    EXPECT_TRUE(more.ok()) << ToString(more.status());
    for (const json::Member& member : more->members()) object.Member("spec").Set(member.name, member.value);
  }
  return json::Serialize(object);
}

}  // namespace isla::testing
