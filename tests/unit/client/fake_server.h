// An HTTP server for tests that answers what the test says, byte for byte if need be: cut short,
// too large, not HTTP at all. Listens on a unix socket in a folder of its own; a thread a
// connection.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/base/mutex.h"
#include "api/base/unique_fd.h"

namespace isla::testing {

struct FakeRequest {
  std::string method;
  std::string target;  // as sent
  std::string path;    // without the query
  std::string query;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  int connection = 0;  // counted from 1
};

/// Writes the body of a stream, from the connection's thread.
class StreamWriter {
 public:
  StreamWriter(int fd, const std::atomic<bool>& stop) : fd_(fd), stop_(stop) {}
  void Chunk(std::string_view bytes);
  /// Until `done` or the server stops. False: it stops.
  bool Wait(const std::function<bool()>& done) const;
  /// Keeps the stream open until the client goes or the server stops.
  void Hold() const;

 private:
  const int fd_;
  const std::atomic<bool>& stop_;
};

struct FakeReply {
  int status = 200;
  std::string body{};
  std::string content_type = "application/json";
  std::string headers{};  // more of them, each ended by \r\n
  std::string raw{};      // not "": sent instead of everything else
  bool close = false;     // after the answer
  /// A chunked body; when it returns, the last chunk is sent, unless `cut`: then the connection
  /// just ends.
  std::function<void(StreamWriter&)> stream{};
  bool cut = false;
};

class FakeServer {
 public:
  using Handler = std::function<FakeReply(const FakeRequest&)>;

  explicit FakeServer(Handler handler);
  ~FakeServer();

  const std::string& socket_path() const { return path_; }
  const std::string& folder() const { return folder_; }
  /// What was asked so far: "GET /apis/isla/v1".
  std::vector<std::string> Calls() const;
  std::vector<FakeRequest> Requests() const;
  int connections() const { return connections_; }
  /// Closes every connection and refuses new ones until Restart().
  void Stop();
  void Restart();

 private:
  void Listen();
  void Accept();
  void Serve(int fd, int number);
  bool Answer(int fd, const FakeReply& reply);

  const Handler handler_;
  std::string folder_;
  std::string path_;
  UniqueFd listener_;
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0};
  std::thread acceptor_;
  mutable Mutex mu_;
  std::vector<std::thread> threads_ GUARDED_BY(mu_);
  std::vector<int> open_ GUARDED_BY(mu_);
  std::vector<FakeRequest> requests_ GUARDED_BY(mu_);
};

}  // namespace isla::testing
