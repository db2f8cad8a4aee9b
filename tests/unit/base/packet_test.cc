#include "api/base/packet.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "api/base/memfd.h"

namespace isla {
namespace {

struct Ends {
  UniqueFd here, there;
};

Ends Pair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

TEST(Packet, GoesWithItsDescriptorWhichIsClosedOnExec) {
  const Ends ends = Pair();
  const auto file = SealedMemfd("x", "content");
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(SendPacket(ends.here.get(), "hello", file->get()), 5);
  char bytes[16];
  UniqueFd attached;
  ASSERT_EQ(ReceivePacket(ends.there.get(), bytes, sizeof bytes, attached), 5);
  EXPECT_EQ(std::string_view(bytes, 5), "hello");
  ASSERT_TRUE(attached.valid());
  EXPECT_NE(fcntl(attached.get(), F_GETFD) & FD_CLOEXEC, 0);
  char content[16];
  EXPECT_EQ(read(attached.get(), content, sizeof content), 7);
}

TEST(Packet, WithoutADescriptorClosesTheOneBefore) {
  const Ends ends = Pair();
  ASSERT_EQ(SendPacket(ends.here.get(), "a", STDERR_FILENO), 1);
  ASSERT_EQ(SendPacket(ends.here.get(), "b"), 1);
  char bytes[16];
  UniqueFd attached;
  ASSERT_EQ(ReceivePacket(ends.there.get(), bytes, sizeof bytes, attached), 1);
  EXPECT_TRUE(attached.valid());
  ASSERT_EQ(ReceivePacket(ends.there.get(), bytes, sizeof bytes, attached), 1);
  EXPECT_FALSE(attached.valid());
}

TEST(Packet, OfManyDescriptorsOneIsKept) {
  const Ends ends = Pair();
  const size_t before = OpenDescriptors();
  int fds[5] = {0, 1, 2, 1, 0};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  char text[] = "many";
  iovec data = {text, 4};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fds);
  std::memcpy(CMSG_DATA(header), fds, sizeof fds);
  ASSERT_EQ(sendmsg(ends.here.get(), &message, 0), 4);
  char bytes[16];
  UniqueFd attached;
  ASSERT_EQ(ReceivePacket(ends.there.get(), bytes, sizeof bytes, attached), 4);
  EXPECT_TRUE(attached.valid());
  EXPECT_EQ(OpenDescriptors(), before + 1);
}

TEST(Packet, TheEndIsNoPacketAndAnEmptySocketAnErrno) {
  Ends ends = Pair();
  char bytes[16];
  UniqueFd attached;
  EXPECT_EQ(ReceivePacket(ends.there.get(), bytes, sizeof bytes, attached, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  ends.here.Reset();
  EXPECT_EQ(ReceivePacket(ends.there.get(), bytes, sizeof bytes, attached), 0);
  EXPECT_EQ(SendPacket(ends.there.get(), "x"), -1);  // and no SIGPIPE
  EXPECT_EQ(errno, EPIPE);
}

TEST(Memfd, ASealedOneIsReadFromItsBeginningAndNeverChanged) {
  const auto fd = SealedMemfd("x", "content");
  ASSERT_TRUE(fd.ok());
  EXPECT_EQ(write(fd->get(), "y", 1), -1);
  EXPECT_EQ(ftruncate(fd->get(), 0), -1);
  char bytes[16];
  EXPECT_EQ(read(fd->get(), bytes, sizeof bytes), 7);
}

}  // namespace
}  // namespace isla
