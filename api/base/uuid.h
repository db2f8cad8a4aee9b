// Identifiers: random (version 4) and derived (version 5, RFC 9562) UUIDs, and random bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "api/base/status.h"

namespace isla {

/// Where randomness comes from: the kernel in production, a seed in simulation. Safe from any thread.
class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(void* data, size_t size) = 0;

  /// getrandom(2).
  static Random& Real();
};

/// A random version 4 UUID, lower case: "0b7bd1a6-...".
std::string NewUuid(Random& random = Random::Real());

/// The version 5 UUID of `name` within the namespace UUID `space` (any valid UUID text).
/// INVALID_ARGUMENT if `space` is none.
StatusOr<std::string> DerivedUuid(std::string_view space, std::string_view name);

/// True for 8-4-4-4-12 lower-case hexadecimal digits.
bool IsUuid(std::string_view text);

/// Lower-case hexadecimal SHA-256 of the bytes.
std::string Sha256Hex(std::string_view bytes);

/// `size_bytes` random bytes as lower-case hexadecimal digits.
std::string RandomHex(size_t size_bytes, Random& random = Random::Real());

}  // namespace isla
