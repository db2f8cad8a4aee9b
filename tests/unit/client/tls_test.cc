// TLS against a server of OpenSSL's own, with certificates made here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "api/base/unique_fd.h"
#include "api/client/http.h"

namespace isla::client {
namespace {

using ::testing::HasSubstr;

struct Certificate {
  X509* x509 = nullptr;
  EVP_PKEY* key = nullptr;
  std::string Pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x509);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string out(data, static_cast<size_t>(size));
    BIO_free(bio);
    return out;
  }
  ~Certificate() {
    X509_free(x509);
    EVP_PKEY_free(key);
  }
};

/// Self-signed, for this name or address ("IP:127.0.0.1").
void MakeCertificate(const char* alternative_name, Certificate& out) {
  out.key = EVP_EC_gen("P-256");
  out.x509 = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(out.x509), 1);
  X509_set_version(out.x509, 2);
  X509_gmtime_adj(X509_getm_notBefore(out.x509), -60);
  X509_gmtime_adj(X509_getm_notAfter(out.x509), 3600);
  X509_set_pubkey(out.x509, out.key);
  X509_NAME* name = X509_get_subject_name(out.x509);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(out.x509, name);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternative_name);
  X509_add_ext(out.x509, extension, -1);
  X509_EXTENSION_free(extension);
  X509_sign(out.x509, out.key, EVP_sha256());
}

/// Answers each connection's first request with 200 and the request's head as the body.
class TlsServer {
 public:
  explicit TlsServer(const Certificate& certificate) : context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_use_certificate(context_, certificate.x509);
    SSL_CTX_use_PrivateKey(context_, certificate.key);
    listener_.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { Serve(); });
  }
  ~TlsServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    SSL_CTX_free(context_);
  }
  const std::string& port() const { return port_; }

 private:
  void Serve() {
    for (;;) {
      const UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd.valid()) return;
      SSL* ssl = SSL_new(context_);
      SSL_set_fd(ssl, fd.get());
      if (SSL_accept(ssl) == 1) {
        std::string head;
        char buffer[4096];
        int got;
        while (head.find("\r\n\r\n") == std::string::npos &&
               (got = SSL_read(ssl, buffer, sizeof buffer)) > 0)
          head.append(buffer, static_cast<size_t>(got));
        const std::string answer =
            "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(head.size()) + "\r\n\r\n" + head;
        SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
        SSL_shutdown(ssl);
      }
      SSL_free(ssl);
    }
  }

  SSL_CTX* context_;
  UniqueFd listener_;
  std::string port_;
  std::thread thread_;
};

Endpoint EndpointOf(const TlsServer& server, const std::string& ca) {
  Endpoint endpoint;
  endpoint.host = "127.0.0.1";
  endpoint.port = server.port();
  endpoint.tls = true;
  endpoint.ca_pem = ca;
  endpoint.token = "tok";
  return endpoint;
}

TEST(Tls, KnownAuthorityAndRightAddressAreTrustedAndGetTheToken) {
  Certificate certificate;
  MakeCertificate("IP:127.0.0.1,DNS:isla.example", certificate);
  TlsServer server(certificate);
  const auto answer = MakeHttpClient(EndpointOf(server, certificate.Pem()))->Do({.target = "/x"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(answer->body, HasSubstr("GET /x HTTP/1.1"));
  EXPECT_THAT(answer->body, HasSubstr("Authorization: Bearer tok"));
  Endpoint named = EndpointOf(server, certificate.Pem());
  named.server_name = "isla.example";
  EXPECT_TRUE(MakeHttpClient(named)->Do({.target = "/x"}).ok());
}

TEST(Tls, UnknownAuthorityWrongNameAndPlainTextAreTlsFaults) {
  Certificate certificate;
  Certificate other;
  MakeCertificate("IP:127.0.0.1", certificate);
  MakeCertificate("IP:127.0.0.1", other);
  TlsServer server(certificate);
  auto answer = MakeHttpClient(EndpointOf(server, other.Pem()))->Do({.target = "/x"});
  EXPECT_EQ(FaultOf(answer.status()), Fault::kTls) << answer.status();
  Endpoint wrong = EndpointOf(server, certificate.Pem());
  wrong.server_name = "elsewhere.example";
  answer = MakeHttpClient(wrong)->Do({.target = "/x"});
  EXPECT_EQ(FaultOf(answer.status()), Fault::kTls) << answer.status();
  wrong.insecure = true;
  EXPECT_TRUE(MakeHttpClient(wrong)->Do({.target = "/x"}).ok());
}

TEST(Tls, BrokenPemIsAnError) {
  Certificate certificate;
  MakeCertificate("IP:127.0.0.1", certificate);
  TlsServer server(certificate);
  EXPECT_EQ(MakeHttpClient(EndpointOf(server, "nonsense"))->Do({.target = "/"}).status().code(),
            Code::kInvalidArgument);
  Endpoint endpoint = EndpointOf(server, certificate.Pem());
  endpoint.client_certificate_pem = "nonsense";
  EXPECT_EQ(MakeHttpClient(endpoint)->Do({.target = "/"}).status().code(), Code::kInvalidArgument);
}

TEST(Tls, WithoutTlsTheTokenStaysHome) {
  // A TCP server without TLS: what arrives is looked at.
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  std::string head;
  std::thread thread([&listener, &head] {
    const UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char buffer[4096];
    ssize_t got;
    while (head.find("\r\n\r\n") == std::string::npos &&
           (got = recv(fd.get(), buffer, sizeof buffer, 0)) > 0)
      head.append(buffer, static_cast<size_t>(got));
    const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    (void)send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  });
  Endpoint endpoint;
  endpoint.host = "127.0.0.1";
  endpoint.port = std::to_string(ntohs(address.sin_port));
  endpoint.token = "tok";
  EXPECT_TRUE(MakeHttpClient(endpoint)->Do({.target = "/x"}).ok());
  thread.join();
  EXPECT_THAT(head, HasSubstr("GET /x"));
  EXPECT_THAT(head, ::testing::Not(HasSubstr("tok")));
}

}  // namespace
}  // namespace isla::client
