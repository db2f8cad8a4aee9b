// A proxy between a client and etcd that breaks connections on demand: both ends are unix sockets, the bytes are
// HTTP/2 without TLS. It knows where frames begin, so that a fault strikes where it was meant to: after a request has
// reached the server and before its answer, or in the middle of an answer.
//
// What a network does (delays, stalls, cuts, half-open connections) is done as it is. What a network doesn't do to a stream with
// checksums (bytes changed, doubled, swapped) is done to frame headers only, and the connection ends soon after: the
// peer must notice, and can't be blamed for believing a payload that was changed.
//
// One thread of its own, with epoll; every method may be called from any thread. The faults are chosen by the caller, from its seed.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace isla::testing {

enum class StreamFault {
  // One frame long: armed, and done to a frame that fits.
  kCutAfterRequest,  // a request goes through; when its answer begins, it is dropped and the connection closed
  kTruncateAnswer,   // half a frame from the server, then the end
  kTruncateRequest,  // half a frame from the client, then the end
  kGarbage,          // a frame's header is replaced by noise
  kDuplicate,        // the header of a frame of headers comes twice
  kReorder,          // the halves of a frame are swapped
  // At once.
  kReset,     // all connections are closed
  kHalfOpen,  // all connections go dead without a word: bytes vanish on both sides for ever
  // Until Heal.
  kDelay,         // every frame is late
  kThrottle,      // few bytes a second
  kHoldRequests,  // nothing gets to the server (TCP's retransmission brings it after Heal)
  kHoldAnswers,   // nothing gets to the client
  kRefuse,        // new connections are closed at once
};
inline constexpr size_t kStreamFaults = 13;
const char* StreamFaultName(StreamFault fault);

class FaultProxy {
 public:
  /// Listens on `listen_path` (removed first) and connects to `target_path`. Aborts if it can't listen.
  FaultProxy(std::string listen_path, std::string target_path);
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  /// `amount`: for one frame, how many fitting frames to let pass before; kDelay: milliseconds; kThrottle: bytes a second.
  void Inject(StreamFault fault, uint32_t amount = 0);
  /// Ends kDelay, kThrottle, kHold... and kRefuse, forgets what is armed. What was held goes on its way; a half-open connection stays dead.
  void Heal();

  /// How often a fault was done to a connection (of those "until Heal": how often it was injected).
  uint64_t done(StreamFault fault) const { return done_[static_cast<size_t>(fault)].load(); }
  uint64_t connections() const { return connections_.load(); }
  uint64_t frames() const { return frames_.load(); }
  const std::string& path() const { return listen_path_; }

 private:
  class Impl;
  std::string listen_path_;
  std::array<std::atomic<uint64_t>, kStreamFaults> done_{};
  std::atomic<uint64_t> connections_{0}, frames_{0};
  std::unique_ptr<Impl> impl_;
};

}  // namespace isla::testing
