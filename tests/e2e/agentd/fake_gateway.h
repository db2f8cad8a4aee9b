// A gateway that a test plays by hand: one agent, desired containers in memory, reports kept. On each connect it
// welcomes with a higher term and sends the full state, as the real one does.
#pragma once

#include <isla/v1/agent.grpc.pb.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace grpc {
class Server;
}

namespace isla::testing {

/// A launch with small limits that runs `argv` in the host image.
isla::v1::LaunchSpec MakeLaunch(std::vector<std::string> argv);

class FakeGateway {
 public:
  using Key = std::pair<std::string, int64_t>;

  /// Listens at unix:<folder>/gateway.sock.
  explicit FakeGateway(const std::string& folder);
  ~FakeGateway();

  std::string target() const { return "unix://" + socket_; }
  /// Waits until an agent was welcomed and has acknowledged the full state, `count` times in all.
  bool WaitServed(int count = 1);
  isla::v1::Hello hello();

  /// Adds it to the desired state and sends a delta; the ack, or nothing within 10 s.
  std::optional<isla::v1::DeltaAck> Run(const Key& key, const isla::v1::LaunchSpec& launch);
  std::optional<isla::v1::DeltaAck> Stop(const Key& key, int64_t grace_msec = 1000);
  std::optional<isla::v1::DeltaAck> Remove(const Key& key);
  std::optional<isla::v1::DeltaAck> Send(isla::v1::Delta delta);

  /// The newest report of `key`, once `holds` is true of it; nothing after `timeout`.
  std::optional<isla::v1::Report> WaitReport(const Key& key,
                                             const std::function<bool(const isla::v1::Report&)>& holds,
                                             std::chrono::milliseconds timeout = std::chrono::seconds(15));
  std::optional<isla::v1::Report> WaitState(const Key& key, isla::v1::ContainerState state,
                                            std::chrono::milliseconds timeout = std::chrono::seconds(15));
  /// How many reports of `key` said a state.
  int CountReports(const Key& key, isla::v1::ContainerState state);
  std::optional<bool> AskDigest();
  /// Asks for a log and waits for the end of the stream: what came, or the error as "error: ...".
  std::string ReadLog(const Key& key, bool follow = false, int64_t tail = -1, bool timestamps = false);

  /// Whether reports are acknowledged, pings answered (both at first).
  void SetAcking(bool acking);
  void SetPonging(bool ponging);
  /// The next welcome has this term.
  void SetTerm(int64_t term);
  /// Ends the stream of the agent; it will dial again.
  void Disconnect();
  std::string Digest();

 private:
  class Service;
  void HandleMessage(const isla::v1::AgentMessage& message);
  void Write(const isla::v1::GatewayMessage& message);
  isla::v1::Delta FullState();
  bool WaitFor(std::chrono::milliseconds timeout, const std::function<bool()>& holds);

  std::string socket_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;

  std::mutex mu_;
  std::condition_variable changed_;
  std::function<void(const isla::v1::GatewayMessage&)> write_;
  std::function<void()> cancel_;
  isla::v1::Hello hello_;
  int64_t term_ = 0;
  uint64_t nonce_ = 0;
  uint64_t digest_sequence_ = 0;
  int full_acks_ = 0;
  std::map<uint64_t, bool> full_nonces_;
  std::map<Key, isla::v1::DesiredContainer> desired_;
  std::map<uint64_t, isla::v1::DeltaAck> acks_;
  std::map<Key, std::vector<isla::v1::Report>> reports_;
  std::map<uint64_t, bool> digests_;
  std::map<std::string, std::string> logs_;
  std::map<std::string, bool> logs_ended_;
  bool acking_ = true;
  bool ponging_ = true;
  uint64_t stream_count_ = 0;
};

}  // namespace isla::testing
