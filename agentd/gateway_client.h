// The stream to a gateway, over gRPC: dials the gateways in turn, with backoff and jitter, and carries messages
// between gRPC's threads and the loop. All that is said and meant is in control_plane.h.
//
// Threads: everything on the loop but the reactions of the reactors in gateway_client.cc, which copy a message
// into a bounded queue and Post. When the queue is full no read is started until the loop has taken from it, so a
// flood is held back by gRPC's own flow control. A stream whose outgoing queue is full is ended.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agentd/control_plane.h"
#include "agentd/loop.h"
#include "api/base/uuid.h"

namespace isla::agent {

struct GatewayClientOptions {
  /// "unix:///path" or "host:port", tried in turn. The latter need all three TLS files (PEM).
  std::vector<std::string> gateways;
  std::string tls_ca, tls_cert, tls_key;
  Duration backoff_first = std::chrono::milliseconds(100);
  Duration backoff_last = std::chrono::seconds(5);
};

struct GatewayEvents {
  std::function<void()> connected;
  std::function<void(const isla::v1::GatewayMessage&)> message;
  std::function<void()> disconnected;
};

/// What a Data stream may do, from any thread but the loop's and gRPC's: it waits.
class DataStream {
 public:
  virtual ~DataStream() = default;
  /// Sends a frame, waiting until the one before it was taken. False: the stream has ended.
  virtual bool Write(const isla::v1::DataFrame& frame) = 0;
  /// Half-closes and waits for the end of the stream.
  virtual void Finish() = 0;
  /// Ends it at once; makes Write return false. Any thread.
  virtual void Cancel() = 0;
  /// A callback when the other side has ended the stream; any thread. Set it before the first Write.
  virtual void SetOnEnd(std::function<void()> fn) = 0;
};

class GatewayClient final : public GatewayLink {
 public:
  /// INVALID_ARGUMENT: no gateway, or one that needs TLS files that aren't there. `loop` must outlive this.
  static StatusOr<std::unique_ptr<GatewayClient>> Create(GatewayClientOptions options, GatewayEvents events,
                                                         Loop& loop, Random& random = Random::Real());
  ~GatewayClient() override;

  /// Begins to dial, and goes on until Shutdown.
  void Start();
  void Send(isla::v1::AgentMessage message) override;
  void Close(const std::string& why) override;
  /// A new Data stream to the gateway that serves now; null if none does.
  std::unique_ptr<DataStream> OpenData();
  /// Cancels the stream and calls `done` on the loop when gRPC has let go of it.
  void Shutdown(std::function<void()> done);

  const std::string& target() const;
  bool connected() const;

 private:
  class Stream;
  struct Impl;
  explicit GatewayClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace isla::agent
