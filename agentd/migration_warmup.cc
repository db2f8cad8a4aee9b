#include "agentd/migration_warmup.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "api/base/cgroup_folders.h"
#include "api/base/unique_fd.h"

namespace isla::agent {
namespace {

constexpr Duration kEvery = std::chrono::milliseconds(3);  // shorter than a grace period
constexpr Duration kFor = std::chrono::seconds(1);

std::string OwnProcsFile() {
  const StatusOr<std::string> cgroup = ReadFile("/proc/self/cgroup"), mounts = ReadFile("/proc/self/mountinfo");
  if (!cgroup.ok() || !mounts.ok()) return "";
  const auto found = FindCgroups(*cgroup, *mounts);  // any hierarchy: they share the lock
  return found.empty() ? "" : found.front().path + "/cgroup.procs";
}

}  // namespace

MigrationWarmup::MigrationWarmup() : procs_(OwnProcsFile()) {
  if (!procs_.empty()) thread_ = std::jthread([this] { Run(); });
}

MigrationWarmup::~MigrationWarmup() {
  MutexLock lock(mu_);
  stop_ = true;
  wake_.NotifyAll();
}

void MigrationWarmup::Kick() {
  MutexLock lock(mu_);
  wanted_ = true;
  wake_.NotifyAll();
}

void MigrationWarmup::Run() {
  const std::string self = std::to_string(getpid());
  MonotonicTime until{};
  for (;;) {
    {
      MutexLock lock(mu_);
      if (!wanted_ && !stop_ && clock_.Monotonic() < until) wake_.WaitFor(mu_, kEvery);
      while (!wanted_ && !stop_ && clock_.Monotonic() >= until) wake_.Wait(mu_);
      if (stop_) return;
      if (std::exchange(wanted_, false)) until = clock_.Monotonic() + kFor;
    }
    // A failure costs a start its wait, and nothing else.
    const UniqueFd procs(open(procs_.c_str(), O_WRONLY | O_CLOEXEC));
    if (procs.valid()) (void)!write(procs.get(), self.data(), self.size());
  }
}

}  // namespace isla::agent
