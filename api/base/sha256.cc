#include "api/base/sha256.h"

#define OPENSSL_SUPPRESS_DEPRECATED  // the low-level digests: EVP's first use costs a millisecond of set-up
#include <openssl/sha.h>

#include <array>

#include "api/base/status.h"
#include "api/base/uuid.h"

namespace isla {

struct Sha256::Context {
  SHA256_CTX state;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) { ISLA_CHECK(SHA256_Init(&context_->state) == 1); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::string_view bytes) { ISLA_CHECK(SHA256_Update(&context_->state, bytes.data(), bytes.size()) == 1); }

std::string Sha256::Hex() const {
  SHA256_CTX copy = context_->state;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ISLA_CHECK(SHA256_Final(digest.data(), &copy) == 1);
  std::string out;
  for (const unsigned char byte : digest) fmt::format_to(std::back_inserter(out), "{:02x}", byte);
  return out;
}

std::string Sha256Hex(std::string_view bytes) {
  Sha256 digest;
  digest.Update(bytes);
  return digest.Hex();
}

}  // namespace isla
