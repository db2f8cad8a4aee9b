// Streams of bytes from nodes (logs): who asked for one meets the stream that the agent opens for it.
//
// A reader asks for a stream id (random, known to nobody else), the gateway sends it to the agent, the agent opens a Data
// call whose first frame carries it. From then on the reader pulls: at most kMaxQueuedBytes wait for it, then nothing
// is read from the call, and gRPC's flow control holds the agent back. When the reader goes the call is
// cancelled, and when the call ends the reader hears of it.
// Threads: any.
#pragma once

#include <isla/v1/agent.pb.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "api/base/clock.h"
#include "api/base/mutex.h"
#include "api/base/status.h"
#include "api/base/uuid.h"

namespace isla::controllers {

inline constexpr size_t kMaxQueuedBytes = size_t{256} << 10;
inline constexpr size_t kMaxWaitingStreams = 1024;

/// The call's side, which a pipe drives: made by the gRPC service.
class DataCall {
 public:
  virtual ~DataCall() = default;
  /// Read the next frame.
  virtual void Resume() = 0;
  /// End it. Idempotent.
  virtual void Finish(const Status& status) = 0;
};

/// Between one reader and one call.
class DataPipe {
 public:
  // The reader's side.

  /// More bytes, never empty. DEADLINE_EXCEEDED: nothing yet. OUT_OF_RANGE: the end. Else it broke off.
  StatusOr<std::string> Next();
  /// `ready` is called, from any thread, when Next has something to say after it had nothing.
  void Notify(std::function<void()> ready);
  /// Waits for the call's first frame. NOT_FOUND with the node's words if that is the end, with an error;
  /// UNAVAILABLE if none came in time.
  Status WaitAttached(Duration timeout);
  /// The reader goes. After it returns `ready` isn't called any more.
  void Close();

  // The call's side.

  void Attach(std::shared_ptr<DataCall> call);
  /// False: the call must wait for Resume.
  bool Push(isla::v1::DataFrame frame);
  void End(const Status& status);

 private:
  void Finished(const Status& status) REQUIRES(mu_);

  // Held while ready_ runs. Taken before mu_.
  Mutex ready_mu_;
  std::function<void()> ready_ GUARDED_BY(ready_mu_);

  Mutex mu_;
  CondVar changed_;
  std::shared_ptr<DataCall> call_ GUARDED_BY(mu_);
  std::deque<std::string> frames_ GUARDED_BY(mu_);
  size_t bytes_ GUARDED_BY(mu_) = 0;
  bool paused_ GUARDED_BY(mu_) = false;
  bool spoken_ GUARDED_BY(mu_) = false;  // a frame has come
  bool ended_ GUARDED_BY(mu_) = false;
  Status end_ GUARDED_BY(mu_);
  bool closed_ GUARDED_BY(mu_) = false;
};

class DataHub {
 public:
  /// A new stream for `node`: its id and the pipe. RESOURCE_EXHAUSTED: too many wait already.
  StatusOr<std::pair<std::string, std::shared_ptr<DataPipe>>> Expect(const std::string& node);
  /// The pipe that waits for this id, once; null if none does, or if `node` (the peer's certificate; "" = local) is another.
  std::shared_ptr<DataPipe> Claim(const std::string& stream_id, const std::string& node);
  /// Nobody waits for it any more.
  void Forget(const std::string& stream_id);
  /// Ends all that wait, and expects no more.
  void Close();

 private:
  struct Waiting {
    std::string node;
    std::shared_ptr<DataPipe> pipe;
  };
  Mutex mu_;
  bool closed_ GUARDED_BY(mu_) = false;
  std::map<std::string, Waiting> waiting_ GUARDED_BY(mu_);
};

}  // namespace isla::controllers
