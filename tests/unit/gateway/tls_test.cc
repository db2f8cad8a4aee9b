#include "tests/unit/gateway/certificates.h"
#include "tests/unit/gateway/gateway_fixture.h"

namespace isla::controllers {
namespace {

using isla::v1::GatewayMessage;

class TlsTest : public GatewayTest {
 protected:
  TlsTest() {
    options_.listen.address = "127.0.0.1:0";
    options_.listen.ca_file = File("ca.crt", ca_.certificate);
    const Pem server = MakeCertificate("gateway", ca_);
    options_.listen.certificate_file = File("server.crt", server.certificate);
    options_.listen.key_file = File("server.key", server.key);
  }
  std::string File(const std::string& name, const std::string& bytes) {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(WriteFileAtomically(path, bytes, 0600, false).ok());
    return path;
  }
  std::string Address() const { return "127.0.0.1:" + std::to_string(gateway_->port()); }
  std::shared_ptr<grpc::ChannelCredentials> Credentials(const Pem* own) const {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ca_.certificate;
    if (own != nullptr) {
      options.pem_cert_chain = own->certificate;
      options.pem_private_key = own->key;
    }
    return grpc::SslCredentials(options);
  }

  const Pem ca_ = MakeCa("isla test");
};

TEST_F(TlsTest, TheCertificatesNameIsTheNodes) {
  StartGateway();
  const Pem n1 = MakeCertificate("n1", ca_);
  {
    FakeAgent agent(Address(), Credentials(&n1));
    agent.Join();
    EXPECT_EQ(agent.term, 1);
  }
  FakeAgent other(Address(), Credentials(&n1));
  other.Hello(FakeAgent::MakeHello("n2"));
  const auto refusal = other.Next(GatewayMessage::kRefusal);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->refusal().reason(), "WrongCertificate");
  EXPECT_EQ(Read(keys_.Node("n2")), nullptr);
}

TEST_F(TlsTest, NobodyGetsInWithoutACertificateOfTheCa) {
  StartGateway();
  FakeAgent without(Address(), Credentials(nullptr));
  without.Hello();
  EXPECT_TRUE(without.Ended());
  const Pem other_ca = MakeCa("another");
  const Pem forged = MakeCertificate("n1", other_ca);
  FakeAgent stranger(Address(), Credentials(&forged));
  stranger.Hello();
  EXPECT_TRUE(stranger.Ended());
  FakeAgent plain(Address());
  plain.Hello();
  EXPECT_TRUE(plain.Ended());
  EXPECT_EQ(Read(keys_.Node("n1")), nullptr);
}

TEST_F(TlsTest, ANodeCannotTakeAnothersStream) {
  StartGateway();
  DataHub hub;
  const auto expected = hub.Expect("n1");
  ASSERT_TRUE(expected.ok());
  EXPECT_EQ(hub.Claim(expected->first, "n2"), nullptr);
  EXPECT_NE(hub.Claim(expected->first, "n1"), nullptr);
  EXPECT_EQ(hub.Claim(expected->first, "n1"), nullptr);
}

TEST_F(TlsTest, AnAddressWithoutCertificatesIsAnError) {
  options_.listen.ca_file.clear();
  const auto started = Gateway::Start(options_, store_, *state_, listeners_, Clock::Real());
  EXPECT_EQ(started.status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace isla::controllers
