// A whole cluster in one thread: two islads with the real controllers, agents that only keep what a real one
// journals, users who create and delete. One seed decides the order of everything and every fault.
//
// After each change of the store the invariants are checked:
//   - what is bound and not released on a node never exceeds what the node has;
//   - an (uid, incarnation) is bound to one node for ever, and is started at most once;
//   - never two incarnations of a container live at once;
//   - what a node has is named in bind/ until it is gone;
//   - incarnations and generations never fall; a session has one container in bind/;
//   - only the process that holds lead/controllers writes bind/ and status/.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "controllers/node/node_controller.h"
#include "controllers/runtime/controller_set.h"
#include "controllers/scheduler/scheduler.h"
#include "controllers/session/phase.h"
#include "controllers/session/session_controller.h"
#include "controllers/session/status.h"
#include "tests/fault/controllers/sim_store.h"
#include "tests/unit/controllers/world.h"

namespace isla::controllers {

struct SimPlan {
  uint64_t seed = 1;
  int steps = 3000;
  int sessions = 12;
  SimClient::Faults faults;
  double crash = 0;          // after a write of a leader, the process dies there
  double leader_change = 0;  // per step: the lease runs out, while the old leader goes on
  double nack = 0;           // per start
  double reboot = 0;         // per step and node
  double stale = 0;          // per step: a process doesn't hear of the next change
};

class Simulation {
 public:
  explicit Simulation(const SimPlan& plan)
      : plan_(plan), random_(plan.seed), store_(clock_, store::Keys().prefix()) {
    ISLA_CHECK_OK(store_.Txn({{}, {store::Operation::Put(keys_.Cluster(), R"({"id":"c1","epoch":1,"level":1})")}, {}}));
    Put(keys_.Gateway("g1"), "{}");
    for (const auto& [name, cpu] : std::map<std::string, int64_t>{{"n1", 3000}, {"n2", 2000}}) {
      const Resources capacity{cpu, int64_t{1} << 30, 1000};
      Put(keys_.Node(name), Encode(NodeOf(name, capacity)));
      agents_[name].capacity = capacity;
    }
    store_.on_change = [this] { CheckInvariants(); };
    for (int i = 0; i < 2; ++i) islads_.push_back(std::make_unique<Islad>(*this, i));
  }

  /// Runs the plan, then heals everything and runs until nothing changes any more.
  void Run() {
    for (step_ = 0; step_ < plan_.steps && errors_.empty(); ++step_) Step();
    Heal();
    CheckEnd();
  }
  const std::vector<std::string>& errors() const { return errors_; }
  int placed() const { return static_cast<int>(bound_node_.size()); }
  int fenced() const { return fenced_; }
  int crashes() const { return crashes_; }
  int ended() const { return ended_; }

 private:
  struct Crash {};

  /// One islad: its view of the store and, while it believes that it leads, its controllers.
  struct Islad {
    Islad(Simulation& simulation, int number)
        : sim(simulation), id("islad-" + std::to_string(number)), client(sim.store_, sim.random_) {
      client.faults = sim.plan_.faults;
      client.before_write = [this] { writing = true; };
      client.after_write = [this] {
        writing = false;
        if (!sim.healed_ && sim.Chance(sim.plan_.crash)) throw Crash();
      };
      Restart();
    }
    void Restart() {
      ++sim.seeds_;
      set.reset();
      state = std::make_unique<ClusterState>(sim.keys_, sim.clock_);
      reconcilers.clear();
      reconcilers.push_back(std::make_unique<Scheduler>(sim.keys_, sim.clock_));
      reconcilers.push_back(std::make_unique<SessionController>(sim.keys_, sim.clock_));
      reconcilers.push_back(std::make_unique<NodeController>(sim.keys_, sim.clock_));
      cursor = sim.store_.batches().size();
      (void)state->Reset(sim.store_.List());
    }
    void Lead(store::Revision new_token) {
      token = new_token;
      ControllerSetOptions options;
      options.seed = sim.plan_.seed + ++sim.seeds_;
      options.on_fenced = [this] {
        ++sim.fenced_;
        over = true;
      };
      over = false;
      settled = false;
      set = std::make_unique<ControllerSet>(reconcilers, *state, client, token, sim.clock_, std::move(options));
    }
    /// Hears of the next change. True if there was one.
    bool Hear() {
      if (cursor >= sim.store_.batches().size()) return false;
      const store::CacheBatch& batch = sim.store_.batches()[cursor++];
      const std::vector<Change> changes = state->Apply(batch);
      if (set != nullptr) set->OnChanges(changes, batch.revision);
      return true;
    }
    /// Runs one key of controller `index`.
    bool Work(size_t index) {
      if (set == nullptr) return false;
      if (over) {
        set.reset();
        return true;
      }
      if (!settled) {
        if (state->revision() < token) return false;
        settled = true;
        set->AddAll();
      }
      sim.writer_ = this;
      bool did = false;
      try {
        did = set->Step(index % set->size());
      } catch (const Crash&) {
        ++sim.crashes_;
        // What it held in memory is gone with it; its lease runs out.
        sim.writer_ = nullptr;
        Die();
        return true;
      }
      sim.writer_ = nullptr;
      return did;
    }
    void Die() {
      Restart();
      sim.DropLead(token);
    }

    Simulation& sim;
    const std::string id;
    SimClient client;
    std::unique_ptr<ClusterState> state;
    std::vector<std::unique_ptr<Reconciler>> reconcilers;
    std::unique_ptr<ControllerSet> set;
    size_t cursor = 0;
    store::Revision token = 0;
    bool over = false;
    bool settled = false;
    bool writing = false;
  };

  /// What a node keeps of a container: its journal.
  struct Held {
    RunState state = RunState::kAccepted;
    std::optional<RunExit> exit;
    Resources resources;
    bool stop = false;
    bool nacked = false;
    bool started = false;
    int64_t sequence = 0;
    bool reported = false;
  };
  struct Agent {
    Resources capacity;
    std::map<std::pair<std::string, int64_t>, Held> containers;
    size_t cursor = 0;  // how far its gateway has read
  };

  bool Chance(double probability) {
    return probability > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < probability;
  }
  size_t Pick(size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random_); }
  void Fail(const std::string& what) {
    if (errors_.size() < 10) errors_.push_back("step " + std::to_string(step_) + ": " + what);
  }
  void Put(const std::string& key, const std::string& value) {
    ISLA_CHECK_OK(store_.Txn({{}, {store::Operation::Put(key, value)}, {}}));
  }
  std::string Value(const std::string& key) const {
    const auto found = store_.present().find(key);
    return found == store_.present().end() ? std::string() : found->second->value;
  }

  void Step() {
    clock_.Advance(std::chrono::milliseconds(Pick(40)));
    switch (Pick(8)) {
      case 0: User(); break;
      case 1:
      case 2: AgentStep(); break;
      case 3: Campaign(); break;
      default: {
        Islad& islad = *islads_[Pick(islads_.size())];
        if (!Chance(plan_.stale)) {
          for (size_t n = Pick(4); n > 0; --n) islad.Hear();
        }
        islad.Work(Pick(3));
      }
    }
    if (Chance(0.02)) {
      for (const auto& islad : islads_) islad->client.DeliverLate();
    }
    if (Chance(plan_.leader_change)) DropLead(0);
  }

  /// The lease of the leader runs out (of the one with this token, or of any). It isn't told.
  void DropLead(store::Revision token) {
    const auto found = store_.present().find(keys_.Lead());
    if (found == store_.present().end()) return;
    if (token != 0 && found->second->create_revision != token) return;
    ISLA_CHECK_OK(store_.Txn({{}, {store::Operation::Delete(keys_.Lead())}, {}}));
  }

  void Campaign() {
    if (store_.present().contains(keys_.Lead())) return;
    Islad& islad = *islads_[Pick(islads_.size())];
    // One that still believes in its old term finds out first.
    if (islad.set != nullptr && !islad.over) {
      if (healed_ || Chance(0.1)) islad.over = true;
      return;
    }
    const StatusOr<store::TxnResult> won = store_.Txn({{store::Compare::Missing(keys_.Lead())},
                                                       {store::Operation::Put(keys_.Lead(), "{\"id\":\"" + islad.id + "\"}")},
                                                       {}});
    ISLA_CHECK_OK(won);
    islad.Lead(won->revision);
  }

  void User() {
    const std::string name = "s" + std::to_string(Pick(static_cast<size_t>(plan_.sessions)));
    const std::string key = keys_.Spec("session", "default", name);
    const std::string stored = Value(key);
    if (stored.empty()) {
      if (healed_) return;
      SessionOptions options;
      options.cpu = std::to_string(1 + Pick(2));
      options.uid = UidOf(name + "/" + std::to_string(++made_[name]));
      Put(key, json::Serialize(SessionJson(name, options)));
    } else if (Chance(0.25)) {
      const json::Value object = json::Parse(stored).value();
      if (object.FindPath({"metadata", "deletionTimestamp"}) == nullptr) Put(key, json::Serialize(Deleted(object)));
    }
  }

  // ---- the node's side ----

  void AgentStep() {
    auto it = agents_.begin();
    std::advance(it, static_cast<long>(Pick(agents_.size())));
    const std::string& name = it->first;
    Agent& agent = it->second;
    if (!healed_ && Chance(plan_.reboot)) Reboot(agent);
    if (Chance(0.5)) Deliver(name, agent);
    if (Chance(0.5)) Progress(agent);
    if (Chance(0.7)) Report(name, agent);
  }

  void Reboot(Agent& agent) {
    for (auto& [id, held] : agent.containers) {
      if (held.state == RunState::kExited || held.state == RunState::kGone || !held.started) continue;
      held.exit = RunExit{};
      held.exit->exit_code = 137;
      held.exit->cause = "lost";
      held.exit->reason = "NodeRebooted";
      Move(held, RunState::kExited);
    }
  }

  void Move(Held& held, RunState state) {
    held.state = state;
    held.reported = false;
    ++held.sequence;
  }

  /// The gateway's delta: what bind/ says now, or, while it lags, what it said a while ago.
  void Deliver(const std::string& name, Agent& agent) {
    for (const auto& [key, kv] : store_.present()) {
      const std::optional<store::ParsedKey> parsed = keys_.Parse(key);
      if (!parsed || parsed->key_class != store::KeyClass::kBind) continue;
      const StatusOr<Bind> bind = DecodeBind(kv->value);
      if (!bind.ok()) {
        Fail("a bind/ that doesn't decode");
        continue;
      }
      for (const BindContainer& container : bind->containers) {
        if (container.node == name) Accept(agent, container);
      }
    }
  }

  void Accept(Agent& agent, const BindContainer& container) {
    const auto id = std::make_pair(container.uid, container.incarnation);
    const auto found = agent.containers.find(id);
    if (found == agent.containers.end()) {
      Held held;
      held.resources = container.resources;
      if (container.desired == Desired::kStop) {
        held.state = RunState::kGone;  // never had it, never will
      } else {
        Resources used;
        for (const auto& [other, entry] : agent.containers) {
          if (entry.state < RunState::kExited) used = Add(used, entry.resources);
        }
        if (Fits(container.resources, agent.capacity, used) != Fit::kFits || (!healed_ && Chance(plan_.nack))) {
          held.state = RunState::kGone;
          held.nacked = true;
        }
      }
      held.sequence = 1;
      agent.containers.emplace(id, held);
      return;
    }
    if (container.desired == Desired::kStop) found->second.stop = true;
  }

  void Progress(Agent& agent) {
    for (auto& [id, held] : agent.containers) {
      if (held.nacked || held.state == RunState::kGone) continue;
      if (held.stop) {
        if (held.state < RunState::kExited && Chance(0.5)) {
          held.exit = RunExit{};
          held.exit->exit_code = 143;
          held.exit->cause = "stopped";
          Move(held, RunState::kExited);
        } else if (held.state == RunState::kExited) {
          Move(held, RunState::kGone);
        }
        continue;
      }
      if (held.state == RunState::kAccepted) {
        if (held.started) Fail("started twice: " + id.first);
        held.started = true;
        if (!started_.insert(id).second) Fail("an incarnation was started on two nodes: " + id.first);
        Move(held, RunState::kCreated);
      } else if (held.state == RunState::kCreated) {
        Move(held, RunState::kRunning);
      } else if (held.state == RunState::kRunning && Chance(0.2)) {
        held.exit = RunExit{};
        held.exit->exit_code = static_cast<int64_t>(Pick(2));
        held.exit->cause = "exited";
        Move(held, RunState::kExited);
      }
    }
    CheckLive();
  }

  void CheckLive() {
    std::map<std::string, int> live;
    for (const auto& [name, agent] : agents_) {
      for (const auto& [id, held] : agent.containers) {
        if (held.started && held.state < RunState::kExited) ++live[id.first];
      }
    }
    for (const auto& [uid, count] : live) {
      if (count > 1) Fail("two incarnations live at once: " + uid);
    }
  }

  /// The gateway writes what is in bind/; what isn't there is acknowledged all the same (an orphan).
  void Report(const std::string& name, Agent& agent) {
    for (auto& [id, held] : agent.containers) {
      if (held.reported) continue;
      held.reported = true;
      for (const auto& [key, kv] : store_.present()) {
        const std::optional<store::ParsedKey> parsed = keys_.Parse(key);
        if (!parsed || parsed->key_class != store::KeyClass::kBind) continue;
        const StatusOr<Bind> bind = DecodeBind(kv->value);
        if (!bind.ok() || bind->containers.empty()) continue;
        const BindContainer& container = bind->containers.front();
        if (container.uid != id.first || container.incarnation != id.second || container.node != name) continue;
        auto run = RunIn(held.state);
        run.sequence = held.sequence;
        if (!held.started) run.accepted_at = run.started_at = "";
        if (held.nacked) run.nack = RunNack{"OutOfCpu", "refused"};
        run.exit = held.exit;
        ISLA_CHECK_OK(store_.Txn({{store::Compare::ModRevision(key, kv->mod_revision)},
                                  {store::Operation::Put(keys_.Run(name, id.first, id.second), Encode(run))},
                                  {}}));
        break;
      }
    }
  }

  // ---- what must hold ----

  void CheckInvariants() {
    std::map<std::string, Resources> used;
    for (const auto& [key, kv] : store_.present()) {
      const std::optional<store::ParsedKey> parsed = keys_.Parse(key);
      if (parsed && parsed->key_class == store::KeyClass::kBind) CheckBind(key, *kv, used);
    }
    for (const auto& [node, sum] : used) {
      if (Fits({}, agents_[node].capacity, sum) != Fit::kFits || sum.cpu_millis > agents_[node].capacity.cpu_millis) {
        Fail("node " + node + " is overcommitted: " + std::to_string(sum.cpu_millis) + "m");
      }
    }
    CheckWriter();
    CheckNamed();
  }

  /// What a node has is named by bind/ until it is gone: else nobody would ever end it.
  void CheckNamed() {
    std::set<std::pair<std::string, int64_t>> named;
    for (const auto& [key, kv] : store_.present()) {
      const std::optional<store::ParsedKey> parsed = keys_.Parse(key);
      if (!parsed || parsed->key_class != store::KeyClass::kBind) continue;
      const StatusOr<Bind> bind = DecodeBind(kv->value);
      if (!bind.ok()) continue;
      for (const BindContainer& container : bind->containers) named.emplace(container.uid, container.incarnation);
    }
    for (const auto& [name, agent] : agents_) {
      for (const auto& [id, held] : agent.containers) {
        if (held.state < RunState::kGone && !named.contains(id)) Fail("forgotten on " + name + ": " + id.first);
      }
    }
  }

  void CheckBind(const std::string& key, const store::KeyValue& kv, std::map<std::string, Resources>& used) {
    const StatusOr<Bind> bind = DecodeBind(kv.value);
    if (!bind.ok()) return Fail("bind/ doesn't decode: " + key);
    int64_t& last = incarnation_[bind->uid];
    if (bind->incarnation < last) Fail("an incarnation went back: " + key);
    last = bind->incarnation;
    if (bind->containers.size() > 1) Fail("more than one container: " + key);
    for (const BindContainer& container : bind->containers) {
      if (!container.released) used[container.node] = Add(used[container.node], container.resources);
      const auto id = std::make_pair(container.uid, container.incarnation);
      const auto [known, fresh] = bound_node_.emplace(id, container.node);
      if (!fresh && known->second != container.node) Fail("an incarnation changed its node: " + key);
    }
  }

  /// Who wrote the newest batch, if it is a leader's.
  void CheckWriter() {
    if (writer_ == nullptr) return;
    const auto lead = store_.present().find(keys_.Lead());
    if (lead == store_.present().end() || lead->second->create_revision != writer_->token) {
      Fail("a write of " + writer_->id + " landed after its term");
    }
  }

  // ---- the end ----

  void Heal() {
    healed_ = true;
    for (const auto& islad : islads_) {
      islad->client.faults = {};
      islad->client.DeliverLate();
    }
    for (int quiet = 0, rounds = 0; quiet < 3; ++rounds) {
      if (rounds > 2000) return Fail("it doesn't converge");
      const size_t before = store_.batches().size();
      Campaign();
      for (auto& [name, agent] : agents_) {
        Deliver(name, agent);
        Progress(agent);
        Report(name, agent);
      }
      for (const auto& islad : islads_) {
        while (islad->Hear()) {
        }
        for (size_t i = 0; i < 3; ++i) {
          for (int n = 0; n < 200 && islad->Work(i); ++n) {
            while (islad->Hear()) {
            }
          }
        }
      }
      // Past every back-off and every node that is avoided.
      clock_.Advance(std::chrono::minutes(6));
      quiet = store_.batches().size() == before && Settled() ? quiet + 1 : 0;
    }
  }

  /// No container is on its way any more.
  bool Settled() const {
    for (const auto& [name, agent] : agents_) {
      for (const auto& [id, held] : agent.containers) {
        if (held.state < RunState::kExited) return false;
      }
    }
    return true;
  }

  void CheckEnd() {
    for (const auto& islad : islads_) {
      if (islad->state->revision() != store_.revision()) Fail(islad->id + " doesn't stand at the store's revision");
    }
    for (const auto& [key, kv] : store_.present()) {
      const std::optional<store::ParsedKey> parsed = keys_.Parse(key);
      if (!parsed) continue;
      if (parsed->key_class == store::KeyClass::kSpec) CheckSessionAtEnd(parsed->name, kv->value);
      const bool of_session = parsed->key_class == store::KeyClass::kBind ||
                              (parsed->key_class == store::KeyClass::kStatus && parsed->kind == "session");
      if (of_session && Value(keys_.Spec("session", "default", parsed->name)).empty()) Fail("left over: " + key);
      if (parsed->key_class == store::KeyClass::kRun && !RunIsNamed(*parsed)) Fail("left over: " + key);
    }
  }

  bool RunIsNamed(const store::ParsedKey& run) const {
    for (const auto& [key, kv] : store_.present()) {
      const std::optional<store::ParsedKey> parsed = keys_.Parse(key);
      if (!parsed || parsed->key_class != store::KeyClass::kBind) continue;
      const Bind bind = DecodeBind(kv->value).value();
      for (const BindContainer& container : bind.containers) {
        if (container.uid == run.container && container.incarnation == run.incarnation) return true;
      }
    }
    return false;
  }

  void CheckSessionAtEnd(const std::string& name, const std::string& spec_bytes) {
    const SessionSpec spec = DecodeSessionSpec(spec_bytes).value();
    if (spec.meta.deleting()) return Fail(name + " was deleted and is still there");
    const StatusOr<StatusRecord> record = DecodeStatusRecord(Value(keys_.Status("session", "default", name)));
    if (!record.ok()) return Fail(name + " has no status");
    if (record->uid != spec.meta.uid) return Fail(name + " has the status of another");
    const std::string phase = record->status.StringAt({"phase"});
    if (phase != "Succeeded" && phase != "Failed") return Fail(name + " ended in " + phase);
    ++ended_;
    std::optional<Phase> before;
    for (const std::string& word : HistoryOf(record->status)) {
      const std::optional<Phase> next = ParsePhase(word);
      if (!next || (before && !CanFollow(*before, *next))) {
        Fail(name + ": no edge " + (before ? std::string(PhaseName(*before)) : "") + " -> " + word);
      }
      before = next;
    }
    if (!DecodeBind(Value(keys_.Bind("default", name))).value().containers.at(0).released) {
      Fail(name + " has ended and holds its resources");
    }
  }

  const SimPlan plan_;
  std::mt19937_64 random_;
  FakeClock clock_;
  const store::Keys keys_;
  SimStore store_;
  std::map<std::string, Agent> agents_;
  std::vector<std::unique_ptr<Islad>> islads_;
  Islad* writer_ = nullptr;  // whose controllers are running
  int step_ = 0;
  bool healed_ = false;
  int fenced_ = 0;
  int crashes_ = 0;
  int ended_ = 0;
  uint64_t seeds_ = 0;
  std::map<std::string, int> made_;
  std::map<std::string, int64_t> incarnation_;
  std::map<std::pair<std::string, int64_t>, std::string> bound_node_;
  std::set<std::pair<std::string, int64_t>> started_;
  std::vector<std::string> errors_;
};

}  // namespace isla::controllers
