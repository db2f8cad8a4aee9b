// Where the server is and who we are: flags, environment and the config file, resolved to one
// endpoint.
//
// The config file is a kubeconfig (clusters, users, contexts, current-context; paths in it are
// relative to it) written as JSON, as islad makes it. YAML isn't read: kubectl turns the file into
// YAML when it changes it (`kubectl config set-context ...`); the error says how to turn it back.
// Unknown members are ignored, as kubectl does. The token never appears in a message.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"

namespace isla::client {

/// One server, and how to prove who we are.
struct Endpoint {
  std::string socket_path;  // not "": a unix socket, and nothing below counts but `token`
  std::string host;         // a name or an address, without brackets
  std::string port;
  bool tls = false;
  bool insecure = false;    // don't verify the server's certificate
  std::string server_name;  // the name in the certificate; "" = host
  std::string ca_pem;       // "" = the system's
  std::string client_certificate_pem;
  std::string client_key_pem;
  std::string token;      // sent only over TLS or a unix socket
  std::string base_path;  // "" or "/prefix"

  /// For messages: "127.0.0.1:6443" or "unix:/run/isla/islad/api.sock".
  std::string Shown() const;
};

/// What the user said on the command line; "" = not said.
struct ConnectionFlags {
  std::string server{};  // https://host:port, http://host:port, host:port (https) or unix:/path
  std::string socket{};  // a path
  std::string kubeconfig{};
  std::string context{};
};

struct Connection {
  Endpoint endpoint;
  std::string ns = "default";  // the context's namespace
  std::string context;         // "" if no config file was used
  std::string source;          // the config file, or "--server", "--socket", "default"
};

/// The environment, passed in: $NAME or nothing.
using GetEnv = std::function<std::optional<std::string>(const std::string& name)>;

inline constexpr std::string_view kMachineConfig = "/var/lib/isla/islad/kubeconfig";
inline constexpr std::string_view kMachineSocket = "/run/isla/islad/api.sock";

/// The config file to use: --kubeconfig, $ISLA_CONFIG, ~/.isla/config, kMachineConfig; "" if none
/// of them exists (the first two are returned even if they don't).
std::string FindConfigFile(const ConnectionFlags& flags, const GetEnv& env);

/// Reads a config file. INVALID_ARGUMENT if it isn't JSON, with what to do; NOT_FOUND,
/// PERMISSION_DENIED.
StatusOr<json::Value> ReadConfigFile(const std::string& path);

/// --socket, else --server (with the credentials of the config file's user if there is one), else
/// the context of the config file, else the machine's socket. The machine's socket comes before the
/// machine's config file if it can be opened and nothing was chosen by a flag or $ISLA_CONFIG.
StatusOr<Connection> ResolveConnection(const ConnectionFlags& flags, const GetEnv& env);

/// The endpoint of a URL as --server takes it.
StatusOr<Endpoint> ParseServer(std::string_view url);

}  // namespace isla::client
