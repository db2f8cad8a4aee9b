// One Lua state within its bounds. Internal to sandbox/program: the only header here with Lua's.
//
// Lua reports errors by longjmp. So everything that may raise one runs in functions that lua_pcall calls, and no frame between
// has an object with a destructor alive while it calls Lua; results go to a job that lies outside.
//
// One thread at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <lua.hpp>
#include <map>
#include <memory>
#include <string>

#include "sandbox/program/policy_program.h"

namespace isla::sandbox {

/// Counts of rate(): for all states of a program.
class ProgramRates {
 public:
  static constexpr size_t kMost = 1024;
  enum class Result { kFits, kExceeds, kTooMany };
  Result Count(std::string_view key, uint32_t limit, uint32_t window_seconds, uint64_t now_ns) EXCLUDES(mu_);

 private:
  Mutex mu_;
  std::map<std::string, uint64_t, std::less<>> empty_at_ GUARDED_BY(mu_);
};

/// What all states of a program hold together: the section's `memory` at most. Any thread.
class ProgramMemory {
 public:
  /// `make_room`: called when it is all taken, before anybody is refused; it may give.
  ProgramMemory(size_t limit, std::function<void()> make_room) : limit_(limit), make_room_(std::move(make_room)) {}
  bool Take(size_t bytes);
  void Give(size_t bytes) { used_ -= bytes; }
  size_t used() const { return used_; }

 private:
  bool TakeNow(size_t bytes);

  const size_t limit_;
  const std::function<void()> make_room_;
  std::atomic<size_t> used_{0};
};

class LuaState {
 public:
  /// `rates` may be null: nothing exceeds then. With `by_clock` processor time is bounded, too. Both must outlive it.
  LuaState(const ProgramSection& section, Arch arch, ProgramMemory& memory, ProgramRates* rates, bool by_clock);
  ~LuaState();
  LuaState(const LuaState&) = delete;
  LuaState& operator=(const LuaState&) = delete;

  /// Compiles and runs the source: "" or what is wrong. Call once, first.
  std::string Load(int& line);
  std::vector<std::string> Functions();
  /// False, with `error`, if there is no answer; then the state must not be used again.
  bool Run(const std::string& function, const NotifiedCall& call, pid_t process, Action& out, std::string& error);

  // For the functions that it offers (environment.cc).
  static LuaState& Of(lua_State* lua);
  Arch arch() const { return arch_; }
  bool loading() const { return loading_; }
  /// Takes `work` from what is left; raises an error if there isn't as much. One is about one instruction, 10 ns.
  void Charge(lua_State* lua, size_t work);
  /// Raises an error if the time is over.
  void CheckClock(lua_State* lua);
  /// For next(): whose steps may be long, and aren't seen by anybody else.
  void CountStep(lua_State* lua);
  ProgramRates::Result CountRate(std::string_view key, uint32_t limit, uint32_t window_seconds);

 private:
  enum class Spent { kNothing, kWork, kTime };

  static void* Allocate(void* self, void* block, size_t old_size, size_t new_size);
  static void OnCount(lua_State* lua, lua_Debug* at);
  void Begin();
  bool Take(size_t work);
  bool Grow(bool is_string, size_t grown, size_t new_size);
  [[noreturn]] void Stop(lua_State* lua);
  std::string ErrorText(int status);

  const ProgramSection& section_;
  const Arch arch_;
  ProgramMemory& memory_;
  ProgramRates* const rates_;
  const bool by_clock_;
  lua_State* lua_ = nullptr;
  size_t used_bytes_ = 0;  // as ProgramMemory counts
  uint64_t work_left_ = 0;
  uint64_t until_ns_ = 0;
  unsigned steps_ = 0;
  Spent spent_ = Spent::kNothing;
  bool string_too_long_ = false;
  bool loading_ = true;
  const NotifiedCall* call_ = nullptr;
};

/// environment.cc: makes the table that the source sees as its globals, and leaves it on the stack. In a protected call.
void PushEnvironment(lua_State* lua);

/// call_table.cc: what a function is told of a call. In a protected call.
void PushCall(lua_State* lua, Arch arch, const NotifiedCall& call, pid_t process);

/// verdict.cc: the action that the value at `index` is for this call, into *out; raises an error if it is none. In a protected call.
void ReadVerdict(lua_State* lua, int index, Arch arch, int number, Action* out);

}  // namespace isla::sandbox
