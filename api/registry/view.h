// The objects of every kind, joined from their keys and in memory, at one revision: what List and Watch read.
//
// One thread follows the watch cache (a subscription to the whole prefix: two would share no order), joins each
// changed object once, and keeps, for every kind, the present objects and a bounded ring of its latest events.
// A watch is a cursor in that ring. So a watcher that doesn't read costs nothing and blocks nobody; when the
// ring has gone past its cursor it gets OUT_OF_RANGE. After the cache itself had to list anew there is a hole
// in history: the view is built anew and every watch ends with OUT_OF_RANGE.
// Threads: every method may be called from any thread.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "api/registry/registry.h"

namespace isla::registry {

class ObjectView {
 public:
  /// `cache` must outlive the view. `history`: events kept for each kind.
  ObjectView(store::WatchCache& cache, const store::Keys& keys, size_t history);
  ~ObjectView();  // ends every watch with CANCELLED, joins
  ObjectView(const ObjectView&) = delete;
  ObjectView& operator=(const ObjectView&) = delete;

  /// Waits until the view stands at `revision` or later, and has been built at all. DEADLINE_EXCEEDED (or,
  /// before the first build, UNAVAILABLE) otherwise.
  Status WaitFor(store::Revision revision, Duration timeout);
  store::Revision watermark() const;
  /// Raised each time the view was built anew.
  uint64_t generation() const;

  /// The object if the view has it made of just these two revisions, else null: saves joining it again.
  ObjectPtr FindExact(const api::Kind& kind, const std::string& ns, const std::string& name,
                      store::Revision spec, store::Revision status) const;
  ObjectList List(const api::Kind& kind, const std::string& ns, const ListOptions& options) const;
  /// From after `revision`; 0 = the present objects first. OUT_OF_RANGE if the ring doesn't reach back so far.
  StatusOr<std::unique_ptr<ObjectWatch>> Watch(const api::Kind& kind, const std::string& ns,
                                               const ListOptions& options, store::Revision revision);

  struct State;  // shared with the watches

 private:
  struct Bell;
  void Run(const std::stop_token& stop);

  store::WatchCache& cache_;
  const store::Keys keys_;
  const std::shared_ptr<State> state_;
  const std::shared_ptr<Bell> bell_;  // wakes the thread
  std::jthread thread_;  // last: it uses the rest
};

}  // namespace isla::registry
