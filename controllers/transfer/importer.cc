#include "controllers/transfer/importer.h"

#include <algorithm>

#include "api/base/stored_json.h"
#include "controllers/runtime/records.h"
#include "controllers/transfer/closing.h"
#include "controllers/transfer/key_value.h"

namespace isla::transfer {

using registry::ClusterRecord;
using store::KeyClass;

namespace {

constexpr size_t kPage = 128;
constexpr uint64_t kProgressEvery = 64;

std::string InboxName(const store::ParsedKey& parsed) { return parsed.ns + "/" + parsed.name; }

bool IsSessionSpec(const ImportFile::Item& item) {
  return item.parsed.key_class == KeyClass::kSpec && item.parsed.kind == "session";
}

/// A verdict that speaks of `revision` of its manifest; as it is if it can't be read.
std::string VerdictOf(const std::string& value, store::Revision revision) {
  StatusOr<json::Value> tree = json::Parse(value, kStoredJson);
  if (!tree.ok() || !tree->is_object()) return value;
  tree->Set("revision", revision);
  return json::Serialize(*tree);
}

}  // namespace

json::Value ToJson(const ImportResult& result) {
  json::Value classes = json::Value::MakeObject();
  for (const auto& [name, count] : result.classes) classes.Set(name, count);
  return json::Value::MakeObject({{"cluster", result.cluster_id},
                                  {"epoch", result.epoch},
                                  {"sha256", result.sha256},
                                  {"classes", std::move(classes)},
                                  {"written", result.written},
                                  {"deleted", result.deleted},
                                  {"unchanged", result.unchanged},
                                  {"invalid", result.invalid},
                                  {"dryRun", result.dry_run},
                                  {"resumed", result.resumed},
                                  {"already", result.already}});
}

/// The store's content in order, piece by piece. What is written meanwhile lies behind it.
class Importer::Target {
 public:
  Target(store::Store& store, const store::Keys& keys, bool keys_only) : store_(store), keys_(keys) {
    options_.limit = kPage;
    options_.keys_only = keys_only;
  }

  /// Null at the end.
  StatusOr<const store::KeyValue*> Peek() {
    for (;;) {
      for (; at_ < piece_.kvs.size(); ++at_) {
        const store::KeyValue& kv = *piece_.kvs[at_];
        const auto parsed = keys_.Parse(kv.key);
        if (parsed && IsContent(parsed->key_class) && kv.lease == 0) return &kv;
      }
      if (begun_ && !piece_.more) return static_cast<const store::KeyValue*>(nullptr);
      begun_ = true;
      if (!piece_.kvs.empty()) options_.from = piece_.kvs.back()->key + '\0';
      ASSIGN_OR_RETURN(piece_, store_.List(keys_.prefix(), options_));
      at_ = 0;
    }
  }
  void Next() { ++at_; }

 private:
  store::Store& store_;
  const store::Keys& keys_;
  store::ListOptions options_;
  store::ListResult piece_;
  size_t at_ = 0;
  bool begun_ = false;
};

Importer::Importer(store::Store& store, const Clock& clock, const Stop& stop, store::Keys keys, ImportOptions options,
                   Progress progress)
    : store_(store),
      clock_(clock),
      stop_(stop),
      keys_(std::move(keys)),
      options_(std::move(options)),
      progress_(std::move(progress)) {}

StatusOr<ImportResult> Importer::Run(int fd) {
  file_ = std::make_unique<ImportFile>(fd, keys_);
  ASSIGN_OR_RETURN(facts_, file_->Check([this](uint64_t keys) {
    progress_("checking", keys, keys);
    return stop_.Wait(Duration::zero());
  }));
  if (facts_.invalid_keys > 0 && !options_.keep_invalid) {
    std::string all;
    for (const std::string& text : facts_.invalid) all += "\n  " + text;
    return Errorf(Code::kInvalidArgument,
                  "{} values of the file make no sense; nothing was written (--keep-invalid imports them as they are):{}",
                  facts_.invalid_keys, all);
  }
  if (facts_.header.level != registry::kKnownLevel) {
    return Errorf(Code::kInvalidArgument, "the file is of level {}, and this isla writes level {}", facts_.header.level, registry::kKnownLevel);
  }
  result_.cluster_id = facts_.header.cluster_id;
  result_.sha256 = facts_.sha256;
  result_.classes = facts_.classes;
  result_.invalid = facts_.invalid_keys;
  result_.dry_run = options_.dry_run;
  ASSIGN_OR_RETURN(ClusterRecord cluster, registry::ReadCluster(store_, keys_));
  RETURN_IF_ERROR(CheckCluster(cluster));
  if (result_.already) return result_;
  if (options_.dry_run) {
    RETURN_IF_ERROR(Merge(Pass::kCount));
    result_.epoch = std::max(cluster.epoch, facts_.epoch) + 1;
    return result_;
  }
  RETURN_IF_ERROR(Close(cluster));
  const Status written = Write();
  if (!written.ok()) {
    log_.Error("import broke off", "by='{}' sha256={} error='{}'; the store stays closed until it is repeated", options_.by,
               facts_.sha256, ToString(written));
    return Annotate(written, "the import broke off, and the store stays closed until it is repeated with this file");
  }
  RETURN_IF_ERROR(Annotate(Open(cluster), "all is written, but the store could not be opened: repeat the import"));
  log_.Info("imported", "by='{}' cluster={} epoch={} sha256={} written={} deleted={} unchanged={}", options_.by,
            result_.cluster_id, result_.epoch, result_.sha256, result_.written, result_.deleted, result_.unchanged);
  return result_;
}

// ---- before anything is written --------------------------------------------------------------------------

Status Importer::CheckCluster(ClusterRecord& cluster) {
  if (cluster.level != registry::kKnownLevel) {
    return Errorf(Code::kFailedPrecondition, "the store is of level {}, and this isla writes level {}", cluster.level, registry::kKnownLevel);
  }
  replace_ = options_.replace;
  const bool half = cluster.closed && cluster.closed->reason == registry::kClosedForImport;
  if (half && cluster.closed->sha256 == facts_.sha256) {
    resume_ = result_.resumed = cluster.closed->writing;
    replace_ = replace_ || cluster.closed->replace;
    return OkStatus();  // Close looks whether it is empty if that isn't known
  }
  if (half && !replace_) {
    return Errorf(Code::kFailedPrecondition,
                  "the store holds half of another import, of the file with SHA-256 {}, begun at {} by '{}': repeat it with that "
                  "file, or replace what is there (--replace)",
                  cluster.closed->sha256, cluster.closed->at, cluster.closed->by);
  }
  if (cluster.closed && !half && cluster.closed->reason != registry::kClosedBySeal) return registry::CheckOpen(cluster);
  if (!cluster.closed && !replace_ && cluster.imported_sha256 == facts_.sha256) {
    result_.already = true;
    result_.epoch = cluster.epoch;
    return OkStatus();
  }
  if (replace_) return OkStatus();
  return CheckEmpty();
}

Status Importer::CheckEmpty() {
  Target target(store_, keys_, /*keys_only=*/true);
  uint64_t count = 0;
  std::string first;
  for (;; target.Next()) {
    ASSIGN_OR_RETURN(const store::KeyValue* kv, target.Peek());
    if (kv == nullptr) break;
    if (IsSpare(*kv)) continue;
    if (count++ == 0) first = kv->key;
  }
  if (count == 0) return CheckNodes();
  return Errorf(Code::kFailedPrecondition,
                "the store isn't empty: it has {} keys such as '{}'; nothing was written (--replace deletes them)", count, first);
}

/// What a store has by itself, without anybody having asked for anything: the nodes that registered, and the first project.
bool Importer::IsSpare(const store::KeyValue& kv) const {
  const store::ParsedKey parsed = keys_.Parse(kv.key).value_or(store::ParsedKey());
  if (parsed.key_class == KeyClass::kNode || parsed.key_class == KeyClass::kNodeTerm) return true;
  return (parsed.key_class == KeyClass::kSpec || parsed.key_class == KeyClass::kStatus) && parsed.kind == "project" &&
         parsed.ns == store::kClusterWide && parsed.name == "default";
}

/// A node that has registered under another uid is another machine: its agent would be refused from then on.
Status Importer::CheckNodes() {
  store::ListOptions options;
  options.limit = kPage;
  for (;;) {
    ASSIGN_OR_RETURN(const store::ListResult piece, store_.List(keys_.NodePrefix(), options));
    for (const auto& kv : piece.kvs) {
      const std::string name = keys_.Parse(kv->key).value_or(store::ParsedKey()).name;
      const auto of_file = facts_.node_uids.find(name);
      if (of_file == facts_.node_uids.end()) continue;
      const StatusOr<controllers::Node> node = controllers::DecodeNode(kv->value);
      if (node.ok() && node->uid == of_file->second) continue;
      return Errorf(Code::kFailedPrecondition,
                    "node '{}' has registered here with uid {}, and the file has it with uid {}; nothing was written (--replace "
                    "takes the file's)",
                    name, node.ok() ? node->uid : "unreadable", of_file->second);
    }
    if (!piece.more) return OkStatus();
    options.from = piece.kvs.back()->key + '\0';
  }
}

// ---- closing and opening ---------------------------------------------------------------------------------

Status Importer::Close(ClusterRecord& cluster) {
  registry::ClosedRecord why;
  why.reason = registry::kClosedForImport;
  why.sha256 = facts_.sha256;
  why.replace = replace_;
  why.writing = resume_ || replace_;
  why.at = FormatRfc3339(clock_.Wall(), 6);
  why.by = options_.by;
  MarkClosed(cluster, why, std::max(cluster.epoch, facts_.epoch) + 1);
  ASSIGN_OR_RETURN(cluster, WriteCluster(store_, keys_, cluster));
  result_.epoch = cluster.epoch;
  log_.Info("store closed for an import", "by='{}' sha256={} keys={} epoch={} replace={} resumed={}", options_.by, facts_.sha256,
            facts_.keys, cluster.epoch, replace_, resume_);
  if (!why.writing) {
    // Somebody may have written between the first look and the closing.
    if (const Status empty = CheckEmpty(); !empty.ok()) {
      RETURN_IF_ERROR(Annotate(Reopen(cluster), Message(empty) + "; it could not be opened again: repeat the import"));
      return empty;
    }
    why.writing = true;
    MarkClosed(cluster, why, cluster.epoch);
    ASSIGN_OR_RETURN(cluster, WriteCluster(store_, keys_, cluster));
  }
  batch_ = std::make_unique<Batch>(store_, clock_, stop_, keys_.Cluster(), cluster.mod_revision);
  return OkStatus();
}

Status Importer::Reopen(ClusterRecord& cluster) {
  cluster.tree.Remove("closed");
  return WriteCluster(store_, keys_, cluster).status();
}

Status Importer::Open(const ClusterRecord& closed) {
  ClusterRecord cluster = closed;
  cluster.tree.Remove("closed");
  cluster.tree.Set("id", facts_.header.cluster_id);
  cluster.tree.Set("imported", json::Value::MakeObject({{"sha256", facts_.sha256},
                                                        {"from", facts_.header.at},
                                                        {"at", FormatRfc3339(clock_.Wall(), 6)},
                                                        {"by", options_.by}}));
  return WriteCluster(store_, keys_, cluster).status();
}

// ---- writing ---------------------------------------------------------------------------------------------

Status Importer::Write() {
  RETURN_IF_ERROR(Merge(Pass::kWrite));
  RETURN_IF_ERROR(batch_->Flush());
  RETURN_IF_ERROR(WriteSessions());
  RETURN_IF_ERROR(WriteManifests());
  return Merge(Pass::kVerify);
}

Status Importer::Done(std::string_view phase, uint64_t all) {
  if (++done_ % kProgressEvery != 0) return OkStatus();
  progress_(phase, done_, all);
  return stop_.Wait(Duration::zero());
}

Status Importer::Merge(Pass pass) {
  Target target(store_, keys_, /*keys_only=*/false);
  done_ = 0;
  const auto each = [this, pass, &target](ImportFile::Item item) -> Status {
    const std::string key = keys_.prefix() + item.entry.key;
    for (;; target.Next()) {
      ASSIGN_OR_RETURN(const store::KeyValue* kv, target.Peek());
      if (kv == nullptr || kv->key > key) {
        RETURN_IF_ERROR(OnlyInFile(pass, item));
        break;
      }
      if (kv->key == key) {
        RETURN_IF_ERROR(InBoth(pass, item, *kv));
        target.Next();
        break;
      }
      RETURN_IF_ERROR(OnlyInStore(pass, *kv));
    }
    return Done(pass == Pass::kVerify ? "verifying" : "writing", facts_.keys);
  };
  RETURN_IF_ERROR(file_->ForEach(each));
  for (;; target.Next()) {
    ASSIGN_OR_RETURN(const store::KeyValue* kv, target.Peek());
    if (kv == nullptr) return OkStatus();
    RETURN_IF_ERROR(OnlyInStore(pass, *kv));
  }
}

/// What the store is to have for this key of the file; `kv`: what it has, or null.
std::string Importer::Wanted(const ImportFile::Item& item, const store::KeyValue* kv) const {
  const KeyClass key_class = item.parsed.key_class;
  // A term that falls would let a gateway of the past write again.
  const bool newer = key_class == KeyClass::kNodeTerm && kv != nullptr && TermOf(kv->value) > TermOf(item.entry.value);
  return AtRest(key_class, newer ? kv->value : item.entry.value);
}

/// Is it written at the end, in an order of its own? Then it is noted for that.
bool Importer::Postpone(const ImportFile::Item& item) {
  if (IsSessionSpec(item)) {
    sessions_.emplace_back(item.entry.created, item.offset);
  } else if (item.parsed.key_class == KeyClass::kManifest) {
    manifests_.push_back(item.offset);
  } else if (item.parsed.key_class == KeyClass::kManifestStatus) {
    verdicts_.push_back(item.offset);
  } else {
    return false;
  }
  return true;
}

Status Importer::OnlyInFile(Pass pass, const ImportFile::Item& item) {
  const std::string key = keys_.prefix() + item.entry.key;
  if (pass == Pass::kVerify) return Errorf(Code::kAborted, "key '{}' was written, and isn't there", key);
  ++result_.written;
  if (pass == Pass::kCount) return OkStatus();
  if (Postpone(item)) return OkStatus();
  return batch_->Put(key, Wanted(item, nullptr));
}

Status Importer::InBoth(Pass pass, const ImportFile::Item& item, const store::KeyValue& kv) {
  if (pass == Pass::kVerify) return VerifyBoth(item, kv);
  const KeyClass key_class = item.parsed.key_class;
  const std::string wanted = Wanted(item, &kv);
  const bool session = IsSessionSpec(item);
  // Of what this import wrote before it broke off nothing is written twice, but verdicts: they speak of revisions. Of what was
  // there before, a session is made anew even if it is the same, so that all wait in line in the order of the file's.
  if (kv.value == wanted && (!session || resume_) && key_class != KeyClass::kManifestStatus) {
    if (key_class == KeyClass::kManifest) manifest_revisions_[InboxName(item.parsed)] = kv.mod_revision;
    ++result_.unchanged;
    return OkStatus();
  }
  ++result_.written;
  if (pass == Pass::kCount) return OkStatus();
  if (Postpone(item)) return session ? batch_->Delete(kv.key) : OkStatus();
  return batch_->Put(kv.key, wanted);
}

Status Importer::OnlyInStore(Pass pass, const store::KeyValue& kv) {
  if (IsSpare(kv)) return OkStatus();
  const KeyClass key_class = keys_.Parse(kv.key).value_or(store::ParsedKey()).key_class;
  // What people put into the inbox meanwhile, past every compare, is theirs.
  const bool inbox = key_class == KeyClass::kManifest || key_class == KeyClass::kManifestStatus;
  if (inbox && (!replace_ || pass == Pass::kVerify)) return OkStatus();
  if (pass == Pass::kVerify) return Errorf(Code::kAborted, "key '{}' isn't of the file, and was put meanwhile", kv.key);
  if (!replace_) return Errorf(Code::kAborted, "key '{}' isn't of the file, and the store was empty", kv.key);
  ++result_.deleted;
  return pass == Pass::kCount ? OkStatus() : batch_->Delete(kv.key);
}

/// Sessions wait in line by their create_revision.
Status Importer::WriteSessions() {
  std::sort(sessions_.begin(), sessions_.end());
  done_ = 0;
  for (const auto& [created, offset] : sessions_) {
    ASSIGN_OR_RETURN(const archive::Entry entry, file_->Read(offset));
    RETURN_IF_ERROR(batch_->Put(keys_.prefix() + entry.key, entry.value));
    RETURN_IF_ERROR(Done("writing sessions", sessions_.size()));
  }
  return batch_->Flush().status();
}

/// A verdict speaks of a revision of its manifest, which is known only when that is written. One that is wrong would have the
/// manifest applied again, or never.
Status Importer::WriteManifests() {
  std::vector<std::string> names;
  const auto flush = [this, &names]() -> Status {
    ASSIGN_OR_RETURN(const store::Revision revision, batch_->Flush());
    for (const std::string& name : names) manifest_revisions_[name] = revision;
    names.clear();
    return OkStatus();
  };
  const uint64_t all = manifests_.size() + verdicts_.size();
  done_ = 0;
  for (const uint64_t offset : manifests_) {
    ASSIGN_OR_RETURN(const archive::Entry entry, file_->Read(offset));
    const std::string key = keys_.prefix() + entry.key;
    if (!batch_->Fits(key.size() + entry.value.size())) RETURN_IF_ERROR(flush());
    RETURN_IF_ERROR(batch_->Put(key, entry.value));
    names.push_back(InboxName(*keys_.Parse(key)));
    RETURN_IF_ERROR(Done("writing manifests", all));
  }
  RETURN_IF_ERROR(flush());
  for (const uint64_t offset : verdicts_) {
    ASSIGN_OR_RETURN(const archive::Entry entry, file_->Read(offset));
    const std::string key = keys_.prefix() + entry.key;
    const std::string name = InboxName(*keys_.Parse(key));
    const StatusOr<controllers::ManifestVerdict> verdict = controllers::DecodeManifestVerdict(entry.value);
    const auto exported = facts_.manifests.find(name);
    const bool holds = verdict.ok() && exported != facts_.manifests.end() && verdict->revision == exported->second;
    RETURN_IF_ERROR(batch_->Put(key, VerdictOf(entry.value, holds ? manifest_revisions_[name] : 0)));
    RETURN_IF_ERROR(Done("writing manifests", all));
  }
  return batch_->Flush().status();
}

Status Importer::VerifyBoth(const ImportFile::Item& item, const store::KeyValue& kv) {
  const auto differs = [&kv] { return Errorf(Code::kAborted, "key '{}' isn't what was written", kv.key); };
  const std::string name = InboxName(item.parsed);
  if (item.parsed.key_class == KeyClass::kManifestStatus) {
    if (VerdictOf(kv.value, 0) != VerdictOf(item.entry.value, 0)) return differs();
    const StatusOr<controllers::ManifestVerdict> verdict = controllers::DecodeManifestVerdict(kv.value);
    const auto put = manifest_revisions_.find(name);
    const bool right = !verdict.ok() || verdict->revision == 0 ||
                       (put != manifest_revisions_.end() && verdict->revision == put->second);
    return right ? OkStatus() : differs();
  }
  if (item.parsed.key_class == KeyClass::kManifest && kv.mod_revision != manifest_revisions_[name]) return differs();
  return kv.value == Wanted(item, &kv) ? OkStatus() : differs();
}

}  // namespace isla::transfer
