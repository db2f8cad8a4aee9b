#include "api/server/auth.h"

#include <openssl/crypto.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace isla::server {

registry::Caller CallerOfUid(uid_t uid) {
  registry::Caller caller;
  caller.user = fmt::format("uid:{}", uid);
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    caller.user = found->pw_name;
  }
  caller.groups.emplace_back(kAuthenticatedGroup);
  if (uid == 0 || uid == geteuid()) caller.groups.emplace_back(kMastersGroup);
  return caller;
}

registry::Caller CallerOfToken() { return {kTokenUser, {kAuthenticatedGroup, kMastersGroup}}; }

bool TokenMatches(const std::string& authorization, const std::string& token) {
  static constexpr std::string_view kScheme = "Bearer ";
  if (authorization.size() != kScheme.size() + token.size() || token.empty()) return false;
  if (authorization.compare(0, kScheme.size(), kScheme) != 0) return false;
  return CRYPTO_memcmp(authorization.data() + kScheme.size(), token.data(), token.size()) == 0;
}

Status Authorize(const registry::Caller& caller, const Access& access) {
  // The store has everybody's secrets in it, and no rule holds for what is put there raw.
  const bool master = std::find(caller.groups.begin(), caller.groups.end(), kMastersGroup) != caller.groups.end();
  if (access.resource.starts_with("store/") && !master) {
    return Errorf(Code::kPermissionDenied, "user '{}' cannot {} {}: that is for administrators (root, islad's own user, the token)",
                  caller.user, access.verb, access.resource);
  }
  if (!caller.user.empty()) return OkStatus();
  return Errorf(Code::kPermissionDenied, "a caller without a name cannot {} {}", access.verb,
                access.resource.empty() ? access.name : access.resource);
}

}  // namespace isla::server
