#include "api/client/config.h"

#include <unistd.h>

#include <cctype>

#include "api/base/base64.h"
#include "api/base/unique_fd.h"

namespace isla::client {
namespace {

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

bool Exists(const std::string& path) { return access(path.c_str(), R_OK) == 0; }

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/// The entry of `list` (an array of {"name": N, <body>: {...}}) with that name: its body.
const json::Value* Named(const json::Value& config, std::string_view list, std::string_view body,
                         std::string_view name) {
  const json::Value* entries = config.Find(list);
  if (entries == nullptr || !entries->is_array()) return nullptr;
  for (const json::Value& entry : entries->items()) {
    if (entry.StringAt({"name"}) == name) return entry.Find(body);
  }
  return nullptr;
}

/// The PEM text under `name`-data (base64) or in the file named by `name`.
StatusOr<std::string> DataOrFile(const json::Value& body, const std::string& name,
                                 const std::string& folder) {
  const std::string data = body.StringAt({name + "-data"});
  if (!data.empty()) {
    auto decoded = DecodeBase64(data);
    if (!decoded.ok()) return Annotate(decoded.status(), name + "-data");
    return decoded;
  }
  std::string path = body.StringAt({name});
  if (path.empty()) return std::string();
  if (path[0] != '/') path = folder + "/" + path;
  return ReadFile(path, kMaxConfigBytes);
}

std::string Trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  size_t start = 0;
  while (start < text.size() && std::isspace(static_cast<unsigned char>(text[start]))) ++start;
  return text.substr(start);
}

Status AddUser(const json::Value& user, const std::string& folder, Endpoint& endpoint) {
  endpoint.token = user.StringAt({"token"});
  std::string file = user.StringAt({"tokenFile"});
  if (endpoint.token.empty() && !file.empty()) {
    if (file[0] != '/') file = folder + "/" + file;
    ASSIGN_OR_RETURN(endpoint.token, ReadFile(file, kMaxConfigBytes));
  }
  endpoint.token = Trimmed(endpoint.token);
  for (const char c : endpoint.token) {
    if (c <= ' ' || c >= 127)
      return Error(Code::kInvalidArgument, "the token has characters that no token has");
  }
  ASSIGN_OR_RETURN(endpoint.client_certificate_pem, DataOrFile(user, "client-certificate", folder));
  ASSIGN_OR_RETURN(endpoint.client_key_pem, DataOrFile(user, "client-key", folder));
  return OkStatus();
}

Status AddCluster(const json::Value& cluster, const std::string& folder, Endpoint& endpoint) {
  ASSIGN_OR_RETURN(endpoint.ca_pem, DataOrFile(cluster, "certificate-authority", folder));
  const json::Value* insecure = cluster.Find("insecure-skip-tls-verify");
  endpoint.insecure = insecure != nullptr && insecure->is_bool() && insecure->as_bool();
  endpoint.server_name = cluster.StringAt({"tls-server-name"});
  return OkStatus();
}

/// Fills `connection` from the context of `config`; its server only if `server` is "".
Status FromConfig(const json::Value& config, const std::string& path, const std::string& server,
                  const std::string& wanted_context, Connection& connection) {
  const std::string folder = FolderOf(path);
  connection.source = path;
  connection.context =
      wanted_context.empty() ? config.StringAt({"current-context"}) : wanted_context;
  const json::Value* context = Named(config, "contexts", "context", connection.context);
  if (context == nullptr) {
    if (!wanted_context.empty()) {
      return Errorf(Code::kInvalidArgument, "context \"{}\" does not exist in {}", wanted_context,
                    path);
    }
    if (!server.empty()) return OkStatus();
    return Errorf(Code::kInvalidArgument,
                  "{}: current-context \"{}\" does not exist: name one with --context", path,
                  connection.context);
  }
  connection.ns = context->StringAt({"namespace"}, "default");
  const std::string cluster_name = context->StringAt({"cluster"});
  const json::Value* cluster = Named(config, "clusters", "cluster", cluster_name);
  if (cluster == nullptr && server.empty()) {
    return Errorf(Code::kInvalidArgument, "{}: cluster \"{}\" of context \"{}\" does not exist",
                  path, cluster_name, connection.context);
  }
  if (server.empty()) {
    auto endpoint = ParseServer(cluster->StringAt({"server"}));
    if (!endpoint.ok()) return Annotate(endpoint.status(), path);
    connection.endpoint = std::move(endpoint).value();
  }
  Status added =
      cluster == nullptr ? OkStatus() : AddCluster(*cluster, folder, connection.endpoint);
  const json::Value* user = Named(config, "users", "user", context->StringAt({"user"}));
  if (added.ok() && user != nullptr) added = AddUser(*user, folder, connection.endpoint);
  return Annotate(added, path);
}

}  // namespace

std::string Endpoint::Shown() const {
  if (!socket_path.empty()) return "unix:" + socket_path;
  const bool bracketed = host.find(':') != std::string::npos;
  return bracketed ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

StatusOr<Endpoint> ParseServer(std::string_view url) {
  const Status bad = Errorf(Code::kInvalidArgument,
                            "server '{}' is not of the form https://host:port or unix:/path", url);
  Endpoint endpoint;
  if (url.starts_with("unix:")) {
    url.remove_prefix(5);
    if (url.starts_with("///")) url.remove_prefix(2);
    if (!url.starts_with("/")) return bad;
    endpoint.socket_path = std::string(url);
    return endpoint;
  }
  endpoint.tls = true;
  if (url.starts_with("https://")) {
    url.remove_prefix(8);
  } else if (url.starts_with("http://")) {
    url.remove_prefix(7);
    endpoint.tls = false;
  } else if (url.find("://") != std::string_view::npos) {
    return bad;
  }
  const size_t slash = url.find('/');
  if (slash != std::string_view::npos) {
    endpoint.base_path = std::string(url.substr(slash));
    while (endpoint.base_path.ends_with('/')) endpoint.base_path.pop_back();
    url = url.substr(0, slash);
  }
  std::string_view port;
  if (url.starts_with('[')) {
    const size_t close = url.find(']');
    if (close == std::string_view::npos) return bad;
    endpoint.host = std::string(url.substr(1, close - 1));
    url.remove_prefix(close + 1);
    if (!url.empty() && url[0] != ':') return bad;
    if (!url.empty()) port = url.substr(1);
  } else {
    const size_t colon = url.find(':');
    endpoint.host = std::string(url.substr(0, colon));
    if (colon != std::string_view::npos) port = url.substr(colon + 1);
  }
  endpoint.port = port.empty() ? (endpoint.tls ? "443" : "80") : std::string(port);
  for (const char c : endpoint.port) {
    if (c < '0' || c > '9') return bad;
  }
  for (const char c : endpoint.host + endpoint.base_path) {
    if (c <= ' ' || c >= 127 || c == '@' || c == '?' || c == '#') return bad;
  }
  if (endpoint.host.empty() || endpoint.port.size() > 5) return bad;
  return endpoint;
}

std::string FindConfigFile(const ConnectionFlags& flags, const GetEnv& env) {
  if (!flags.kubeconfig.empty()) return flags.kubeconfig;
  if (const auto named = env("ISLA_CONFIG"); named && !named->empty()) return *named;
  if (const auto home = env("HOME"); home && !home->empty()) {
    if (const std::string path = *home + "/.isla/config"; Exists(path)) return path;
  }
  if (const std::string path(kMachineConfig); Exists(path)) return path;
  return "";
}

StatusOr<json::Value> ReadConfigFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  json::Limits limits;
  limits.max_bytes = kMaxConfigBytes;
  auto parsed = json::Parse(text, limits);
  if (parsed.ok() && parsed->is_object()) return parsed;
  const std::string why = parsed.ok() ? "not an object" : Message(parsed.status());
  return Errorf(
      Code::kInvalidArgument,
      "config file {} is not JSON ({}). isla reads its configuration as JSON; kubectl rewrites the "
      "file as "
      "YAML when it changes it. To turn it back: kubectl --kubeconfig={} config view --raw -o json",
      path, why, path);
}

StatusOr<Connection> ResolveConnection(const ConnectionFlags& flags, const GetEnv& env) {
  Connection connection;
  if (!flags.socket.empty()) {
    connection.endpoint.socket_path = flags.socket;
    connection.source = "--socket";
    return connection;
  }
  if (!flags.server.empty()) {
    ASSIGN_OR_RETURN(connection.endpoint, ParseServer(flags.server));
    connection.source = "--server";
    if (!connection.endpoint.socket_path.empty()) return connection;
  }
  const std::string path = FindConfigFile(flags, env);
  // On islad's own machine its socket says who we are, without TLS: half the time of a whole
  // command.
  const bool chosen = !flags.server.empty() || !flags.context.empty() ||
                      !flags.kubeconfig.empty() || env("ISLA_CONFIG").value_or("") == path;
  const bool machine = path.empty() || (!chosen && path == kMachineConfig &&
                                        access(std::string(kMachineSocket).c_str(), W_OK) == 0);
  if (machine) {
    if (!flags.context.empty()) {
      return Errorf(Code::kInvalidArgument,
                    "context \"{}\" does not exist: no config file was found", flags.context);
    }
    if (flags.server.empty()) {
      connection.endpoint.socket_path = std::string(kMachineSocket);
      connection.source = "default";
    }
    return connection;
  }
  ASSIGN_OR_RETURN(const json::Value config, ReadConfigFile(path));
  RETURN_IF_ERROR(FromConfig(config, path, flags.server, flags.context, connection));
  return connection;
}

}  // namespace isla::client
