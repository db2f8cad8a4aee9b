// The CA, the certificate, the token and the kubeconfig; and TLS with them.
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "api/server/auth.h"
#include "api/server/identity.h"
#include "tests/unit/server/server_fixture.h"

namespace isla::server {
namespace {

using std::chrono::hours;
using ::testing::HasSubstr;

unsigned ModeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 0777U : 0;
}

/// One request over TLS, checking the server's certificate against `ca`; "" if the handshake fails.
std::string AskTls(int port, const std::string& ca, const std::string& request, int max_version = TLS1_3_VERSION) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, max_version);
  SSL_CTX_set_security_level(context, 0);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  BIO* bio = BIO_new_mem_buf(ca.data(), static_cast<int>(ca.size()));
  X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate);
  X509_free(certificate);
  BIO_free(bio);
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    SSL* ssl = SSL_new(context);
    SSL_set1_host(ssl, "localhost");
    SSL_set_fd(ssl, fd.get());
    if (SSL_connect(ssl) == 1 && SSL_write(ssl, request.data(), static_cast<int>(request.size())) > 0) {
      char buffer[16384];
      int n = 0;
      while ((n = SSL_read(ssl, buffer, sizeof(buffer))) > 0) answer.append(buffer, static_cast<size_t>(n));
    }
    SSL_free(ssl);
  }
  SSL_CTX_free(context);
  return answer;
}

std::string Request(const std::string& authorization) {
  return "GET /apis/isla/v1/projects HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" +
         (authorization.empty() ? "" : "Authorization: " + authorization + "\r\n") + "\r\n";
}

class IdentityTest : public ServerTest {
 protected:
  int Port() const { return std::stoi(server_->url().substr(server_->url().rfind(':') + 1)); }
  FakeClock clock_{Clock::Real().Wall()};
};

TEST_F(IdentityTest, TlsWantsTheTokenAndVerifiesAgainstTheCa) {
  options_.listen = "127.0.0.1:0";
  Start();
  const std::string ca = *ReadFile(options_.data_dir + "/ca.crt");
  std::string token = *ReadFile(options_.data_dir + "/token");
  token.pop_back();
  EXPECT_THAT(AskTls(Port(), ca, Request("Bearer " + token)), HasSubstr("HTTP/1.1 200 OK"));
  const std::vector<std::string> wrong = {"", "Bearer", "Bearer ", "Bearer x", "Basic " + token, "bearer " + token,
                                          "Bearer " + token + "0", "Bearer " + token.substr(1)};
  for (const std::string& bad : wrong) {
    const std::string answer = AskTls(Port(), ca, Request(bad));
    EXPECT_THAT(answer, HasSubstr("HTTP/1.1 401 Unauthorized")) << bad;
    EXPECT_THAT(answer, HasSubstr("\"reason\":\"Unauthorized\""));
  }
  EXPECT_EQ(AskTls(Port(), ca, Request("Bearer " + token), TLS1_1_VERSION), "");
  EXPECT_THAT(AskTls(Port(), ca, Request("Bearer " + token), TLS1_2_VERSION), HasSubstr("200 OK"));
}

TEST_F(IdentityTest, TheTokensUserIsTheCreator) {
  EXPECT_EQ(CallerOfToken().user, "isla-admin");
  EXPECT_EQ(CallerOfUid(0).user, "root");
  EXPECT_THAT(CallerOfUid(0).groups, ::testing::Contains("system:masters"));
  const registry::Caller stranger = CallerOfUid(3'999'999'999U);
  EXPECT_EQ(stranger.user, "uid:3999999999");
  EXPECT_THAT(stranger.groups, ::testing::ElementsAre("system:authenticated"));
}

TEST_F(IdentityTest, SecretsAreTheOwnersOnly) {
  options_.listen = "127.0.0.1:0";
  Start();
  EXPECT_EQ(ModeOf(options_.data_dir), 0700U);
  for (const char* file : {"ca.key", "server.key", "token", "kubeconfig"}) {
    EXPECT_EQ(ModeOf(options_.data_dir + "/" + file), 0600U) << file;
  }
}

TEST_F(IdentityTest, TheKubeconfigSaysWhereAndWithWhat) {
  options_.listen = "127.0.0.1:0";
  Start();
  const auto config = json::Parse(*ReadFile(options_.data_dir + "/kubeconfig"));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->StringAt({"current-context"}), "isla");
  EXPECT_EQ(config->Find("clusters")->items()[0].StringAt({"cluster", "server"}), server_->url());
  EXPECT_EQ(config->Find("users")->items()[0].StringAt({"user", "token"}) + "\n",
            *ReadFile(options_.data_dir + "/token"));
}

TEST_F(IdentityTest, ASecondStartKeepsEverything) {
  const auto first = LoadIdentity(options_.data_dir, clock_, Random::Real());
  const auto second = LoadIdentity(options_.data_dir, clock_, Random::Real());
  ASSERT_TRUE(first.ok() && second.ok()) << ToString(first.status());
  EXPECT_EQ(first->token, second->token);
  EXPECT_EQ(first->token.size(), 64U);
  EXPECT_EQ(first->ca_certificate, second->ca_certificate);
  EXPECT_EQ(first->tls.certificate, second->tls.certificate);
}

TEST_F(IdentityTest, TheServersCertificateIsRenewedBeforeItsEndUnderTheSameCa) {
  const auto first = LoadIdentity(options_.data_dir, clock_, Random::Real());
  clock_.Advance(hours(24 * 300));
  const auto kept = LoadIdentity(options_.data_dir, clock_, Random::Real());
  clock_.Advance(hours(24 * 40));
  const auto renewed = LoadIdentity(options_.data_dir, clock_, Random::Real());
  ASSERT_TRUE(first.ok() && kept.ok() && renewed.ok());
  EXPECT_EQ(kept->tls.certificate, first->tls.certificate);
  EXPECT_NE(renewed->tls.certificate, first->tls.certificate);
  EXPECT_EQ(renewed->ca_certificate, first->ca_certificate);
}

TEST_F(IdentityTest, APairThatDoesNotFitIsMadeAnew) {
  const auto first = LoadIdentity(options_.data_dir, clock_, Random::Real());
  ASSERT_TRUE(first.ok());
  // As a crash between the two files of the CA leaves it: the key is new, the certificate old.
  const auto other = LoadIdentity(dir_ + "/other", clock_, Random::Real());
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(WriteFileAtomically(options_.data_dir + "/ca.key", *ReadFile(dir_ + "/other/ca.key"), 0600, false).ok());
  const auto healed = LoadIdentity(options_.data_dir, clock_, Random::Real());
  ASSERT_TRUE(healed.ok()) << ToString(healed.status());
  EXPECT_NE(healed->ca_certificate, first->ca_certificate);
  EXPECT_NE(healed->tls.certificate, first->tls.certificate) << "the old one isn't of this CA";
  EXPECT_EQ(healed->token, first->token);
  for (const char* file : {"ca.crt", "server.crt", "server.key"}) {
    ASSERT_TRUE(WriteFileAtomically(options_.data_dir + "/" + file, "rubbish", 0600, false).ok());
    EXPECT_TRUE(LoadIdentity(options_.data_dir, clock_, Random::Real()).ok()) << file;
  }
}

TEST_F(IdentityTest, OnlyLoopbackAddressesAreListenedOn) {
  for (const char* bad : {"0.0.0.0:0", "192.0.2.1:0", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "localhost:0", ":1"}) {
    options_.listen = bad;
    const auto server = Server::Start(options_, *registry_, logs_, metrics_, Clock::Real(), Random::Real(), nullptr);
    EXPECT_EQ(server.status().code(), Code::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace isla::server
