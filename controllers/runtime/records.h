// The values of the store that the controllers and the gateway read and write, typed: bind/, run/, node/,
// nodeterm/, gateway/, manifest-status/ (docs/store-values.md has their form). Pure functions, any thread.
//
// Each record keeps the tree that it was decoded from, and encodes over it: members that a newer islad wrote
// are kept. Decoding is lenient about what is missing and strict about what would be misread: a wrong type is
// INVALID_ARGUMENT, and the caller keeps the key as malformed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/base/clock.h"
#include "api/base/fits.h"
#include "api/base/json.h"
#include "api/base/status.h"
#include "isla/v1/agent.pb.h"

namespace isla::controllers {

/// The reason of a refusal by the gateway, not the node: the entry was bound before a backup was restored, and whether
/// its incarnation has run since can't be known any more.
inline constexpr std::string_view kStoreRestored = "StoreRestored";

/// Why a session isn't placed.
struct Verdict {
  std::string reason;  // one word: Unschedulable, InvalidSpec, OutOfMemory, ...
  std::string message;
  std::string at;

  /// The time doesn't count: a verdict that says the same is the same.
  bool SameAs(const Verdict& other) const { return reason == other.reason && message == other.message; }
};

enum class Desired { kRun, kStop };

struct BindContainer {
  std::string name;
  std::string role;
  int64_t index = 0;
  std::string uid;
  int64_t incarnation = 0;
  std::string node;
  std::string node_uid;
  Desired desired = Desired::kRun;
  int64_t grace_period_msec = 0;
  bool released = false;
  Resources resources;  // what it takes of its node: the grant, which is the launch's, and what its policy's program adds to it
  json::Value launch;  // LaunchSpec as JSON; frozen
  std::string policy_hash;  // the version of its policy that it should have by now; "" = the launch's
  std::string hash;         // of all that its node is told of it
  json::Value tree;

  /// Of its SandboxPolicy; "" with the built-in one.
  std::string WantedPolicy() const { return policy_hash.empty() ? launch.StringAt({"sandboxPolicyHash"}) : policy_hash; }
  /// From now on it should have this version.
  void WantPolicy(const std::string& version);
};

/// A node that refused the session: not tried again for a while.
struct Avoid {
  std::string node;
  int64_t count = 0;  // how often it refused
  std::string at;     // the last time
};

struct Bind {
  std::string uid;
  int64_t generation = 0;
  int64_t incarnation = 0;  // of the containers, or, while there are none, the last one used
  int64_t epoch = 1;        // meta/cluster's when the containers were bound
  std::optional<Verdict> verdict;
  std::vector<BindContainer> containers;
  std::vector<Avoid> avoid;
  json::Value tree;
};

enum class RunState { kAccepted, kCreated, kRunning, kExited, kGone };
std::string_view RunStateName(RunState state);

struct RunNack {
  std::string reason;
  std::string message;
};

struct RunExit {
  int64_t exit_code = 0;
  int64_t signal = 0;
  std::string cause;
  std::string reason;
  std::string message;
  int64_t oom_kills = 0;
  std::string finished_at;
  int64_t peak_memory_bytes = 0;
  int64_t cpu_time_usec = 0;
};

/// As PolicyReport in agent.proto.
struct RunPolicy {
  std::string in_force;
  std::string refused = {};
  std::string reason = {};
  std::string message = {};
};

struct Run {
  int64_t sequence = 0;
  std::string ns;
  std::string session;
  std::string session_uid;
  RunState state = RunState::kAccepted;
  std::string scope;
  std::string accepted_at, created_at, started_at;  // "" = hasn't happened
  std::optional<RunNack> nack;
  std::optional<RunExit> exit;
  std::optional<RunPolicy> policy;  // nothing: not known (yet)
};

struct Orphan {
  std::string uid;
  int64_t incarnation = 0;
  std::string state;
  friend bool operator==(const Orphan&, const Orphan&) = default;
};

struct Node {
  std::string uid;
  std::string boot_id;
  bool connected = false;
  std::string gateway;
  int64_t term = 0;
  std::string agent_version;
  std::string kernel;
  std::string created_at;
  Resources capacity;
  std::map<std::string, std::string> labels;
  std::vector<std::string> features;
  std::vector<Orphan> orphans;
  std::string last_change;
  json::Value tree;
};

struct NodeTerm {
  int64_t term = 0;
  std::string owner;
};

struct GatewayRecord {
  std::string address;  // of the agents' port
  std::string api;      // of its HTTP API, for other islads
  int64_t pid = 0;
};

struct ManifestVerdict {
  int64_t revision = 0;  // the manifest's mod_revision that it speaks of
  std::string verdict;   // Applied, Unchanged, Refused
  std::string message;
  std::string at;
};

StatusOr<Bind> DecodeBind(std::string_view bytes);
StatusOr<Run> DecodeRun(std::string_view bytes);
StatusOr<Node> DecodeNode(std::string_view bytes);
StatusOr<NodeTerm> DecodeNodeTerm(std::string_view bytes);
StatusOr<GatewayRecord> DecodeGateway(std::string_view bytes);
StatusOr<ManifestVerdict> DecodeManifestVerdict(std::string_view bytes);

std::string Encode(const Bind& bind);
std::string Encode(const Run& run);
std::string Encode(const Node& node);
std::string Encode(const NodeTerm& term);
std::string Encode(const GatewayRecord& gateway);
std::string Encode(const ManifestVerdict& verdict);

/// What an agent reported, as run/ keeps it.
Run RunFromReport(const isla::v1::Report& report);
std::string_view StateName(isla::v1::ContainerState state);

/// The text of a wall time in records: RFC 3339 with microseconds.
std::string RecordTime(WallTime time);

/// The incarnations of one epoch begin above (epoch - 1) times this. So those that were given out in a history that is lost, after
/// the backup, are never given out again.
inline constexpr int64_t kIncarnationsOfAnEpoch = 1'000'000;

/// The incarnation that the next containers get. `bind`: the session's, or null. `epoch`: the cluster's, or 1 for a session that
/// was created in it.
int64_t NextIncarnation(const Bind* bind, int64_t epoch);

}  // namespace isla::controllers
