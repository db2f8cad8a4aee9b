#include "api/base/packet.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace isla {

ssize_t SendPacket(int socket, std::string_view bytes, int attached, int flags) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof attached)] = {};
  iovec data = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (attached >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof attached);
    std::memcpy(CMSG_DATA(header), &attached, sizeof attached);
  }
  ssize_t sent = -1;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t ReceivePacket(int socket, char* bytes, size_t room, UniqueFd& attached, int flags) {
  attached.Reset();
  // Room for one descriptor is, by its alignment, room for two: the kernel fills what there is and closes the rest.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec data = {bytes, room};
  msghdr message{};
  ssize_t got = -1;
  do {
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return got;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      UniqueFd owned(fd);
      if (!attached.valid()) attached = std::move(owned);
    }
  }
  return got;
}

}  // namespace isla
