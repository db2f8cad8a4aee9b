// Sandbox policies as shims take them: the built-in one, and those that tenants write, which isla-policyc compiles (agentd/policyc), an unprivileged process
// for each. By hash: a version is compiled once, whoever starts with it.
//
// Loop thread only; nothing here waits. Of what the process wrote only checked bytes are used, and not its floor: that is put in here. Its table is the shim's and the
// supervisor's to read and check: isla-policyc is started from the disk, as they are, so where a package was put in this process's place while it runs, they fit
// each other. What was compiled before then is compiled anew, the built-in policy too.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agentd/launcher.h"
#include "agentd/loop.h"
#include "agentd/policy_text.h"
#include "api/base/clock.h"
#include "api/base/status.h"
#include "api/base/unique_fd.h"
#include "sandbox/bpf/bpf.h"

namespace isla::agent {

class PolicyCompiler {
 public:
  struct Options {
    std::string program;  // path of isla-policyc
    Duration time_limit = std::chrono::seconds(15);
    size_t most_kept = 64;
    size_t most_at_once = 2;  // others wait
  };
  /// Compiles what is built in. `loop` must outlive it.
  static StatusOr<std::unique_ptr<PolicyCompiler>> Create(Options options, Loop& loop);
  /// Ends what is under way; their `done` is not called.
  ~PolicyCompiler();

  /// Open() would succeed.
  bool IsReady(const PolicyText& policy);
  /// Makes it ready for Open(). `uid`: that the process shall have, nobody else's. `done` later, on the loop: INVALID_ARGUMENT with
  /// what is wrong with the text, UNIMPLEMENTED if containers here don't honour all of it, DEADLINE_EXCEEDED.
  void Prepare(const PolicyText& policy, uint32_t uid, std::function<void(Status)> done);
  /// shim::ProgramRoom() of one that is ready; 0 of another.
  int64_t ProgramRoom(const PolicyText& policy) const;
  /// Compares two versions of a policy, by such a process. `done` later, on the loop: errors as Prepare()'s.
  void Compare(const PolicyText& started, const PolicyText& wanted, uint32_t uid, std::function<void(StatusOr<PolicyChange>)> done);
  /// CompiledPolicy's bytes, a sealed memfd with an offset of its own. NOT_FOUND if it isn't ready (any more).
  StatusOr<UniqueFd> Open(const PolicyText& policy);

 private:
  using Done = std::function<void(const StatusOr<std::string>&)>;  // with what the process wrote, checked
  struct Job {
    PolicyText policy;
    std::string started;  // the text to compare with; "": it is compiled
    std::string program;  // which one makes it
    int64_t program_room = 0;
    uint32_t uid = 0;
    std::vector<Done> done;
    UniqueFd out, err, pidfd;
    pid_t pid = -1;  // -1: waits
    std::unique_ptr<Watch> watch;
    uint64_t number = 0;
    bool overdue = false;
  };
  struct Kept {
    std::string hash;
    UniqueFd fd;
    int64_t program_room = 0;
  };

  PolicyCompiler(Options options, Loop& loop) : options_(std::move(options)), loop_(loop) {}
  /// Forgets what isla-policyc of another package made.
  void LookAtProgram();
  void Add(const std::string& name, const PolicyText& policy, const std::string& started, uint32_t uid, Done done);
  void StartNext();
  Status StartJob(const std::string& name, Job& job);
  void OnEnded(const std::string& name);
  StatusOr<std::string> Output(Job& job, int wait_status) const;
  /// Fills in program_room.
  StatusOr<std::string> Result(Job& job, int wait_status) const;
  void Finish(const std::string& name, StatusOr<std::string> bytes);
  void Keep(const std::string& hash, UniqueFd fd, int64_t program_room);

  const Options options_;
  Loop& loop_;
  sandbox::Program floor_;
  UniqueFd built_in_;
  std::string program_;  // what isla-policyc is, that made all that is kept; "" = it isn't there
  std::list<Kept> kept_;  // the last used first
  std::map<std::string, Job> jobs_;  // by hash; of a comparison, by both
  std::deque<std::string> waiting_;
  size_t running_ = 0;
  uint64_t numbers_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace isla::agent
