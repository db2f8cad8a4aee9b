#include "agentd/policy_compiler.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agentd/shim/policy.h"
#include "api/base/json.h"
#include "api/base/log.h"
#include "api/base/memfd.h"
#include "api/base/read_descriptor.h"
#include "api/base/spawn.h"
#include "sandbox/bpf/compiler.h"
#include "sandbox/compiled_policy.h"
#include "sandbox/default_policy.h"

namespace isla::agent {
namespace {

const Logger kLog("agentd");
constexpr size_t kMaxErrorBytes = 4096;
constexpr size_t kMaxComparisonBytes = 64 * 1024;

/// What the process said, which may be anything.
std::string Printable(std::string text) {
  if (text.size() > kMaxErrorBytes) text.resize(kMaxErrorBytes);
  for (char& c : text) {
    if ((c < 0x20 && c != '\n') || c == 0x7f) c = '?';
  }
  return text;
}

/// What tells a file from one that a package put in its place; "" if there is none.
std::string IdentityOf(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return "";
  return fmt::format("{} {} {} {}.{}", file.st_dev, file.st_ino, file.st_size, file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
}

}  // namespace

StatusOr<std::unique_ptr<PolicyCompiler>> PolicyCompiler::Create(Options options, Loop& loop) {
  std::unique_ptr<PolicyCompiler> out(new PolicyCompiler(std::move(options), loop));
  ASSIGN_OR_RETURN(sandbox::Filter floor, sandbox::Compile(sandbox::FloorPolicy(sandbox::kNativeArch)));
  out->floor_ = std::move(floor.program);
  ASSIGN_OR_RETURN(const sandbox::CompiledPolicy built_in, sandbox::CompileDefaultWithView());
  ASSIGN_OR_RETURN(out->built_in_, SealedMemfd("isla-policy", built_in.ToBytes()));
  out->program_ = IdentityOf(out->options_.program);
  return out;
}

PolicyCompiler::~PolicyCompiler() {
  *alive_ = false;
  for (auto& [hash, job] : jobs_) {
    if (job.pid < 0) continue;
    job.watch.reset();
    kill(job.pid, SIGKILL);
    waitpid(job.pid, nullptr, 0);
  }
}

void PolicyCompiler::LookAtProgram() {
  const std::string now = IdentityOf(options_.program);
  if (now == program_ || now.empty()) return;
  kLog.Warn("isla-policyc is of another package than before", "program={}; policies are compiled anew", options_.program);
  program_ = now;
  kept_.clear();
  built_in_.Reset();
}

bool PolicyCompiler::IsReady(const PolicyText& policy) {
  LookAtProgram();
  if (policy.built_in()) return built_in_.valid();
  return std::any_of(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.hash == policy.hash; });
}

void PolicyCompiler::Prepare(const PolicyText& policy, uint32_t uid, std::function<void(Status)> done) {
  if (IsReady(policy)) {
    loop_.After(Duration::zero(), [done = std::move(done)] { done(OkStatus()); });
    return;
  }
  Add(policy.hash, policy, {}, uid, [done = std::move(done)](const StatusOr<std::string>& bytes) { done(bytes.status()); });
}

void PolicyCompiler::Compare(const PolicyText& started, const PolicyText& wanted, uint32_t uid, std::function<void(StatusOr<PolicyChange>)> done) {
  Add(wanted.hash + " after " + started.hash, wanted, started.text, uid, [done = std::move(done)](const StatusOr<std::string>& text) {
    if (!text.ok()) return done(text.status());
    const StatusOr<json::Value> said = json::Parse(*text, {kMaxComparisonBytes, 4});
    if (!said.ok()) return done(said.status());
    done(PolicyChange{said->StringAt({"startedFilter"}), said->StringAt({"reach"}) == "live", Printable(said->StringAt({"obstacles"}))});
  });
}

void PolicyCompiler::Add(const std::string& name, const PolicyText& policy, const std::string& started, uint32_t uid, Done done) {
  const auto [at, is_new] = jobs_.try_emplace(name);
  at->second.done.push_back(std::move(done));
  if (!is_new) return;
  at->second.policy = policy;
  at->second.started = started;
  at->second.uid = uid;
  at->second.program = program_;
  waiting_.push_back(name);
  StartNext();
}

int64_t PolicyCompiler::ProgramRoom(const PolicyText& policy) const {
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& each) { return !policy.built_in() && each.hash == policy.hash; });
  return kept == kept_.end() ? 0 : kept->program_room;
}

StatusOr<UniqueFd> PolicyCompiler::Open(const PolicyText& policy) {
  int from = built_in_.get();
  if (policy.built_in() && !built_in_.valid()) return Error(Code::kNotFound, "the built-in sandbox policy isn't compiled");
  if (!policy.built_in()) {
    const auto kept = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& each) { return each.hash == policy.hash; });
    if (kept == kept_.end()) return Errorf(Code::kNotFound, "sandbox policy '{}' isn't compiled", policy.name);
    kept_.splice(kept_.begin(), kept_, kept);
    from = kept->fd.get();
  } else if (!policy.name.empty() && policy.name != "default") {
    return Errorf(Code::kNotFound, "no sandbox policy '{}'", policy.name);
  }
  // Opened anew: a descriptor that is only duplicated would share its file offset among all shims.
  UniqueFd fd(open(fmt::format("/proc/self/fd/{}", from).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FromErrno(errno, "open the policy");
  return fd;
}

void PolicyCompiler::StartNext() {
  while (!waiting_.empty() && running_ < options_.most_at_once) {
    const std::string name = waiting_.front();
    waiting_.pop_front();
    const Status started = StartJob(name, jobs_.at(name));
    if (!started.ok()) Finish(name, started);
  }
}

Status PolicyCompiler::StartJob(const std::string& name, Job& job) {
  ASSIGN_OR_RETURN(const UniqueFd text, SealedMemfd("isla-policy", job.policy.text + job.started));
  const std::string what = job.policy.built_in() ? "--built-in" : job.started.empty() ? "--hash=" + job.policy.hash : fmt::format("--started-with={}", job.started.size());
  ASSIGN_OR_RETURN(job.out, MakeMemfd("isla-compiled"));
  ASSIGN_OR_RETURN(job.err, MakeMemfd("isla-refusal"));
  ASSIGN_OR_RETURN(job.pid, SpawnProcess({.program = options_.program,
                                   .argv = {"isla-policyc", fmt::format("--uid={}", job.uid), what},
                                   .fds = {{text.get(), STDIN_FILENO}, {job.out.get(), STDOUT_FILENO}, {job.err.get(), STDERR_FILENO}}}));
  ++running_;
  job.number = ++numbers_;
  job.pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, job.pid, 0)));
  StatusOr<std::unique_ptr<Watch>> watch =
      job.pidfd.valid() ? loop_.WatchFd(job.pidfd.get(), EPOLLIN, [this, name](uint32_t) { OnEnded(name); }) : FromErrno(errno, "pidfd_open");
  if (!watch.ok()) {
    kill(job.pid, SIGKILL);
    waitpid(job.pid, nullptr, 0);
    job.pid = -1;
    --running_;
    return watch.status();
  }
  job.watch = *std::move(watch);
  loop_.After(options_.time_limit, [this, alive = alive_, name, number = job.number] {
    if (!*alive) return;
    const auto at = jobs_.find(name);
    if (at == jobs_.end() || at->second.number != number) return;
    at->second.overdue = true;
    kill(at->second.pid, SIGKILL);  // its end comes by the pidfd
  });
  return OkStatus();
}

void PolicyCompiler::OnEnded(const std::string& name) {
  Job& job = jobs_.at(name);
  int status = 0;
  waitpid(job.pid, &status, 0);
  job.pid = -1;
  --running_;
  Finish(name, Result(job, status));
}

StatusOr<std::string> PolicyCompiler::Output(Job& job, int wait_status) const {
  if (job.overdue) {
    return Errorf(Code::kDeadlineExceeded, "sandbox policy '{}' was not compiled in {} s", job.policy.name,
                  std::chrono::duration_cast<std::chrono::seconds>(options_.time_limit).count());
  }
  if (!WIFEXITED(wait_status)) {
    return Errorf(Code::kInvalidArgument, "sandbox policy '{}': its compiler was ended by signal {}", job.policy.name, WTERMSIG(wait_status));
  }
  if (WEXITSTATUS(wait_status) != 0) {
    const std::string why = Printable(ReadDescriptor(job.err.get(), size_t{1} << 20).value_or(""));
    return Errorf(WEXITSTATUS(wait_status) == 1 ? Code::kInvalidArgument : Code::kInternal, "sandbox policy '{}': {}", job.policy.name, why);
  }
  return ReadDescriptor(job.out.get(), job.started.empty() ? shim::kMaxPolicyBytes : kMaxComparisonBytes);
}

StatusOr<std::string> PolicyCompiler::Result(Job& job, int wait_status) const {
  ASSIGN_OR_RETURN(std::string bytes, Output(job, wait_status));
  if (!job.started.empty()) return bytes;
  StatusOr<sandbox::CompiledPolicy> policy = sandbox::CompiledPolicy::FromBytesButTable(bytes);
  if (!policy.ok()) return policy.status();
  if (policy->arch != sandbox::kNativeArch) return Errorf(Code::kInternal, "sandbox policy '{}': compiled for {}", job.policy.name, sandbox::ArchName(policy->arch));
  RETURN_IF_ERROR(shim::CheckHonoured(*policy));
  if (job.policy.built_in()) return bytes;  // it has its floor inside
  if (policy->hash != job.policy.hash) return Errorf(Code::kInternal, "sandbox policy '{}': its compiler made another one", job.policy.name);
  job.program_room = shim::ProgramRoom(*policy);
  policy->floor = floor_;  // whatever that process was made to say
  return policy->ToBytes();
}

void PolicyCompiler::Finish(const std::string& name, StatusOr<std::string> bytes) {
  // Out of the map first: whoever is told may ask again.
  auto job = jobs_.extract(name);
  if (bytes.ok() && job.mapped().started.empty()) {
    StatusOr<UniqueFd> fd = SealedMemfd("isla-policy", *bytes);
    if (fd.ok() && job.mapped().program == program_) Keep(name, *std::move(fd), job.mapped().program_room);
    bytes = fd.ok() ? StatusOr<std::string>("") : fd.status();
  }
  if (!bytes.ok()) kLog.Warn("a sandbox policy was not compiled", "version='{}' error='{}'; containers that need it don't start", name, Message(bytes.status()));
  for (auto& done : job.mapped().done) loop_.After(Duration::zero(), [done = std::move(done), bytes] { done(bytes); });
  StartNext();
}

void PolicyCompiler::Keep(const std::string& hash, UniqueFd fd, int64_t program_room) {
  if (hash.empty()) {
    built_in_ = std::move(fd);
    return;
  }
  kept_.push_front({hash, std::move(fd), program_room});
  if (kept_.size() > options_.most_kept) kept_.pop_back();
}

}  // namespace isla::agent
