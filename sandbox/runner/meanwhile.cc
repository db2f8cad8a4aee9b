#include "sandbox/runner/meanwhile.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>

namespace isla::runner {
namespace {

// What sanitizers add to every function is a thread's own, and these two would be one thread to them: there the caller waits.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(ISLA_TSAN)
constexpr int kMeanwhile = CLONE_VFORK;
#else
constexpr int kMeanwhile = 0;
#endif

}  // namespace

Meanwhile::~Meanwhile() { Reap(); }

void Meanwhile::Reap() {
  if (helper_ > 0) {
    while (waitpid(helper_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  helper_ = -1;
  stack_.reset();
}

int Meanwhile::Main(void* self) {
  Meanwhile& meanwhile = *static_cast<Meanwhile*>(self);
  meanwhile.status_ = meanwhile.function_(meanwhile.argument_);
  meanwhile.returned_ = true;
  return 0;
}

Status Meanwhile::Begin() {
  if (!stack_.emplace().valid()) return FromErrno(errno, "map a stack");
  helper_ = clone(Main, stack_->top(), CLONE_VM | CLONE_FILES | CLONE_FS | kMeanwhile | SIGCHLD, this);
  return helper_ > 0 ? OkStatus() : FromErrno(errno, "start a helper of the container's first process");
}

Status Meanwhile::Wait() {
  Reap();
  return returned_ ? std::move(status_) : Error(Code::kInternal, "a helper of the container's first process was killed");
}

}  // namespace isla::runner
