#include "api/object/names.h"

#include <gtest/gtest.h>

namespace isla::api {
namespace {

using Check = std::string (*)(std::string_view);

void ExpectGood(Check check, std::initializer_list<std::string> names) {
  for (const std::string& name : names) EXPECT_EQ(check(name), "") << name;
}
void ExpectBad(Check check, std::initializer_list<std::string> names) {
  for (const std::string& name : names) EXPECT_NE(check(name), "") << name;
}

TEST(Names, DnsLabels) {
  ExpectGood(CheckDnsLabel, {"a", "0", "a-b", "a--b", std::string(63, 'a')});
  ExpectBad(CheckDnsLabel, {"", "-a", "a-", "A", "a_b", "a.b", "a/b", "../x", "a b", "a\n", "é", std::string(64, 'a'),
                            std::string("a\0b", 3)});
  EXPECT_EQ(CheckDnsLabel(std::string(64, 'a')), "must be no more than 63 bytes");
}

TEST(Names, DnsSubdomains) {
  ExpectGood(CheckDnsSubdomain, {"a", "node-1.example.com", "1.2.3.4"});
  ExpectBad(CheckDnsSubdomain, {"", ".", "a.", ".a", "a..b", "a.-b", "A.b", "a/b", std::string(254, 'a')});
}

TEST(Names, LabelKeysAndValues) {
  ExpectGood(CheckLabelKey, {"app", "App.v_1", "example.com/app", "kubectl.kubernetes.io/last-applied-configuration"});
  ExpectBad(CheckLabelKey, {"", "/app", "example.com/", "a/b/c", "Example.com/app", "-app", "app-", "a b", std::string(64, 'a')});
  ExpectGood(CheckLabelValue, {"", "a", "A.b-c_d", std::string(63, '1')});
  ExpectBad(CheckLabelValue, {"-", "a-", "a b", "a/b", "é", std::string(64, 'a')});
}

TEST(Names, EnvironmentVariables) {
  ExpectGood(CheckEnvName, {"PATH", "_x", "a.b-c"});
  ExpectBad(CheckEnvName, {"", "1A", "A=B", "A B", "A\n", "é", std::string(1025, 'A')});
}

TEST(Names, AbsolutePaths) {
  ExpectGood(CheckAbsolutePath, {"/", "/a", "/a/b.c", "/a/...", "/a/..b", "/with space", "/é"});
  ExpectBad(CheckAbsolutePath, {"", "a", "./a", "/a/", "//", "//a", "/a//b", "/.", "/..", "/a/../b", "/a/.", "/a/..",
                                "/" + std::string(256, 'a'), "/" + std::string(5000, 'a')});
}

}  // namespace
}  // namespace isla::api
