// The agent's side of the stream (api/proto/isla/v1/agent.proto, DESIGN 7): what it says of itself, and which of
// what it is told it accepts. Nothing of gRPC is here: messages come in, messages go out through a GatewayLink.
//
// Invariants
//   - Absence is never a command: a container that a full delta doesn't name becomes an orphan and runs on. An
//     empty full delta counts only if it says that it is empty.
//   - A stop, once told, is final for its incarnation. A refused or gone one is never started.
//   - A removal drops the record of what is gone, and nothing else.
//   - A term below the highest ever seen is refused, with all that it says.
//   - A delta is acknowledged when it is durable, whole or not at all (`refused`).
// Loop thread only.
#pragma once

#include <isla/v1/agent.pb.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agentd/container_manager.h"
#include "agentd/journal.h"
#include "agentd/node_config.h"
#include "agentd/reporter.h"
#include "agentd/settings.h"
#include "agentd/timers.h"
#include "api/base/clock.h"
#include "api/base/fits.h"

namespace isla::agent {

inline constexpr uint32_t kStreamProtocol = 1;

/// The stream to the gateway, as the logic sees it.
class GatewayLink {
 public:
  virtual ~GatewayLink() = default;
  virtual void Send(isla::v1::AgentMessage message) = 0;
  /// Ends this stream; another one is tried after a while. OnDisconnected follows.
  virtual void Close(const std::string& why) = 0;
};

struct NodeIdentity {
  std::string name;
  std::string uid;
  std::string boot_id;
  std::string epoch;
  std::string version;
  std::string kernel;
  std::vector<std::string> features;
};

struct ControlPlaneOptions {
  Duration ping_every = std::chrono::seconds(5);
  Duration pong_within = std::chrono::seconds(15);
};

class ControlPlane {
 public:
  using OpenStreamFn = std::function<void(const isla::v1::OpenStream&)>;

  /// All must outlive this. `found` is what the machine has; `config` lowers it.
  ControlPlane(ControlPlaneOptions options, NodeIdentity identity, Resources found, NodeConfig config,
               Journal& journal, ContainerManager& containers, Reporter& reporter, GatewayLink& link,
               Timers& timers, const Clock& clock, OpenStreamFn open_stream);
  ~ControlPlane();

  /// A stream is up: says Hello. Never before the containers are restored.
  void OnConnected();
  void OnMessage(const isla::v1::GatewayMessage& message);
  void OnDisconnected();

  /// A node.json that was read again. Counts for what is admitted from now on, and is told at the next Hello.
  void SetConfig(NodeConfig config);

  /// `changed` is called with the settings in force, each time that the gateway told others.
  void OnSettingsChanged(std::function<void(const Settings&)> changed) { settings_changed_ = std::move(changed); }

  /// When the last ping that was answered was sent: the disconnect clock.
  MonotonicTime last_answered_ping() const { return answered_; }
  bool is_served() const { return term_ != 0; }
  int64_t term() const { return term_; }

 private:
  struct Change {
    const isla::v1::Delta* delta = nullptr;  // while it is taken in
    journal::Record record;
    isla::v1::DeltaAck ack;
    std::vector<ContainerKey> changed;
    std::vector<ContainerKey> removed;
    Resources used;
    std::set<uint32_t> ids;
    int64_t log_bytes = 0;
    size_t added = 0;
  };

  void OnWelcome(const isla::v1::Welcome& welcome);
  void OnDelta(const isla::v1::Delta& delta);
  void OnSettings(const isla::v1::NodeSettings& told);
  void OnDigest(const isla::v1::Digest& digest);
  void OnPong(const isla::v1::Pong& pong);
  /// Why the whole delta can't be; "" if it can.
  std::string CheckDelta(const isla::v1::Delta& delta) const;
  void Upsert(const isla::v1::DesiredContainer& desired, Change& change);
  void UpsertStop(const isla::v1::DesiredContainer& desired, Change& change);
  void UpsertRun(const isla::v1::DesiredContainer& desired, Change& change);
  journal::Entry Accept(const isla::v1::DesiredContainer& desired, Change& change);
  std::optional<isla::v1::Nack> AdmitEntry(journal::Entry& entry, Change& change);
  void DropUnnamed(const isla::v1::Delta& delta, Change& change);
  void Remove(const ContainerKey& key, Change& change);
  void Commit(Change change);
  void SendPing();
  isla::v1::Hello MakeHello() const;
  Resources Capacity() const { return LimitCapacity(found_, config_); }

  const ControlPlaneOptions options_;
  const NodeIdentity identity_;
  const Resources found_;
  NodeConfig config_;       // node.json
  Settings settings_;       // as told last
  NodeConfig log_config_;   // config_, its log bounds lowered by settings_
  Journal& journal_;
  ContainerManager& containers_;
  Reporter& reporter_;
  GatewayLink& link_;
  Timers& timers_;
  const Clock& clock_;
  const OpenStreamFn open_stream_;
  std::function<void(const Settings&)> settings_changed_;

  bool connected_ = false;
  uint64_t stream_ = 0;  // counts streams: what was begun on an older one isn't answered on a newer one
  int64_t term_ = 0;     // of this stream; 0 = not welcomed yet
  int64_t cluster_epoch_ = 0;  // of the last welcome; 0 = none yet
  uint32_t last_id_base_ = 0;
  uint64_t ping_sequence_ = 0;
  std::map<uint64_t, MonotonicTime> pings_;  // not answered yet
  MonotonicTime answered_{};
  MonotonicTime connected_at_{};
  TimerId ping_timer_ = 0;
};

/// The digest of what the control plane told (see Digest in agent.proto), and of how many containers.
std::pair<uint64_t, std::string> StateDigest(const JournalState& state);

}  // namespace isla::agent
