// A process under a filter that notifies, and deciders made of lambdas.
//
// The process is the static program supervisor_prey (prey.cc), which does one thing and prints what came of it. It is
// started as a container's is: fork, filter, handover, exec.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/base/unique_fd.h"
#include "sandbox/bpf/bpf.h"
#include "sandbox/supervisor/decider.h"
#include "sandbox/supervisor/listener.h"
#include "sandbox/supervisor/supervisor.h"

namespace isla::supervisor {

/// Of supervisor_prey.
std::string PreyPath();

/// Notifies these calls, allows all others.
sandbox::Program Notifying(const std::vector<int>& numbers);

class Prey {
 public:
  struct Options {
    std::vector<int> notified = {};
    std::string program = {};  // "": supervisor_prey
    uid_t uid = 0;             // become this before the filter; 0: stay
    std::string root = {};     // chroot there
    std::string folder = {};   // working directory
    bool wait_killable = true; // else signals abort its waiting calls, as before 5.19
    std::function<void()> prepare = {};  // called in the child, before the filter
  };
  Prey(const Options& options, std::vector<std::string> arguments);
  ~Prey();  // kills it
  Prey(const Prey&) = delete;
  Prey& operator=(const Prey&) = delete;

  /// The listener, once; and further duplicates.
  Listener TakeListener() { return {std::move(listener_), wait_killable_}; }
  UniqueFd DupListener() const;
  bool wait_killable() const { return wait_killable_; }
  pid_t pid() const { return pid_; }
  /// Blocks until it has ended; what it printed. "signal N" if it was killed.
  std::string Wait();
  /// Until it has printed a line.
  std::string ReadLine();
  void Kill(int signal) const;

 private:
  pid_t pid_ = -1;
  UniqueFd listener_, output_;
  bool wait_killable_ = false, reaped_ = false;
  std::string printed_;
};

class FakeDecider final : public Decider {
 public:
  using Function = std::function<Decision(const NotifiedCall&)>;
  FakeDecider(Facts needs, Function decide, bool enforces = true) : needs_(needs), decide_(std::move(decide)), enforces_(enforces) {}
  Facts Needs(int) const override { return needs_; }
  Decision Decide(const NotifiedCall& call) const override { return decide_(call); }
  std::string_view RuleName(sandbox::RuleId rule) const override { return rule == 0 ? "default" : "rules[1]"; }
  std::string_view version() const override { return "v1"; }
  bool enforces() const override { return enforces_; }

 private:
  const Facts needs_;
  const Function decide_;
  const bool enforces_;
};

Decision Continues();
Decision Fails(int error);
Decision Spoofs(int64_t value);
Decision Does(Decision::Kind kind, std::string_view text = {});

/// A supervisor of one prey with everything that it needs; started.
class Watched {
 public:
  Watched(Prey& prey, std::shared_ptr<const Decider> decider, SupervisorOptions options = {}, AuditOptions audit = {});
  Supervisor& operator*() { return *supervisor_; }
  Supervisor* operator->() { return supervisor_.get(); }
  /// The audit's lines so far.
  std::string AuditText();

 private:
  UniqueFd audit_read_;
  std::unique_ptr<Audit> audit_;
  std::unique_ptr<Supervisor> supervisor_;
};

/// mkdtemp, removed at the end.
class TestFolder {
 public:
  TestFolder();
  ~TestFolder();
  const std::string& path() const { return path_; }
  std::string Write(const std::string& name, std::string_view text, unsigned mode = 0644) const;

 private:
  std::string path_;
};

}  // namespace isla::supervisor
