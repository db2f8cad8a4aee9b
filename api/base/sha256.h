// SHA-256 of bytes that come piece by piece. Of bytes that are there at once: Sha256Hex in uuid.h. Both by libcrypto (sha256.cc), or without it in
// programs that have sha256_lean.cc among their own sources.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace isla {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::string_view bytes);
  /// Lower-case hexadecimal digits of all bytes so far; more may follow.
  std::string Hex() const;

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace isla
