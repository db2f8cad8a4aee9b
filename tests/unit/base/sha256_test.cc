#include "api/base/sha256.h"

#include <gtest/gtest.h>

#include "api/base/uuid.h"

namespace isla {
namespace {

TEST(Sha256, PiecesAreTheWhole) {
  const std::string text = "the quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    Sha256 sha;
    sha.Update(text.substr(0, cut));
    EXPECT_EQ(sha.Hex(), Sha256Hex(text.substr(0, cut)));
    sha.Update(text.substr(cut));
    EXPECT_EQ(sha.Hex(), Sha256Hex(text));
  }
  EXPECT_EQ(Sha256().Hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

}  // namespace
}  // namespace isla
