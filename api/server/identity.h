// What islad needs to serve TLS on loopback and has made by itself at its first start: a CA, a server
// certificate, a bearer token, and a config file that kubectl reads as its kubeconfig.
//
//   ca.crt ca.key          the CA, P-256, ten years
//   server.crt server.key  for localhost, 127.0.0.1, ::1 and the host's name, one year; made anew when it is
//                          within 30 days of its end, or doesn't fit the CA or the host's name any more
//   token                  64 hexadecimal digits
//   kubeconfig             JSON: the address, the CA's certificate, the token
//
// Keys, token and kubeconfig are 0600, the folder 0700. Each file is replaced by rename, keys before
// certificates, and a pair that doesn't fit is made anew: so a crash at any point heals at the next start.
#pragma once

#include <string>

#include "api/base/clock.h"
#include "api/base/status.h"
#include "api/base/uuid.h"
#include "api/server/http_server.h"

namespace isla::server {

struct Identity {
  TlsIdentity tls;
  std::string ca_certificate;  // PEM
  std::string token;
};

/// Reads what is there and makes what is missing. Blocks (disk).
StatusOr<Identity> LoadIdentity(const std::string& data_dir, const Clock& clock, Random& random);

/// Writes data_dir/kubeconfig if its content differs.
Status WriteKubeconfig(const std::string& data_dir, const std::string& url, const Identity& identity);

}  // namespace isla::server
