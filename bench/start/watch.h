// A watch of sessions over the API's unix socket, as raw HTTP: what the benchmark measures by is no client of
// isla's. Notes when each session was first seen in each phase.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace isla::bench {

using Clock = std::chrono::steady_clock;

class SessionWatch {
 public:
  explicit SessionWatch(const std::string& socket_path);
  ~SessionWatch();

  /// When `session` was first seen in `phase` ("gone" = deleted); waits. Ends the program after 60 s.
  Clock::time_point Seen(const std::string& session, const std::string& phase);

 private:
  void Read();
  void OnLine(const std::string& line);

  int fd_ = -1;
  std::mutex mu_;
  std::condition_variable changed_;
  std::map<std::pair<std::string, std::string>, Clock::time_point> seen_;
  std::thread reader_;
};

/// One request on a connection of its own; the response's body (chunked or not). Ends the program on failure.
std::string Request(const std::string& socket_path, const std::string& method, const std::string& path,
                    const std::string& body = {});

}  // namespace isla::bench
