// The HTTP/1.1 server: listeners, I/O threads, workers, limits and timeouts. What the requests mean is the
// HttpHandler's. Beast parses requests; nothing else of it is used.
//
// A connection belongs to one I/O thread, which alone touches it; requests on it are answered in order
// (pipelining works). A request that may block goes to a worker, and its answer comes back by a post.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/metrics.h"
#include "api/base/status.h"
#include "api/server/http.h"
#include "api/server/server.h"

namespace isla::server {

/// Certificate chain and key, PEM.
struct TlsIdentity {
  std::string certificate;
  std::string key;
};

/// The caller at the other end of a unix socket.
using PeerMapper = std::function<registry::Caller(unsigned uid)>;

class HttpServer {
 public:
  virtual ~HttpServer() = default;  // stops, as Server's destructor says

  /// Listens on options.socket_path; connections are accepted from when Serve is called.
  static StatusOr<std::unique_ptr<HttpServer>> Create(const ServerOptions& options, HttpHandler& handler,
                                                      Metrics& metrics);
  virtual Status ListenUnix(const std::string& path, PeerMapper peers) = 0;
  /// The port that it listens on.
  virtual StatusOr<int> ListenTls(const std::string& address, const TlsIdentity& identity) = 0;
  /// `renew` is called every `every` on an I/O thread; what it returns is used by connections from then on.
  virtual void RenewTls(Duration every, std::function<StatusOr<TlsIdentity>()> renew) = 0;
  virtual void Serve() = 0;
  /// As Server::Responds.
  virtual bool Responds(Duration timeout) = 0;
};

}  // namespace isla::server
