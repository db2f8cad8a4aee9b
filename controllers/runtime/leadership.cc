#include "controllers/runtime/leadership.h"

#include <cerrno>
#include <csignal>
#include <unistd.h>

#include <array>

#include "api/base/unique_fd.h"
#include "api/base/uuid.h"

namespace isla::controllers {

using store::Compare;
using store::Operation;

std::string Encode(const LeadRecord& record) {
  return json::Serialize(json::Value::MakeObject(
      {{"id", record.id}, {"instance", record.instance}, {"host", record.host}, {"pid", record.pid}}));
}

StatusOr<LeadRecord> DecodeLead(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json::Value tree, json::Parse(bytes));
  return LeadRecord{tree.StringAt({"id"}), tree.StringAt({"instance"}), tree.StringAt({"host"}),
                    tree.Int64At({"pid"}).value_or(0)};
}

LeadRecord OwnLeadRecord(const std::string& id) {
  LeadRecord own;
  own.id = id;
  own.instance = RandomHex(8);
  own.pid = getpid();
  StatusOr<std::string> boot = ReadFile("/proc/sys/kernel/random/boot_id");
  std::array<char, 64> link{};
  const ssize_t length = readlink("/proc/self/ns/pid", link.data(), link.size() - 1);
  if (boot.ok() && length > 0) {
    own.host = boot->substr(0, boot->find('\n')) + "/" + std::string(link.data(), static_cast<size_t>(length));
  }
  return own;
}

bool IsDead(const LeadRecord& record, const LeadRecord& own) {
  if (own.host.empty() || record.host != own.host || record.pid <= 0) return false;
  // A pid that was given to another process, or this one, only costs the wait for the lease.
  return record.pid != own.pid && kill(static_cast<pid_t>(record.pid), 0) != 0 && errno == ESRCH;
}

Leadership::Leadership(store::Store& store, const ClusterState& state, Listeners& listeners, const Clock& clock,
                       const std::vector<std::unique_ptr<Reconciler>>& reconcilers, LeadershipOptions options)
    : store_(store),
      state_(state),
      listeners_(listeners),
      clock_(clock),
      reconcilers_(reconcilers),
      options_(std::move(options)),
      own_(OwnLeadRecord(options_.id)),
      leading_gauge_(options_.metrics == nullptr ? Gauge()
                                                 : options_.metrics->AddGauge("isla_controllers_leading",
                                                                              "1 while this process leads")),
      terms_(options_.metrics == nullptr ? Counter()
                                         : options_.metrics->AddCounter("isla_controllers_terms_total",
                                                                        "terms of leadership begun")) {
  listeners_.Add(*this);
  thread_ = std::jthread([this] { Run(); });
}

Leadership::~Leadership() {
  {
    MutexLock lock(mu_);
    stop_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
  listeners_.Remove(*this);
}

void Leadership::OnChanges(const std::vector<Change>&, store::Revision) { Poke(); }
void Leadership::OnReset() { Poke(); }

void Leadership::Poke() {
  MutexLock lock(mu_);
  poked_ = true;
  wake_.NotifyAll();
}

bool Leadership::Wait(Duration timeout) {
  MutexLock lock(mu_);
  if (!poked_ && !stop_) {
    if (timeout == Duration::max()) {
      wake_.Wait(mu_);
    } else {
      wake_.WaitFor(mu_, timeout);
    }
  }
  poked_ = false;
  return !stop_;
}

bool Leadership::Stopping() {
  MutexLock lock(mu_);
  return stop_;
}

std::optional<Leadership::Vacancy> Leadership::WaitForVacancy() {
  while (true) {
    if (Stopping()) return std::nullopt;
    if (state_.cluster_revision() != 0) {
      const auto lead = state_.lead();
      if (lead == nullptr) return Vacancy{};
      const StatusOr<LeadRecord> record = DecodeLead(lead->value);
      if (!record.ok() || IsDead(*record, own_)) return Vacancy{lead};
    }
    // The end of a process makes no event in the store; the lease's end does, later. A look now and then
    // saves the wait for it.
    if (!Wait(std::chrono::seconds(1))) return std::nullopt;
  }
}

void Leadership::Run() {
  std::unique_ptr<HeldLease> lease;
  while (const std::optional<Vacancy> vacancy = WaitForVacancy()) {
    lost_ = false;
    if (lease == nullptr || !lease->held()) {
      lease.reset();
      StatusOr<std::unique_ptr<HeldLease>> granted = HeldLease::Grant(store_, clock_, options_.ttl, [this] {
        lost_ = true;
        Poke();
      });
      if (!granted.ok()) {
        log_.Warn("no lease", "error='{}' retry_in_ms=500", Message(granted.status()));
        if (!Wait(std::chrono::milliseconds(500))) break;
        continue;
      }
      lease = std::move(granted).value();
    }
    const StatusOr<store::Revision> token = Campaign(*vacancy, *lease);
    if (!token.ok()) {
      log_.Debug("not elected", "reason='{}'", Message(token.status()));
      // Another was quicker: its key comes through the cache. Or the store is away.
      if (!Wait(std::chrono::milliseconds(200))) break;
      continue;
    }
    Lead(*lease, *token);
    lease->Release();
    lease.reset();
  }
  if (lease != nullptr) lease->Release();
}

StatusOr<store::Revision> Leadership::Campaign(const Vacancy& vacancy, HeldLease& lease) {
  const std::string key = state_.keys().Lead();
  // Not the key as it is by now: meanwhile another, which lives, may have been elected.
  const auto& before = vacancy.dead;
  const std::string value = Encode(own_);
  store::Transaction txn;
  txn.compares = {before == nullptr ? Compare::Missing(key) : Compare::ModRevision(key, before->mod_revision),
                  Compare::ModRevision(state_.keys().Cluster(), state_.cluster_revision())};
  if (before != nullptr) {
    // A put would keep the dead holder's create_revision, which is the token: the key has to go first.
    txn.success = {Operation::Delete(key)};
    ASSIGN_OR_RETURN(const store::TxnResult removed, store_.Txn(txn));
    if (!removed.succeeded) return Error(Code::kAborted, "the dead leader's key has changed");
    log_.Info("took the key of a dead process", "value='{}'", before->value);
    txn.compares.front() = Compare::Missing(key);
  }
  txn.success = {Operation::Put(key, value, lease.id())};
  const StatusOr<store::TxnResult> result = store_.Txn(txn);
  if (result.ok()) {
    if (!result->succeeded) return Error(Code::kAborted, "another was quicker");
    return result->revision;
  }
  if (result.status().code() != Code::kDeadlineExceeded) return result.status();
  ASSIGN_OR_RETURN(const store::GetResult now, store_.Get(key));
  if (now.kv == nullptr || now.kv->value != value || now.kv->lease != lease.id()) return result.status();
  return now.kv->create_revision;
}

void Leadership::Lead(HeldLease& lease, store::Revision token) {
  const auto ours = [this, token] {
    const auto lead = state_.lead();
    return lead != nullptr && lead->create_revision == token;
  };
  while (!ours()) {
    // Until the cache has our key nothing is decided; once it is past it without it, it is lost already.
    if (lost_ || !lease.held()) return;
    if (state_.revision() >= token && !ours()) return;
    if (!state_.CheckOpen().ok()) return;
    if (!Wait(std::chrono::milliseconds(500))) return;
  }
  log_.Info("leading", "id={} token={}", options_.id, token);
  terms_.Increment();
  leading_gauge_.Set(1);
  {
    ControllerSetOptions options;
    options.metrics = options_.metrics;
    options.seed = static_cast<uint64_t>(token);
    options.on_fenced = [this] {
      lost_ = true;
      Poke();
    };
    ControllerSet set(reconcilers_, state_, store_, token, clock_, std::move(options));
    listeners_.Add(set);
    set.AddAll();
    set.Start();
    leading_ = true;
    const std::shared_ptr<void> extra = options_.while_leading ? options_.while_leading(token) : nullptr;
    while (!Stopping() && !lost_ && ours() && state_.CheckOpen().ok()) {
      // Not a moment longer than the lease counts as held; a renewal moves that on.
      const Duration left = lease.held_until() - clock_.Monotonic();
      if (left <= Duration::zero() || !lease.held()) break;
      Wait(std::min<Duration>(left, std::chrono::seconds(1)));
    }
    leading_ = false;
    set.Stop();
    listeners_.Remove(set);
  }
  leading_gauge_.Set(0);
  log_.Info("leading no more", "id={} token={} stopping={} lease_held={}", options_.id, token, Stopping(),
            lease.held());
}

}  // namespace isla::controllers
