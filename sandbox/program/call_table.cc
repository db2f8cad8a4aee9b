// What a function is told of a call:
//
//   { name = "openat", number = 257, exe = "/usr/bin/cat", uid = 1000, pid = 42,
//     path = "/etc/hosts",                                    its first path; path2: its second
//     address = { family = 2, ip = "10.0.0.1", port = 80 },   of connect and bind; unix: path
//     args = { dirfd = -100, pathname = "/etc/hosts", flags = 0, mode = 0 } }
//
// Arguments are called as in the manual pages and `isla-box calls`, and are numbers with the width and sign that the kernel gives
// them; args[1] to args[6] are the bare 64 bits. What stands behind a pointer takes the place of the pointer, if it is known.
#include <arpa/inet.h>

#include "sandbox/names/syscalls.h"
#include "sandbox/policy/signature.h"
#include "sandbox/program/lua_state.h"

namespace isla::sandbox {
namespace {

void SetText(lua_State* lua, const char* field, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
  lua_setfield(lua, -2, field);
}

void SetNumber(lua_State* lua, const char* field, lua_Integer number) {
  lua_pushinteger(lua, number);
  lua_setfield(lua, -2, field);
}

lua_Integer NumberOf(const ArgumentType& type, uint64_t raw) {
  switch (type.width) {
    case Width::k16: return static_cast<uint16_t>(raw);
    case Width::k32: return type.is_signed ? lua_Integer{static_cast<int32_t>(raw)} : lua_Integer{static_cast<uint32_t>(raw)};
    case Width::k64: break;
  }
  return static_cast<lua_Integer>(raw);
}

void PushAddress(lua_State* lua, const SocketAddress& address) {
  lua_createtable(lua, 0, 3);
  SetNumber(lua, "family", address.family);
  if (address.family == AF_UNIX) SetText(lua, "path", address.path);
  if (address.family != AF_INET && address.family != AF_INET6) return;
  SetNumber(lua, "port", address.port);
  char text[INET6_ADDRSTRLEN] = {};
  constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const bool four = std::equal(std::begin(kMapped), std::end(kMapped), address.ip.begin());
  inet_ntop(four ? AF_INET : AF_INET6, address.ip.data() + (four ? sizeof kMapped : 0), text, sizeof text);
  SetText(lua, "ip", text);
}

void PushFields(lua_State* lua, const NotifiedCall& call) {
  lua_createtable(lua, 0, 3);
  SetNumber(lua, "flags", static_cast<lua_Integer>(call.fields[0]));
  SetNumber(lua, "mode", static_cast<lua_Integer>(call.fields[1]));
  SetNumber(lua, "resolve", static_cast<lua_Integer>(call.fields[2]));
}

/// One argument as a value.
void PushArgument(lua_State* lua, const ArgumentType& type, const NotifiedCall& call, size_t index, size_t paths_before) {
  const auto known = [&call](Facts fact) { return (call.known & fact) != 0; };
  const bool path_known = paths_before < 2 && known(paths_before == 0 ? kFactPath0 : kFactPath1);
  if (type.kind == ArgumentKind::kPath && path_known) {
    lua_pushlstring(lua, call.paths[paths_before].data(), call.paths[paths_before].size());
  } else if (type.name == "sockaddr" && known(kFactAddress)) {
    PushAddress(lua, call.address);
  } else if (type.kind == ArgumentKind::kOpenHow && known(kFactFields)) {
    PushFields(lua, call);
  } else {
    lua_pushinteger(lua, NumberOf(type, call.arguments[index]));
  }
}

/// Of the table of arguments at the top. The signature is read here, as std::vector would not live through an error.
void SetArguments(lua_State* lua, std::string_view signature, const NotifiedCall& call) {
  size_t paths = 0;
  for (size_t i = 0; i < call.arguments.size() && !signature.empty(); ++i) {
    const size_t end = std::min(signature.find(", "), signature.size());
    const std::string_view one = signature.substr(0, end);
    const size_t blank = one.find(' ');
    signature.remove_prefix(std::min(end + 2, signature.size()));
    const ArgumentType* const type = FindArgumentType(one.substr(0, blank));
    if (type == nullptr) continue;
    lua_pushlstring(lua, one.data() + blank + 1, one.size() - blank - 1);
    PushArgument(lua, *type, call, i, paths);
    lua_rawset(lua, -3);
    if (type->kind == ArgumentKind::kPath) ++paths;
  }
}

}  // namespace

void PushCall(lua_State* lua, Arch arch, const NotifiedCall& call, pid_t process) {
  const Syscall* const syscall = FindSyscall(arch, call.number);
  const std::string_view signature = syscall == nullptr ? std::string_view() : syscall->signature;
  lua_createtable(lua, 0, 8);
  SetText(lua, "name", syscall == nullptr ? std::string_view() : syscall->name);
  SetNumber(lua, "number", call.number);
  SetNumber(lua, "pid", process);
  if ((call.known & kFactUid) != 0) SetNumber(lua, "uid", call.uid);
  if ((call.known & kFactExecutable) != 0) SetText(lua, "exe", call.executable);
  lua_createtable(lua, 6, 6);
  for (size_t i = 0; i < call.arguments.size(); ++i) {
    lua_pushinteger(lua, static_cast<lua_Integer>(call.arguments[i]));
    lua_rawseti(lua, -2, static_cast<lua_Integer>(i + 1));
  }
  SetArguments(lua, signature, call);
  lua_setfield(lua, -2, "args");
  const bool has_path = signature.find("path ") != std::string_view::npos;
  const bool has_two = has_path && signature.find("path ") != signature.rfind("path ");
  if (has_path && (call.known & kFactPath0) != 0) SetText(lua, "path", call.paths[0]);
  if (has_two && (call.known & kFactPath1) != 0) SetText(lua, "path2", call.paths[1]);
  if (signature.find("sockaddr ") != std::string_view::npos && (call.known & kFactAddress) != 0) {
    PushAddress(lua, call.address);
    lua_setfield(lua, -2, "address");
  }
}

}  // namespace isla::sandbox
