#include "api/base/uuid.h"

#include <gtest/gtest.h>

#include <cstring>

namespace isla {
namespace {

class Constant final : public Random {
 public:
  explicit Constant(int byte) : byte_(byte) {}
  void Fill(void* data, size_t size) override { std::memset(data, byte_, size); }

 private:
  const int byte_;
};

TEST(Uuid, RandomOnesAreVersion4) {
  Constant ones(0xff);
  EXPECT_EQ(NewUuid(ones), "ffffffff-ffff-4fff-bfff-ffffffffffff");
  EXPECT_TRUE(IsUuid(NewUuid()));
  EXPECT_NE(NewUuid(), NewUuid());
}

TEST(Uuid, DerivedOnesAreRfc9562sExample) {
  EXPECT_EQ(DerivedUuid("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com").value(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
  EXPECT_EQ(DerivedUuid("x", "y").status().code(), Code::kInvalidArgument);
}

TEST(Uuid, OnlyTheCanonicalTextIsOne) {
  EXPECT_TRUE(IsUuid("0b7bd1a6-0000-4000-8000-000000000000"));
  for (const char* text : {"", "0b7bd1a6", "0B7BD1A6-0000-4000-8000-000000000000", "0b7bd1a6-0000-4000-8000-00000000000",
                           "0b7bd1a6-0000-4000-8000-0000000000000", "0b7bd1a6x0000-4000-8000-000000000000",
                           "0b7bd1a6-0000-4000-8000-00000000000/", "../../../../../../../../../../../../"}) {
    EXPECT_FALSE(IsUuid(text)) << text;
  }
}

TEST(Uuid, DigestsAndBytesAreLowerCaseHex) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Constant byte(0x0a);
  EXPECT_EQ(RandomHex(3, byte), "0a0a0a");
}

}  // namespace
}  // namespace isla
