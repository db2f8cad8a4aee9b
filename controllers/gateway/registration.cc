#include "controllers/gateway/registration.h"

#include <algorithm>
#include <memory>

#include "api/base/uuid.h"
#include "api/object/names.h"

namespace isla::controllers {

using store::Compare;
using store::Operation;

namespace {

constexpr uint32_t kProtocol = 1;
constexpr int kMaxInventory = 65536;
constexpr size_t kMaxLabels = 64;
constexpr int kMaxFeatures = 128;
constexpr size_t kMaxWord = 256;

bool IsWord(const std::string& text, size_t limit = kMaxWord) {
  return text.size() <= limit &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

struct NodeKeys {
  std::shared_ptr<const store::KeyValue> term, node, cluster;
};

StatusOr<NodeKeys> ReadNode(store::Store& store, const store::Keys& keys, const std::string& name,
                            store::Deadline deadline) {
  store::Transaction read;
  read.success = {Operation::Get(keys.NodeTerm(name)), Operation::Get(keys.Node(name)), Operation::Get(keys.Cluster())};
  ASSIGN_OR_RETURN(const store::TxnResult result, store.Txn(read, deadline));
  if (result.gets.size() != 3) return Error(Code::kInternal, "the store answered with too few keys");
  return NodeKeys{result.gets[0], result.gets[1], result.gets[2]};
}

store::Revision Mod(const std::shared_ptr<const store::KeyValue>& kv) { return kv == nullptr ? 0 : kv->mod_revision; }

/// Is there another that serves it? Asked of the store, not the cache.
StatusOr<std::optional<Refused>> CheckHolder(store::Store& store, const store::Keys& keys, const Node& node,
                                             const isla::v1::Hello& hello, const RegistrationOptions& options) {
  if (node.uid != hello.node_uid()) {
    return std::optional<Refused>(Refused{
        "WrongNodeUid",
        fmt::format("node '{}' is registered with uid {}, and this agent has uid {}: another machine has the name, or this "
                    "one lost its state folder; give it another name, or delete Node '{}' once nothing of it runs",
                    hello.node_name(), node.uid, hello.node_uid(), hello.node_name())});
  }
  // The agent itself, on a new stream: the old one is as good as gone.
  if (!node.connected || node.boot_id == hello.boot_id()) return std::optional<Refused>();
  if (node.gateway == options.gateway_id) {
    return std::optional<Refused>(Refused{
        "SecondHolder", fmt::format("node '{}' is connected to this gateway already, under boot {}; if the machine was "
                                    "rebooted, the old connection ends within seconds",
                                    hello.node_name(), node.boot_id)});
  }
  ASSIGN_OR_RETURN(const store::GetResult gateway, store.Get(keys.Gateway(node.gateway)));
  if (gateway.kv == nullptr) return std::optional<Refused>();
  return std::optional<Refused>(
      Refused{"SecondHolder", fmt::format("node '{}' is connected to gateway '{}', under boot {}", hello.node_name(),
                                          node.gateway, node.boot_id)});
}

void Fill(const isla::v1::Hello& hello, Node& node) {
  node.uid = hello.node_uid();
  node.boot_id = hello.boot_id();
  node.agent_version = hello.agent_version();
  node.kernel = hello.kernel();
  node.capacity = {hello.capacity().cpu_millis(), hello.capacity().memory_bytes(), hello.capacity().tasks()};
  node.labels.clear();
  for (const auto& [name, value] : hello.labels()) node.labels[name] = value;
  node.features.assign(hello.features().begin(), hello.features().end());
  std::sort(node.features.begin(), node.features.end());
}

/// After an unknown outcome: the term's key tells, since its value is ours alone.
StatusOr<store::Revision> ReadBackTerm(store::Store& store, const std::string& key, const std::string& value) {
  ASSIGN_OR_RETURN(const store::GetResult now, store.Get(key));
  if (now.kv == nullptr || now.kv->value != value) return Error(Code::kAborted, "the registration was not written");
  return now.kv->mod_revision;
}

/// The record with another epoch; what a newer islad put there is kept.
std::string WithEpoch(const store::KeyValue& cluster, int64_t epoch) {
  StatusOr<json::Value> tree = json::Parse(cluster.value);
  if (!tree.ok() || !tree->is_object()) return cluster.value;
  tree->Set("epoch", epoch);
  return json::Serialize(*tree);
}

}  // namespace

Status RaiseEpoch(store::Store& store, const ClusterState& state) {
  const auto cluster = state.cluster();
  const int64_t epoch = state.epoch();
  if (cluster == nullptr || state.stored_epoch() >= epoch) return OkStatus();
  // It belongs to who closed it, and a write would fence him off; the sweep comes again.
  if (!state.CheckOpen().ok()) return OkStatus();
  store::Transaction txn;
  txn.compares = {Compare::ModRevision(cluster->key, cluster->mod_revision)};
  txn.success = {Operation::Put(cluster->key, WithEpoch(*cluster, epoch))};
  // An unknown outcome shows in the cache; if it wasn't written the caller comes again.
  ASSIGN_OR_RETURN(const store::TxnResult result, store.Txn(txn));
  if (!result.succeeded) return Error(Code::kAborted, "meta/cluster has changed");
  return OkStatus();
}

std::optional<Refused> CheckHello(const isla::v1::Hello& hello, const std::string& certificate_name) {
  if (kProtocol < hello.protocol_min() || kProtocol > hello.protocol_max()) {
    return Refused{"NoCommonProtocol", fmt::format("this islad speaks protocol {}, the agent {} to {}", kProtocol,
                                                   hello.protocol_min(), hello.protocol_max())};
  }
  if (const std::string wrong = api::CheckDnsSubdomain(hello.node_name()); !wrong.empty()) {
    return Refused{"InvalidHello", fmt::format("node name '{}': {}", hello.node_name().substr(0, kMaxWord), wrong)};
  }
  if (!certificate_name.empty() && certificate_name != hello.node_name()) {
    return Refused{"WrongCertificate", fmt::format("the certificate is of '{}', not of node '{}'", certificate_name,
                                                   hello.node_name())};
  }
  bool fine = IsUuid(hello.node_uid()) && !hello.boot_id().empty() && IsWord(hello.boot_id()) &&
              IsWord(hello.agent_epoch()) && IsWord(hello.agent_version()) && IsWord(hello.kernel()) &&
              hello.highest_term() >= 0 && hello.capacity().cpu_millis() >= 0 &&
              hello.capacity().memory_bytes() >= 0 && hello.capacity().tasks() >= 0 &&
              hello.inventory_size() <= kMaxInventory && static_cast<size_t>(hello.labels_size()) <= kMaxLabels &&
              hello.features_size() <= kMaxFeatures;
  for (const auto& [name, value] : hello.labels()) fine = fine && IsWord(name) && IsWord(value);
  for (const std::string& feature : hello.features()) fine = fine && IsWord(feature);
  for (const auto& item : hello.inventory()) fine = fine && IsUuid(item.uid()) && item.incarnation() > 0;
  if (!fine) return Refused{"InvalidHello", "a field of the hello is missing, too long or out of range"};
  return std::nullopt;
}

RegistrationOutcome Register(store::Store& store, const ClusterState& state, const Clock& clock,
                             const isla::v1::Hello& hello, const RegistrationOptions& options) {
  const store::Keys& keys = state.keys();
  const std::string& name = hello.node_name();
  const StatusOr<NodeKeys> read = ReadNode(store, keys, name, store::kDefaultDeadline);
  if (!read.ok()) return {read.status(), {}, {}};
  NodeTerm term;
  if (read->term != nullptr) {
    // One that can't be read counts as none; the agent's own memory still keeps terms rising.
    if (const StatusOr<NodeTerm> decoded = DecodeNodeTerm(read->term->value); decoded.ok()) term = *decoded;
  }
  Node node;
  if (read->node != nullptr) {
    StatusOr<Node> decoded = DecodeNode(read->node->value);
    if (decoded.ok()) {
      node = *std::move(decoded);
      const StatusOr<std::optional<Refused>> refused = CheckHolder(store, keys, node, hello, options);
      if (!refused.ok()) return {refused.status(), {}, {}};
      if (*refused) return {OkStatus(), **refused, {}};
    }
  }
  RegistrationOutcome out;
  out.registration.stored_term = term.term;
  out.registration.term = std::max(term.term, hello.highest_term()) + 1;
  out.registration.went_back = hello.highest_term() > term.term;
  const std::string now = RecordTime(clock.Wall());
  if (node.created_at.empty()) node.created_at = now;
  if (!node.connected || node.gateway != options.gateway_id) node.last_change = now;
  Fill(hello, node);
  node.connected = true;
  node.gateway = options.gateway_id;
  node.term = out.registration.term;
  // The stream makes the value this registration's alone, for reading it back.
  const std::string term_value = json::Serialize(json::Value::MakeObject(
      {{"term", out.registration.term}, {"owner", options.gateway_id}, {"stream", options.stream}}));

  store::Transaction txn;
  txn.compares = {Compare::ModRevision(keys.NodeTerm(name), Mod(read->term)),
                  Compare::ModRevision(keys.Node(name), Mod(read->node)),
                  Compare::ModRevision(keys.Cluster(), state.cluster_revision()),
                  Compare::CreateRevision(keys.Gateway(options.gateway_id), options.gateway_created)};
  txn.success = {Operation::Put(keys.NodeTerm(name), term_value), Operation::Put(keys.Node(name), Encode(node))};
  out.registration.epoch = std::max(state.epoch(), ClusterEpoch(read->cluster.get()));
  if (out.registration.went_back && read->term != nullptr && read->cluster != nullptr &&
      read->cluster->mod_revision == state.cluster_revision() &&
      read->cluster->mod_revision < read->term->mod_revision) {
    // The first to tell raises the epoch, in the same transaction: before its delta is made. Once it was raised, a term
    // that was written before says nothing new.
    out.registration.epoch = std::max(state.epoch(), ClusterEpoch(read->cluster.get()) + 1);
    txn.success.push_back(Operation::Put(keys.Cluster(), WithEpoch(*read->cluster, out.registration.epoch)));
  }
  const StatusOr<store::TxnResult> result = store.Txn(txn);
  if (result.ok()) {
    if (!result->succeeded) out.status = Error(Code::kAborted, "the node's keys, the cluster's or the gateway's have changed");
    out.registration.fence = result->revision;
    return out;
  }
  out.status = result.status();
  if (result.status().code() != Code::kDeadlineExceeded) return out;
  const StatusOr<store::Revision> back = ReadBackTerm(store, keys.NodeTerm(name), term_value);
  out.status = back.status();
  if (back.ok()) out.registration.fence = *back;
  return out;
}

Status UpdateNode(store::Store& store, const ClusterState& state, const std::string& name, store::Revision fence,
                  const std::function<bool(Node&)>& change, store::Deadline deadline) {
  const store::Keys& keys = state.keys();
  ASSIGN_OR_RETURN(const NodeKeys read, ReadNode(store, keys, name, deadline));
  if (Mod(read.term) != fence) return Errorf(Code::kFailedPrecondition, "node '{}' has another term", name);
  if (read.node == nullptr) return Errorf(Code::kFailedPrecondition, "node '{}' is gone", name);
  ASSIGN_OR_RETURN(Node node, DecodeNode(read.node->value));
  if (!change(node)) return OkStatus();
  store::Transaction txn;
  txn.compares = {Compare::ModRevision(keys.NodeTerm(name), fence),
                  Compare::ModRevision(keys.Node(name), read.node->mod_revision),
                  Compare::ModRevision(keys.Cluster(), state.cluster_revision())};
  txn.success = {Operation::Put(keys.Node(name), Encode(node))};
  // An unknown outcome: the caller comes again, and finds nothing to change if it was written.
  ASSIGN_OR_RETURN(const store::TxnResult result, store.Txn(txn, deadline));
  if (!result.succeeded) return Errorf(Code::kAborted, "node '{}' has changed", name);
  return OkStatus();
}

}  // namespace isla::controllers
