// Who asks, and whether he may: the users of the unix socket and of the bearer token, and the one function
// that every request passes.
#pragma once

#include <sys/types.h>

#include <string>

#include "api/base/status.h"
#include "api/registry/registry.h"

namespace isla::server {

/// The group that may do everything.
inline constexpr const char* kMastersGroup = "system:masters";
inline constexpr const char* kAuthenticatedGroup = "system:authenticated";
/// The user whom the token in the data folder stands for.
inline constexpr const char* kTokenUser = "isla-admin";

/// The user with this uid: his name in the user database, or "uid:N". Root and the server's own user are masters.
registry::Caller CallerOfUid(uid_t uid);
registry::Caller CallerOfToken();

/// True if the Authorization header brings this token; takes the same time whatever differs.
bool TokenMatches(const std::string& authorization, const std::string& token);

struct Access {
  std::string verb;      // "get", "list", "watch", "create", "update", "patch", "delete"; "get" for paths
  std::string resource;  // "sessions", "sessions/log"; "" for a path
  std::string ns;
  std::string name;      // of the object, or the path
};

/// OK, or PERMISSION_DENIED with a text for the user. For now everybody who has a name may do everything but with the store
/// itself ("store/..."), which is the masters'.
Status Authorize(const registry::Caller& caller, const Access& access);

}  // namespace isla::server
