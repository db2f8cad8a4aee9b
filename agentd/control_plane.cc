#include "agentd/control_plane.h"

#include <algorithm>
#include <utility>

#include "agentd/admission.h"
#include "agentd/policy_versions.h"
#include "api/base/log.h"
#include "api/base/uuid.h"

namespace isla::agent {
namespace {

using isla::v1::AgentMessage;
using isla::v1::Delta;
using isla::v1::DesiredContainer;
using isla::v1::GatewayMessage;

const Logger kLog("agentd");

ContainerKey KeyOf(const DesiredContainer& desired) { return {desired.uid(), desired.incarnation()}; }
ContainerKey KeyOf(const isla::v1::ContainerRef& ref) { return {ref.uid(), ref.incarnation()}; }

isla::v1::Nack MakeNack(const ContainerKey& key, const std::string& reason, const std::string& message) {
  isla::v1::Nack nack;
  nack.set_uid(key.uid);
  nack.set_incarnation(key.incarnation);
  nack.set_reason(reason);
  nack.set_message(message);
  return nack;
}

}  // namespace

ControlPlane::ControlPlane(ControlPlaneOptions options, NodeIdentity identity, Resources found, NodeConfig config,
                           Journal& journal, ContainerManager& containers, Reporter& reporter, GatewayLink& link,
                           Timers& timers, const Clock& clock, OpenStreamFn open_stream)
    : options_(options),
      identity_(std::move(identity)),
      found_(found),
      config_(std::move(config)),
      log_config_(config_),
      journal_(journal),
      containers_(containers),
      reporter_(reporter),
      link_(link),
      timers_(timers),
      clock_(clock),
      open_stream_(std::move(open_stream)) {}

ControlPlane::~ControlPlane() { timers_.Cancel(ping_timer_); }

void ControlPlane::SetConfig(NodeConfig config) {
  config_ = std::move(config);
  log_config_ = LimitLogs(config_, settings_);
}

void ControlPlane::OnSettings(const isla::v1::NodeSettings& told) {
  std::vector<std::string> ignored;
  const Settings settings = ReadSettings(told, ignored);
  for (const std::string& one : ignored) kLog.Warn("setting can't be used", "setting='{}'; ignoring it", one);
  if (settings == settings_) return;
  settings_ = settings;
  log_config_ = LimitLogs(config_, settings_);
  if (settings_changed_) settings_changed_(settings_);
}

isla::v1::Hello ControlPlane::MakeHello() const {
  isla::v1::Hello hello;
  hello.set_protocol_min(kStreamProtocol);
  hello.set_protocol_max(kStreamProtocol);
  hello.set_node_name(identity_.name);
  hello.set_node_uid(identity_.uid);
  hello.set_boot_id(identity_.boot_id);
  hello.set_agent_epoch(identity_.epoch);
  hello.set_highest_term(journal_.state().term);
  hello.set_agent_version(identity_.version);
  hello.set_kernel(identity_.kernel);
  const Resources capacity = Capacity();
  hello.mutable_capacity()->set_cpu_millis(capacity.cpu_millis);
  hello.mutable_capacity()->set_memory_bytes(capacity.memory_bytes);
  hello.mutable_capacity()->set_tasks(capacity.tasks);
  for (const auto& [name, value] : config_.labels) (*hello.mutable_labels())[name] = value;
  for (const auto& feature : identity_.features) hello.add_features(feature);
  for (const auto& [key, entry] : journal_.state().entries) {
    auto& item = *hello.add_inventory();
    item.set_uid(key.uid);
    item.set_incarnation(key.incarnation);
    item.set_hash(entry.desired().hash());
    item.set_state(containers_.StateOf(key));
    item.set_lacks_policy(LacksPolicy(entry));
  }
  return hello;
}

void ControlPlane::OnConnected() {
  connected_ = true;
  ++stream_;
  term_ = 0;
  pings_.clear();
  connected_at_ = clock_.Monotonic();
  AgentMessage message;
  *message.mutable_hello() = MakeHello();
  link_.Send(std::move(message));
  // From here on, so that a gateway that never welcomes is left too.
  timers_.Cancel(ping_timer_);
  ping_timer_ = timers_.After(options_.ping_every, [this] { SendPing(); });
}

void ControlPlane::OnDisconnected() {
  connected_ = false;
  term_ = 0;
  reporter_.Disconnect();
  timers_.Cancel(std::exchange(ping_timer_, 0));
}

void ControlPlane::OnMessage(const GatewayMessage& message) {
  if (!connected_) return;
  switch (message.message_case()) {
    case GatewayMessage::kWelcome: OnWelcome(message.welcome()); return;
    case GatewayMessage::kRefusal:
      kLog.Warn("refused by the gateway", "reason={} message='{}'; trying another", message.refusal().reason(),
                message.refusal().message());
      link_.Close("refused: " + message.refusal().reason());
      return;
    default: break;
  }
  if (term_ == 0) {
    link_.Close("the gateway spoke before its welcome");
    return;
  }
  switch (message.message_case()) {
    case GatewayMessage::kDelta: OnDelta(message.delta()); break;
    case GatewayMessage::kReportAck: reporter_.OnAck(message.report_ack().sequence()); break;
    case GatewayMessage::kPong: OnPong(message.pong()); break;
    case GatewayMessage::kDigest: OnDigest(message.digest()); break;
    case GatewayMessage::kSettings: OnSettings(message.settings()); break;
    case GatewayMessage::kOpenStream: open_stream_(message.open_stream()); break;
    default: break;  // of a newer gateway
  }
}

void ControlPlane::OnWelcome(const isla::v1::Welcome& welcome) {
  if (term_ != 0) {
    link_.Close("welcomed twice");
    return;
  }
  if (welcome.protocol() != kStreamProtocol || welcome.term() <= 0 || welcome.term() < journal_.state().term) {
    kLog.Warn("gateway not accepted", "gateway={} protocol={} term={} highest_term={}; trying another",
              welcome.gateway_id(), welcome.protocol(), welcome.term(), journal_.state().term);
    link_.Close("its term or protocol is too old");
    return;
  }
  term_ = welcome.term();
  journal::Record record;
  record.set_term(term_);
  journal_.Append(std::move(record), nullptr);
  kLog.Info("served", "gateway={} term={} containers={}", welcome.gateway_id(), term_, containers_.Count());
  // The first welcome after a start tells nothing: what the reporter began with stands.
  const int64_t before = std::exchange(cluster_epoch_, welcome.cluster_epoch());
  if (before != 0 && before != cluster_epoch_) {
    kLog.Warn("the control plane's store was restored from a backup", "epoch={} epoch_before={}; reporting everything again",
              cluster_epoch_, before);
    reporter_.ReportAll();
  }
  reporter_.Connect([this](const isla::v1::Report& report) {
    AgentMessage message;
    *message.mutable_report() = report;
    link_.Send(std::move(message));
  });
}

// ---- Deltas ----------------------------------------------------------------------------------------------

std::string ControlPlane::CheckDelta(const Delta& delta) const {
  if (delta.term() != term_) return fmt::format("term {} on a stream of term {}", delta.term(), term_);
  const auto upserts = static_cast<uint64_t>(delta.upserts_size());
  if (delta.full() && delta.expected_count() != upserts) {
    return fmt::format("a full state of {} containers that says it has {}", upserts, delta.expected_count());
  }
  std::set<ContainerKey> keys;
  for (const auto& desired : delta.upserts()) {
    if (!IsValid(KeyOf(desired))) return fmt::format("bad container '{}' {}", desired.uid(), desired.incarnation());
    if (!keys.insert(KeyOf(desired)).second) return fmt::format("container {} is in it twice", Name(KeyOf(desired)));
    if (desired.desired() != DesiredContainer::RUN && desired.desired() != DesiredContainer::STOP) {
      return fmt::format("container {} is neither to run nor to stop", Name(KeyOf(desired)));
    }
  }
  for (const auto& ref : delta.removals()) {
    if (!keys.insert(KeyOf(ref)).second) return fmt::format("container {} is in it twice", Name(KeyOf(ref)));
  }
  return "";
}

void ControlPlane::OnDelta(const Delta& delta) {
  Change change;
  change.delta = &delta;
  change.ack.set_nonce(delta.nonce());
  change.ack.set_term(delta.term());
  if (const std::string wrong = CheckDelta(delta); !wrong.empty()) {
    kLog.Warn("delta refused", "nonce={} error='{}'; nothing of it is kept", delta.nonce(), wrong);
    change.ack.set_refused(wrong);
    AgentMessage message;
    *message.mutable_ack() = std::move(change.ack);
    link_.Send(std::move(message));
    return;
  }
  change.record.set_term(delta.term());
  change.used = containers_.Used();
  // Stops first: what they free doesn't count yet, but a stop must not wait behind a refusal.
  for (const bool stops : {true, false}) {
    for (const auto& desired : delta.upserts()) {
      if ((desired.desired() == DesiredContainer::STOP) == stops) Upsert(desired, change);
    }
  }
  for (const auto& ref : delta.removals()) Remove(KeyOf(ref), change);
  if (delta.full()) DropUnnamed(delta, change);
  Commit(std::move(change));
}

void ControlPlane::Upsert(const DesiredContainer& desired, Change& change) {
  if (desired.desired() == DesiredContainer::STOP) {
    UpsertStop(desired, change);
  } else {
    UpsertRun(desired, change);
  }
}

void ControlPlane::UpsertStop(const DesiredContainer& desired, Change& change) {
  const ContainerKey key = KeyOf(desired);
  const journal::Entry* known = journal_.Find(key);
  journal::Entry& entry = *change.record.add_puts();
  if (known == nullptr) {
    // Never had: gone at once, and it can't be started any more.
    *entry.mutable_desired() = desired;
    entry.mutable_desired()->clear_launch();
    entry.set_boot_id(identity_.boot_id);
    entry.set_gone(true);
  } else {
    entry = *known;
    const bool again = entry.desired().desired() == DesiredContainer::STOP;
    const int64_t grace = again ? std::min(entry.desired().grace_period_msec(), desired.grace_period_msec())
                                : desired.grace_period_msec();
    entry.mutable_desired()->set_desired(DesiredContainer::STOP);
    entry.mutable_desired()->set_grace_period_msec(std::max<int64_t>(0, grace));
    entry.mutable_desired()->set_hash(desired.hash());
    entry.set_orphan(false);
  }
  change.changed.push_back(key);
}

void ControlPlane::UpsertRun(const DesiredContainer& desired, Change& change) {
  const ContainerKey key = KeyOf(desired);
  const journal::Entry* known = journal_.Find(key);
  if (known == nullptr) {
    *change.record.add_puts() = Accept(desired, change);
    change.changed.push_back(key);
    return;
  }
  if (known->desired().desired() == DesiredContainer::STOP) {
    *change.ack.add_nacks() = MakeNack(key, "Stopped", "this incarnation was told to stop; it is never run again");
    return;
  }
  if (known->has_nack()) *change.ack.add_nacks() = known->nack();
  const bool same = !known->orphan() && known->desired().hash() == desired.hash();
  if (same && !LacksPolicy(*known)) return;
  journal::Entry entry = *known;
  // What runs keeps the launch that it was started with; one found on the node learns its name.
  if (!entry.desired().has_launch()) *entry.mutable_desired()->mutable_launch() = desired.launch();
  if (!TakeWantedPolicy(*change.delta, desired, containers_.PolicyAtStart(key), entry) && same) return;
  entry.mutable_desired()->set_hash(desired.hash());
  entry.set_orphan(false);
  *change.record.add_puts() = std::move(entry);
  change.changed.push_back(key);
}

namespace {

/// Puts the version that the container should have by now, and its text, into the launch: the journal has all that a start needs.
std::optional<Rejection> TakePolicyText(const Delta& delta, DesiredContainer& desired) {
  isla::v1::LaunchSpec& launch = *desired.mutable_launch();
  launch.clear_sandbox_policy_text();
  if (launch.sandbox_policy_hash().empty()) {
    desired.clear_live();
    return std::nullopt;
  }
  const std::string hash = desired.live().sandbox_policy_hash().empty() ? launch.sandbox_policy_hash() : desired.live().sandbox_policy_hash();
  desired.mutable_live()->clear_sandbox_policy_text();
  for (const isla::v1::PolicyText& policy : delta.policies()) {
    if (policy.hash() != hash) continue;
    if (policy.text().size() > kMaxPolicyTextBytes) {
      return Rejection{"InvalidLaunch", fmt::format("sandbox policy '{}' has more than {} bytes", launch.sandbox_policy(), kMaxPolicyTextBytes)};
    }
    if (Sha256Hex(policy.text()) != hash) return Rejection{"InvalidLaunch", fmt::format("sandbox policy '{}' isn't the one of its hash", launch.sandbox_policy())};
    launch.set_sandbox_policy_hash(hash);
    launch.set_sandbox_policy_text(policy.text());
    return std::nullopt;
  }
  return Rejection{"SandboxPolicyChanged", fmt::format("sandbox policy '{}' was changed or removed since the session was placed", launch.sandbox_policy())};
}

}  // namespace

journal::Entry ControlPlane::Accept(const DesiredContainer& desired, Change& change) {
  journal::Entry entry;
  *entry.mutable_desired() = desired;
  entry.set_boot_id(identity_.boot_id);
  entry.set_accepted_at_ns(clock_.Wall().time_since_epoch().count());
  if (auto nack = AdmitEntry(entry, change)) {
    kLog.Info("container refused", "container={} reason={} message='{}'", Name(KeyOf(desired)), nack->reason(),
              nack->message());
    *entry.mutable_nack() = *nack;
    *change.ack.add_nacks() = *std::move(nack);
  }
  return entry;
}

std::optional<isla::v1::Nack> ControlPlane::AdmitEntry(journal::Entry& entry, Change& change) {
  const ContainerKey key = KeyOf(entry.desired());
  if (journal_.state().entries.size() + change.added >= kMaxEntries) {
    return MakeNack(key, "OutOfContainers", fmt::format("the node keeps {} containers at most", kMaxEntries));
  }
  ++change.added;
  const auto newer = journal_.state().entries.upper_bound(key);
  if (newer != journal_.state().entries.end() && newer->first.uid == key.uid) {
    return MakeNack(key, "StaleIncarnation", fmt::format("incarnation {} is known", newer->first.incarnation));
  }
  if (!entry.desired().has_launch()) return MakeNack(key, "InvalidLaunch", "no launch");
  isla::v1::LaunchSpec& launch = *entry.mutable_desired()->mutable_launch();
  if (auto rejection = Admit(config_, Capacity(), change.used, launch)) {
    return MakeNack(key, rejection->reason, rejection->message);
  }
  if (auto wrong = TakePolicyText(*change.delta, *entry.mutable_desired())) return MakeNack(key, wrong->reason, wrong->message);
  const auto ids = AllocateIds(config_, journal_.state(), change.ids, last_id_base_);
  if (!ids.has_value()) return MakeNack(key, "OutOfIds", "the node's range of user ids is used up");
  last_id_base_ = *ids;
  change.ids.insert(*ids);
  entry.set_id_base(*ids);
  entry.set_log_max_bytes(LogShare(log_config_, journal_.state(), change.log_bytes));
  change.log_bytes += entry.log_max_bytes();
  change.used = Add(change.used, {launch.cpu_millis(), launch.memory_bytes(), launch.tasks()});
  return std::nullopt;
}

void ControlPlane::Remove(const ContainerKey& key, Change& change) {
  if (journal_.Find(key) == nullptr) return;
  if (!containers_.IsGone(key)) {
    kLog.Warn("removal of a container that isn't gone", "container={} phase={}; ignoring it", Name(key),
              PhaseName(containers_.PhaseOf(key)));
    return;
  }
  auto& ref = *change.record.add_removes();
  ref.set_uid(key.uid);
  ref.set_incarnation(key.incarnation);
  change.removed.push_back(key);
}

/// What the control plane doesn't know is kept as an orphan; what left no trace, and was heard, is forgotten.
void ControlPlane::DropUnnamed(const Delta& delta, Change& change) {
  std::set<ContainerKey> named;
  for (const auto& desired : delta.upserts()) named.insert(KeyOf(desired));
  for (const auto& ref : delta.removals()) named.insert(KeyOf(ref));
  size_t orphans = 0;
  for (const auto& [key, entry] : journal_.state().entries) {
    if (named.contains(key)) continue;
    if (containers_.IsGone(key)) {
      if (reporter_.IsAcked(key)) Remove(key, change);
      continue;
    }
    ++orphans;
    if (entry.orphan()) continue;
    kLog.Warn("container is not in the full state", "container={}; keeping it as an orphan", Name(key));
    journal::Entry& put = *change.record.add_puts();
    put = entry;
    put.set_orphan(true);
    change.changed.push_back(key);
  }
  if (orphans > 0) kLog.Info("orphans", "count={}", orphans);
}

void ControlPlane::Commit(Change change) {
  const auto keys = change.changed;
  journal_.Append(std::move(change.record), [this, keys, ack = std::move(change.ack), stream = stream_]() mutable {
    if (connected_ && stream == stream_) {
      AgentMessage message;
      *message.mutable_ack() = std::move(ack);
      link_.Send(std::move(message));
    }
    for (const ContainerKey& key : keys) containers_.OnEntryDurable(key);
  });
  for (const ContainerKey& key : change.removed) {
    containers_.Forget(key);
    reporter_.Forget(key);
  }
  for (const ContainerKey& key : keys) containers_.OnEntryChanged(key);
}

// ---- Digest, pings ---------------------------------------------------------------------------------------

std::pair<uint64_t, std::string> StateDigest(const JournalState& state) {
  std::vector<std::string> lines;
  for (const auto& [key, entry] : state.entries) {
    if (entry.orphan()) continue;
    const bool stop = entry.desired().desired() == DesiredContainer::STOP;
    lines.push_back(fmt::format("{} {} {} {}\n", key.uid, key.incarnation, entry.desired().hash(), stop ? "STOP" : "RUN"));
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const auto& line : lines) all += line;
  return {lines.size(), Sha256Hex(all)};
}

void ControlPlane::OnDigest(const isla::v1::Digest& digest) {
  const auto [count, ours] = StateDigest(journal_.state());
  const bool matches = count == digest.count() && ours == digest.digest();
  if (!matches) {
    kLog.Warn("digest differs", "ours={} theirs={}; asking for a full state", count, digest.count());
  }
  AgentMessage message;
  message.mutable_digest_reply()->set_sequence(digest.sequence());
  message.mutable_digest_reply()->set_matches(matches);
  link_.Send(std::move(message));
}

void ControlPlane::SendPing() {
  ping_timer_ = 0;
  const MonotonicTime now = clock_.Monotonic();
  const MonotonicTime oldest = pings_.empty() ? now : pings_.begin()->second;
  if (now - oldest >= options_.pong_within || (term_ == 0 && now - connected_at_ >= options_.pong_within)) {
    kLog.Warn("gateway is silent", "ms={}; trying another", (now - oldest) / std::chrono::milliseconds(1));
    link_.Close(term_ == 0 ? "no welcome" : "no answer to pings");
    return;
  }
  if (term_ != 0) {
    pings_[++ping_sequence_] = now;
    AgentMessage message;
    message.mutable_ping()->set_sequence(ping_sequence_);
    link_.Send(std::move(message));
  }
  ping_timer_ = timers_.After(options_.ping_every, [this] { SendPing(); });
}

void ControlPlane::OnPong(const isla::v1::Pong& pong) {
  const auto it = pings_.find(pong.sequence());
  if (it == pings_.end()) return;
  answered_ = std::max(answered_, it->second);
  pings_.erase(pings_.begin(), std::next(it));
}

}  // namespace isla::agent
