#include "bench/sandbox/peers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "api/base/status.h"
#include "api/base/unique_fd.h"
#include "bench/common/row.h"

namespace isla::bench {
namespace {

constexpr int kInputFd = 11;

pid_t Spawn(const std::vector<std::string>& argv, const std::string& input, int output) {
  std::vector<char*> raw;
  for (const std::string& each : argv) raw.push_back(const_cast<char*>(each.c_str()));
  raw.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (output >= 0) posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  else posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  if (!input.empty()) posix_spawn_file_actions_addopen(&actions, kInputFd, input.c_str(), O_RDONLY, 0);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, raw[0], &actions, nullptr, raw.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? pid : -1;
}

bool Succeeds(pid_t pid) {
  int status = 0;
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

}  // namespace

WorkFolder::WorkFolder() {
  char path[] = "/tmp/isla-bench-XXXXXX";
  ISLA_CHECK(mkdtemp(path) != nullptr);
  path_ = path;
}
WorkFolder::~WorkFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}
std::string WorkFolder::Write(const std::string& name, const std::string& text) const {
  ISLA_CHECK_OK(WriteFileAtomically(Path(name), text, 0644, false));
  return Path(name);
}

double Timed(const std::vector<std::string>& argv, const std::string& input) {
  const Clk::time_point begin = Clk::now();
  return Succeeds(Spawn(argv, input, -1)) ? Since(begin) * 1e6 : 0;
}

std::string Output(const std::vector<std::string>& argv) {
  int fds[2];
  ISLA_CHECK(pipe2(fds, O_CLOEXEC) == 0);
  const UniqueFd mine(fds[0]);
  UniqueFd its(fds[1]);
  const pid_t pid = Spawn(argv, {}, its.get());
  its.Reset();
  std::string out;
  char bytes[4096];
  for (ssize_t got = 0; (got = read(mine.get(), bytes, sizeof bytes)) > 0;) out.append(bytes, static_cast<size_t>(got));
  return Succeeds(pid) ? out : "";
}

bool IsThere(const std::string& program) { return !Output({"sh", "-c", "command -v " + program}).empty(); }

double TimedCrun(const std::string& bundle) {
  int fds[2];
  ISLA_CHECK(pipe2(fds, O_CLOEXEC) == 0);
  const UniqueFd mine(fds[0]);
  UniqueFd its(fds[1]);
  const pid_t pid = fork();
  if (pid == 0) {
    double took = 0;
    if (unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount("none", "/sys/fs/cgroup", "cgroup2", 0, nullptr) == 0) {
      took = Timed({"crun", "run", "--bundle=" + bundle, fmt::format("isla-bench-{}", getpid())});
    }
    (void)!write(its.get(), &took, sizeof took);
    _exit(0);
  }
  its.Reset();
  double took = 0;
  if (read(mine.get(), &took, sizeof took) != static_cast<ssize_t>(sizeof took)) took = 0;
  waitpid(pid, nullptr, 0);
  return took;
}

void WriteBundle(const WorkFolder& folder, const std::string& profile) {
  namespace fs = std::filesystem;
  for (const char* each : {"rootfs/usr", "rootfs/proc", "rootfs/dev"}) fs::create_directories(folder.Path(each));
  for (const char* each : {"bin", "lib", "lib64"}) fs::create_symlink(std::string("usr/") + each, folder.Path(std::string("rootfs/") + each));
  folder.Write("config.json", fmt::format(R"({{"ociVersion":"1.0.0",
"process":{{"terminal":false,"user":{{"uid":0,"gid":0}},"args":["/bin/true"],"env":["PATH=/usr/bin"],"cwd":"/","noNewPrivileges":true}},
"root":{{"path":"rootfs"}},
"mounts":[{{"destination":"/proc","type":"proc","source":"proc"}},{{"destination":"/dev","type":"tmpfs","source":"tmpfs"}},
{{"destination":"/usr","type":"bind","source":"/usr","options":["rbind","ro"]}}],
"linux":{{"namespaces":[{{"type":"pid"}},{{"type":"ipc"}},{{"type":"uts"}},{{"type":"mount"}},{{"type":"network"}},{{"type":"cgroup"}},{{"type":"user"}}],
"uidMappings":[{{"containerID":0,"hostID":0,"size":1}}],"gidMappings":[{{"containerID":0,"hostID":0,"size":1}}],"seccomp":{}}}}})", profile));
}

}  // namespace isla::bench
