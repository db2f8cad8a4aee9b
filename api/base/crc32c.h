// CRC-32C (Castagnoli), as in iSCSI, ext4 and LevelDB: finds every burst of damage of up to 32 bits. Not a
// protection against somebody who changes the bytes on purpose.
#pragma once

#include <cstdint>
#include <string_view>

namespace isla {

/// The checksum of `bytes`; pass the result of the bytes before as `seed` to go on. Crc32c("123456789") is 0xE3069283.
uint32_t Crc32c(std::string_view bytes, uint32_t seed = 0);

}  // namespace isla
