// SHA-256 of bytes that come piece by piece. Of bytes that are there at once: Sha256Hex in uuid.h. By libmd: before main()
// libcrypto asks the processor what it can, in a virtual machine by exits to the hypervisor, and isla-box starts before every command.
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
