#include "api/base/uuid.h"

#include <sha1.h>
#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "api/base/sha256.h"

namespace isla {
namespace {

class KernelRandom final : public Random {
 public:
  void Fill(void* data, size_t size) override {
    auto* at = static_cast<char*>(data);
    while (size > 0) {
      const ssize_t got = getrandom(at, size, 0);
      if (got < 0 && errno == EINTR) continue;
      ISLA_CHECK(got > 0);
      at += got;
      size -= static_cast<size_t>(got);
    }
  }
};

std::string Hex(const unsigned char* bytes, size_t size) {
  std::string out;
  out.reserve(size * 2);
  for (size_t i = 0; i < size; ++i) fmt::format_to(std::back_inserter(out), "{:02x}", bytes[i]);
  return out;
}

std::string FormatUuid(std::array<unsigned char, 16> bytes, int version) {
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | (version << 4));
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  std::string text = Hex(bytes.data(), bytes.size());
  for (const size_t at : {8u, 13u, 18u, 23u}) text.insert(at, 1, '-');
  return text;
}

std::string Sha1(std::string_view bytes) {
  SHA1_CTX context;
  std::string out(SHA1_DIGEST_LENGTH, '\0');
  SHA1Init(&context);
  SHA1Update(&context, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  SHA1Final(reinterpret_cast<uint8_t*>(out.data()), &context);
  return out;
}

}  // namespace

Random& Random::Real() {
  static KernelRandom random;
  return random;
}

std::string NewUuid(Random& random) {
  std::array<unsigned char, 16> bytes{};
  random.Fill(bytes.data(), bytes.size());
  return FormatUuid(bytes, 4);
}

StatusOr<std::string> DerivedUuid(std::string_view space, std::string_view name) {
  if (!IsUuid(space)) return Errorf(Code::kInvalidArgument, "'{}' is not a UUID", space);
  std::string input;
  for (size_t i = 0; i < space.size();) {
    if (space[i] == '-') {
      ++i;
      continue;
    }
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    input += static_cast<char>(digit(space[i]) * 16 + digit(space[i + 1]));
    i += 2;
  }
  input += name;
  const std::string digest = Sha1(input);
  std::array<unsigned char, 16> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(digest[i]);
  return FormatUuid(bytes, 5);
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (dash ? c != '-' : !digit) return false;
  }
  return true;
}

std::string Sha256Hex(std::string_view bytes) {
  Sha256 digest;
  digest.Update(bytes);
  return digest.Hex();
}

std::string RandomHex(size_t size_bytes, Random& random) {
  std::string bytes(size_bytes, '\0');
  random.Fill(bytes.data(), bytes.size());
  return Hex(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

}  // namespace isla
