#include "store/embedded/local_watch.h"

#include <utility>

namespace isla::store {
namespace {

/// Changes looked at for one batch: bounds the batch and the time that the store is locked.
constexpr size_t kChangesPerBatch = 256;

}  // namespace

LocalWatch::~LocalWatch() {
  bool ended = false;
  {
    MutexLock lock(state_.mu);
    stop_ = true;
    ended = ended_;
    std::erase(state_.watches, this);
    state_.changed.NotifyAll();
  }
  if (thread_.joinable()) {
    thread_.join();
  } else if (!ended) {
    watcher_.OnEnd(Error(Code::kCancelled, "the watch was cancelled"));
  }
}

LocalWatch::Due LocalWatch::End(const Status& status) {
  Due due;
  due.end = true;
  due.status = status;
  return due;
}

LocalWatch::Due LocalWatch::Take() {
  if (ended_) return {};
  Status end;
  if (stop_) {
    end = Error(Code::kCancelled, "the watch was cancelled");
  } else if (!state_.failure.ok()) {
    end = state_.failure;
  } else if (begins_too_late_ || (greeting_ == 0 && next_ < state_.mvcc.compacted())) {
    end = Errorf(Code::kOutOfRange, "revision {} has been compacted (up to {})", next_, state_.mvcc.compacted());
  }
  if (!end.ok()) {
    ended_ = true;
    return End(end);
  }
  Due due;
  if (greeting_ != 0) {
    due.batch = true;
    due.events.revision = std::exchange(greeting_, 0);
    return due;
  }
  next_ = state_.mvcc.Collect(next_, options_, kChangesPerBatch, due.events);
  due.batch = !due.events.events.empty();
  return due;
}

LocalWatch::Due LocalWatch::TakeNext() {
  Due due = Take();
  while (!due.batch && !due.end && Behind()) due = Take();
  return due;
}

void LocalWatch::Deliver(Due due) {
  if (due.batch) watcher_.OnBatch(std::move(due.events));
  if (due.end) watcher_.OnEnd(due.status);
}

void LocalWatch::Run() {
  for (bool end = false; !end;) {
    Due due;
    {
      MutexLock lock(state_.mu);
      due = Take();
      if (!due.batch && !due.end && !Behind()) state_.changed.Wait(state_.mu);
    }
    end = due.end;
    Deliver(std::move(due));
  }
}

}  // namespace isla::store
