#include "sandbox/runner/terminal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace isla::runner {
namespace {

constexpr int kStopping[] = {SIGTSTP, SIGTTIN, SIGTTOU};

}  // namespace

void Terminal::AddStopping(sigset_t& set) {
  for (const int signal : kStopping) sigaddset(&set, signal);
}

void Terminal::Remember() {
  for (int fd = 0; fd <= STDERR_FILENO && !terminal_.valid(); ++fd) {
    const pid_t group = tcgetpgrp(fd);  // of our controlling terminal only
    if (group < 0) continue;
    in_front_ = group == getpgrp() && tcgetattr(fd, &settings_) == 0;
    terminal_.Reset(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  }
}

void Terminal::OnStopped(bool same_group) const {
  if (!terminal_.valid()) return;
  sigset_t stopping, pending, wanted;
  sigemptyset(&stopping);
  AddStopping(stopping);
  sigemptyset(&wanted);
  if (same_group) {
    // What stopped the command waits for us, too. If not, it was meant for the command alone; or the group was continued before we
    // looked, which takes it back.
    sigpending(&pending);
    sigandset(&wanted, &stopping, &pending);
    if (sigisemptyset(&wanted) != 0) return;
  } else {
    sigaddset(&wanted, SIGTSTP);
    raise(SIGTSTP);
  }
  const pid_t front = tcgetpgrp(terminal_.get());
  // Here we stop.
  sigprocmask(SIG_UNBLOCK, &wanted, nullptr);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  // The shell knows of our group only: what was in front of it is again, if we are.
  if (!same_group && front > 0 && front != getpgrp() && tcgetpgrp(terminal_.get()) == getpgrp()) (void)tcsetpgrp(terminal_.get(), front);
}

void Terminal::Restore(int exit) const {
  if (!terminal_.valid()) return;
  const pid_t group = tcgetpgrp(terminal_.get());
  // SIGTTOU is blocked: we may do both from the background.
  const bool gone = group >= 0 && (group == 0 || (kill(-group, 0) != 0 && errno == ESRCH));
  if (gone) (void)tcsetpgrp(terminal_.get(), getpgrp());
  termios now{};
  const bool ours = in_front_ && (gone || group == getpgrp());
  if (!ours || exit <= 128 || tcgetattr(terminal_.get(), &now) != 0 || std::memcmp(&now, &settings_, sizeof now) == 0) return;
  (void)tcsetattr(terminal_.get(), TCSADRAIN, &settings_);
}

}  // namespace isla::runner
