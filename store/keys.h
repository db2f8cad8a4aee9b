// The key layout: every key that isla writes is made and read here.
//
//   <prefix>spec/<kind>/<ns>/<name>        canonical JSON: metadata, spec          put by: api
//   <prefix>status/<kind>/<ns>/<name>      uid, observedGeneration, status         put by: leader
//   <prefix>bind/<ns>/<session>            placement of a session's containers     put by: leader
//   <prefix>run/<node>/<container>/<inc>   what the agent observed                 put by: gateway
//   <prefix>node/<name>                    registration, capacity, connected       put by: gateway
//   <prefix>nodeterm/<name>                term and owner of a node                put by: gateway, leader
//   <prefix>gateway/<id>                   leased: an islad that serves agents     put by: gateway
//   <prefix>lead/controllers               leased: the leader                      put by: candidates
//   <prefix>manifest/<ns>/<name>           inbox for people with etcdctl           put by: people
//   <prefix>manifest-status/<ns>/<name>    the verdict                             put by: leader
//   <prefix>meta/cluster                   id, epoch, level                        put by: leader
//   <prefix>meta/compacted                 compaction mark                         put by: leader
//   <prefix>barrier/<islad>                read barrier                            put by: each islad
//
// Kinds in keys are the singular resource name ("session", "project"). Cluster-wide kinds use the
// namespace "_", which no namespace can be called. Names are checked before they reach a key: no '/'.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/key.h"

namespace isla::store {

inline constexpr std::string_view kDefaultPrefix = "/isla/default/";
inline constexpr std::string_view kClusterWide = "_";

enum class KeyClass {
  kSpec, kStatus, kBind, kRun, kNode, kNodeTerm, kGateway, kLead, kManifest, kManifestStatus, kMeta, kBarrier,
  kConfig,  // config/, sgroup/, nodes/: scoped configuration
  kOther,
};

/// A key taken apart. Fields that the class doesn't have are empty.
struct ParsedKey {
  KeyClass key_class = KeyClass::kOther;
  std::string kind;       // spec, status
  std::string ns;         // spec, status, bind, manifest, manifest-status ("_" = cluster-wide)
  std::string name;       // the last part: object, session, node, gateway id, lead, meta, barrier
  std::string node;       // run
  std::string container;  // run: the container's uid
  int64_t incarnation = 0;  // run
};

/// Makes and reads the keys under one prefix. Immutable; safe from any thread.
class Keys {
 public:
  /// `prefix` must begin and end with '/'.
  explicit Keys(std::string prefix = std::string(kDefaultPrefix));

  const Prefix& prefix() const { return prefix_; }

  Key Spec(std::string_view kind, std::string_view ns, std::string_view name) const;
  Key Status(std::string_view kind, std::string_view ns, std::string_view name) const;
  Key Bind(std::string_view ns, std::string_view session) const;
  Key Run(std::string_view node, std::string_view container_uid, int64_t incarnation) const;
  Key Node(std::string_view name) const;
  Key NodeTerm(std::string_view name) const;
  Key Gateway(std::string_view id) const;
  Key Lead() const;
  Key Manifest(std::string_view ns, std::string_view name) const;
  Key ManifestStatus(std::string_view ns, std::string_view name) const;
  Key Cluster() const;
  Key Compacted() const;
  Key Barrier(std::string_view islad) const;

  // Prefixes of whole classes; all end in '/', so they can't match a neighbour.
  Prefix SpecPrefix(std::string_view kind = {}, std::string_view ns = {}) const;
  Prefix StatusPrefix(std::string_view kind = {}, std::string_view ns = {}) const;
  Prefix BindPrefix(std::string_view ns = {}) const;
  Prefix RunPrefix(std::string_view node = {}) const;
  Prefix NodePrefix() const;
  Prefix NodeTermPrefix() const;
  Prefix GatewayPrefix() const;
  Prefix ManifestPrefix() const;
  Prefix ManifestStatusPrefix() const;

  /// Nothing for a key outside the prefix; kOther for one inside that has no known shape.
  std::optional<ParsedKey> Parse(std::string_view key) const;

 private:
  Prefix prefix_;
};

}  // namespace isla::store
