#include "tests/e2e/container/harness.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "agentd/shim/cgroup.h"
#include "agentd/shim/log_format.h"
#include "api/base/memfd.h"
#include "api/base/packet.h"
#include "api/base/uuid.h"
#include "sandbox/default_policy.h"

namespace isla::shim {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

UniqueFd Memfd(const std::string& bytes) {
  StatusOr<UniqueFd> fd = SealedMemfd("isla", bytes);
  EXPECT_TRUE(fd.ok());
  return fd.ok() ? *std::move(fd) : UniqueFd();
}

const std::string& DefaultPolicyBytes() {
  static const std::string bytes = [] {
    const StatusOr<sandbox::CompiledPolicy> policy = sandbox::CompileDefaultWithView();
    return policy.ok() ? policy->ToBytes() : std::string();
  }();
  return bytes;
}

std::string Environment(const char* name, const char* fallback) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : fallback;
}

/// The child's side: descriptors 3, 4, 5 and nothing else.
[[noreturn]] void ExecuteShim(const std::string& program, int request, int policy, int control) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int fds[] = {fcntl(request, F_DUPFD, 10), fcntl(policy, F_DUPFD, 10), fcntl(control, F_DUPFD, 10)};
  const int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(null, 1);
  for (int i = 0; i < 3; ++i) dup2(fds[i], 3 + i);
  syscall(SYS_close_range, 6u, ~0u, 0u);
  execl(program.c_str(), "isla-shim", nullptr);
  _exit(127);
}

}  // namespace

bool Eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 6000; ++i) {
    if (holds()) return true;
    usleep(5000);
  }
  return false;
}

bool HasSystemd() { return sd_booted() > 0; }
std::string BinaryDir() { return Environment("ISLA_BIN_DIR", "build/bin"); }
std::string ProbeDir() { return BinaryDir() + "/../tests/probe"; }

TestContainer::TestContainer(std::vector<std::string> argv) {
  char folder[] = "/tmp/isla-container-XXXXXX";
  EXPECT_NE(mkdtemp(folder), nullptr);
  folder_ = folder;
  request_.uid = NewUuid();
  request_.incarnation = 1;
  request_.scope = fmt::format("isla-{}-1.scope", request_.uid);
  request_.hostname = "box";
  request_.run_dir = folder_ + "/run";
  request_.log_path = folder_ + "/log";
  request_.log_max_bytes = 1 << 20;
  request_.init_path = std::filesystem::canonical(BinaryDir() + "/isla-init");
  request_.supervisor_path = std::filesystem::canonical(BinaryDir() + "/isla-supervisor");
  request_.image = "host";
  request_.argv = std::move(argv);
  request_.cpu_millis = 1500;
  request_.memory_bytes = 256 << 20;
  request_.tasks = 64;
  request_.tmpfs_bytes = 128 << 20;
  request_.grace_period_msec = 2000;
  request_.id_base = 0x30000000;
  request_.mounts.push_back({std::filesystem::canonical(ProbeDir()), "/probe", true});
  EXPECT_EQ(mkdir(request_.run_dir.c_str(), 0700), 0);
}

TestContainer::~TestContainer() {
  if (shim_ > 0) {
    kill(shim_, SIGKILL);
    waitpid(shim_, nullptr, 0);
  }
  // The container dies with its shim, but not at once.
  for (int i = 0; i < 400 && !cgroups_.empty(); ++i) {
    bool gone = true;
    for (const std::string& cgroup : cgroups_) {
      for (const char* leaf : {"/payload", "/shim", ""}) rmdir((cgroup + leaf).c_str());
      gone = gone && access(cgroup.c_str(), F_OK) != 0;
    }
    if (gone) break;
    usleep(5000);
  }
  EXPECT_TRUE(RemoveTree(folder_).ok());
}

void TestContainer::StartShim() {
  UniqueFd request = Memfd(json::Serialize(ToJson(request_))), policy = Memfd(policy_.empty() ? DefaultPolicyBytes() : policy_);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  control_.Reset(pair[0]);
  UniqueFd other(pair[1]);
  const std::string program = BinaryDir() + "/isla-shim";
  shim_ = fork();
  if (shim_ == 0) ExecuteShim(program, request.get(), policy.get(), other.get());
  ASSERT_GT(shim_, 0);
  other.Reset();
}

void TestContainer::Spawn() {
  ASSERT_NO_FATAL_FAILURE(StartShim());
  const auto ready = Event("ready");
  ASSERT_TRUE(ready) << "the shim didn't say ready";
  ASSERT_EQ(ready->Int64At({"version"}), kProtocolVersion);
  ASSERT_EQ(ready->Int64At({"pid"}), shim_);
}

void TestContainer::MakeScope() {
  if (HasSystemd()) {
    MakeSystemdScope();
  } else {
    MakePlainCgroups();
  }
}

void TestContainer::MakePlainCgroups() {
  const StatusOr<std::string> cgroup = ReadFile("/proc/self/cgroup"), mounts = ReadFile("/proc/self/mountinfo");
  ASSERT_TRUE(cgroup.ok() && mounts.ok());
  bool v1 = false;
  const std::vector<CgroupFolder> found = FindCgroups(*cgroup, *mounts);
  for (const CgroupFolder& folder : found) {
    for (const char* name : {"cpu", "memory", "pids"}) v1 = v1 || folder.controllers.find(name) != std::string::npos;
  }
  for (const CgroupFolder& folder : found) {
    const bool wanted = v1 ? folder.controllers == "cpu" || folder.controllers == "cpu,cpuacct" ||
                                 folder.controllers == "memory" || folder.controllers == "pids"
                           : folder.controllers.empty();
    if (!wanted) continue;
    const std::string path = folder.path + "/" + request_.scope;
    ASSERT_EQ(mkdir(path.c_str(), 0755), 0) << path;
    cgroups_.push_back(path);
    UniqueFd procs(open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(WriteAll(procs.get(), std::to_string(shim_)).ok());
  }
  ASSERT_FALSE(cgroups_.empty());
}

void TestContainer::MakeSystemdScope() {
  sd_bus* bus = nullptr;
  ASSERT_GE(sd_bus_open_system(&bus), 0);
  sd_bus_message* call = nullptr;
  ASSERT_GE(sd_bus_message_new_method_call(bus, &call, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "StartTransientUnit"), 0);
  const uint64_t memory = static_cast<uint64_t>(request_.memory_bytes) + (8 << 20);
  ASSERT_GE(sd_bus_message_append(call, "ssa(sv)a(sa(sv))", request_.scope.c_str(), "fail", 7,
                                  "PIDs", "au", 1, static_cast<uint32_t>(shim_), "Delegate", "b", 1,
                                  "CollectMode", "s", "inactive-or-failed",
                                  "MemoryMax", "t", memory, "TasksMax", "t", static_cast<uint64_t>(request_.tasks + 16),
                                  "CPUQuotaPerSecUSec", "t", static_cast<uint64_t>(request_.cpu_millis + 100) * 1000,
                                  "TimeoutStopUSec", "t", uint64_t{5'000'000}, 0), 0);
  sd_bus_error error = SD_BUS_ERROR_NULL;
  ASSERT_GE(sd_bus_call(bus, call, 0, &error, nullptr), 0) << (error.message ? error.message : "");
  // JobRemoved is agentd's way; a test may look until the process is there.
  const std::string proc = fmt::format("/proc/{}/cgroup", shim_);
  for (int i = 0; i < 2000; ++i) {
    const StatusOr<std::string> cgroup = ReadFile(proc);
    if (cgroup.ok() && cgroup->find(request_.scope) != std::string::npos) {
      sd_bus_message* reply = nullptr;  // a second call is answered after the job's start
      sd_bus_call_method(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                         "org.freedesktop.systemd1.Manager", "GetUnit", nullptr, &reply, "s", request_.scope.c_str());
      sd_bus_message_unref(reply);
      break;
    }
    usleep(500);
  }
  const StatusOr<std::string> mounts = ReadFile("/proc/self/mountinfo"), cgroup = ReadFile(proc);
  ASSERT_TRUE(cgroup.ok() && cgroup->find(request_.scope) != std::string::npos);
  for (const CgroupFolder& folder : FindCgroups(*cgroup, *mounts)) {
    if (folder.path.ends_with(request_.scope)) cgroups_.push_back(folder.path);
  }
  sd_bus_error_free(&error);
  sd_bus_message_unref(call);
  sd_bus_flush_close_unref(bus);
}

void TestContainer::Go() {
  Send(json::Value::MakeObject({{"command", "go"}, {"invocationId", "0123"}}));
}

void TestContainer::Start() {
  ASSERT_NO_FATAL_FAILURE(Spawn());
  ASSERT_NO_FATAL_FAILURE(MakeScope());
  Go();
  ASSERT_TRUE(Event("running")) << ReadFile(run_dir() + "/exit").value_or("(no record)");
}

void TestContainer::Send(const json::Value& packet) {
  const std::string text = json::Serialize(packet);
  ASSERT_EQ(send(control_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

json::Value TestContainer::SendPolicy(const std::string& bytes, const std::string& compared_with) {
  const UniqueFd memfd = Memfd(bytes);
  EXPECT_GT(SendPacket(control_.get(), R"({"command":"policy","comparedWith":")" + compared_with + R"("})", memfd.get()), 0);
  const auto answer = Event("policy");
  EXPECT_TRUE(answer) << "no answer";
  return answer.value_or(json::Value::MakeObject());
}

void TestContainer::Stop(int64_t grace_period_msec) {
  Send(json::Value::MakeObject({{"command", "stop"}, {"gracePeriodMsec", grace_period_msec}, {"cause", "stopped"}}));
}

std::optional<json::Value> TestContainer::Event(const std::string& name, milliseconds timeout) {
  const auto end = steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now());
    pollfd fd = {control_.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&fd, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
    std::string packet(kMaxPacketBytes, '\0');
    const ssize_t got = recv(control_.get(), packet.data(), packet.size(), 0);
    if (got <= 0) return std::nullopt;
    packet.resize(static_cast<size_t>(got));
    StatusOr<json::Value> value = json::Parse(packet);
    EXPECT_TRUE(value.ok()) << packet;
    if (value.ok() && value->StringAt({"event"}) == name) return *std::move(value);
  }
}

void TestContainer::Reconnect() {
  control_.Reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = run_dir() + "/shim.sock";
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  ASSERT_EQ(connect(control_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
}

int TestContainer::WaitShim(milliseconds timeout) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, shim_, 0)));
  pollfd fd = {pidfd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&fd, 1, static_cast<int>(timeout.count())), 1) << "the shim lives on";
  if (fd.revents == 0) kill(shim_, SIGKILL);
  int status = 0;
  waitpid(shim_, &status, 0);
  shim_ = -1;
  return status;
}

ExitRecord TestContainer::Run() {
  Spawn();
  MakeScope();
  Go();
  EXPECT_TRUE(Event("exited", std::chrono::seconds(30)));
  EXPECT_EQ(WaitShim(), 0);
  return Record();
}

ExitRecord TestContainer::Record() {
  const StatusOr<std::string> text = ReadFile(run_dir() + "/exit");
  EXPECT_TRUE(text.ok()) << ToString(text.status());
  const StatusOr<json::Value> value = json::Parse(text.value_or("{}"));
  StatusOr<ExitRecord> record = ExitRecordFromJson(value.value_or(json::Value()));
  EXPECT_TRUE(record.ok()) << ToString(record.status());
  return record.value_or(ExitRecord());
}

std::string TestContainer::Output(const std::string& stream) {
  std::string out;
  for (const std::string& path : {request_.log_path + ".1", request_.log_path}) {
    std::string text = ReadFile(path).value_or("");
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      if (end == std::string::npos) break;
      const auto line = ParseLogLine(std::string_view(text).substr(at, end - at));
      EXPECT_TRUE(line) << text.substr(at, std::min<size_t>(end - at, 200));
      if (line && (line->stream == Stream::kStdout) == (stream == "stdout")) {
        out += line->bytes;
        if (line->full) out += '\n';
      }
      at = end + 1;
    }
  }
  return out;
}

std::string TestContainer::LeafFolder(const std::string& controller, const std::string& leaf) const {
  for (const std::string& cgroup : cgroups_) {
    if (cgroups_.size() == 1 || cgroup.find("/" + controller) != std::string::npos) return cgroup + "/" + leaf;
  }
  return {};
}

}  // namespace isla::shim
