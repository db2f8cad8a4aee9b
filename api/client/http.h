// HTTP/1.1 to one server over TCP, TLS or a unix socket: requests, and responses that stream.
//
// One HttpClient is for one thread, and its calls block; underneath is one event loop, so a caller
// can wait for several streams at once, for a while, or until the user interrupts. One idle
// connection is kept and used again; a connection that the server has closed meanwhile is seen
// before it is used. A request whose connection breaks is sent again only if it is a GET that had
// no byte of an answer. Beast stays in http.cc.
//
// Errors: UNAVAILABLE (no connection, or lost before or in the middle of the answer: for anything
// but a GET the outcome is unknown), DEADLINE_EXCEEDED (timeout), CANCELLED (interrupted),
// PERMISSION_DENIED, RESOURCE_EXHAUSTED (an answer beyond its bound), INVALID_ARGUMENT (what was
// answered isn't HTTP). FaultOf() says more.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "api/client/config.h"

namespace isla::client {

struct HttpRequest {
  std::string method = "GET";
  std::string target{};  // path and query, escaped: see url.h
  std::string body{};
  std::string content_type{};  // of the body
  std::string accept = "application/json";
  /// In place of `body`, for one that is larger than memory: pieces of it, "" at its end. request_timeout is for each piece then,
  /// and for the answer. If it fails the request is broken off with its error.
  std::function<StatusOr<std::string>()> body_source{};
};

struct HttpResponse {
  int status = 0;
  std::string content_type{};
  std::vector<std::string> warnings{};  // texts of Warning: 299 headers
  std::optional<std::chrono::seconds> retry_after{};
  std::string body{};  // of a stream that was opened: empty
};

/// Why there was no answer.
enum class Fault {
  kNone,
  kRefused,
  kNoSocket,
  kDenied,
  kName,
  kUnreachable,
  kTls,
  kTimeout,
  kLost,
  kProtocol
};
/// The fault that a status of this library carries.
Fault FaultOf(const Status& status);
Status FaultError(Fault fault, Code code, const std::string& message);

/// The body of one response as it comes.
class HttpStream {
 public:
  virtual ~HttpStream() = default;  // closes the connection unless the body has ended
  /// Some bytes; "" is the proper end of the body, then and ever after. DEADLINE_EXCEEDED: none
  /// within `wait` (ask again); UNAVAILABLE: the connection broke before the end.
  virtual StatusOr<std::string> Read(Duration wait) = 0;
};

struct HttpOptions {
  Duration connect_timeout = std::chrono::seconds(10);
  Duration request_timeout =
      std::chrono::seconds(60);              // of a whole request; of the head of a stream
  size_t max_body_bytes = size_t{64} << 20;  // of a response that isn't a stream
  int interrupt_fd =
      -1;  // readable: the call under way returns CANCELLED; the caller drains it. Not owned
  std::string user_agent = "isla/v0.1.0";
  /// Called with a line of text for each call (level 6), head (8) and body (9); never with the
  /// token.
  std::function<void(int level, const std::string& line)> trace{};
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;  // all its streams must be gone

  virtual StatusOr<HttpResponse> Do(const HttpRequest& request) = 0;

  struct Opened {
    HttpResponse head;                   // with its body if the status isn't 200
    std::unique_ptr<HttpStream> stream;  // null if the status isn't 200
  };
  virtual StatusOr<Opened> Open(const HttpRequest& request) = 0;

  /// Until Read() of one of them would not block. DEADLINE_EXCEEDED, CANCELLED. Null pointers are
  /// skipped.
  virtual Status WaitAny(const std::vector<HttpStream*>& streams, Duration wait) = 0;
  /// CANCELLED if interrupted.
  virtual Status Pause(Duration time) = 0;
  virtual const Endpoint& endpoint() const = 0;
};

/// Connects at the first request.
std::unique_ptr<HttpClient> MakeHttpClient(Endpoint endpoint, HttpOptions options = {});

}  // namespace isla::client
