// The Data streams by which a gateway reads the logs of containers: one thread a stream, at most kMaxLogStreams,
// so that neither the loop nor gRPC's threads ever wait for a file or for a slow reader.
//
// A stream that follows sleeps on inotify (the log's folder) and an eventfd (the container's state changed, the
// other side went away, agentd ends). It ends when the container has ended and all of its log was sent.
#pragma once

#include <isla/v1/agent.pb.h>

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "agentd/gateway_client.h"
#include "agentd/key.h"
#include "agentd/loop.h"

namespace isla::agent {

inline constexpr size_t kMaxLogStreams = 32;

class LogStreams {
 public:
  struct Source {
    bool known = false;   // the container is in the node's records, and its log may be there
    bool ended = false;   // nothing more will be written
    std::string folder;
  };

  /// `find` says where the log of a container is; `open` makes a Data stream (null: none can be). Both are
  /// called on the loop, and must, like it, outlive this.
  LogStreams(Mailbox& mailbox, std::function<Source(const ContainerKey&)> find,
             std::function<std::unique_ptr<DataStream>()> open);
  /// Cancels every stream and joins its thread.
  ~LogStreams();

  // Loop thread.
  void Open(const isla::v1::OpenStream& request);
  /// Streams of `key` look again whether it has ended.
  void OnChanged(const ContainerKey& key);
  size_t count() const { return streams_.size(); }

 private:
  class Stream;
  void Reap(Stream* stream);

  Mailbox& mailbox_;
  const std::function<Source(const ContainerKey&)> find_;
  const std::function<std::unique_ptr<DataStream>()> open_;
  std::list<std::unique_ptr<Stream>> streams_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace isla::agent
