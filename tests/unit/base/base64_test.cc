#include "api/base/base64.h"

#include <gtest/gtest.h>

namespace isla {
namespace {

TEST(Base64, TheVectorsOfRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},           {"f", "Zg=="},         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},    {"foob", "Zm9vYg=="},  {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "//79"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(EncodeBase64(bytes), text);
    EXPECT_EQ(DecodeStrictBase64(text).value(), bytes);
  }
}

TEST(Base64, EveryByteComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  for (size_t size = 0; size <= bytes.size(); ++size) {
    EXPECT_EQ(DecodeStrictBase64(EncodeBase64(bytes.substr(0, size))).value(), bytes.substr(0, size));
  }
}

TEST(DecodeBase64, DecodesAndRefuses) {
  EXPECT_EQ(*DecodeBase64(""), "");
  EXPECT_EQ(*DecodeBase64("Zg=="), "f");
  EXPECT_EQ(*DecodeBase64("Zm8="), "fo");
  EXPECT_EQ(*DecodeBase64("Zm9v\nYmFy"), "foobar");
  EXPECT_EQ(*DecodeBase64("+/+/"), "\xfb\xff\xbf");
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zg=a", "Zg*="}) {
    EXPECT_FALSE(DecodeBase64(bad).ok()) << bad;
  }
}

TEST(Base64, OtherSpellingsAreRefused) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "=Zg=", "====", "Z===", "Zm 9v", "Zm9v\n", "Zm9-", "\xff\xff\xff\xff"}) {
    EXPECT_EQ(DecodeStrictBase64(text).status().code(), Code::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace isla
