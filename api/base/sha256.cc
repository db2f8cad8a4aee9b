#include "api/base/sha256.h"

#include <sha2.h>

#include <array>
#include <cstdint>

#include "api/base/status.h"

namespace isla {

struct Sha256::Context {
  SHA2_CTX state;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) { SHA256Init(&context_->state); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::string_view bytes) {
  SHA256Update(&context_->state, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

std::string Sha256::Hex() const {
  SHA2_CTX copy = context_->state;
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256Final(digest.data(), &copy);
  std::string out;
  for (const uint8_t byte : digest) fmt::format_to(std::back_inserter(out), "{:02x}", byte);
  return out;
}

}  // namespace isla
