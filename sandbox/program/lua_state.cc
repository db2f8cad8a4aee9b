#include "sandbox/program/lua_state.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "api/base/status.h"

namespace isla::sandbox {
namespace {

constexpr const char* kChunk = "program";
// Work: an instruction is 1. Bytes cost what writing to them does, and what collecting them does later.
constexpr uint64_t kWorkPerMicrosecond = 100;
constexpr size_t kBytesOfOneWork = 32;
constexpr size_t kCollectedBytesOfOneWork = 16;
constexpr int kInstructionsBetweenLooks = 500;
constexpr unsigned kStepsBetweenLooks = 16;
constexpr size_t kStringHead = 64;  // more than Lua puts before a string's bytes
constexpr size_t kMostErrorBytes = 300;

uint64_t ThreadTimeNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/// Texts of errors come from the source, and go to audits and terminals.
std::string Printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMostErrorBytes)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > kMostErrorBytes ? out + "..." : out;
}

/// What a block really takes: the allocator puts a word before each, and its blocks are multiples of 16 bytes, 32 at least (glibc). Most of Lua's are small.
size_t CostOf(size_t bytes) { return bytes == 0 ? 0 : std::max<size_t>((bytes + 8 + 15) / 16 * 16, 32); }

int LoadSource(lua_State* lua) {
  const auto& section = *static_cast<const ProgramSection*>(lua_touserdata(lua, 1));
  PushEnvironment(lua);
  // Text only: what is compiled already could do anything to the state.
  if (luaL_loadbufferx(lua, section.source.data(), section.source.size(), "=program", "t") != LUA_OK) {
    return lua_error(lua);
  }
  lua_pushvalue(lua, -2);
  lua_setupvalue(lua, -2, 1);  // _ENV
  lua_replace(lua, 1);
  lua_setfield(lua, LUA_REGISTRYINDEX, kChunk);  // the environment
  lua_call(lua, 0, 0);
  return 0;
}

int ListFunctions(lua_State* lua) {
  auto& out = *static_cast<std::vector<std::string>*>(lua_touserdata(lua, 1));
  lua_getfield(lua, LUA_REGISTRYINDEX, kChunk);
  luaL_getmetafield(lua, -1, "__index");
  for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1)) {
    if (lua_type(lua, -2) == LUA_TSTRING && lua_isfunction(lua, -1) && !lua_iscfunction(lua, -1)) out.emplace_back(lua_tostring(lua, -2));
  }
  return 0;
}

struct RunJob {
  const std::string& function;
  const NotifiedCall& call;
  pid_t process;
  Arch arch;
  Action* out;
};

int RunFunction(lua_State* lua) {
  const auto& job = *static_cast<const RunJob*>(lua_touserdata(lua, 1));
  lua_getfield(lua, LUA_REGISTRYINDEX, kChunk);
  luaL_getmetafield(lua, -1, "__index");
  lua_pushlstring(lua, job.function.data(), job.function.size());
  if (lua_rawget(lua, -2) != LUA_TFUNCTION) return luaL_error(lua, "there is no function of this name");
  PushCall(lua, job.arch, job.call, job.process);
  lua_call(lua, 1, 1);
  ReadVerdict(lua, lua_gettop(lua), job.arch, job.call.number, job.out);
  return 0;
}

}  // namespace

ProgramRates::Result ProgramRates::Count(std::string_view key, uint32_t limit, uint32_t window_seconds, uint64_t now_ns) {
  const uint64_t window_ns = uint64_t{window_seconds} * 1'000'000'000;
  const uint64_t step = std::max<uint64_t>(window_ns / std::max<uint32_t>(limit, 1), 1);
  const MutexLock lock(mu_);
  auto found = empty_at_.find(key);
  if (found == empty_at_.end()) {
    if (empty_at_.size() >= kMost) std::erase_if(empty_at_, [now_ns](const auto& each) { return each.second <= now_ns; });
    if (empty_at_.size() >= kMost) return Result::kTooMany;
    found = empty_at_.emplace(std::string(key), 0).first;
  }
  const uint64_t from = std::max(found->second, now_ns);
  if (limit == 0 || from + step > now_ns + window_ns) return Result::kExceeds;
  found->second = from + step;
  return Result::kFits;
}

bool ProgramMemory::TakeNow(size_t bytes) {
  for (size_t used = used_; used + bytes <= limit_;) {
    if (used_.compare_exchange_weak(used, used + bytes)) return true;
  }
  return false;
}

bool ProgramMemory::Take(size_t bytes) {
  if (TakeNow(bytes)) return true;
  if (make_room_) make_room_();
  return TakeNow(bytes);
}

LuaState::LuaState(const ProgramSection& section, Arch arch, ProgramMemory& memory, ProgramRates* rates, bool by_clock)
    : section_(section), arch_(arch), memory_(memory), rates_(rates), by_clock_(by_clock) {
  Begin();
  lua_ = lua_newstate(Allocate, this);
  if (lua_ == nullptr) return;
  *static_cast<LuaState**>(lua_getextraspace(lua_)) = this;
  lua_sethook(lua_, OnCount, LUA_MASKCOUNT, kInstructionsBetweenLooks);
}

LuaState::~LuaState() {
  if (lua_ != nullptr) lua_close(lua_);
}

LuaState& LuaState::Of(lua_State* lua) { return **static_cast<LuaState**>(lua_getextraspace(lua)); }

// Bounds -----------------------------------------------------------------------------------------------

void LuaState::Begin() {
  spent_ = Spent::kNothing;
  string_too_long_ = false;
  steps_ = 0;
  work_left_ = static_cast<uint64_t>(section_.time.count()) * kWorkPerMicrosecond;
  if (by_clock_) until_ns_ = ThreadTimeNs() + static_cast<uint64_t>(section_.time.count()) * 1'000;
}

bool LuaState::Take(size_t work) {
  if (work_left_ < work) spent_ = Spent::kWork;
  if (spent_ != Spent::kNothing) return false;
  work_left_ -= work;
  return true;
}

void LuaState::Stop(lua_State* lua) {
  // Should anything still run on the way out, it ends at its first instruction.
  lua_sethook(lua, OnCount, LUA_MASKCOUNT, 1);
  luaL_error(lua, "out of time");
  std::abort();  // it doesn't return
}

void LuaState::Charge(lua_State* lua, size_t work) {
  if (!Take(work)) Stop(lua);
}

void LuaState::CheckClock(lua_State* lua) {
  if (by_clock_ && ThreadTimeNs() > until_ns_) spent_ = Spent::kTime;
  if (spent_ != Spent::kNothing) Stop(lua);
}

void LuaState::CountStep(lua_State* lua) {
  Charge(lua, 4);
  if (++steps_ % kStepsBetweenLooks == 0) CheckClock(lua);
}

void LuaState::OnCount(lua_State* lua, lua_Debug*) {
  LuaState& self = Of(lua);
  self.Charge(lua, kInstructionsBetweenLooks);
  self.CheckClock(lua);
}

bool LuaState::Grow(bool is_string, size_t grown, size_t new_size) {
  if (is_string && new_size > kMaxProgramString + kStringHead) {
    string_too_long_ = true;
    return false;
  }
  if (!Take(new_size / kBytesOfOneWork + 1)) return false;
  if (memory_.Take(grown)) return true;
  // Lua looks at all that it holds, then asks once more.
  (void)Take(used_bytes_ / kCollectedBytesOfOneWork);
  return false;
}

void* LuaState::Allocate(void* pointer, void* block, size_t old_size, size_t new_size) {
  LuaState& self = *static_cast<LuaState*>(pointer);
  const size_t held = block == nullptr ? 0 : old_size;  // for a new block old_size is the kind of the object
  if (new_size == 0) {
    std::free(block);
    self.used_bytes_ -= CostOf(held);
    self.memory_.Give(CostOf(held));
    return nullptr;
  }
  const bool is_string = block == nullptr && old_size == LUA_TSTRING;
  const size_t before = CostOf(held), after = CostOf(new_size);
  if (new_size > held && !self.Grow(is_string, after - before, new_size)) return nullptr;
  void* const out = std::realloc(block, new_size);
  // Lua takes it for granted that blocks can be made smaller.
  if (out == nullptr && new_size <= held) return block;
  if (out == nullptr) {
    self.memory_.Give(after - before);
    return nullptr;
  }
  self.used_bytes_ = self.used_bytes_ + after - before;
  if (after < before) self.memory_.Give(before - after);
  return out;
}

ProgramRates::Result LuaState::CountRate(std::string_view key, uint32_t limit, uint32_t window_seconds) {
  // Without a clock (isla-box explain) nothing exceeds.
  if (rates_ == nullptr || call_ == nullptr || call_->now_ns == 0) return ProgramRates::Result::kFits;
  return rates_->Count(key, limit, window_seconds, call_->now_ns);
}

// Running ----------------------------------------------------------------------------------------------

/// After a protected call; takes the error off the stack.
std::string LuaState::ErrorText(int status) {
  std::string out;
  if (spent_ != Spent::kNothing) {
    out = fmt::format("it takes longer than {} us", section_.time.count());
  } else if (string_too_long_ && status == LUA_ERRMEM) {
    out = fmt::format("a string is longer than {} bytes", kMaxProgramString);
  } else if (status == LUA_ERRMEM) {
    out = fmt::format("{} more than {} bytes of memory", used_bytes_ > section_.memory_bytes / 2 ? "it takes" : "with others that run it takes", section_.memory_bytes);
  } else if (lua_type(lua_, -1) == LUA_TSTRING) {
    size_t bytes = 0;
    const char* const text = lua_tolstring(lua_, -1, &bytes);
    out = Printable({text, bytes});
  } else {
    out = fmt::format("an error that is a {}", luaL_typename(lua_, -1));
  }
  lua_settop(lua_, 0);
  return out;
}

std::string LuaState::Load(int& line) {
  line = 0;
  if (lua_ == nullptr) return fmt::format("it takes more than {} bytes of memory", section_.memory_bytes);
  lua_pushcfunction(lua_, LoadSource);
  lua_pushlightuserdata(lua_, const_cast<ProgramSection*>(&section_));
  const int status = lua_pcall(lua_, 1, 0, 0);
  loading_ = false;
  if (status == LUA_OK && spent_ == Spent::kNothing) return {};
  std::string error = ErrorText(status);
  // "program:3: ..."
  const std::string prefix = std::string(kChunk) + ":";
  if (error.starts_with(prefix)) {
    const char* const end = error.data() + error.size();
    const auto [after, failed] = std::from_chars(error.data() + prefix.size(), end, line);
    if (failed == std::errc()) error.erase(0, static_cast<size_t>(std::min(after + 2, end) - error.data()));
  }
  return error;
}

std::vector<std::string> LuaState::Functions() {
  std::vector<std::string> out;
  lua_pushcfunction(lua_, ListFunctions);
  lua_pushlightuserdata(lua_, &out);
  if (lua_pcall(lua_, 1, 0, 0) != LUA_OK) lua_settop(lua_, 0);
  std::sort(out.begin(), out.end());
  return out;
}

bool LuaState::Run(const std::string& function, const NotifiedCall& call, pid_t process, Action& out, std::string& error) {
  Begin();
  call_ = &call;
  const RunJob job = {function, call, process, arch_, &out};
  lua_pushcfunction(lua_, RunFunction);
  lua_pushlightuserdata(lua_, const_cast<RunJob*>(&job));
  const int status = lua_pcall(lua_, 1, 0, 0);
  call_ = nullptr;
  if (status == LUA_OK && spent_ == Spent::kNothing) return true;
  error = ErrorText(status);
  return false;
}

}  // namespace isla::sandbox
