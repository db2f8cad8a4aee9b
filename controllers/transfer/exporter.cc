#include "controllers/transfer/exporter.h"

#include <algorithm>

#include "api/base/utf8.h"
#include "api/registry/cluster.h"
#include "controllers/transfer/key_value.h"
#include "store/get_at.h"

namespace isla::transfer {
namespace {

constexpr size_t kLeastPiece = 16;
constexpr size_t kLargestPiece = 1000;
constexpr int kTries = 3;  // a read that fails may be done again

}  // namespace

Exporter::Exporter(store::Store& store, const Clock& clock, ExporterOptions options)
    : store_(store), clock_(clock), options_(std::move(options)), piece_keys_(options_.first_piece_keys) {}

Status Exporter::Begin() {
  if (options_.history) {
    ASSIGN_OR_RETURN(history_, options_.history());
  }
  RETURN_IF_ERROR(ReadPiece());
  identity_ = store_.Identity();
  ASSIGN_OR_RETURN(const store::GetResult found, store::GetAt(store_, options_.keys.Cluster(), piece_.revision));
  if (found.kv == nullptr) return Error(Code::kUnavailable, "the store has no meta/cluster yet");
  ASSIGN_OR_RETURN(const registry::ClusterRecord cluster, registry::DecodeCluster(*found.kv));
  const bool sealed = cluster.closed && cluster.closed->reason == registry::kClosedBySeal;
  if (!sealed) RETURN_IF_ERROR(registry::CheckOpen(cluster));
  header_.cluster_id = cluster.id;
  header_.epoch = cluster.epoch;
  header_.level = cluster.level;
  header_.revision = piece_.revision;
  header_.at = FormatRfc3339(clock_.Wall(), 6);
  header_.by = FindBadUtf8(options_.by) == std::string::npos ? options_.by : "?";
  header_.sealed = sealed;
  // In every store that was read at all: what CheckHistory looks at.
  newest_ = found.kv;
  return OkStatus();
}

Status Exporter::ReadPiece() {
  store::ListOptions next;
  next.revision = piece_.revision;
  next.limit = piece_keys_;
  next.page_size = piece_keys_;
  if (!piece_.kvs.empty()) next.from = piece_.kvs.back()->key + '\0';
  for (int attempt = 1;; ++attempt) {
    StatusOr<store::ListResult> piece = store_.List(options_.keys.prefix(), next);
    const Code code = piece.status().code();
    if (piece.ok()) {
      piece_ = *std::move(piece);
      break;
    }
    if ((code != Code::kUnavailable && code != Code::kDeadlineExceeded) || attempt == kTries) return piece.status();
  }
  size_t bytes = 1;
  for (const auto& kv : piece_.kvs) bytes += kv->key.size() + kv->value.size();
  const size_t average = bytes / std::max<size_t>(1, piece_.kvs.size()) + 1;
  piece_keys_ = std::clamp(options_.piece_bytes / average, kLeastPiece, kLargestPiece);
  return OkStatus();
}

std::string Exporter::Encode() {
  std::string text;
  for (const auto& kv : piece_.kvs) {
    const auto parsed = options_.keys.Parse(kv->key);
    if (!parsed) continue;
    if (kv->mod_revision > newest_->mod_revision) newest_ = kv;
    // A key with a lease is a process's, whatever it is called.
    if (!IsContent(parsed->key_class) || kv->lease != 0) continue;
    archive::Entry entry;
    entry.key = kv->key.substr(options_.keys.prefix().size());
    entry.key_class = ClassName(parsed->key_class);
    entry.created = kv->create_revision;
    entry.modified = kv->mod_revision;
    entry.value = AtRest(parsed->key_class, kv->value);
    StatusOr<std::string> line = writer_.Add(entry);
    if (!line.ok()) {
      over_ = true;
      return text + Broken(line.status());
    }
    text += *line;
  }
  return text;
}

std::string Exporter::Next() {
  if (over_) return {};
  std::string text;
  if (!begun_) {
    begun_ = true;
    text = writer_.Begin(header_);
  } else if (const Status read = ReadPiece(); !read.ok()) {
    over_ = true;
    return Broken(read);
  }
  text += Encode();
  // A piece of keys that aren't exported makes no text, which would be the end.
  while (!over_ && text.empty() && piece_.more) {
    if (const Status read = ReadPiece(); !read.ok()) {
      over_ = true;
      return Broken(read);
    }
    text = Encode();
  }
  if (over_ || piece_.more) return text;
  over_ = true;
  if (const Status same = CheckHistory(); !same.ok()) return text + Broken(same);
  log_.Info("exported", "by='{}' revision={} keys={} sealed={}", options_.by, header_.revision, writer_.keys(), header_.sealed);
  return text + writer_.Finish();
}

std::string Exporter::Broken(const Status& status) {
  log_.Warn("export broke off", "by='{}' revision={} keys={} error='{}'; its reader is told", options_.by, header_.revision,
            writer_.keys(), ToString(status));
  if (status.code() == Code::kOutOfRange) {
    return writer_.Fail(fmt::format("revision {} was compacted before all of it was read: whoever reads it must be quicker than "
                                    "history is forgotten",
                                    header_.revision),
                        true);
  }
  const bool again = status.code() == Code::kAborted || status.code() == Code::kUnavailable ||
                     status.code() == Code::kDeadlineExceeded;
  return writer_.Fail(Message(status), again);
}

/// The newest key that was read is still what it was, and nobody saw another history: else the pieces may be of two.
Status Exporter::CheckHistory() {
  const auto another = [] { return Error(Code::kAborted, "the store was restored from a backup meanwhile"); };
  if (store_.Identity() != identity_) return another();
  if (options_.history) {
    const StatusOr<int64_t> now = options_.history();
    if (!now.ok()) return Annotate(now.status(), "whether the store is still the same can't be told");
    if (*now != history_) return another();
  }
  ASSIGN_OR_RETURN(const store::GetResult found, store::GetAt(store_, newest_->key, header_.revision));
  const bool same = found.kv != nullptr && found.kv->value == newest_->value && found.kv->mod_revision == newest_->mod_revision;
  return same ? OkStatus() : another();
}

}  // namespace isla::transfer
