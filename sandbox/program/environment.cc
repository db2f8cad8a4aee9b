// What a source sees as globals: these functions, the constants of system calls (O_CREAT, AF_INET, EPERM), and what it defines
// while it is loaded. Reading a name that is none of these is an error, so that a misspelt constant is told and not nil.
//
// A function is offered only if it takes a time that is bounded by what it is charged for: see Charge(). Not offered, on purpose:
// whatever catches errors (pcall), compiles or loads (load, require), makes states (coroutine), has patterns or repeats (string),
// shows addresses (tostring of tables), reaches metatables, the collector, files, time or chance.
#include <cstring>
#include <optional>
#include <string_view>

#include "sandbox/names/constants.h"
#include "sandbox/policy/glob.h"
#include "sandbox/program/lua_state.h"

namespace isla::sandbox {
namespace {

constexpr size_t kBytesLookedAtOfOneWork = 16;
constexpr size_t kMostLowered = 4096;

/// The string argument `index`; charged for being looked at.
std::string_view TextArgument(lua_State* lua, int index) {
  size_t bytes = 0;
  const char* const text = luaL_checklstring(lua, index, &bytes);
  LuaState::Of(lua).Charge(lua, bytes / kBytesLookedAtOfOneWork + 1);
  return {text, bytes};
}

int Push(lua_State* lua, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
  return 1;
}
int Push(lua_State* lua, bool value) {
  lua_pushboolean(lua, value ? 1 : 0);
  return 1;
}

// Of Lua's own, those that can't be had as they are ---------------------------------------------------

int Next(lua_State* lua) {
  LuaState::Of(lua).CountStep(lua);
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 2);
  if (lua_next(lua, 1) != 0) return 2;
  lua_pushnil(lua);
  return 1;
}

int Pairs(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_pushcfunction(lua, Next);
  lua_pushvalue(lua, 1);
  lua_pushnil(lua);
  return 3;
}

int ToString(lua_State* lua) {
  luaL_checkany(lua, 1);
  lua_settop(lua, 1);
  switch (lua_type(lua, 1)) {
    case LUA_TNUMBER: lua_tolstring(lua, 1, nullptr); break;
    case LUA_TSTRING: break;
    case LUA_TBOOLEAN: lua_pushstring(lua, lua_toboolean(lua, 1) != 0 ? "true" : "false"); break;
    default: lua_pushstring(lua, luaL_typename(lua, 1)); break;  // no addresses
  }
  return 1;
}

// Texts, paths -----------------------------------------------------------------------------------------

int Like(lua_State* lua) {
  const std::string_view text = TextArgument(lua, 1), pattern = TextArgument(lua, 2);
  if (const std::string_view wrong = WhatIsWrongWithGlob(pattern); !wrong.empty()) return luaL_error(lua, "the pattern %s", wrong.data());
  LuaState::Of(lua).Charge(lua, text.size() * pattern.size() / 4 + 1);
  return Push(lua, GlobMatches(pattern, text));
}

int Under(lua_State* lua) {
  const std::string_view path = TextArgument(lua, 1), folder = TextArgument(lua, 2);
  return Push(lua, path.starts_with(folder) && !folder.empty() &&
                       (path.size() == folder.size() || folder.ends_with('/') || path[folder.size()] == '/'));
}

int BaseName(lua_State* lua) {
  const std::string_view path = TextArgument(lua, 1);
  return Push(lua, path.substr(path.rfind('/') + 1));
}

int DirName(lua_State* lua) {
  const std::string_view path = TextArgument(lua, 1);
  const size_t slash = path.rfind('/');
  return Push(lua, slash == std::string_view::npos ? std::string_view(".") : path.substr(0, slash == 0 ? 1 : slash));
}

int Starts(lua_State* lua) {
  const std::string_view text = TextArgument(lua, 1), part = TextArgument(lua, 2);
  return Push(lua, text.starts_with(part));
}

int Ends(lua_State* lua) {
  const std::string_view text = TextArgument(lua, 1), part = TextArgument(lua, 2);
  return Push(lua, text.ends_with(part));
}

int Find(lua_State* lua) {
  const std::string_view text = TextArgument(lua, 1), part = TextArgument(lua, 2);
  // memmem takes time by the sum of both, not by their product.
  const void* const found = memmem(text.data(), text.size(), part.data(), part.size());
  if (found == nullptr) lua_pushnil(lua);
  else lua_pushinteger(lua, static_cast<const char*>(found) - text.data() + 1);
  return 1;
}

int Sub(lua_State* lua) {
  const std::string_view text = TextArgument(lua, 1);
  const auto size = static_cast<lua_Integer>(text.size());
  lua_Integer first = luaL_checkinteger(lua, 2), last = luaL_optinteger(lua, 3, -1);
  if (first < 0) first = first < -size ? 1 : size + first + 1;
  if (last < 0) last = last < -size ? 0 : size + last + 1;
  first = std::max<lua_Integer>(first, 1);
  last = std::min(last, size);
  return Push(lua, first > last ? std::string_view() : text.substr(static_cast<size_t>(first - 1), static_cast<size_t>(last - first + 1)));
}

int Byte(lua_State* lua) {
  const std::string_view text = TextArgument(lua, 1);
  const lua_Integer at = luaL_optinteger(lua, 2, 1);
  if (at < 1 || at > static_cast<lua_Integer>(text.size())) lua_pushnil(lua);
  else lua_pushinteger(lua, static_cast<unsigned char>(text[static_cast<size_t>(at - 1)]));
  return 1;
}

int Lower(lua_State* lua) {
  const std::string_view text = TextArgument(lua, 1);
  char out[kMostLowered];
  if (text.size() > sizeof out) return luaL_error(lua, "a string of more than %d bytes", static_cast<int>(kMostLowered));
  for (size_t i = 0; i < text.size(); ++i) out[i] = static_cast<char>(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
  return Push(lua, std::string_view(out, text.size()));
}

// Numbers, addresses, rates ----------------------------------------------------------------------------

int Has(lua_State* lua) {
  const lua_Integer mask = luaL_checkinteger(lua, 2);
  return Push(lua, (luaL_checkinteger(lua, 1) & mask) == mask);
}

int HasAny(lua_State* lua) { return Push(lua, (luaL_checkinteger(lua, 1) & luaL_checkinteger(lua, 2)) != 0); }

int Within(lua_State* lua) {
  const std::string_view address = TextArgument(lua, 1), network = TextArgument(lua, 2);
  LuaState::Of(lua).Charge(lua, 50);
  const std::optional<IpNetwork> one = IpNetwork::FromText(address), many = IpNetwork::FromText(network);
  if (!one || one->prefix_bits != 128) return luaL_error(lua, "the first argument of within() is no internet address");
  if (!many) return luaL_error(lua, "the second argument of within() is no network such as '10.0.0.0/8'");
  return Push(lua, many->Contains(one->ip));
}

int Rate(lua_State* lua) {
  const std::string_view key = TextArgument(lua, 1);
  const lua_Integer limit = luaL_checkinteger(lua, 2), window = luaL_optinteger(lua, 3, 1);
  luaL_argcheck(lua, key.size() <= 256, 1, "at most 256 bytes");
  luaL_argcheck(lua, limit >= 0 && limit <= 1'000'000'000, 2, "from 0 to 1000000000");
  luaL_argcheck(lua, window >= 1 && window <= 86'400, 3, "seconds, from 1 to 86400");
  LuaState::Of(lua).Charge(lua, 50);
  switch (LuaState::Of(lua).CountRate(key, static_cast<uint32_t>(limit), static_cast<uint32_t>(window))) {
    case ProgramRates::Result::kFits: return Push(lua, false);
    case ProgramRates::Result::kExceeds: return Push(lua, true);
    case ProgramRates::Result::kTooMany: break;
  }
  return luaL_error(lua, "more than %d rates are counted at a time", static_cast<int>(ProgramRates::kMost));
}

// Globals ----------------------------------------------------------------------------------------------

std::optional<lua_Integer> ConstantOf(Arch arch, std::string_view name) {
  if (const auto number = ErrnoOf(name)) return *number;
  const std::vector<Constant> found = FindConstants(arch, name);
  if (found.empty()) return std::nullopt;
  return static_cast<lua_Integer>(found.front().value);
}

/// A name that isn't there (yet): upvalue 1 is the table of those that are.
int MissingGlobal(lua_State* lua) {
  if (lua_type(lua, 2) != LUA_TSTRING) return luaL_error(lua, "globals have names");
  size_t bytes = 0;
  const char* const name = lua_tolstring(lua, 2, &bytes);
  LuaState::Of(lua).Charge(lua, 500);
  const std::optional<lua_Integer> value = ConstantOf(LuaState::Of(lua).arch(), {name, bytes});
  if (!value) return luaL_error(lua, "there is no '%s'", bytes <= 64 ? name : "...");
  lua_pushvalue(lua, 2);
  lua_pushinteger(lua, *value);
  lua_rawset(lua, 1);
  lua_pushinteger(lua, *value);
  return 1;
}

/// Upvalue 1 is the table of those that are there.
int SetGlobal(lua_State* lua) {
  if (!LuaState::Of(lua).loading()) {
    return luaL_error(lua, "globals can't be set in a call: each call may have a state of its own");
  }
  lua_settop(lua, 3);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_replace(lua, 1);
  lua_rawset(lua, 1);
  return 0;
}

constexpr luaL_Reg kOwn[] = {
    {"next", Next}, {"pairs", Pairs}, {"tostring", ToString},
    {"like", Like}, {"under", Under}, {"basename", BaseName}, {"dirname", DirName},
    {"starts", Starts}, {"ends", Ends}, {"find", Find}, {"sub", Sub}, {"byte", Byte}, {"lower", Lower},
    {"has", Has}, {"hasany", HasAny}, {"within", Within}, {"rate", Rate},
    {nullptr, nullptr},
};
constexpr const char* kLuas[] = {"assert", "error", "ipairs", "select", "tonumber", "type"};

}  // namespace

void PushEnvironment(lua_State* lua) {
  // The table of names.
  lua_newtable(lua);
  const int names = lua_gettop(lua);
  luaL_setfuncs(lua, kOwn, 0);
  lua_pushcfunction(lua, luaopen_base);
  lua_call(lua, 0, 1);
  for (const char* const name : kLuas) {
    lua_getfield(lua, -1, name);
    lua_setfield(lua, names, name);
  }
  lua_pop(lua, 1);
  // The rest of the basic library goes: nothing leads there, and nothing is to.
  lua_newtable(lua);
  lua_rawseti(lua, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_newtable(lua);
  lua_pushcfunction(lua, MissingGlobal);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, names);
  // What the source sees: always empty, so that each assignment is noticed.
  lua_newtable(lua);
  lua_newtable(lua);
  lua_pushvalue(lua, names);
  lua_setfield(lua, -2, "__index");
  lua_pushvalue(lua, names);
  lua_pushcclosure(lua, SetGlobal, 1);
  lua_setfield(lua, -2, "__newindex");
  lua_setmetatable(lua, -2);
  lua_replace(lua, names);
}

}  // namespace isla::sandbox
