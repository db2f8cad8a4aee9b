#include "controllers/inbox/inbox_controller.h"

#include <fmt/format.h>

#include "controllers/runtime/fenced_writer.h"

namespace isla::controllers {

using store::Compare;
using store::KeyClass;
using store::Operation;

namespace {

constexpr size_t kMaxMessage = 4096;

/// The manifest is at fault, or the state of the system: no use in trying again before it is put again.
bool IsFinal(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kFailedPrecondition:
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
    case Code::kUnimplemented:
    case Code::kResourceExhausted:
    case Code::kNotFound: return true;
    default: return false;
  }
}

std::string Shortened(std::string text) {
  if (text.size() <= kMaxMessage) return text;
  size_t end = kMaxMessage;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not within a character
  text.resize(end);
  return text + " ...";
}

}  // namespace

void InboxController::KeysFor(const Change& change, const ClusterState&, std::vector<std::string>& keys) const {
  if (change.key.key_class == KeyClass::kManifest || change.key.key_class == KeyClass::kManifestStatus) {
    keys.push_back(change.key.ns + "/" + change.key.name);
  }
}

Decision InboxController::Reconcile(const std::string& key, const ClusterState& state) const {
  const ManifestView view = state.Manifest(key);
  Decision decision;
  if (view.manifest == nullptr) {
    if (view.verdict == nullptr) return {};
    decision.what = "forget";
    decision.cluster_revision = view.cluster_revision;
    decision.txn = store::Transaction{{Compare::Missing(keys_.Manifest(view.ns, view.name)),
                                       Compare::ModRevision(view.verdict->key(), view.verdict->mod_revision())},
                                      {Operation::Delete(view.verdict->key())},
                                      {}};
    return decision;
  }
  if (view.verdict != nullptr && view.verdict->ok() && view.verdict->value.revision == view.manifest->mod_revision) {
    return {};
  }
  decision.what = "apply";
  decision.request = [this, view](const std::vector<Compare>& fence) { return Apply(view, fence); };
  return decision;
}

StatusOr<store::Revision> InboxController::Apply(const ManifestView& view, const std::vector<Compare>& fence) const {
  std::vector<Compare> conditions = fence;
  conditions.push_back(Compare::ModRevision(view.manifest->key, view.manifest->mod_revision));
  StatusOr<Outcome> outcome = Judge(view, conditions);
  if (!outcome.ok()) {
    if (!IsFinal(outcome.status().code())) return outcome.status();
    outcome = Outcome{"Refused", Message(outcome.status())};
  }
  ManifestVerdict verdict;
  verdict.revision = view.manifest->mod_revision;
  verdict.verdict = outcome->verdict;
  verdict.message = Shortened(outcome->message);
  verdict.at = RecordTime(clock_.Wall());
  const std::string key = keys_.ManifestStatus(view.ns, view.name);
  store::Transaction txn{std::move(conditions), {Operation::Put(key, Encode(verdict))}, {}};
  txn.compares.push_back(Compare::ModRevision(key, ModRevision(view.verdict)));
  txn.compares.push_back(Compare::ModRevision(keys_.Cluster(), view.cluster_revision));
  const FencedWriter::Outcome written = CommitReadingBack(store_, txn);
  RETURN_IF_ERROR(written.status);
  return written.revision;
}

StatusOr<InboxController::Outcome> InboxController::Judge(const ManifestView& view,
                                                          const std::vector<Compare>& conditions) const {
  ASSIGN_OR_RETURN(json::Value manifest, json::Parse(view.manifest->value));
  if (!manifest.is_object()) {
    return Errorf(Code::kInvalidArgument, "expected an object, not {}", manifest.type_name());
  }
  const std::string word = manifest.StringAt({"kind"});
  const api::Kind* kind = word.empty() ? nullptr : api::FindKind(word);
  if (kind == nullptr || kind->kind != word) {
    return Errorf(Code::kInvalidArgument, "kind: '{}' is no kind of {}", word, api::kApiVersion);
  }
  const bool cluster_wide = view.ns == store::kClusterWide;
  if (kind->namespaced == cluster_wide) {
    return Errorf(Code::kInvalidArgument, "{} belongs under 'manifest/{}/'", kind->kind,
                  kind->namespaced ? "<namespace>" : "_");
  }
  const std::string ns = cluster_wide ? std::string() : view.ns;
  json::Value* metadata = manifest.Find("metadata");
  if (metadata == nullptr) metadata = &manifest.Set("metadata", json::Value::MakeObject());
  if (!metadata->is_object()) return Error(Code::kInvalidArgument, "metadata: expected an object");
  if (metadata->Find("name") == nullptr) metadata->Set("name", view.name);
  if (metadata->StringAt({"name"}) != view.name) {
    return Errorf(Code::kInvalidArgument, "metadata.name: '{}' isn't the name in the key, '{}'",
                  metadata->StringAt({"name"}), view.name);
  }
  if (!ns.empty() && metadata->Find("namespace") != nullptr && metadata->StringAt({"namespace"}) != ns) {
    return Errorf(Code::kInvalidArgument, "metadata.namespace: '{}' isn't the namespace in the key, '{}'",
                  metadata->StringAt({"namespace"}), ns);
  }
  return CreateOrUpdate(*kind, ns, view.name, manifest, conditions);
}

bool SaysTheSame(const json::Value& before, const json::Value& after) {
  const auto same = [&before, &after](std::initializer_list<std::string_view> path) {
    const json::Value *a = &before, *b = &after;
    for (const std::string_view name : path) {
      a = a == nullptr || !a->is_object() ? nullptr : a->Find(name);
      b = b == nullptr || !b->is_object() ? nullptr : b->Find(name);
    }
    return a == nullptr || b == nullptr ? a == b : *a == *b;
  };
  return same({"metadata", "uid"}) && same({"metadata", "generation"}) && same({"metadata", "labels"}) && same({"metadata", "annotations"}) && same({"spec"});
}

StatusOr<InboxController::Outcome> InboxController::CreateOrUpdate(const api::Kind& kind, const std::string& ns,
                                                                   const std::string& name,
                                                                   const json::Value& manifest,
                                                                   const std::vector<Compare>& conditions) const {
  registry::WriteOptions options;
  options.caller = {"system:inbox", {"system:controllers"}};
  options.conditions = conditions;
  const StatusOr<registry::ObjectPtr> before = registry_.Get(kind, ns, name);
  if (!before.ok() && before.status().code() != Code::kNotFound) return before.status();
  if (!before.ok()) {
    ASSIGN_OR_RETURN(const registry::ObjectPtr made, registry_.Create(kind, ns, manifest, options));
    return Outcome{"Applied", fmt::format("created, uid {}", made->StringAt({"metadata", "uid"}))};
  }
  ASSIGN_OR_RETURN(const registry::ObjectPtr after, registry_.Update(kind, ns, name, manifest, options));
  if (SaysTheSame(**before, *after)) return Outcome{"Unchanged", ""};
  return Outcome{"Applied", fmt::format("configured, generation {}",
                                        after->Int64At({"metadata", "generation"}).value_or(0))};
}

}  // namespace isla::controllers
