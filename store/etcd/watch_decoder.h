// What etcd's watch responses mean: responses in, batches out. No I/O, no thread: the tests and the fuzzer feed it.
//
// It is made for a server that may send more, less or other than it should (etcd 3.4.23, see store/README.md):
//   - fragments of one response are one response, so a transaction is never split;
//   - events at or below the watermark as it stood when the response began are dropped (sent twice, or of before the start);
//   - revisions that fall within a response end the watch: the caller must list again;
//   - a watch that begins at the compacted revision itself lacks its deletes (fixed in 3.4.36), and nothing in the answer says
//     so: hence etcd is asked from one revision before, which it refuses if it has forgotten anything of the first one wanted;
//   - a notice of progress, or any header's revision, proves nothing and is ignored;
//   - another cluster id ends the watch: the caller must list again.
#pragma once

#include <etcd.pb.h>

#include <vector>

#include "store/store.h"

namespace isla::store {

class WatchDecoder {
 public:
  /// `cluster_id` 0: take the first one that comes.
  WatchDecoder(Revision start_revision, uint64_t cluster_id)
      : start_(start_revision), watermark_(start_revision - 1), cluster_id_(cluster_id) {}

  struct Result {
    WatchBatch batch;  // no events: nothing to deliver
    Status end;        // not OK: the watch is over, after the batch
  };
  /// Takes the values out of `response`.
  Result Handle(etcdserverpb::WatchResponse& response);

  /// The revision to ask etcd for; its events are dropped. The first revision of all has no events and none before it.
  Revision asks_from() const { return start_ > 1 ? start_ - 1 : start_; }
  bool created() const { return created_; }
  uint64_t cluster_id() const { return cluster_id_; }
  /// Events sent though they weren't asked for.
  size_t dropped() const { return dropped_; }

 private:
  Status Take(etcdserverpb::Event& event);

  const Revision start_;
  Revision watermark_;  // everything up to here has been delivered
  uint64_t cluster_id_;
  bool created_ = false;
  size_t dropped_ = 0;
  std::vector<Event> pending_;  // of the response that is being put together
};

}  // namespace isla::store
