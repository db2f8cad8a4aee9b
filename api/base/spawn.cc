#include "api/base/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>

#include <algorithm>
#include <cerrno>

#include "api/base/unique_fd.h"

namespace isla {
namespace {

/// posix_spawn's two lists, freed whatever happens.
struct Lists {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  Lists() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~Lists() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  Lists(const Lists&) = delete;
  Lists& operator=(const Lists&) = delete;
};

/// The child's descriptors. Each is first copied above all of the child's numbers, so that placing one overwrites no other.
Status Place(const std::vector<std::pair<int, int>>& fds, Lists& lists, std::vector<UniqueFd>& copies) {
  int beyond = 0;
  for (const auto& [fd, number] : fds) beyond = std::max(beyond, number + 1);
  std::vector<int> numbers;
  for (const auto& [fd, number] : fds) {
    int error = 0;
    if (fd < 0) {
      error = posix_spawn_file_actions_addopen(&lists.actions, number, "/dev/null", O_RDWR, 0);
    } else {
      copies.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, beyond));
      if (!copies.back().valid()) return FromErrno(errno, "copy a descriptor for a child");
      error = posix_spawn_file_actions_adddup2(&lists.actions, copies.back().get(), number);
    }
    if (error != 0) return FromErrno(error, "arrange a child's descriptors");
    numbers.push_back(number);
  }
  // What isn't close-on-exec here, by whatever library's mistake, isn't passed on either: neither above the last nor between two.
  std::sort(numbers.begin(), numbers.end());
  int next = 0;
  for (const int number : numbers) {
    for (; next < number; ++next) {
      if (const int error = posix_spawn_file_actions_addclose(&lists.actions, next); error != 0) return FromErrno(error, "close a child's descriptor");
    }
    next = number + 1;
  }
  if (const int error = posix_spawn_file_actions_addclosefrom_np(&lists.actions, beyond); error != 0) return FromErrno(error, "close a child's descriptors");
  return OkStatus();
}

}  // namespace

StatusOr<pid_t> SpawnProcess(const SpawnOptions& options) {
  Lists lists;
  std::vector<UniqueFd> copies;
  RETURN_IF_ERROR(Place(options.fds, lists, copies));
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&lists.attributes, &none);
  posix_spawnattr_setsigdefault(&lists.attributes, &all);
  posix_spawnattr_setflags(&lists.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  std::vector<char*> argv;
  argv.reserve(options.argv.size() + 1);
  for (const std::string& argument : options.argv) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  char* const environment[] = {nullptr};
  pid_t pid = -1;
  const int error = posix_spawn(&pid, options.program.c_str(), &lists.actions, &lists.attributes, argv.data(), environment);
  if (error != 0) return FromErrno(error, fmt::format("start '{}'", options.program));
  return pid;
}

}  // namespace isla
