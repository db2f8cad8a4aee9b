#include "controllers/gateway/gateway.h"

#include <unistd.h>

#include <utility>

#include "api/base/log.h"
#include "api/base/roll_call.h"
#include "api/base/mutex.h"
#include "controllers/gateway/data_hub.h"
#include "controllers/gateway/gateway_lease.h"
#include "controllers/gateway/registration.h"
#include "controllers/gateway/strand.h"

namespace isla::controllers {
namespace {

constexpr Duration kAnswerTimeout = std::chrono::seconds(5);
constexpr Duration kStopTimeout = std::chrono::seconds(3);
constexpr int kControlThreads = 2;

LinkMetrics MakeMetrics(Metrics* metrics) {
  if (metrics == nullptr) return {};
  LinkMetrics out;
  out.deltas = metrics->AddCounter("isla_gateway_deltas_total", "deltas sent to agents");
  out.reports = metrics->AddCounter("isla_gateway_reports_written_total", "reports of agents put in the store");
  out.report_txns = metrics->AddCounter("isla_gateway_report_transactions_total", "transactions that put reports");
  out.refusals = metrics->AddCounter("isla_gateway_refusals_total", "agents that were refused");
  out.retries = metrics->AddCounter("isla_gateway_write_retries_total", "writes that had to be tried again");
  out.digest_mismatches = metrics->AddCounter("isla_gateway_digest_mismatches_total",
                                              "agents whose state was not what they were told; should stay 0");
  out.report_seconds = metrics->AddHistogram("isla_gateway_report_seconds", "time of a transaction that puts reports");
  return out;
}

class Links final : public LinkTable {
 public:
  explicit Links(Metrics* metrics) {
    if (metrics != nullptr) connected_ = metrics->AddGauge("isla_gateway_nodes_connected_count", "nodes served here");
  }

  void Begin(const std::string& node, const NodeLink* link) override {
    MutexLock lock(mu_);
    active_[link] = node;
  }

  std::shared_ptr<NodeLink> Serve(const std::string& node, std::shared_ptr<NodeLink> link) override {
    MutexLock lock(mu_);
    std::shared_ptr<NodeLink>& slot = serving_[node];
    slot.swap(link);
    connected_.Set(static_cast<double>(serving_.size()));
    return link;
  }

  void Over(const NodeLink* link) override {
    std::shared_ptr<NodeLink> last;  // destroyed after the lock is let go
    MutexLock lock(mu_);
    const auto active = active_.find(link);
    if (active == active_.end()) return;
    const auto serving = serving_.find(active->second);
    if (serving != serving_.end() && serving->second.get() == link) {
      last = std::move(serving->second);
      serving_.erase(serving);
    }
    active_.erase(active);
    connected_.Set(static_cast<double>(serving_.size()));
    changed_.NotifyAll();
  }

  std::shared_ptr<NodeLink> Of(const std::string& node) const {
    MutexLock lock(mu_);
    const auto found = serving_.find(node);
    return found == serving_.end() ? nullptr : found->second;
  }
  std::vector<std::shared_ptr<NodeLink>> All() const {
    MutexLock lock(mu_);
    std::vector<std::shared_ptr<NodeLink>> all;
    for (const auto& [node, link] : serving_) all.push_back(link);
    return all;
  }
  bool Knows(const std::string& node) const {
    MutexLock lock(mu_);
    for (const auto& [link, name] : active_) {
      if (name == node) return true;
    }
    return false;
  }
  size_t size() const {
    MutexLock lock(mu_);
    return serving_.size();
  }
  void WaitEmpty(const Clock& clock, Duration timeout) {
    const MonotonicTime until = clock.Monotonic() + timeout;
    MutexLock lock(mu_);
    while (!active_.empty() && clock.Monotonic() < until) changed_.WaitFor(mu_, until - clock.Monotonic());
  }

 private:
  Gauge connected_;
  mutable Mutex mu_;
  CondVar changed_;
  std::map<std::string, std::shared_ptr<NodeLink>> serving_ GUARDED_BY(mu_);
  std::map<const NodeLink*, std::string> active_ GUARDED_BY(mu_);  // from its hello until all is written
};

class PipeStream final : public NodeStream {
 public:
  explicit PipeStream(std::shared_ptr<DataPipe> pipe) : pipe_(std::move(pipe)) {}
  ~PipeStream() override { pipe_->Close(); }
  StatusOr<std::string> Next() override { return pipe_->Next(); }
  void Notify(std::function<void()> ready) override { pipe_->Notify(std::move(ready)); }

 private:
  const std::shared_ptr<DataPipe> pipe_;
};

class GatewayImpl final : public Gateway, public ChangeListener {
 public:
  GatewayImpl(GatewayOptions options, store::Store& store, const ClusterState& state, Listeners& listeners,
              const Clock& clock)
      : options_(std::move(options)),
        store_(store),
        state_(state),
        listeners_(listeners),
        clock_(clock),
        links_(options_.metrics),
        control_(kControlThreads),
        writers_(options_.writers),
        timers_(clock) {}
  ~GatewayImpl() override { Stop(); }

  Status Listen();
  void Stop() override;
  StatusOr<std::unique_ptr<NodeStream>> OpenLog(const std::string& node, const isla::v1::LogRequest& request) override;
  const std::string& id() const override { return options_.id; }
  size_t connected() const override { return links_.size(); }
  bool fresh() const override { return lease_->fresh(); }
  int port() const override { return service_->port(); }
  bool Responds(Duration timeout) override {
    // A message thread is one of several, and any may take it; so each is asked by one that waits for the others.
    const auto call = std::make_shared<RollCall>(kControlThreads);
    timers_.After(Duration::zero(), [this, call, timeout] {
      for (int i = 0; i < kControlThreads; ++i) {
        control_.Post([call, timeout] {
          call->Answer();
          call->Wait(timeout);
        });
      }
    });
    return call->Wait(timeout);
  }

  void OnChanges(const std::vector<Change>& changes, store::Revision revision) override;
  void OnReset() override;

 private:
  void OnLeaseLost();
  void FollowEpoch();
  void Sweep();
  void MarkForgotten(const std::string& node);
  Status WhereIs(const std::string& node) const;
  std::vector<std::string> NodesOf(const std::string& session) const;

  const GatewayOptions options_;
  store::Store& store_;
  const ClusterState& state_;
  Listeners& listeners_;
  const Clock& clock_;
  const Logger log_{"gateway"};

  Links links_;
  DataHub hub_;
  Pool control_;
  Pool writers_;
  TimerThread timers_;
  std::unique_ptr<GatewayLease> lease_;
  std::unique_ptr<LinkContext> context_;
  std::unique_ptr<AgentService> service_;
  bool listening_ = false;
  std::atomic<int64_t> epoch_{1};
  std::atomic<bool> stopping_{false};
};

Status GatewayImpl::Listen() {
  const GatewayRecord record{options_.listen.address.empty() ? "unix://" + options_.listen.socket_path : options_.listen.address,
                             options_.api_address, getpid()};
  lease_ = std::make_unique<GatewayLease>(store_, state_.keys(), clock_,
                                          GatewayLeaseOptions{options_.id, Encode(record), options_.lease_ttl},
                                          [this] { OnLeaseLost(); });
  LinkOptions link = options_.link;
  link.gateway_id = options_.id;
  context_ = std::make_unique<LinkContext>(LinkContext{store_, state_, clock_, *lease_, links_, control_, writers_,
                                                       timers_, link, MakeMetrics(options_.metrics)});
  const auto start = [this](std::shared_ptr<AgentStream> stream, std::string name) {
    return NodeLink::Start(*context_, std::move(stream), std::move(name));
  };
  epoch_ = state_.epoch();
  ASSIGN_OR_RETURN(service_, AgentService::Listen(options_.listen, start, hub_));
  listeners_.Add(*this);
  listening_ = true;
  timers_.After(options_.sweep_every, [this] { Sweep(); });
  return OkStatus();
}

void GatewayImpl::Stop() {
  if (stopping_.exchange(true)) return;
  if (listening_) listeners_.Remove(*this);
  hub_.Close();
  if (service_ != nullptr) service_->Shutdown();
  links_.WaitEmpty(clock_, kStopTimeout);
  timers_.Stop();
  lease_->Stop();
  // The store's calls that are under way end by their deadlines, and post to the strands.
  writers_.Stop();
  control_.Stop();
}

void GatewayImpl::OnReset() { FollowEpoch(); }

/// After a restore: what was begun before it ends, and the store learns of the new epoch.
void GatewayImpl::FollowEpoch() {
  const int64_t epoch = state_.epoch();
  if (epoch_.exchange(epoch) < epoch) {
    log_.Warn("the store was restored from a backup", "epoch={}; agents have to connect again", epoch);
    for (const auto& link : links_.All()) link->OnEpoch(epoch);
  }
  if (state_.stored_epoch() >= epoch) return;
  writers_.Post([this] {
    const Status status = RaiseEpoch(store_, state_);
    if (!status.ok()) log_.Debug("the epoch was not written", "error='{}'; trying again", ToString(status));
  });
}

void GatewayImpl::OnChanges(const std::vector<Change>& changes, store::Revision) {
  bool settings = false;
  for (const Change& change : changes) {
    if (change.key.key_class == store::KeyClass::kMeta) FollowEpoch();
    settings = settings || change.key.key_class == store::KeyClass::kConfig;
  }
  if (settings) {
    for (const auto& link : links_.All()) link->OnSettings();
  }
  std::map<std::string, std::vector<std::string>> sessions;
  for (const Change& change : changes) {
    if (change.key.key_class == store::KeyClass::kBind) {
      for (const std::string& node : change.nodes) sessions[node].push_back(change.session);
    } else if (change.key.key_class == store::KeyClass::kSpec && change.key.kind == "sandboxpolicy") {
      for (const std::string& session : state_.SessionsWithPolicy(change.key.ns + "/" + change.key.name)) {
        for (const std::string& node : NodesOf(session)) sessions[node].push_back(session);
      }
    } else if (change.key.key_class == store::KeyClass::kNodeTerm || change.key.key_class == store::KeyClass::kNode) {
      if (const auto link = links_.Of(change.key.name)) link->OnNodeKeys();
    }
  }
  for (auto& [node, names] : sessions) {
    if (const auto link = links_.Of(node)) link->OnSessions(std::move(names));
  }
}

std::vector<std::string> GatewayImpl::NodesOf(const std::string& session) const {
  std::vector<std::string> nodes;
  const SessionView view = state_.Session(session);
  if (view.bind == nullptr || !view.bind->ok()) return nodes;
  for (const BindContainer& container : view.bind->value.containers) nodes.push_back(container.node);
  return nodes;
}

void GatewayImpl::OnLeaseLost() {
  for (const auto& link : links_.All()) link->Close(Error(Code::kUnavailable, "the gateway lost its lease"));
}

/// A node that the store says is connected here, and isn't: its mark couldn't be written when its stream ended, or its
/// registration was written without our knowing.
void GatewayImpl::Sweep() {
  if (stopping_) return;
  timers_.After(options_.sweep_every, [this] { Sweep(); });
  FollowEpoch();
  for (const std::string& node : state_.NodesOfGateway(options_.id)) {
    const NodeView view = state_.Node(node);
    if (view.node == nullptr || !view.node->ok() || !view.node->value.connected || links_.Knows(node)) continue;
    writers_.Post([this, node] { MarkForgotten(node); });
  }
}

void GatewayImpl::MarkForgotten(const std::string& node) {
  const NodeView view = state_.Node(node);
  if (view.term == nullptr || !view.term->ok() || view.term->value.owner != options_.id || links_.Knows(node)) return;
  const auto change = [&](Node& value) {
    if (!value.connected || value.term != view.term->value.term) return false;
    value.connected = false;
    value.last_change = RecordTime(clock_.Wall());
    return true;
  };
  const Status status =
      UpdateNode(store_, state_, node, view.term->mod_revision(), change, std::chrono::seconds(2));
  if (!status.ok()) log_.Debug("node not marked as disconnected", "node={} error='{}'", node, ToString(status));
}

Status GatewayImpl::WhereIs(const std::string& node) const {
  const NodeView view = state_.Node(node);
  if (view.node == nullptr || !view.node->ok()) return Errorf(Code::kUnavailable, "node '{}' is not known", node);
  if (!view.node->value.connected || !view.gateway_alive) {
    return Errorf(Code::kUnavailable, "node '{}' is not connected: since {} no islad hears its agent", node,
                  view.node->value.last_change);
  }
  const auto gateway = state_.Gateway(view.node->value.gateway);
  return Errorf(Code::kUnavailable, "node '{}' is connected to another islad, gateway '{}': ask that one{}", node,
                view.node->value.gateway,
                gateway != nullptr && gateway->ok() && !gateway->value.api.empty() ? " at " + gateway->value.api : "");
}

StatusOr<std::unique_ptr<NodeStream>> GatewayImpl::OpenLog(const std::string& node, const isla::v1::LogRequest& request) {
  const auto link = links_.Of(node);
  if (link == nullptr) return WhereIs(node);
  ASSIGN_OR_RETURN(const auto expected, hub_.Expect(node));
  const auto& [id, pipe] = expected;
  auto stream = std::make_unique<PipeStream>(pipe);
  isla::v1::OpenStream open;
  open.set_stream_id(id);
  *open.mutable_log() = request;
  Status status = link->OpenStream(std::move(open));
  if (status.ok()) status = pipe->WaitAttached(kAnswerTimeout);
  hub_.Forget(id);
  if (!status.ok()) return Annotate(status, "node '" + node + "'");
  return std::unique_ptr<NodeStream>(std::move(stream));
}

}  // namespace

StatusOr<std::unique_ptr<Gateway>> Gateway::Start(GatewayOptions options, store::Store& store,
                                                  const ClusterState& state, Listeners& listeners,
                                                  const Clock& clock) {
  auto gateway = std::make_unique<GatewayImpl>(std::move(options), store, state, listeners, clock);
  RETURN_IF_ERROR(gateway->Listen());
  return std::unique_ptr<Gateway>(std::move(gateway));
}

}  // namespace isla::controllers
