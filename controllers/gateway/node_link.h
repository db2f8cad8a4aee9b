// One agent's stream, as the gateway sees it: registration, deltas, reports, pings, digests. Nothing of gRPC is here:
// messages come from an AgentStream and go to it.
//
// States
//   awaiting hello -> registering -> catching up -> serving -> over
// Catching up: the first delta is full, and must not be older than the registration; else a container that was removed
// since would be told to run again. So it waits until the cache has reached the registration's own write.
//
// Invariants
//   - Every write to the store compares nodeterm/<node> with the revision that the registration got. Who loses the node
//     (another gateway took it, the leader fenced it) writes nothing any more, and ends the stream.
//   - At most one delta is in flight; what changes meanwhile is in the next one.
//   - At most one call of the store is in flight for a stream. Reports that come meanwhile go together in the next
//     transaction. A report is acknowledged when it is in the store, or there is nothing to put there.
//   - When kMaxPendingReports wait, nothing more is read from the stream: the agent's flow control holds it back.
// Threads: OnInput, OnSessions and the like from any thread; all else on the link's strand, store calls on the writers' pool.
#pragma once

#include <isla/v1/agent.pb.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/metrics.h"
#include "controllers/gateway/desired_state.h"
#include "controllers/gateway/gateway_lease.h"
#include "controllers/gateway/registration.h"
#include "controllers/gateway/run_batch.h"
#include "controllers/gateway/strand.h"
#include "controllers/runtime/cluster_state.h"
#include "store/store.h"

namespace isla::controllers {

/// The transport of one stream. Any thread.
class AgentStream {
 public:
  virtual ~AgentStream() = default;
  /// The next message that has come, or nothing.
  virtual std::optional<isla::v1::AgentMessage> Take() = 0;
  /// Ignored once the stream has ended.
  virtual void Send(isla::v1::GatewayMessage message) = 0;
  /// Ends it with this status, after what was sent before.
  virtual void Close(const Status& status) = 0;
};

class NodeLink;

/// Which link serves which node; the gateway's.
class LinkTable {
 public:
  virtual ~LinkTable() = default;
  /// `link` is about to take `node`.
  virtual void Begin(const std::string& node, const NodeLink* link) = 0;
  /// `link` serves `node` from now on; the one that did before, or null.
  virtual std::shared_ptr<NodeLink> Serve(const std::string& node, std::shared_ptr<NodeLink> link) = 0;
  /// `link` is over. Idempotent.
  virtual void Over(const NodeLink* link) = 0;
};

struct LinkOptions {
  std::string gateway_id;
  Duration hello_within = std::chrono::seconds(10);
  Duration digest_every = std::chrono::seconds(30);
  Duration ack_within = std::chrono::seconds(30);     // of a delta; looked at with each digest
  Duration silence_at_most = std::chrono::seconds(60);  // an agent says something every 5 s
  Duration retry_first = std::chrono::milliseconds(5);
  Duration retry_last = std::chrono::seconds(2);
  size_t max_pending_reports = 1024;
};

struct LinkMetrics {
  Counter deltas, reports, report_txns, refusals, retries, digest_mismatches;
  Histogram report_seconds;
};

/// What links share. All references outlive every link.
struct LinkContext {
  store::Store& store;
  const ClusterState& state;
  const Clock& clock;
  const GatewayLease& lease;
  LinkTable& table;
  Pool& control;
  Pool& writers;
  TimerThread& timers;
  const LinkOptions options;
  const LinkMetrics metrics;
};

class NodeLink : public std::enable_shared_from_this<NodeLink> {
 public:
  /// `certificate_name`: of the peer's certificate, "" for a local peer.
  static std::shared_ptr<NodeLink> Start(LinkContext& context, std::shared_ptr<AgentStream> stream,
                                         std::string certificate_name);
  NodeLink(LinkContext& context, std::shared_ptr<AgentStream> stream, std::string certificate_name);

  // From any thread.

  /// There is something to Take.
  void OnInput();
  /// The stream is over; nothing more comes or goes.
  void OnStreamEnd();
  /// bind/ of these sessions has changed, or their SandboxPolicy.
  void OnSessions(std::vector<std::string> sessions);
  /// The node's own keys have changed, or the cache has moved.
  void OnNodeKeys();
  /// Settings have changed, of this node or others.
  void OnSettings();
  /// The cluster has this epoch now. A stream that began under an older one ends: on the next the agent says what it has, and
  /// reports all of it.
  void OnEpoch(int64_t epoch);
  /// Ends the stream.
  void Close(Status why);
  /// Asks the agent for a stream of bytes. UNAVAILABLE if it isn't served (any more).
  Status OpenStream(isla::v1::OpenStream request);

 private:
  enum class Phase { kHello, kRegistering, kCatchingUp, kServing, kOver };

  void Post(void (NodeLink::*fn)());
  void PostAfter(Duration delay, void (NodeLink::*fn)());
  void Take();
  void Handle(isla::v1::AgentMessage message);
  void HandleHello(isla::v1::Hello hello);
  void StartRegistering();
  void OnRegistered(const RegistrationOutcome& outcome);
  void Refuse(const Refused& refused);
  void CatchUp();
  void HandleAck(const isla::v1::DeltaAck& ack);
  void HandleReport(isla::v1::Report report);
  void HandleDigestReply(const isla::v1::DigestReply& reply);
  void HelloIsLate();

  /// Tells the agent the settings that are set for its node, if it was told others.
  void SendSettings();
  void PumpDelta();
  void SendDigest();
  /// True: it has ended the stream.
  bool IsStuck();

  void PumpWriter();
  void WriteNode();
  bool WriteRuns();
  struct Batch {
    std::vector<RunBatch::Put> puts;
    std::vector<uint64_t> sequences;  // of the reports in it
    std::vector<ContainerKey> nacks;  // of nacks_, those in it
    std::set<ContainerKey> keys;
  };
  void CollectNacks(Batch& batch);
  void CollectReports(Batch& batch);
  void OnRunsWritten(const Batch& batch, const StatusOr<store::TxnResult>& result, MonotonicTime begun);
  void OnNodeWritten(const std::set<std::pair<ContainerKey, std::string>>& orphans, const Status& status);
  void AckReports();
  void RetryLater(const Status& why);
  void RetryNow();

  std::set<std::pair<ContainerKey, std::string>> Orphans() const;
  void End(const Status& why);
  void ReleaseDelta();

  LinkContext& context_;
  const std::shared_ptr<AgentStream> stream_;
  const std::string certificate_name_;
  const Logger log_{"gateway"};
  Strand strand_;
  std::atomic<bool> serving_{false};

  // Of the strand.
  Phase phase_ = Phase::kHello;
  isla::v1::Hello hello_;
  std::string node_;
  Registration registration_;
  store::Revision gateway_created_ = 0;
  int register_attempts_ = 0;

  std::string settings_;  // as last told, serialised
  bool settings_told_ = false;
  std::unique_ptr<DesiredState> desired_;
  uint64_t nonce_ = 0;
  bool delta_in_flight_ = false;
  MonotonicTime delta_sent_{};
  MonotonicTime heard_{};
  Duration refused_backoff_{0};
  bool delta_held_ = false;  // a delta was refused; the next one waits
  uint64_t digest_sequence_ = 0;

  struct Observed {
    isla::v1::ContainerState state = isla::v1::CONTAINER_STATE_UNSPECIFIED;
    bool refused = false;
    std::string hash = {};  // as its inventory said; "" = not known
    bool over() const { return refused || state == isla::v1::GONE; }
  };
  std::map<ContainerKey, Observed> observed_;  // as the agent says

  ReportQueue reports_;
  std::map<ContainerKey, RunNack> nacks_;  // to be written
  std::unique_ptr<RunBatch> batch_;
  uint64_t acked_ = 0;
  bool writing_ = false;
  bool retry_waits_ = false;
  Duration retry_delay_{0};
  bool check_orphans_ = false;
  std::set<std::pair<ContainerKey, std::string>> orphans_;  // as written
  bool orphans_known_ = false;
};

}  // namespace isla::controllers
