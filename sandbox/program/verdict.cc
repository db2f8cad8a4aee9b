// What a function returned, as an action: the words and objects of a rule's `action`, as Lua has them.
//
//   "deny", "kill", "allow", "log", "perform"
//   {errno = "EACCES"}, {errno = 13}, {spoof = 0}, {emulate = "uname"}, {file = {content = "..."}},
//   {redirect = {path = "/x"}}, {redirect = {address = "127.0.0.1:80"}}
//
// Strict: anything else is an error, and so is an action that this call can't have (catalogue.h).
#include <algorithm>
#include <climits>
#include <string_view>

#include "sandbox/names/constants.h"
#include "sandbox/names/syscalls.h"
#include "sandbox/policy/catalogue.h"
#include "sandbox/program/lua_state.h"

namespace isla::sandbox {
namespace {

using Kind = Action::Kind;

struct Verdict {
  lua_State* lua;
  std::string_view call;  // a name of the table of calls: ends in a NUL
  Action* out;

  int Bad(const char* what) const { return luaL_error(lua, "the answer %s", what); }
  int Impossible(const char* action) const {
    return luaL_error(lua, "the answer %s isn't possible for %s", action, call.empty() ? "this call" : call.data());
  }

  /// The string at the top of the stack.
  std::string_view Text() const {
    if (lua_type(lua, -1) != LUA_TSTRING) Bad("has a value that must be a string");
    size_t bytes = 0;
    const char* const text = lua_tolstring(lua, -1, &bytes);
    return {text, bytes};
  }

  void Set(Kind kind, std::string_view text = {}) const {
    out->kind = kind;
    out->error = 0;
    out->value = 0;
    out->text.assign(text);
  }

  void Word() const {
    static constexpr std::pair<std::string_view, Kind> kWords[] = {
        {"allow", Kind::kAllow}, {"log", Kind::kLog}, {"deny", Kind::kDeny}, {"kill", Kind::kKill}, {"perform", Kind::kPerform}};
    const std::string_view text = Text();
    const auto* const found = std::find_if(std::begin(kWords), std::end(kWords), [text](const auto& each) { return each.first == text; });
    if (found == std::end(kWords)) Bad("is a word, but none of allow, log, deny, kill, perform");
    const Kind kind = found->second;
    if (kind == Kind::kPerform && !CanPerform(call)) Impossible("perform");
    if ((kind == Kind::kAllow || kind == Kind::kLog) && ProgramSeesPointers(call)) {
      Bad(CanPerform(call) ? "must be perform: what a pointer points to was looked at, and may be something else when the kernel looks again"
                           : "can't let the call go on: what a pointer points to was looked at, and may be something else when the kernel looks again");
    }
    Set(kind);
  }

  // Each with the member's value at the top.

  void Errno() const {
    lua_Integer number = 0;
    if (lua_isinteger(lua, -1) != 0) number = lua_tointeger(lua, -1);
    else number = ErrnoOf(Text()).value_or(0);
    if (number < 1 || number > 4095) Bad("has an errno that is none");
    Set(Kind::kErrno);
    out->error = static_cast<uint16_t>(number);
  }

  void Spoof() const {
    if (lua_isinteger(lua, -1) == 0 || lua_tointeger(lua, -1) < 0) Bad("has a spoof that is no whole number from 0 on");
    Set(Kind::kSpoof);
    out->value = lua_tointeger(lua, -1);
  }

  void Emulate() const {
    const Emulator* const emulator = FindEmulator(Text());
    if (emulator == nullptr) Bad("names an emulator that there isn't");
    if (std::find(emulator->calls.begin(), emulator->calls.end(), call) == emulator->calls.end()) Impossible("emulate");
    Set(Kind::kEmulate, emulator->name);
  }

  void File() const {
    OneMember("file must be {content = ...}");
    if (Name() != "content") Bad("file must be {content = ...}");
    const std::string_view content = Text();
    if (!CanGiveFile(call)) Impossible("file");
    Set(Kind::kFile, content);
  }

  void Redirect() const {
    OneMember("redirect must be {path = ...} or {address = ...}");
    const std::string_view name = Name();
    if (name != "path" && name != "address") Bad("redirect must be {path = ...} or {address = ...}");
    const std::string_view to = Text();
    if (to.find('\0') != std::string_view::npos) Bad("redirects to something with a NUL");
    if (name == "path") {
      if (!CanRedirectPath(call)) Impossible("redirect to a path");
      if (!to.starts_with('/') || to.size() >= PATH_MAX) Bad("redirects to a path that isn't absolute");
      return Set(Kind::kRedirect, to);
    }
    if (!CanRedirectAddress(call)) Impossible("redirect to an address");
    if (!AddressFromText(to)) Bad("redirects to what is no address and port such as '127.0.0.1:8080'");
    Set(Kind::kRedirectAddress, to);
  }

  /// The table at the top has one member: pushes its name and value.
  void OneMember(const char* otherwise) const {
    if (lua_type(lua, -1) != LUA_TTABLE) Bad(otherwise);
    const int table = lua_gettop(lua);
    lua_pushnil(lua);
    if (lua_next(lua, table) == 0 || lua_type(lua, -2) != LUA_TSTRING) Bad(otherwise);
    lua_pushvalue(lua, -2);
    if (lua_next(lua, table) != 0) Bad(otherwise);
  }
  /// Of the member whose value is at the top.
  std::string_view Name() const {
    size_t bytes = 0;
    const char* const text = lua_tolstring(lua, -2, &bytes);
    return {text, bytes};
  }

  void Table() const {
    OneMember("must have one member: errno, spoof, emulate, file or redirect");
    const std::string_view name = Name();
    if (name == "errno") return Errno();
    if (name == "spoof") return Spoof();
    if (name == "emulate") return Emulate();
    if (name == "file") return File();
    if (name == "redirect") return Redirect();
    Bad("must have one member: errno, spoof, emulate, file or redirect");
  }
};

}  // namespace

void ReadVerdict(lua_State* lua, int index, Arch arch, int number, Action* out) {
  lua_pushvalue(lua, index);
  const Verdict verdict{lua, SyscallName(arch, number), out};
  if (lua_type(lua, -1) == LUA_TSTRING) return verdict.Word();
  if (lua_type(lua, -1) == LUA_TTABLE) return verdict.Table();
  luaL_error(lua, "it answers with a %s, not with a word or a table", luaL_typename(lua, -1));
}

}  // namespace isla::sandbox
