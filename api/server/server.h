// The public HTTP API: what kubectl and isla speak. Kubernetes' conventions over HTTP/1.1, JSON only.
//
// Two listeners: a unix socket (0660; the peer's uid is the user) and TLS on a loopback address (own CA and
// a bearer token, made at the first start and kept in the data folder, with a `kubeconfig` beside them). Every
// request has a Caller and passes Authorize().
//
// Threads: a few I/O threads (each connection belongs to one), and a bounded pool of workers that make the
// blocking calls to the registry. Watches and logs hold no thread. A client that doesn't read holds back
// nobody but itself: what it watches is pulled, not pushed.
// Bounds: 64 KiB of headers, 1 MiB of body (of an import: as much as its spool file may have), times for each, connections, queued requests (503 beyond).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "api/base/uuid.h"
#include "api/registry/registry.h"
#include "api/server/log_source.h"

namespace isla {
class Metrics;
}

namespace isla::server {

struct ServerOptions {
  /// The unix socket; its folder must exist. "" = none. A stale socket there is replaced, a live one is
  /// ALREADY_EXISTS.
  std::string socket_path = "/run/isla/islad/api.sock";
  /// "127.0.0.1:6443", "[::1]:6443"; port 0 = any. "" = no TLS listener.
  std::string listen = "127.0.0.1:6443";
  /// ca.crt, ca.key, server.crt, server.key, token, kubeconfig; made (0700) if it isn't there.
  std::string data_dir = "/var/lib/isla/islad";

  int io_threads = 2;
  int workers = 16;
  size_t max_queued_requests = 1024;
  size_t max_connections = 1024;
  size_t max_header_bytes = size_t{64} << 10;
  size_t max_body_bytes = size_t{1} << 20;
  Duration header_timeout = std::chrono::seconds(10);  // from the first byte of a request; also the TLS handshake
  Duration body_timeout = std::chrono::seconds(30);
  Duration idle_timeout = std::chrono::seconds(180);   // of a connection between requests
  Duration write_timeout = std::chrono::seconds(60);   // without progress
  Duration stream_write_timeout = std::chrono::minutes(5);  // the same for watches and logs
  Duration bookmark_interval = std::chrono::seconds(60);
};

/// OK, or why this islad isn't ready (its cache isn't synced, ...): /readyz.
using ReadyCheck = std::function<Status()>;

class StoreAdmin;

class Server {
 public:
  /// Stops: no new connections, open ones get their answer within a second or are cut, all threads joined.
  virtual ~Server() = default;

  /// Listens and serves from when it returns. All references must outlive the server. `ready` is called from
  /// any thread and must not block. `store`: null = its endpoints aren't served. INVALID_ARGUMENT, ALREADY_EXISTS or what the system says, if it can't.
  static StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, registry::Registry& registry,
                                                 LogSource& logs, Metrics& metrics, const Clock& clock,
                                                 Random& random, ReadyCheck ready, StoreAdmin* store = nullptr);

  /// "https://127.0.0.1:6443" with the real port; "" without a TLS listener.
  virtual std::string url() const = 0;
  /// Every I/O thread has come by within `timeout`: none hangs. Not from one of them.
  virtual bool Responds(Duration timeout) = 0;
};

}  // namespace isla::server
