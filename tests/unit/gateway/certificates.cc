#include "tests/unit/gateway/certificates.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

namespace isla::controllers {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Memory = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::string Text(BIO* memory) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(memory, &data);
  return {data, static_cast<size_t>(size)};
}

void Extend(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  ASSERT_NE(extension, nullptr) << value;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

Pem Make(const std::string& name, const Pem* ca) {
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Certificate certificate(X509_new(), X509_free);
  static long serial = 1;
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 86400);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  Certificate issuer(nullptr, X509_free);
  Key issuer_key(nullptr, EVP_PKEY_free);
  if (ca == nullptr) {
    X509_set_issuer_name(certificate.get(), subject);
    Extend(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
    Extend(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    const Memory certificate_text(BIO_new_mem_buf(ca->certificate.data(), static_cast<int>(ca->certificate.size())), BIO_free);
    issuer.reset(PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
    const Memory key_text(BIO_new_mem_buf(ca->key.data(), static_cast<int>(ca->key.size())), BIO_free);
    issuer_key.reset(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get()));
    Extend(certificate.get(), issuer.get(), NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  }
  X509_sign(certificate.get(), ca == nullptr ? key.get() : issuer_key.get(), EVP_sha256());
  const Memory certificate_out(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509(certificate_out.get(), certificate.get());
  const Memory key_out(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {Text(certificate_out.get()), Text(key_out.get())};
}

}  // namespace

Pem MakeCa(const std::string& name) { return Make(name, nullptr); }
Pem MakeCertificate(const std::string& common_name, const Pem& ca) { return Make(common_name, &ca); }

}  // namespace isla::controllers
