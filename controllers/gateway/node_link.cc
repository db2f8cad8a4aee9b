#include "controllers/gateway/node_link.h"

#include <algorithm>
#include <utility>

#include "api/base/uuid.h"
#include "controllers/gateway/node_settings.h"

namespace isla::controllers {

using isla::v1::AgentMessage;
using isla::v1::GatewayMessage;

namespace {

constexpr uint32_t kProtocol = 1;
constexpr int kRegisterAttempts = 20;
constexpr Duration kRegisterRetry = std::chrono::milliseconds(20);
constexpr size_t kMaxObserved = 65536;
constexpr Duration kRefusedFirst = std::chrono::milliseconds(200);
constexpr Duration kRefusedLast = std::chrono::seconds(30);
constexpr Duration kMarkDeadline = std::chrono::seconds(2);

Status Fenced() { return Error(Code::kAborted, "another gateway has taken the node, or its term was raised"); }

Status StoreRestored() { return Error(Code::kUnavailable, "the store was restored from a backup"); }

/// What a write of unknown outcome did. The value has the report's sequence, so that an equal one is ours.
StatusOr<store::TxnResult> ReadBack(store::Store& store, const RunBatch::Put& put, const Status& unknown) {
  ASSIGN_OR_RETURN(const store::GetResult now, store.Get(put.run_key));
  if (now.kv == nullptr || now.kv->mod_revision <= put.run_revision || now.kv->value != put.value) return unknown;
  return store::TxnResult{true, now.kv->mod_revision, {}};
}

}  // namespace

std::shared_ptr<NodeLink> NodeLink::Start(LinkContext& context, std::shared_ptr<AgentStream> stream,
                                          std::string certificate_name) {
  auto link = std::make_shared<NodeLink>(context, std::move(stream), std::move(certificate_name));
  link->PostAfter(context.options.hello_within, &NodeLink::HelloIsLate);
  return link;
}

NodeLink::NodeLink(LinkContext& context, std::shared_ptr<AgentStream> stream, std::string certificate_name)
    : context_(context),
      stream_(std::move(stream)),
      certificate_name_(std::move(certificate_name)),
      strand_(context.control) {}

void NodeLink::Post(void (NodeLink::*fn)()) {
  strand_.Post([self = shared_from_this(), fn] { (self.get()->*fn)(); });
}

void NodeLink::PostAfter(Duration delay, void (NodeLink::*fn)()) {
  context_.timers.After(delay, [weak = weak_from_this(), fn] {
    if (const std::shared_ptr<NodeLink> self = weak.lock()) self->Post(fn);
  });
}

// ---- from any thread -------------------------------------------------------------------------------------

void NodeLink::OnInput() { Post(&NodeLink::Take); }

void NodeLink::OnStreamEnd() { Close(Error(Code::kCancelled, "the stream ended")); }

void NodeLink::OnSessions(std::vector<std::string> sessions) {
  strand_.Post([self = shared_from_this(), sessions = std::move(sessions)] {
    if (self->phase_ != Phase::kServing) return;  // the full delta to come has them
    for (const std::string& session : sessions) self->desired_->MarkDirty(session);
    self->PumpDelta();
  });
}

void NodeLink::OnNodeKeys() { Post(&NodeLink::CatchUp); }

void NodeLink::OnSettings() { Post(&NodeLink::SendSettings); }

void NodeLink::OnEpoch(int64_t epoch) {
  strand_.Post([self = shared_from_this(), epoch] {
    const bool registered = self->phase_ == Phase::kCatchingUp || self->phase_ == Phase::kServing;
    if (registered && self->registration_.epoch < epoch) self->End(StoreRestored());
  });
}

void NodeLink::Close(Status why) {
  strand_.Post([self = shared_from_this(), why = std::move(why)] { self->End(why); });
}

Status NodeLink::OpenStream(isla::v1::OpenStream request) {
  if (!serving_) return Error(Code::kUnavailable, "the agent's stream is just beginning or ending");
  GatewayMessage message;
  *message.mutable_open_stream() = std::move(request);
  stream_->Send(std::move(message));
  return OkStatus();
}

// ---- messages --------------------------------------------------------------------------------------------

void NodeLink::Take() {
  while (phase_ != Phase::kOver && phase_ != Phase::kRegistering &&
         reports_.size() < context_.options.max_pending_reports) {
    std::optional<AgentMessage> message = stream_->Take();
    if (!message) return;
    heard_ = context_.clock.Monotonic();
    Handle(*std::move(message));
  }
}

void NodeLink::Handle(AgentMessage message) {
  if (phase_ == Phase::kHello) {
    if (message.has_hello()) return HandleHello(std::move(*message.mutable_hello()));
    return End(Error(Code::kInvalidArgument, "the first message has to be a hello"));
  }
  switch (message.message_case()) {
    case AgentMessage::kHello: return End(Error(Code::kInvalidArgument, "a second hello"));
    case AgentMessage::kAck: return HandleAck(message.ack());
    case AgentMessage::kReport: return HandleReport(std::move(*message.mutable_report()));
    case AgentMessage::kDigestReply: return HandleDigestReply(message.digest_reply());
    case AgentMessage::kPing: {
      // Silence is the answer while it isn't known that others still see this gateway.
      if (!context_.lease.fresh()) return;
      GatewayMessage pong;
      pong.mutable_pong()->set_sequence(message.ping().sequence());
      return stream_->Send(std::move(pong));
    }
    case AgentMessage::MESSAGE_NOT_SET: return;  // of a newer agent
  }
}

void NodeLink::HelloIsLate() {
  if (phase_ == Phase::kHello) End(Error(Code::kDeadlineExceeded, "no hello came"));
}

void NodeLink::HandleHello(isla::v1::Hello hello) {
  if (const std::optional<Refused> refused = CheckHello(hello, certificate_name_)) return Refuse(*refused);
  hello_ = std::move(hello);
  node_ = hello_.node_name();
  context_.table.Begin(node_, this);
  StartRegistering();
}

void NodeLink::Refuse(const Refused& refused) {
  log_.Warn("agent refused", "node={} reason={} message='{}'", node_, refused.reason, refused.message);
  context_.metrics.refusals.Increment();
  GatewayMessage message;
  message.mutable_refusal()->set_reason(refused.reason);
  message.mutable_refusal()->set_message(refused.message);
  stream_->Send(std::move(message));
  End(Error(Code::kFailedPrecondition, refused.reason + ": " + refused.message));
}

// ---- registration ----------------------------------------------------------------------------------------

void NodeLink::StartRegistering() {
  if (phase_ == Phase::kOver) return;
  phase_ = Phase::kRegistering;
  if (const Status open = context_.state.CheckOpen(); !open.ok()) return End(open);
  if (!context_.lease.fresh() || context_.state.cluster_revision() == 0) {
    return End(Error(Code::kUnavailable, "this gateway can't reach the store at the moment"));
  }
  gateway_created_ = context_.lease.create_revision();
  ++register_attempts_;
  context_.writers.Post([self = shared_from_this()] {
    const LinkContext& context = self->context_;
    RegistrationOutcome outcome =
        Register(context.store, context.state, context.clock, self->hello_,
                 {context.options.gateway_id, self->gateway_created_, RandomHex(8)});
    self->strand_.Post([self, outcome = std::move(outcome)] { self->OnRegistered(outcome); });
  });
}

void NodeLink::OnRegistered(const RegistrationOutcome& outcome) {
  if (phase_ == Phase::kOver) return;
  if (outcome.refused) return Refuse(*outcome.refused);
  if (outcome.status.code() == Code::kAborted && register_attempts_ < kRegisterAttempts) {
    return PostAfter(kRegisterRetry, &NodeLink::StartRegistering);
  }
  if (!outcome.status.ok()) return End(Annotate(outcome.status, "register node '" + node_ + "'"));
  registration_ = outcome.registration;
  if (registration_.epoch < context_.state.epoch()) return End(StoreRestored());
  if (registration_.went_back) {
    log_.Warn("the agent knows a higher term than the store, which must have gone back to a backup",
              "node={} agent_term={} stored_term={}; nothing is stopped", node_, hello_.highest_term(),
              registration_.stored_term);
  }
  for (const auto& item : hello_.inventory()) {
    observed_[{item.uid(), item.incarnation()}] = {item.state(), false, item.lacks_policy() ? std::string() : item.hash()};
  }
  desired_ = std::make_unique<DesiredState>(context_.state, node_,
                                            [this](const ContainerKey& key) {
                                              const auto found = observed_.find(key);
                                              return found == observed_.end() ? nullptr : &found->second.hash;
                                            });
  batch_ = std::make_unique<RunBatch>(context_.state, node_);
  phase_ = Phase::kCatchingUp;
  if (const auto older = context_.table.Serve(node_, shared_from_this())) {
    older->Close(Error(Code::kAborted, "the node has a newer stream"));
  }
  GatewayMessage message;
  message.mutable_welcome()->set_protocol(kProtocol);
  message.mutable_welcome()->set_term(registration_.term);
  message.mutable_welcome()->set_gateway_id(context_.options.gateway_id);
  message.mutable_welcome()->set_cluster_id(context_.state.cluster_id());
  message.mutable_welcome()->set_cluster_epoch(registration_.epoch);
  stream_->Send(std::move(message));
  log_.Info("node connected", "node={} term={} containers={} agent='{}'", node_, registration_.term, observed_.size(),
            hello_.agent_version());
  hello_.Clear();
  PostAfter(context_.options.digest_every, &NodeLink::SendDigest);
  CatchUp();
  Take();
}

void NodeLink::CatchUp() {
  if (phase_ != Phase::kCatchingUp && phase_ != Phase::kServing) return;
  if (context_.state.revision() < registration_.fence) return;
  const NodeView view = context_.state.Node(node_);
  if (view.revision < registration_.fence) return;  // the store went back
  if (ModRevision(view.term) != registration_.fence) return End(Fenced());
  if (phase_ == Phase::kServing) return SendSettings();  // the node's label may name another group
  phase_ = Phase::kServing;
  serving_ = true;
  SendSettings();  // before the first delta: they hold for what it starts
  if (view.node != nullptr && view.node->ok()) {
    for (const Orphan& orphan : view.node->value.orphans) orphans_.insert({{orphan.uid, orphan.incarnation}, orphan.state});
  }
  PumpDelta();
  check_orphans_ = true;
  PumpWriter();
  Take();
}

void NodeLink::SendSettings() {
  if (phase_ != Phase::kServing) return;
  GatewayMessage message;
  *message.mutable_settings() = NodeSettingsOf(context_.state.Config(node_));
  std::string settings = message.settings().SerializeAsString();
  // An agent keeps what another gateway told it, so a stream's first message is sent even if nothing is set.
  if (settings_told_ && settings == settings_) return;
  settings_ = std::move(settings);
  settings_told_ = true;
  stream_->Send(std::move(message));
}

// ---- deltas ----------------------------------------------------------------------------------------------

void NodeLink::PumpDelta() {
  if (phase_ != Phase::kServing || delta_in_flight_ || delta_held_ || !desired_->IsDirty()) return;
  // What a closed store says isn't to be done. The epoch that was raised with its closing ends the stream anyway.
  if (const Status open = context_.state.CheckOpen(); !open.ok()) return End(open);
  std::optional<isla::v1::Delta> delta = desired_->Next([this](const ContainerKey& key) {
    const auto found = observed_.find(key);
    return found != observed_.end() && found->second.over();
  });
  for (DesiredState::Bad& bad : desired_->TakeBad()) {
    log_.Warn("container not told", "node={} session={} container={} incarnation={} reason={} error='{}'; it is refused for the node",
              node_, bad.session, bad.key.uid, bad.key.incarnation, bad.reason, bad.why);
    nacks_[bad.key] = {bad.reason, bad.why};
  }
  if (delta) {
    for (const auto& removal : delta->removals()) {
      observed_.erase({removal.uid(), removal.incarnation()});
      batch_->Forget({removal.uid(), removal.incarnation()});
    }
    delta->set_nonce(++nonce_);
    delta->set_term(registration_.term);
    delta_in_flight_ = true;
    delta_sent_ = context_.clock.Monotonic();
    check_orphans_ = check_orphans_ || delta->full() || delta->removals_size() > 0;
    context_.metrics.deltas.Increment();
    log_.Debug("delta", "node={} nonce={} full={} upserts={} removals={}", node_, nonce_, delta->full(),
               delta->upserts_size(), delta->removals_size());
    GatewayMessage message;
    *message.mutable_delta() = *std::move(delta);
    stream_->Send(std::move(message));
  }
  if (check_orphans_ || !nacks_.empty()) PumpWriter();
}

void NodeLink::HandleAck(const isla::v1::DeltaAck& ack) {
  if (!delta_in_flight_ || ack.nonce() != nonce_ || ack.term() != registration_.term) {
    log_.Warn("acknowledgement of no delta", "node={} nonce={} term={}; ignoring it", node_, ack.nonce(), ack.term());
    return;
  }
  delta_in_flight_ = false;
  if (!ack.refused().empty()) {
    refused_backoff_ = std::clamp(refused_backoff_ * 2, kRefusedFirst, kRefusedLast);
    log_.Warn("delta refused by the agent", "node={} error='{}' full_state_in_ms={}", node_, ack.refused(),
              refused_backoff_ / std::chrono::milliseconds(1));
    desired_->WantFull();
    delta_held_ = true;
    return PostAfter(refused_backoff_, &NodeLink::ReleaseDelta);
  }
  refused_backoff_ = Duration::zero();
  for (const auto& nack : ack.nacks()) {
    const ContainerKey key{nack.uid(), nack.incarnation()};
    if (!desired_->Has(key)) continue;
    observed_[key].refused = true;
    nacks_[key] = {nack.reason(), nack.message()};
  }
  PumpDelta();
  PumpWriter();
}

void NodeLink::ReleaseDelta() {
  delta_held_ = false;
  PumpDelta();
}

void NodeLink::SendDigest() {
  if (phase_ == Phase::kOver) return;
  if (IsStuck()) return;
  PostAfter(context_.options.digest_every, &NodeLink::SendDigest);
  if (phase_ != Phase::kServing || delta_in_flight_ || desired_->IsDirty()) return;
  GatewayMessage message;
  message.mutable_digest()->set_sequence(++digest_sequence_);
  message.mutable_digest()->set_count(desired_->size());
  message.mutable_digest()->set_digest(desired_->Digest());
  stream_->Send(std::move(message));
}

/// An agent that is connected and does nothing would keep its node for ever: on a new stream it starts afresh.
bool NodeLink::IsStuck() {
  const MonotonicTime now = context_.clock.Monotonic();
  if (delta_in_flight_ && now - delta_sent_ > context_.options.ack_within) {
    End(Error(Code::kDeadlineExceeded, "a delta was not acknowledged"));
  } else if (now - heard_ > context_.options.silence_at_most && reports_.size() < context_.options.max_pending_reports) {
    End(Error(Code::kDeadlineExceeded, "the agent is silent"));
  }
  return phase_ == Phase::kOver;
}

void NodeLink::HandleDigestReply(const isla::v1::DigestReply& reply) {
  if (reply.matches() || reply.sequence() != digest_sequence_ || phase_ != Phase::kServing) return;
  log_.Warn("the agent's state isn't what it was told", "node={}; sending all of it", node_);
  context_.metrics.digest_mismatches.Increment();
  desired_->WantFull();
  PumpDelta();
}

// ---- reports ---------------------------------------------------------------------------------------------

void NodeLink::HandleReport(isla::v1::Report report) {
  if (!IsUuid(report.uid()) || report.incarnation() <= 0 || report.sequence() == 0) {
    log_.Warn("report of no container", "node={} uid='{}'; ignoring it", node_, report.uid().substr(0, 64));
    return;
  }
  const ContainerKey key{report.uid(), report.incarnation()};
  if (observed_.size() >= kMaxObserved && !observed_.contains(key)) {
    return End(Error(Code::kResourceExhausted, "the agent reports too many containers"));
  }
  Observed& observed = observed_[key];
  observed.state = report.state();
  observed.refused = observed.refused || report.has_nack();
  check_orphans_ = check_orphans_ || desired_ == nullptr || !desired_->Has(key);
  reports_.Add(std::move(report));
  PumpWriter();
}

void NodeLink::PumpWriter() {
  if (phase_ != Phase::kServing || writing_ || retry_waits_) return;
  if (WriteRuns()) return;
  if (check_orphans_) WriteNode();
}

void NodeLink::CollectNacks(Batch& batch) {
  for (auto at = nacks_.begin(); at != nacks_.end() && batch.puts.size() < kMaxPutsInBatch;) {
    RunBatch::Verdict verdict = batch_->JudgeNack(at->first, at->second);
    if (!verdict.put) {
      at = nacks_.erase(at);
      continue;
    }
    batch.keys.insert(at->first);
    batch.nacks.push_back(at->first);
    batch.puts.push_back(*std::move(verdict.put));
    ++at;
  }
}

void NodeLink::CollectReports(Batch& batch) {
  std::vector<uint64_t> nothing_to_write;
  for (const auto& [sequence, report] : reports_.pending()) {
    if (batch.puts.size() == kMaxPutsInBatch) break;
    const ContainerKey key{report.uid(), report.incarnation()};
    if (batch.keys.contains(key)) continue;  // a transaction puts a key once
    RunBatch::Verdict verdict = batch_->Judge(report);
    if (verdict.put) {
      batch.keys.insert(key);
      batch.sequences.push_back(sequence);
      batch.puts.push_back(*std::move(verdict.put));
      continue;
    }
    if (verdict.unbound) {
      check_orphans_ = true;
      const auto observed = observed_.find(key);
      if (observed != observed_.end() && observed->second.over() && !desired_->Has(key)) observed_.erase(observed);
    }
    nothing_to_write.push_back(sequence);
  }
  for (const uint64_t sequence : nothing_to_write) reports_.Done(sequence);
}

/// False: there is nothing to write.
bool NodeLink::WriteRuns() {
  if (reports_.empty() && nacks_.empty()) return false;
  if (context_.state.cluster_revision() == 0) {
    RetryLater(Error(Code::kUnavailable, "the cluster isn't set up"));
    return true;
  }
  Batch batch;
  CollectNacks(batch);
  CollectReports(batch);
  AckReports();
  if (batch.puts.empty()) {
    Post(&NodeLink::Take);  // there is room again
    return false;
  }
  writing_ = true;
  // Made before the puts are moved into the capture.
  store::Transaction txn = batch_->Make(batch.puts, registration_.fence);
  context_.writers.Post([self = shared_from_this(), batch = std::move(batch), txn = std::move(txn)]() mutable {
    const LinkContext& context = self->context_;
    const MonotonicTime begun = context.clock.Monotonic();
    StatusOr<store::TxnResult> result = context.store.Txn(txn);
    if (result.status().code() == Code::kDeadlineExceeded) {
      result = ReadBack(context.store, batch.puts.front(), result.status());
    }
    self->strand_.Post([self, batch = std::move(batch), result = std::move(result), begun] {
      self->OnRunsWritten(batch, result, begun);
    });
  });
  return true;
}

void NodeLink::OnRunsWritten(const Batch& batch, const StatusOr<store::TxnResult>& result, MonotonicTime begun) {
  writing_ = false;
  if (phase_ == Phase::kOver) return;
  if (!result.ok()) return RetryLater(result.status());
  if (!result->succeeded) {
    if (!batch_->Learn(batch.puts, *result, registration_.fence)) return End(Fenced());
    return RetryLater(Error(Code::kAborted, "what the reports are of has changed"));
  }
  retry_delay_ = Duration::zero();
  batch_->Wrote(batch.puts, result->revision);
  for (const uint64_t sequence : batch.sequences) reports_.Done(sequence);
  for (const ContainerKey& key : batch.nacks) nacks_.erase(key);
  AckReports();
  context_.metrics.report_txns.Increment();
  context_.metrics.reports.Increment(static_cast<double>(batch.puts.size()));
  context_.metrics.report_seconds.Observe(
      std::chrono::duration<double>(context_.clock.Monotonic() - begun).count());
  PumpWriter();
  Take();
}

void NodeLink::AckReports() {
  const uint64_t up_to = reports_.done_up_to();
  if (up_to <= acked_) return;
  acked_ = up_to;
  GatewayMessage message;
  message.mutable_report_ack()->set_sequence(up_to);
  stream_->Send(std::move(message));
}

void NodeLink::RetryLater(const Status& why) {
  const bool first = retry_delay_ == Duration::zero();
  retry_delay_ = std::clamp(retry_delay_ * 2, context_.options.retry_first, context_.options.retry_last);
  context_.metrics.retries.Increment();
  if (first && why.code() != Code::kAborted) {
    log_.Warn("reports not written", "node={} pending={} error='{}'; trying again until they are", node_, reports_.size(),
              ToString(why));
  }
  retry_waits_ = true;
  PostAfter(retry_delay_, &NodeLink::RetryNow);
}

void NodeLink::RetryNow() {
  retry_waits_ = false;
  PumpWriter();
  Take();
}

// ---- orphans ---------------------------------------------------------------------------------------------

std::set<std::pair<ContainerKey, std::string>> NodeLink::Orphans() const {
  std::set<std::pair<ContainerKey, std::string>> orphans;
  for (const auto& [key, observed] : observed_) {
    if (!observed.over() && !desired_->Has(key)) orphans.insert({key, std::string(StateName(observed.state))});
  }
  return orphans;
}

void NodeLink::WriteNode() {
  check_orphans_ = false;
  auto orphans = Orphans();
  if (orphans == orphans_) return;
  for (const auto& [key, state] : orphans) {
    if (orphans_.contains({key, state})) continue;
    log_.Warn("container without an entry in bind/", "node={} container={} incarnation={} state={}; it is kept, as an orphan",
              node_, key.uid, key.incarnation, state);
  }
  writing_ = true;
  context_.writers.Post([self = shared_from_this(), orphans = std::move(orphans)] {
    const LinkContext& context = self->context_;
    const auto change = [&orphans](Node& node) {
      std::vector<Orphan> list;
      for (const auto& [key, state] : orphans) list.push_back({key.uid, key.incarnation, state});
      if (list == node.orphans) return false;
      node.orphans = std::move(list);
      return true;
    };
    const Status status = UpdateNode(context.store, context.state, self->node_, self->registration_.fence, change,
                                     store::kDefaultDeadline);
    self->strand_.Post([self, orphans, status] { self->OnNodeWritten(orphans, status); });
  });
}

void NodeLink::OnNodeWritten(const std::set<std::pair<ContainerKey, std::string>>& orphans, const Status& status) {
  writing_ = false;
  if (phase_ == Phase::kOver) return;
  if (status.code() == Code::kFailedPrecondition) return End(Fenced());
  if (!status.ok()) {
    check_orphans_ = true;
    return RetryLater(status);
  }
  retry_delay_ = Duration::zero();
  orphans_ = orphans;
  PumpWriter();
}

// ---- the end ---------------------------------------------------------------------------------------------

void NodeLink::End(const Status& why) {
  if (phase_ == Phase::kOver) return;
  const bool served = registration_.fence != 0;
  phase_ = Phase::kOver;
  serving_ = false;
  stream_->Close(why);
  if (!served) {
    if (!node_.empty()) context_.table.Over(this);
    return;
  }
  log_.Info("node disconnected", "node={} term={} reason='{}' unacknowledged={}", node_, registration_.term, Message(why),
            reports_.size());
  // Whoever serves the node next has raised the term: then this changes nothing.
  context_.writers.Post([self = shared_from_this()] {
    const LinkContext& context = self->context_;
    const auto change = [&](Node& node) {
      if (!node.connected || node.term != self->registration_.term) return false;
      node.connected = false;
      node.last_change = RecordTime(context.clock.Wall());
      return true;
    };
    const Status status =
        UpdateNode(context.store, context.state, self->node_, self->registration_.fence, change, kMarkDeadline);
    if (!status.ok() && status.code() != Code::kFailedPrecondition) {
      self->log_.Warn("node not marked as disconnected", "node={} error='{}'; trying again later", self->node_,
                      ToString(status));
    }
    context.table.Over(self.get());
  });
}

}  // namespace isla::controllers
