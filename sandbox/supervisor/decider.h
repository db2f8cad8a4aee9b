// What the supervisor asks for every call: a policy's table (sandbox/table/rule_table.h) with what belongs to it, seen from here.
//
// A Decider is immutable, and is swapped as a whole: a call is decided by the one that was there when it arrived. All is
// const, safe from many threads, and, but for Run(), must not block. What it needs of a call beyond its numbers it says beforehand;
// nothing else is looked up.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sandbox/policy/call.h"
#include "sandbox/program/policy_program.h"
#include "sandbox/table/rule_table.h"

namespace isla::supervisor {

using sandbox::Decision;
using sandbox::Facts;
using sandbox::NotifiedCall;
using sandbox::SocketAddress;

class Decider {
 public:
  virtual ~Decider() = default;
  virtual Facts Needs(int number) const = 0;
  /// Texts in the result live as long as the decider.
  virtual Decision Decide(const NotifiedCall& call) const = 0;
  /// What the policy's function makes of a call (Decision::kProgram). On worker threads: takes up to the program's time.
  virtual sandbox::ProgramAnswer Run(const std::string& function, const NotifiedCall& call, pid_t process) const;
  /// "rules[3]": for the audit.
  virtual std::string_view RuleName(sandbox::RuleId rule) const = 0;
  /// Of the policy: for the audit.
  virtual std::string_view version() const = 0;
  /// False: nothing is refused, so that a call may go on whatever was looked at (modes warn and learn).
  virtual bool enforces() const = 0;
};

/// A compiled policy's. The buckets of its rate tests begin empty: a new version counts anew.
class TableDecider final : public Decider {
 public:
  TableDecider(sandbox::RuleTable table, std::string version);
  /// From the table's bytes; errors as RuleTable::FromBytes, and INVALID_ARGUMENT for one of another architecture.
  static StatusOr<std::shared_ptr<const Decider>> FromBytes(std::string_view bytes, std::string version);

  Facts Needs(int number) const override { return table_.Needs(number); }
  Decision Decide(const NotifiedCall& call) const override;
  sandbox::ProgramAnswer Run(const std::string& function, const NotifiedCall& call, pid_t process) const override;
  std::string_view RuleName(sandbox::RuleId rule) const override { return table_.RuleName(rule); }
  std::string_view version() const override { return version_; }
  bool enforces() const override { return table_.mode() == sandbox::Mode::kEnforce; }

 private:
  const sandbox::RuleTable table_;
  const std::string version_;
  mutable sandbox::RateBuckets rates_;  // its own synchronisation
  std::unique_ptr<const sandbox::PolicyProgram> program_;  // its own synchronisation; null if the policy has none
};

}  // namespace isla::supervisor
