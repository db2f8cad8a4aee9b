#include "sandbox/program/policy_program.h"

#include "sandbox/policy/catalogue.h"
#include "sandbox/program/lua_state.h"

namespace isla::sandbox {

PolicyProgram::PolicyProgram(ProgramSection section, Arch arch)
    : section_(std::move(section)), arch_(arch), rates_(std::make_unique<ProgramRates>()),
      memory_(std::make_unique<ProgramMemory>(section_.memory_bytes, [this] { DropIdle(); })) {}
PolicyProgram::~PolicyProgram() = default;

ProgramAnswer PolicyProgram::Run(const std::string& function, const NotifiedCall& call, pid_t process) const {
  ProgramAnswer out;
  std::unique_ptr<LuaState> state;
  {
    const MutexLock lock(mu_);
    if (!idle_.empty()) {
      state = std::move(idle_.back());
      idle_.pop_back();
    } else {
      ++made_;
    }
  }
  if (state == nullptr) {
    state = std::make_unique<LuaState>(section_, arch_, *memory_, rates_.get(), true);
    int line = 0;
    out.error = state->Load(line);
    if (!out.error.empty() && line > 0) out.error = fmt::format("program:{}: {}", line, out.error);
  }
  if (out.error.empty() && state->Run(function, call, process, out.action, out.error)) {
    const MutexLock lock(mu_);
    idle_.push_back(std::move(state));
    return out;
  }
  out.action = Action::Errno(section_.on_error);
  return out;
}

void PolicyProgram::DropIdle() const {
  std::vector<std::unique_ptr<LuaState>> dropped;
  const MutexLock lock(mu_);
  dropped.swap(idle_);  // and they go once the lock is given back
}

size_t PolicyProgram::memory_used() const { return memory_->used(); }

size_t PolicyProgram::states_made() const {
  const MutexLock lock(mu_);
  return made_;
}

ProgramCheck CheckProgram(const ProgramSection& section, Arch arch) {
  ProgramCheck out;
  ProgramMemory memory(section.memory_bytes, nullptr);
  LuaState state(section, arch, memory, nullptr, false);
  out.error = state.Load(out.line);
  if (out.error.empty()) out.functions = state.Functions();
  return out;
}

bool ProgramSeesPointers(std::string_view call) { return CanReadPaths(call) || CanReadAddress(call); }

}  // namespace isla::sandbox
