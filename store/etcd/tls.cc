#include "store/etcd/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

namespace isla::store {
namespace {

template <typename T, void (*kFree)(T*)>
struct Freer {
  void operator()(T* object) const { kFree(object); }
};
using Certificate = std::unique_ptr<X509, Freer<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using Source = std::unique_ptr<BIO, Freer<BIO, BIO_vfree>>;

Source Open(const std::string& pem) { return Source(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

/// A key with a passphrase can't be used: nobody is there to be asked.
int NoPassphrase(char*, int, int, void*) { return -1; }

Certificate ReadCertificate(const std::string& pem) {
  return Certificate(PEM_read_bio_X509(Open(pem).get(), nullptr, NoPassphrase, nullptr));
}
Key ReadKey(const std::string& pem) { return Key(PEM_read_bio_PrivateKey(Open(pem).get(), nullptr, NoPassphrase, nullptr)); }

Status Check(const EtcdOptions& options) {
  if (!options.ca_pem.empty() && ReadCertificate(options.ca_pem) == nullptr) {
    return Error(Code::kInvalidArgument, "etcd's authority is not a certificate in PEM");
  }
  if (options.certificate_pem.empty() != options.key_pem.empty()) {
    return Error(Code::kInvalidArgument, options.key_pem.empty() ? "the certificate for etcd is given without its key"
                                                                 : "the key for etcd is given without its certificate");
  }
  if (options.certificate_pem.empty()) return OkStatus();
  const Certificate certificate = ReadCertificate(options.certificate_pem);
  if (certificate == nullptr) return Error(Code::kInvalidArgument, "the certificate for etcd is not one in PEM");
  const Key key = ReadKey(options.key_pem);
  if (key == nullptr) return Error(Code::kInvalidArgument, "the key for etcd is not one in PEM without a passphrase");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Error(Code::kInvalidArgument, "the certificate for etcd and its key don't belong together");
  }
  return OkStatus();
}

}  // namespace

Status CheckTls(const EtcdOptions& options) {
  const Status status = Check(options);
  ERR_clear_error();  // what OpenSSL says stays in the thread otherwise, for whoever asks next
  return status;
}

}  // namespace isla::store
