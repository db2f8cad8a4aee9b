#include "tests/cluster/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <thread>

namespace isla::testing {
namespace {

using SteadyClock = std::chrono::steady_clock;

std::vector<char*> Pointers(const std::vector<std::string>& argv) {
  std::vector<char*> out;
  for (const std::string& arg : argv) out.push_back(const_cast<char*>(arg.c_str()));
  out.push_back(nullptr);
  return out;
}

/// After fork: only what is safe between fork and exec.
[[noreturn]] void Exec(const std::vector<char*>& argv, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  execvp(argv[0], argv.data());
  _exit(127);
}

int ExitCode(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

CommandResult RunCommand(const std::vector<std::string>& argv, const CommandOptions& options) {
  int in[2], out[2], err[2];
  CommandResult result;
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return result;
  const auto pointers = Pointers(argv);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    for (const std::string& variable : options.environment) putenv(const_cast<char*>(variable.c_str()));
    if (options.uid != 0 && (setgid(options.uid) != 0 || setuid(options.uid) != 0)) _exit(126);
    Exec(pointers, parent);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  std::thread writer([fd = in[1], &input = options.input] {
    size_t at = 0;
    while (at < input.size()) {
      const ssize_t put = write(fd, input.data() + at, input.size() - at);
      if (put <= 0) break;
      at += static_cast<size_t>(put);
    }
    close(fd);
  });
  const auto deadline = SteadyClock::now() + options.timeout;
  pollfd fds[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  bool timed_out = false;
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
    if (left <= 0) {
      timed_out = true;
      kill(pid, SIGKILL);
      break;
    }
    if (poll(fds, 2, static_cast<int>(left)) < 0 && errno != EINTR) break;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[65536];
      const ssize_t got = read(fds[i].fd, buffer, sizeof buffer);
      if (got <= 0) {
        fds[i].fd = -1;
      } else {
        (i == 0 ? result.out : result.err).append(buffer, static_cast<size_t>(got));
      }
    }
  }
  int status = 0;
  waitpid(pid, &status, 0);
  writer.join();
  close(out[0]);
  close(err[0]);
  result.exit_code = timed_out ? -1 : ExitCode(status);
  return result;
}

bool Eventually(const std::function<bool()>& holds, std::chrono::milliseconds timeout) {
  const auto deadline = SteadyClock::now() + timeout;
  for (;;) {
    if (holds()) return true;
    if (SteadyClock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

Daemon::Daemon(std::string name, std::vector<std::string> argv, std::string folder, std::string log_path)
    : name_(std::move(name)), argv_(std::move(argv)), folder_(std::move(folder)), log_path_(std::move(log_path)) {}

Daemon::~Daemon() {
  if (pid_ > 0) Kill9();
}

void Daemon::Start() {
  ASSERT_LE(pid_, 0) << name_ << " runs already";
  const auto pointers = Pointers(argv_);
  const int log = open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    if (chdir(folder_.c_str()) != 0) _exit(127);
    Exec(pointers, parent);
  }
  close(log);
  close(null);
}

void Daemon::Signal(int signal) {
  ASSERT_GT(pid_, 0) << name_ << " doesn't run";
  kill(pid_, signal);
  if (signal != SIGSTOP) return;
  // Its threads stop one after the other; till then one may still answer.
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOWAIT);
}

void Daemon::Stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGCONT);
  kill(pid_, SIGTERM);
  int status = 0;
  const bool ended = Eventually([this, &status] { return waitpid(pid_, &status, WNOHANG) == pid_; },
                                std::chrono::seconds(10));
  if (!ended) {
    Kill9();
    FAIL() << name_ << " did not end within 10 s of SIGTERM\n" << Log();
  }
  EXPECT_TRUE(WIFEXITED(status)) << name_ << " died of signal " << WTERMSIG(status) << "\n" << Log();
  pid_ = -1;
}

void Daemon::Kill9() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
}

bool Daemon::running() {
  if (pid_ <= 0) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == pid_) {
    pid_ = -1;
    return false;
  }
  return true;
}

std::string Daemon::Log() const {
  std::ifstream file(log_path_);
  std::stringstream all;
  all << file.rdbuf();
  const std::string text = all.str();
  return text.size() > 8000 ? text.substr(text.size() - 8000) : text;
}

}  // namespace isla::testing
