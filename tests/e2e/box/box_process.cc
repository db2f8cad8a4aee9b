#include "tests/e2e/box/box_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "api/base/clock.h"
#include "api/base/unique_fd.h"

namespace isla::e2e {
namespace {

constexpr std::chrono::seconds kLimit{60};  // of Eventually()

std::string BinFolder() {
  const char* const folder = std::getenv("ISLA_BIN_DIR");
  return folder != nullptr ? folder : "build/dev/bin";
}

}  // namespace

BoxProcess::BoxProcess(const std::vector<std::string>& words, const BoxStart& start) : limit_(start.limit) {
  int out[2], err[2], in[2];
  EXPECT_EQ(pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC) | pipe2(in, O_CLOEXEC), 0);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (start.uid != 0 && (setgroups(0, nullptr) != 0 || setgid(start.uid) != 0 || setuid(start.uid) != 0)) _exit(1);
    if (start.uid != 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (start.drop_admin && prctl(PR_CAPBSET_DROP, 21 /* CAP_SYS_ADMIN */, 0, 0, 0) != 0) _exit(1);
    if (!start.folder.empty() && chdir(start.folder.c_str()) != 0) _exit(1);
    dup2(start.input.empty() ? open("/dev/null", O_RDONLY | O_CLOEXEC) : in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(1);
  }
  for (const int fd : {out[1], err[1], in[0]}) close(fd);
  (void)!write(in[1], start.input.data(), start.input.size());
  close(in[1]);
  out_ = out[0];
  err_ = err[0];
}

BoxProcess::~BoxProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(out_);
  close(err_);
}

bool BoxProcess::ReadSome(int milliseconds) {
  pollfd fds[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  if (out_ < 0 && err_ < 0) return false;
  if (poll(fds, 2, milliseconds) <= 0) return true;
  char bytes[65536];
  for (auto& [fd, text, at] : {std::tuple(&out_, &result_.out, 0), std::tuple(&err_, &result_.err, 1)}) {
    if (fds[at].revents == 0) continue;
    const ssize_t got = read(*fd, bytes, sizeof bytes);
    if (got > 0) {
      text->append(bytes, static_cast<size_t>(got));
    } else {
      close(*fd);
      *fd = -1;
    }
  }
  return out_ >= 0 || err_ >= 0;
}

bool BoxProcess::WaitForOutput(const std::string& text) {
  const MonotonicTime until = Clock::Real().Monotonic() + limit_;
  while (result_.out.find(text) == std::string::npos) {
    if (Clock::Real().Monotonic() > until || !ReadSome(100)) return result_.out.find(text) != std::string::npos;
  }
  return true;
}

bool BoxProcess::WaitForEndOfOutput(bool out_only) {
  const MonotonicTime until = Clock::Real().Monotonic() + limit_;
  while (out_ >= 0 || (!out_only && err_ >= 0)) {
    if (Clock::Real().Monotonic() > until) return false;
    ReadSome(100);
  }
  return true;
}

BoxResult BoxProcess::Finish() {
  const MonotonicTime until = Clock::Real().Monotonic() + limit_;
  int status = 0;
  // Its end, not that of its output: somebody else may hold that.
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::Real().Monotonic() > until) {
      ADD_FAILURE() << "it doesn't end; so far: " << result_.out << result_.err;
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
      pid_ = -1;
      return result_;
    }
    if (!ReadSome(20)) usleep(1000);
  }
  pid_ = -1;
  while (Clock::Real().Monotonic() < until) {
    pollfd fds[] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
    if (poll(fds, 2, 0) <= 0 || !ReadSome(0)) break;
  }
  result_.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

BoxFolder::BoxFolder() {
  char name[] = "/tmp/isla-box-test-XXXXXX";
  EXPECT_NE(mkdtemp(name), nullptr);
  path_ = name;
  EXPECT_EQ(chmod(name, 0755), 0);
  EXPECT_EQ(mkdir((path_ + "/bin").c_str(), 0755), 0);
  for (const char* program : {"isla-box", "isla-supervisor"}) {
    const std::string from = BinFolder() + "/" + program, to = path_ + "/bin/" + program;
    // A link where it can be one: they are large.
    if (link(from.c_str(), to.c_str()) == 0) continue;
    EXPECT_EQ(std::system(("cp " + from + " " + to).c_str()), 0);
  }
}

BoxFolder::~BoxFolder() { EXPECT_TRUE(RemoveTree(path_).ok()); }

std::string BoxFolder::Write(const std::string& name, const std::string& text) const {
  EXPECT_TRUE(WriteFileAtomically(path_ + "/" + name, text, 0644, false).ok());
  return path_ + "/" + name;
}

BoxResult BoxFolder::Run(std::vector<std::string> words, const BoxStart& start) const {
  words.insert(words.begin(), box());
  BoxProcess process(words, start);
  return process.Finish();
}

std::string BoxTest::Probe(const std::string& name) { return BinFolder() + "/../tests/probe/" + name; }

BoxResult BoxTest::Bare(const std::vector<std::string>& argv, std::chrono::seconds limit) const {
  BoxProcess process(argv, {.folder = folder(), .limit = limit});
  return process.Finish();
}

BoxResult BoxTest::Boxed(const std::vector<std::string>& flags, const std::vector<std::string>& argv, std::chrono::seconds limit) const {
  std::vector<std::string> all = {Box(), "run"};
  all.insert(all.end(), flags.begin(), flags.end());
  all.emplace_back("--");
  all.insert(all.end(), argv.begin(), argv.end());
  return Bare(all, limit);
}

BoxResult BoxTest::Learn(const std::string& policy, const std::vector<std::string>& argv) const {
  std::vector<std::string> all = {Box(), "learn", "-o", policy, "--"};
  all.insert(all.end(), argv.begin(), argv.end());
  return Bare(all);
}

std::string Describe(const BoxResult& result) { return "exit " + std::to_string(result.exit) + "\nstdout:\n" + result.out + "\nstderr:\n" + result.err; }

std::string Program(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/sbin/"}) {
    if (access((folder + name).c_str(), X_OK) == 0) return folder + name;
  }
  ADD_FAILURE() << "'" << name << "' isn't installed; scripts/packages.test names its package";
  return "/bin/false";
}

OwnSockets::OwnSockets(const BoxFolder& folder) {
  const std::string runtime = folder.path() + "/runtime";
  EXPECT_EQ(mkdir(runtime.c_str(), 0700), 0);
  setenv("XDG_RUNTIME_DIR", runtime.c_str(), 1);
}

OwnSockets::~OwnSockets() { unsetenv("XDG_RUNTIME_DIR"); }

std::vector<pid_t> Children(pid_t of) {
  std::vector<pid_t> out;
  DIR* const proc = opendir("/proc");
  while (const dirent* const entry = readdir(proc)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    const StatusOr<std::string> stat = ReadFile(std::string("/proc/") + entry->d_name + "/stat");
    if (!stat.ok()) continue;
    int parent = 0;
    const size_t name_end = stat->rfind(')');
    if (name_end == std::string::npos || std::sscanf(stat->c_str() + name_end, ") %*c %d", &parent) != 1) continue;
    if (parent == of) out.push_back(pid);
  }
  closedir(proc);
  return out;
}

std::string AtEachPoke(const std::string& fifo, const std::string& command) {
  // Of a writer that is slow to close, the next read sees the end and no line: that is no poke, nor a reason to end.
  return "echo ready; while :; do read line < " + fifo + " || continue; " + command + "; done";
}

void Poke(const std::string& fifo) { ASSERT_EQ(std::system(("timeout 60 sh -c 'echo go > " + fifo + "'").c_str()), 0) << "nobody reads from the fifo"; }

bool Eventually(bool (*check)(void*), void* argument) {
  const MonotonicTime until = Clock::Real().Monotonic() + kLimit;
  while (!check(argument)) {
    if (Clock::Real().Monotonic() > until) return false;
    usleep(5'000);
  }
  return true;
}

}  // namespace isla::e2e
