#include "sandbox/supervisor/decider.h"

#include <cerrno>

namespace isla::supervisor {

sandbox::ProgramAnswer Decider::Run(const std::string&, const NotifiedCall&, pid_t) const {
  return {sandbox::Action::Errno(EPERM), "the policy has no program"};
}

TableDecider::TableDecider(sandbox::RuleTable table, std::string version)
    : table_(std::move(table)), version_(std::move(version)), rates_(table_.rate_buckets()) {
  if (auto program = table_.program()) program_ = std::make_unique<sandbox::PolicyProgram>(*std::move(program), table_.arch());
}

StatusOr<std::shared_ptr<const Decider>> TableDecider::FromBytes(std::string_view bytes, std::string version) {
  ASSIGN_OR_RETURN(sandbox::RuleTable table, sandbox::RuleTable::FromBytes(bytes));
  if (table.arch() != sandbox::kNativeArch) {
    return Errorf(Code::kInvalidArgument, "the policy is compiled for {}", sandbox::ArchName(table.arch()));
  }
  return std::shared_ptr<const Decider>(std::make_shared<TableDecider>(std::move(table), std::move(version)));
}

Decision TableDecider::Decide(const NotifiedCall& call) const {
  NotifiedCall counted = call;
  counted.rates = &rates_;
  return table_.Decide(counted);
}

sandbox::ProgramAnswer TableDecider::Run(const std::string& function, const NotifiedCall& call, pid_t process) const {
  return program_ == nullptr ? Decider::Run(function, call, process) : program_->Run(function, call, process);
}

}  // namespace isla::supervisor
