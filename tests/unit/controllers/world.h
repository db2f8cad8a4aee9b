// What the tests of the controllers share: a store in memory with a fake clock, objects as the API and the
// gateway write them, and a state that is synchronised by hand.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/base/uuid.h"
#include "controllers/runtime/cluster_state.h"
#include "controllers/runtime/records.h"
#include "store/embedded/embedded_store.h"
#include "store/keys.h"

namespace isla::controllers {

/// A uid that is derived from a word, so that tests are the same each time.
inline std::string UidOf(const std::string& word) {
  return DerivedUuid("6ba7b810-9dad-11d1-80b4-00c04fd430c8", word).value();
}

struct SessionOptions {
  std::string cpu = "1";
  std::string memory = "64Mi";
  std::string timeout;
  std::string uid;  // "" = from the name
  json::Value node_selector;
};

inline json::Value SessionJson(const std::string& name, const SessionOptions& options = {}) {
  using json::Value;
  Value spec = Value::MakeObject({{"type", "batch"},
                                  {"image", "host"},
                                  {"command", Value::MakeArray({"/bin/true"})},
                                  {"workingDir", "/"},
                                  {"network", "none"},
                                  {"terminationGracePeriod", "30s"},
                                  {"resources", Value::MakeObject({{"cpu", options.cpu},
                                                                   {"memory", options.memory},
                                                                   {"tasks", 64}})}});
  if (!options.timeout.empty()) spec.Set("timeout", options.timeout);
  if (options.node_selector.is_object()) spec.Set("nodeSelector", options.node_selector);
  return Value::MakeObject(
      {{"apiVersion", "isla/v1"},
       {"kind", "Session"},
       {"metadata", Value::MakeObject({{"name", name},
                                       {"namespace", "default"},
                                       {"uid", options.uid.empty() ? UidOf(name) : options.uid},
                                       {"generation", 1},
                                       {"creationTimestamp", "2026-11-22T10:00:00Z"},
                                       {"createdBy", "test"},
                                       {"finalizers", Value::MakeArray({"isla/session"})}})},
       {"spec", spec}});
}

inline json::Value Deleted(json::Value object, int64_t grace_seconds = -1) {
  json::Value& metadata = object.Member("metadata");
  metadata.Set("deletionTimestamp", "2026-11-22T10:01:00Z");
  if (grace_seconds >= 0) metadata.Set("deletionGracePeriodSeconds", grace_seconds);
  metadata.Set("generation", metadata.Int64At({"generation"}).value_or(1) + 1);
  return object;
}

inline Node NodeOf(const std::string& name, Resources capacity = {4000, int64_t{1} << 30, 1000}) {
  Node node;
  node.uid = UidOf("node/" + name);
  node.boot_id = "boot-1";
  node.connected = true;
  node.gateway = "g1";
  node.term = 1;
  node.created_at = "2026-11-22T09:00:00.000000Z";
  node.capacity = capacity;
  return node;
}

/// A store and one view of it.
class World {
 public:
  World() : store(store::EmbeddedStore::InMemory(clock)), state(keys, clock) {
    Put(keys.Cluster(), R"({"id":"c1","epoch":1,"level":1})");
    Put(keys.Gateway("g1"), R"({"address":"","api":"","pid":1})");
    Put(keys.Lead(), R"({"id":"leader"})");
    Sync();
  }

  store::Revision Put(const std::string& key, const std::string& value) {
    return Commit({{}, {store::Operation::Put(key, value)}, {}});
  }
  store::Revision Delete(const std::string& key) { return Commit({{}, {store::Operation::Delete(key)}, {}}); }
  store::Revision Commit(const store::Transaction& txn) {
    const StatusOr<store::TxnResult> result = store->Txn(txn);
    ISLA_CHECK_OK(result);
    ISLA_CHECK(result->succeeded);
    return result->revision;
  }
  std::string Value(const std::string& key) {
    const StatusOr<store::GetResult> result = store->Get(key);
    ISLA_CHECK_OK(result);
    return result->kv == nullptr ? std::string() : result->kv->value;
  }
  bool Has(const std::string& key) { return !Value(key).empty(); }

  /// Brings the state up to the store; what changed.
  std::vector<Change> Sync() { return state.Reset(store->List(keys.prefix()).value()); }

  void AddSession(const std::string& name, const SessionOptions& options = {}) {
    Put(keys.Spec("session", "default", name), json::Serialize(SessionJson(name, options)));
  }
  void AddNode(const std::string& name, Resources capacity = {4000, int64_t{1} << 30, 1000}) {
    Put(keys.Node(name), Encode(NodeOf(name, capacity)));
  }
  Bind BindOf(const std::string& name) { return DecodeBind(Value(keys.Bind("default", name))).value(); }
  json::Value StatusOf(const std::string& name) {
    return DecodeStatusRecord(Value(keys.Status("session", "default", name))).value().status;
  }
  std::string PhaseOf(const std::string& name) { return StatusOf(name).StringAt({"phase"}); }
  /// Writes run/ for the session's container as its bind names it.
  void Report(const std::string& name, Run run) {
    const BindContainer container = BindOf(name).containers.at(0);
    Put(keys.Run(container.node, container.uid, container.incarnation), Encode(run));
  }

  store::Revision token() { return store->Get(keys.Lead()).value().kv->create_revision; }

  FakeClock clock;
  store::Keys keys;
  std::unique_ptr<store::EmbeddedStore> store;
  ClusterState state;
};

inline Run RunIn(RunState state) {
  Run run;
  run.state = state;
  run.scope = "isla-x.scope";
  run.accepted_at = "2026-11-22T10:00:01.000000Z";
  if (state >= RunState::kRunning) run.started_at = "2026-11-22T10:00:02.000000Z";
  return run;
}

inline Run Ended(RunState state, int64_t exit_code, std::string cause = "exited", std::string reason = "") {
  Run run = RunIn(state);
  run.exit = RunExit{};
  run.exit->exit_code = exit_code;
  run.exit->cause = std::move(cause);
  run.exit->reason = reason.empty() ? (exit_code == 0 ? "Completed" : "Error") : std::move(reason);
  run.exit->finished_at = "2026-11-22T10:00:03.000000Z";
  return run;
}

/// The phases of a history, in order.
inline std::vector<std::string> HistoryOf(const json::Value& status) {
  std::vector<std::string> phases;
  const json::Value* history = status.Find("history");
  if (history == nullptr) return phases;
  for (const json::Value& entry : history->items()) phases.push_back(entry.StringAt({"phase"}));
  return phases;
}

inline json::Value ConditionOf(const json::Value& status, std::string_view type) {
  for (const json::Value& condition : status.Find("conditions")->items()) {
    if (condition.StringAt({"type"}) == type) return condition;
  }
  return {};
}

}  // namespace isla::controllers
