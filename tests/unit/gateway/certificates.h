// Certificates made on the spot: a CA, and what it signs. PEM texts.
#pragma once

#include <string>

namespace isla::controllers {

struct Pem {
  std::string certificate;
  std::string key;
};

/// A CA of its own. P-256, valid for a day.
Pem MakeCa(const std::string& name);
/// A certificate with this common name, for clients and servers, and localhost as its other name. Signed by `ca`.
Pem MakeCertificate(const std::string& common_name, const Pem& ca);

}  // namespace isla::controllers
