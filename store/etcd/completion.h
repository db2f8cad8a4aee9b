// The status of a call of gRPC's callback API, for a thread that waits for it.
#pragma once

#include <grpcpp/support/status.h>

#include "api/base/mutex.h"

namespace isla::store {

/// One thread waits; one of gRPC's sets it, once.
class Completion {
 public:
  void Set(const grpc::Status& status) {
    MutexLock lock(mu_);
    status_ = status;
    done_ = true;
    set_.NotifyOne();  // with the lock held: the waiter destroys this object as soon as it can have it
  }
  /// Always ends: every call has a deadline.
  grpc::Status Wait() {
    MutexLock lock(mu_);
    while (!done_) set_.Wait(mu_);
    return status_;
  }

 private:
  Mutex mu_;
  CondVar set_;
  grpc::Status status_ GUARDED_BY(mu_);
  bool done_ GUARDED_BY(mu_) = false;
};

}  // namespace isla::store
