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

TEST(Sha256, ExamplesOfTheStandard) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, EveryLengthAroundABlock) {
  Sha256 of_all;
  for (size_t size = 0; size < 200; ++size) of_all.Update(Sha256Hex(std::string(size, 'x')));
  EXPECT_EQ(of_all.Hex(), "f61ffcc417e1f0e59eba2da7fa32fbe05b64e478b68c6bacf990455f00248b98");
}

}  // namespace
}  // namespace isla
