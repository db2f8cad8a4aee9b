// isla-agentd: owns the containers of a node, as a gateway of islad tells it. Run as root, by systemd.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "agentd/agent.h"
#include "api/base/log.h"

namespace {

constexpr const char* kVersion = ISLA_VERSION;

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

/// A program that is installed beside this one.
std::string Beside(const std::string& name) {
  std::error_code error;
  return (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / name).string();
}

}  // namespace

int main(int argc, char** argv) {
  isla::agent::PrepareSignals();
  isla::agent::AgentOptions options;
  options.node = HostName();
  options.shim = Beside("isla-shim");
  options.init = Beside("isla-init");
  options.supervisor = Beside("isla-supervisor");
  options.policyc = Beside("isla-policyc");
  options.version = kVersion;
  std::string log_level = "info";
  options.gateways = {"unix:///run/isla/islad/gateway/gateway.sock"};

  CLI::App app("Runs the containers of this node, each in a systemd scope, as a gateway of islad tells it.\n"
               "Containers run on while it is stopped, upgraded or killed.",
               "isla-agentd");
  app.set_version_flag("--version", std::string("isla-agentd ") + kVersion);
  app.add_option("--node", options.node, "Name of this node")->capture_default_str();
  app.add_option("--gateway", options.gateways, "Gateways to dial in turn: unix:///path or host:port, comma-separated")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--tls-ca", options.tls_ca, "CA of the gateways (PEM); needed for host:port");
  app.add_option("--tls-cert", options.tls_cert, "Certificate with this node's name (PEM)");
  app.add_option("--tls-key", options.tls_key, "Its key (PEM)");
  app.add_option("--state-dir", options.state_dir, "Journal, logs, overlays")->capture_default_str();
  app.add_option("--run-dir", options.run_dir, "Records of this boot; on a tmpfs")->capture_default_str();
  app.add_option("--node-config", options.node_config, "What this node allows; absent = the strictest")
      ->capture_default_str();
  app.add_option("--shim", options.shim, "The program isla-shim")->capture_default_str();
  app.add_option("--init", options.init, "The program isla-init")->capture_default_str();
  app.add_option("--supervisor", options.supervisor, "The program isla-supervisor")->capture_default_str();
  app.add_option("--policyc", options.policyc, "The program isla-policyc")->capture_default_str();
  app.add_option("--log-level", log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  isla::LogLevel level = isla::LogLevel::kInfo;
  isla::ParseLogLevel(log_level, level);
  isla::SetLogLevel(level);
  options.log_level = level;
  if (options.node.empty() || options.node.size() > 253) {
    std::fprintf(stderr, "isla-agentd: --node: a name of 1 to 253 characters is needed\n");
    return 2;
  }
  const auto code = isla::agent::RunAgent(options);
  if (!code.ok()) {
    std::fprintf(stderr, "isla-agentd: %s\n", isla::Message(code.status()).c_str());
    return 1;
  }
  return *code;
}
