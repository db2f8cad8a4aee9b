#include "api/server/identity.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "api/base/base64.h"
#include "api/base/json.h"
#include "api/base/unique_fd.h"

namespace isla::server {

namespace {

constexpr long kDay = 86400;
constexpr long kCaDays = 3650;
constexpr long kServerDays = 365;
constexpr long kRenewDays = 30;
constexpr long kSkew = 300;  // not before: clocks differ

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

struct Pair {
  Certificate certificate;
  Key key;
};

Status OpenSslError(std::string_view what) { return Errorf(Code::kInternal, "openssl: {} failed", what); }

std::string Drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

std::string ToPem(const Pair& pair, bool key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr) return {};
  const int ok = key ? PEM_write_bio_PrivateKey(bio.get(), pair.key.get(), nullptr, nullptr, 0, nullptr, nullptr)
                     : PEM_write_bio_X509(bio.get(), pair.certificate.get());
  return ok == 1 ? Drain(bio.get()) : std::string();
}

/// The pair in these two files; nothing if one is missing, unreadable, or they don't belong together.
std::optional<Pair> LoadPair(const std::string& certificate_path, const std::string& key_path) {
  const auto certificate = ReadFile(certificate_path, 65536);
  const auto key = ReadFile(key_path, 65536);
  if (!certificate.ok() || !key.ok()) return std::nullopt;
  const Bio certificate_bio(BIO_new_mem_buf(certificate->data(), static_cast<int>(certificate->size())));
  const Bio key_bio(BIO_new_mem_buf(key->data(), static_cast<int>(key->size())));
  Pair pair;
  pair.certificate.reset(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr));
  pair.key.reset(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!pair.certificate || !pair.key) return std::nullopt;
  if (X509_check_private_key(pair.certificate.get(), pair.key.get()) != 1) return std::nullopt;
  return pair;
}

bool EndsWithin(const X509* certificate, WallTime now, long seconds) {
  time_t then = std::chrono::system_clock::to_time_t(
                    std::chrono::time_point_cast<std::chrono::system_clock::duration>(now)) + seconds;
  return X509_cmp_time(X509_get0_notAfter(certificate), &then) <= 0;
}

bool Extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

struct CertificateWish {
  std::string common_name;
  long days = 0;
  std::vector<std::pair<int, std::string>> extensions;
};

/// A new key and a certificate for it, signed by `issuer`, or by itself if that is null.
StatusOr<Pair> Issue(const CertificateWish& wish, const Pair* issuer, WallTime now) {
  Pair pair;
  pair.key.reset(EVP_EC_gen("P-256"));
  pair.certificate.reset(X509_new());
  if (!pair.key || !pair.certificate) return OpenSslError("making a key");
  X509* const certificate = pair.certificate.get();
  X509* const signer = issuer == nullptr ? certificate : issuer->certificate.get();
  std::array<unsigned char, 16> serial{};
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) return OpenSslError("RAND_bytes");
  serial[0] &= 0x7f;
  const std::unique_ptr<BIGNUM, Deleter<BN_free>> number(
      BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  time_t start = std::chrono::system_clock::to_time_t(
      std::chrono::time_point_cast<std::chrono::system_clock::duration>(now));
  X509_NAME* const name = X509_get_subject_name(certificate);
  const auto* text = reinterpret_cast<const unsigned char*>(wish.common_name.c_str());
  bool ok = X509_set_version(certificate, X509_VERSION_3) == 1 && number != nullptr &&
            BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr &&
            X509_time_adj_ex(X509_getm_notBefore(certificate), 0, -kSkew, &start) != nullptr &&
            X509_time_adj_ex(X509_getm_notAfter(certificate), static_cast<int>(wish.days), 0, &start) != nullptr &&
            X509_set_pubkey(certificate, pair.key.get()) == 1 &&
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text, -1, -1, 0) == 1 &&
            X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1;
  for (const auto& [nid, value] : wish.extensions) ok = ok && Extend(certificate, signer, nid, value);
  EVP_PKEY* const key = issuer == nullptr ? pair.key.get() : issuer->key.get();
  if (!ok || X509_sign(certificate, key, EVP_sha256()) <= 0) return OpenSslError("making a certificate");
  return pair;
}

/// The key first: a crash in between leaves a pair that doesn't fit, which is made anew.
Status SavePair(const Pair& pair, const std::string& certificate_path, const std::string& key_path) {
  const std::string key = ToPem(pair, true);
  const std::string certificate = ToPem(pair, false);
  if (key.empty() || certificate.empty()) return OpenSslError("writing PEM");
  RETURN_IF_ERROR(WriteFileAtomically(key_path, key, 0600, true));
  return WriteFileAtomically(certificate_path, certificate, 0644, true);
}

std::string HostName() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  // Only what may be in a DNS name: it becomes part of an extension's text.
  std::string host = name.data();
  const bool clean = host.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == std::string::npos;
  return clean && !host.empty() ? host : "localhost";
}

StatusOr<Pair> EnsureCa(const std::string& dir, WallTime now) {
  const std::string certificate = dir + "/ca.crt";
  const std::string key = dir + "/ca.key";
  if (auto pair = LoadPair(certificate, key); pair && !EndsWithin(pair->certificate.get(), now, kRenewDays * kDay)) {
    return std::move(*pair);
  }
  ASSIGN_OR_RETURN(Pair pair, Issue({"isla-ca", kCaDays,
                                     {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                      {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                      {NID_subject_key_identifier, "hash"}}},
                                    nullptr, now));
  RETURN_IF_ERROR(SavePair(pair, certificate, key));
  return pair;
}

StatusOr<Pair> EnsureServer(const std::string& dir, const Pair& ca, WallTime now) {
  const std::string certificate = dir + "/server.crt";
  const std::string key = dir + "/server.key";
  const std::string host = HostName();
  if (auto pair = LoadPair(certificate, key);
      pair && !EndsWithin(pair->certificate.get(), now, kRenewDays * kDay) &&
      X509_verify(pair->certificate.get(), X509_get0_pubkey(ca.certificate.get())) == 1 &&
      X509_check_host(pair->certificate.get(), host.c_str(), host.size(), 0, nullptr) == 1) {
    return std::move(*pair);
  }
  std::string names = "DNS:localhost,IP:127.0.0.1,IP:::1";
  if (host != "localhost") names += ",DNS:" + host;
  ASSIGN_OR_RETURN(Pair pair, Issue({"islad", kServerDays,
                                     {{NID_basic_constraints, "critical,CA:FALSE"},
                                      {NID_key_usage, "critical,digitalSignature"},
                                      {NID_ext_key_usage, "serverAuth"},
                                      {NID_subject_alt_name, names},
                                      {NID_authority_key_identifier, "keyid"}}},
                                    &ca, now));
  RETURN_IF_ERROR(SavePair(pair, certificate, key));
  return pair;
}

StatusOr<std::string> EnsureToken(const std::string& path, Random& random) {
  const auto present = ReadFile(path, 4096);
  if (present.ok()) {
    std::string token = *present;
    while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' ')) token.pop_back();
    if (token.size() >= 16) return token;
  } else if (present.status().code() != Code::kNotFound) {
    return Annotate(present.status(), path);
  }
  const std::string token = RandomHex(32, random);
  RETURN_IF_ERROR(WriteFileAtomically(path, token + "\n", 0600, true));
  return token;
}

}  // namespace

StatusOr<Identity> LoadIdentity(const std::string& data_dir, const Clock& clock, Random& random) {
  RETURN_IF_ERROR(MakeDirectories(data_dir, 0700));
  if (chmod(data_dir.c_str(), 0700) != 0) return FromErrno(errno, "chmod " + data_dir);
  ASSIGN_OR_RETURN(const Pair ca, EnsureCa(data_dir, clock.Wall()));
  ASSIGN_OR_RETURN(const Pair server, EnsureServer(data_dir, ca, clock.Wall()));
  Identity identity;
  identity.ca_certificate = ToPem(ca, false);
  identity.tls = {ToPem(server, false), ToPem(server, true)};
  ASSIGN_OR_RETURN(identity.token, EnsureToken(data_dir + "/token", random));
  return identity;
}

Status WriteKubeconfig(const std::string& data_dir, const std::string& url, const Identity& identity) {
  using json::Value;
  const auto named = [](std::string_view member, Value value) {
    return Value::MakeArray({Value::MakeObject({{"name", "isla"}, {std::string(member), std::move(value)}})});
  };
  const Value config = Value::MakeObject({
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"clusters", named("cluster", Value::MakeObject({{"server", url},
                                                       {"certificate-authority-data",
                                                        EncodeBase64(identity.ca_certificate)}}))},
      {"users", named("user", Value::MakeObject({{"token", identity.token}}))},
      {"contexts", named("context", Value::MakeObject({{"cluster", "isla"}, {"user", "isla"},
                                                       {"namespace", "default"}}))},
      {"current-context", "isla"},
      {"preferences", Value::MakeObject()},
  });
  const std::string text = json::Pretty(config, 2) + "\n";
  const std::string path = data_dir + "/kubeconfig";
  const auto present = ReadFile(path, 1 << 20);
  if (present.ok() && *present == text) return OkStatus();
  return WriteFileAtomically(path, text, 0600, true);
}

}  // namespace isla::server
