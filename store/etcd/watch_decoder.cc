#include "store/etcd/watch_decoder.h"

#include <utility>

#include "store/etcd/codec.h"

namespace isla::store {
namespace {

/// Of one response: etcd sends at most 1000 transactions of 128 operations at once.
constexpr size_t kMaxEvents = 1'000'000;

Status Cancelled(const etcdserverpb::WatchResponse& response) {
  const std::string& reason = response.cancel_reason();
  if (response.compact_revision() != 0 || reason.find("compacted") != std::string::npos) {
    return Errorf(Code::kOutOfRange, "the watch's revision has been compacted (up to {})", response.compact_revision());
  }
  if (TokenRefused(reason)) return Errorf(Code::kUnauthenticated, "etcd refused the watch: {}", reason);
  if (reason.find("permission denied") != std::string::npos) {
    return Errorf(Code::kPermissionDenied, "etcd refused the watch: {}", reason);
  }
  return Errorf(Code::kUnavailable, "etcd cancelled the watch: {}", reason.empty() ? "no reason given" : reason);
}

}  // namespace

Status WatchDecoder::Take(etcdserverpb::Event& from) {
  const Revision revision = from.kv().mod_revision();
  if (revision <= watermark_) {
    if (revision != start_ - 1) ++dropped_;
    return OkStatus();
  }
  if (!pending_.empty() && revision < pending_.back().kv->mod_revision) {
    return Errorf(Code::kOutOfRange, "etcd sent revision {} after {}", revision, pending_.back().kv->mod_revision);
  }
  if (pending_.size() >= kMaxEvents) return Error(Code::kOutOfRange, "etcd sent too many events at once");
  Event event;
  event.type = from.type() == etcdserverpb::Event::DELETE ? Event::Type::kDelete : Event::Type::kPut;
  event.kv = TakeKeyValue(*from.mutable_kv());
  if (from.has_prev_kv()) event.previous = TakeKeyValue(*from.mutable_prev_kv());
  pending_.push_back(std::move(event));
  return OkStatus();
}

WatchDecoder::Result WatchDecoder::Handle(etcdserverpb::WatchResponse& response) {
  Result result;
  const uint64_t cluster_id = response.header().cluster_id();
  if (cluster_id_ == 0) cluster_id_ = cluster_id;
  if (cluster_id != 0 && cluster_id != cluster_id_) {
    result.end = Errorf(Code::kOutOfRange, "another etcd cluster ({:x}, was {:x}) answers", cluster_id, cluster_id_);
    return result;
  }
  created_ = created_ || response.created();
  if (response.canceled() || response.compact_revision() != 0) {
    result.end = Cancelled(response);
    return result;
  }
  for (etcdserverpb::Event& event : *response.mutable_events()) {
    result.end = Take(event);
    if (!result.end.ok()) return result;
  }
  if (response.fragment() || pending_.empty()) return result;
  watermark_ = pending_.back().kv->mod_revision;
  result.batch.revision = watermark_;
  result.batch.events = std::exchange(pending_, {});
  return result;
}

}  // namespace isla::store
