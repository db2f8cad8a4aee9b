#include "controllers/islad/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "api/object/names.h"

namespace isla::islad {
namespace {

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "islad";
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return text;
}

std::string Check(const DaemonOptions& options, const std::vector<std::string>& roles) {
  if (options.prefix.size() < 2 || options.prefix.front() != '/' || options.prefix.back() != '/') {
    return "--prefix: '" + options.prefix + "' must begin and end with '/'";
  }
  for (const std::string& role : roles) {
    if (role != "serve" && role != "controllers") return "--roles: '" + role + "' is neither serve nor controllers";
  }
  if (!options.serve && !options.controllers) return "--roles: at least one of serve and controllers is needed";
  if (const std::string wrong = api::CheckDnsSubdomain(options.id); !wrong.empty()) {
    return "--id: '" + options.id + "': " + wrong;
  }
  if (!options.gateway_listen.empty() &&
      (options.gateway_ca.empty() || options.gateway_certificate.empty() || options.gateway_key.empty())) {
    return "--gateway-listen needs --gateway-ca, --gateway-cert and --gateway-key: agents and gateway prove who they are";
  }
  return "";
}

/// The arguments, last first, as CLI11 wants them. It takes "--flag=" for a flag without a value; here it is an empty one.
std::vector<std::string> Arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.starts_with("--") && argument.ends_with("=")) {
      arguments.push_back(argument.substr(0, argument.size() - 1));
      argument.clear();
    }
    arguments.push_back(std::move(argument));
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

}  // namespace

std::optional<DaemonOptions> ParseCommandLine(int argc, char** argv, int& exit_code) {
  DaemonOptions options;
  options.id = Lower(HostName());
  std::vector<std::string> roles{"serve", "controllers"};
  std::string log_level = "info";
  int64_t lease_seconds = options.lease_ttl.count();

  CLI::App app("The control plane of isla: serves the API and the agents' gateway, and runs the controllers.\n"
               "Any number of replicas may run on one etcd; one of them leads.",
               "islad");
  app.set_version_flag("--version", std::string("islad ") + ISLA_VERSION);
  app.add_option("--store", options.store,
                 "embedded:FOLDER: on this machine's disk, for one islad; etcd:ENDPOINT[,ENDPOINT...] (host:port or unix:///path): "
                 "for any number of them; memory: nothing is kept, for trying out [embedded:<data-dir>/store]");
  app.add_option("--prefix", options.prefix, "Prefix of all keys")->capture_default_str();
  app.add_option("--etcd-ca", options.etcd_ca, "CA of etcd (PEM)");
  app.add_option("--etcd-cert", options.etcd_certificate, "Client certificate for etcd (PEM)");
  app.add_option("--etcd-key", options.etcd_key, "Its key (PEM)");
  app.add_option("--data-dir", options.data_dir, "CA, token, kubeconfig (the file that clients need), and the embedded store")
      ->capture_default_str();
  app.add_option("--run-dir", options.run_dir, "Sockets: api.sock, gateway/gateway.sock")->capture_default_str();
  app.add_option("--api-listen", options.api_listen, "Address of the API with TLS; \"\" = only the unix socket")
      ->capture_default_str();
  app.add_option("--gateway-listen", options.gateway_listen,
                 "Address for agents of other machines, with TLS; both sides need certificates");
  app.add_option("--gateway-ca", options.gateway_ca, "CA of the agents' certificates, which carry the node's name (PEM)");
  app.add_option("--gateway-cert", options.gateway_certificate, "The gateway's certificate (PEM)");
  app.add_option("--gateway-key", options.gateway_key, "Its key (PEM)");
  app.add_option("--roles", roles, "What this process does: serve (API and gateway), controllers")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--id", options.id, "Name of this islad; each replica has another")->capture_default_str();
  app.add_option("--lease-ttl", lease_seconds, "Seconds after which others notice that this process died")
      ->check(CLI::Range(2, 300))
      ->capture_default_str();
  app.add_option("--log-level", log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  try {
    app.parse(Arguments(argc, argv));
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
    return std::nullopt;
  }
  options.lease_ttl = std::chrono::seconds(lease_seconds);
  options.serve = std::find(roles.begin(), roles.end(), "serve") != roles.end();
  options.controllers = std::find(roles.begin(), roles.end(), "controllers") != roles.end();
  ParseLogLevel(log_level, options.log_level);
  if (const std::string wrong = Check(options, roles); !wrong.empty()) {
    std::fprintf(stderr, "islad: %s\nRun 'islad --help' for the flags.\n", wrong.c_str());
    exit_code = 2;
    return std::nullopt;
  }
  return options;
}

}  // namespace isla::islad
