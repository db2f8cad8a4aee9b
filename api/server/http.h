// HTTP as the rest of api/server sees it: requests with bounded bodies, responses whole or streamed, and the
// interface between the connections (http_server.cc, where Beast and Asio stay) and the API (api_handler.cc).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "api/registry/registry.h"

namespace isla::server {

/// Takes a body that is too large for memory, piece by piece.
class BodySink {
 public:
  virtual ~BodySink() = default;
  /// Called from workers, one call at a time; may block. An error ends the request with HttpHandler::UploadError.
  virtual Status Write(std::string_view bytes) = 0;
};

struct Request {
  std::string method;                       // "GET"
  std::string target;                       // as sent, for logs
  std::vector<std::string> path;            // decoded parts; "/" is none
  std::multimap<std::string, std::string> query;
  std::map<std::string, std::string> headers;  // names in lower case; repeated ones joined by ", "
  std::string body;
  std::shared_ptr<BodySink> upload;  // took the body: `body` is empty then
  /// The peer of the unix socket; nothing on TLS, where the request has to bring a token.
  std::optional<registry::Caller> peer;

  std::string Header(const std::string& lower_name) const;
  /// The last one of that name; nothing if there is none.
  std::optional<std::string> Param(const std::string& name) const;
};

/// Fills target, path and query. INVALID_ARGUMENT for bad escapes, an empty part, or no leading '/'.
Status ParseTarget(std::string_view target, Request& request);

/// The body of a response that isn't known whole. Pulled: Next is called only when the client has taken what
/// came before. Used by one thread at a time; Notify's function may be called from any.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  /// DEADLINE_EXCEEDED: nothing yet. OUT_OF_RANGE: the end. Anything else: the connection is cut.
  virtual StatusOr<std::string> Next() = 0;
  virtual void Notify(std::function<void()> ready) = 0;
  /// Next is to be called again after this time even if nothing calls `ready`; nothing = no such time.
  virtual std::optional<Duration> WakeAfter() const = 0;
  /// True if it may end after any Next and is whole (a watch). If not (a log), a server that stops cuts it.
  virtual bool MayEndAnywhere() const = 0;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::unique_ptr<BodyStream> stream;  // instead of body
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// True for requests that don't block: they are answered on the I/O thread, so that health and metrics work
  /// while every worker waits for a store that is down.
  virtual bool IsQuick(const Request& request) const = 0;
  virtual Response Handle(const Request& request) = 0;
  /// What becomes of a body, asked on the I/O thread when the head has come: neither, and it is an ordinary one, bounded by
  /// ServerOptions::max_body_bytes; a sink, which bounds it itself; or a refusal, and it isn't read.
  struct Upload {
    std::shared_ptr<BodySink> sink;
    std::optional<Response> refusal;
  };
  virtual Upload BeginUpload(const Request&) { return {}; }
  virtual Response UploadError(const Status& status) const { return Error(500, Message(status)); }
  /// What the connection says by itself (400, 408, 413, 431, 503).
  virtual Response Error(int status, const std::string& message) const = 0;
};

}  // namespace isla::server
