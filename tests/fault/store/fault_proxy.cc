#include "tests/fault/store/fault_proxy.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "api/base/status.h"
#include "api/base/unique_fd.h"

namespace isla::testing {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kHeader = 9;              // of an HTTP/2 frame
constexpr size_t kPreface = 24;            // "PRI * HTTP/2.0..."
constexpr size_t kQueueLimit = 256 * 1024; // then the sender isn't read from
constexpr auto kDeathRow = milliseconds(100);  // a mangled connection is closed after this
constexpr uint8_t kData = 0, kHeaders = 1;
constexpr uint8_t kEndStream = 1;

struct Frame {
  std::string bytes;
  bool preface = false;
  uint8_t type() const { return static_cast<uint8_t>(bytes[3]); }
  uint8_t flags() const { return static_cast<uint8_t>(bytes[4]); }
  uint32_t stream() const {
    const auto at = [this](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
    return (at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8)) & 0x7fffffff;
  }
  /// Of a call or a stream, not of the connection's own housekeeping.
  bool carries() const { return !preface && (type() == kData || type() == kHeaders); }
};

/// Cuts a byte stream into frames.
class Framer {
 public:
  explicit Framer(bool client) : preface_(client) {}
  void Add(const char* data, size_t size) { bytes_.append(data, size); }
  std::optional<Frame> Next() {
    size_t need = preface_ ? kPreface : kHeader;
    if (bytes_.size() < need) return std::nullopt;
    if (!preface_) {
      const auto at = [this](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(bytes_[i])); };
      need += at(0) << 16 | at(1) << 8 | at(2);
      if (bytes_.size() < need) return std::nullopt;
    }
    Frame frame{bytes_.substr(0, need), std::exchange(preface_, false)};
    bytes_.erase(0, need);
    return frame;
  }

 private:
  bool preface_;
  std::string bytes_;
};

/// What is on its way to one side.
struct Outgoing {
  struct Piece {
    SteadyClock::time_point due;
    std::string bytes;
  };
  std::deque<Piece> pieces;
  size_t queued = 0;
  SteadyClock::time_point free_at{};  // throttling: when the last piece will have gone through
};

UniqueFd Listen(const std::string& path) {
  unlink(path.c_str());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ISLA_CHECK(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  ISLA_CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ISLA_CHECK(listen(fd.get(), 64) == 0);
  return fd;
}

UniqueFd Connect(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.Reset();
  return fd;
}

}  // namespace

const char* StreamFaultName(StreamFault fault) {
  static constexpr const char* kNames[kStreamFaults] = {
      "cut-after-request", "truncate-answer", "truncate-request", "garbage",       "duplicate",    "reorder", "reset",
      "half-open",         "delay",           "throttle",         "hold-requests", "hold-answers", "refuse"};
  return kNames[static_cast<size_t>(fault)];
}

class FaultProxy::Impl {
 public:
  Impl(FaultProxy& proxy, std::string target)
      : proxy_(proxy), target_(std::move(target)), listener_(Listen(proxy.listen_path_)), epoll_(epoll_create1(EPOLL_CLOEXEC)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { Run(); }) {}
  ~Impl() {
    {
      const std::lock_guard lock(mu_);
      stop_ = true;
    }
    Wake();
    thread_.join();
  }

  void Inject(StreamFault fault, uint32_t amount) { Give({fault, amount, false}); }
  void Heal() { Give({StreamFault::kReset, 0, true}); }

 private:
  enum Side : size_t { kClient = 0, kServer = 1 };  // where bytes come from
  struct Order {
    StreamFault fault;
    uint32_t amount;
    bool heal;
  };
  struct Connection {
    UniqueFd fd[2];
    Framer framer[2] = {Framer(true), Framer(false)};
    Outgoing to[2];  // to the client, to the server
    bool ended[2] = {false, false};  // nothing more comes from there
    uint32_t events[2] = {0, 0};
    uint32_t asked_stream = 0;  // kCutAfterRequest: the stream whose answer is to be dropped
    bool dead = false;          // half-open
    bool mangled = false;       // what comes is dropped until close_at
    bool closing = false;       // once what is queued for the client has gone
    std::optional<SteadyClock::time_point> close_at;
  };

  /// Returns when the order is obeyed, so what the caller sends afterwards meets it.
  void Give(Order order) {
    std::unique_lock lock(mu_);
    orders_.push_back(order);
    const uint64_t mine = ++given_;
    Wake();
    obeyed_changed_.wait(lock, [this, mine] { return obeyed_ >= mine; });
  }

  void Wake() {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one);
  }
  void Count(StreamFault fault) { ++proxy_.done_[static_cast<size_t>(fault)]; }

  void Run() {
    Register(listener_.get(), EPOLLIN);
    Register(wake_.get(), EPOLLIN);
    for (;;) {
      epoll_event events[64];
      const int count = epoll_wait(epoll_.get(), events, 64, WaitMilliseconds());
      for (int i = 0; i < count; ++i) {
        if (events[i].data.fd == wake_.get()) {
          uint64_t drained = 0;
          (void)!read(wake_.get(), &drained, sizeof drained);
        } else if (events[i].data.fd == listener_.get()) {
          Accept();
        }
      }
      {
        const std::lock_guard lock(mu_);
        if (stop_) return;
        for (const Order& order : orders_) Obey(order);
        orders_.clear();
        obeyed_ = given_;
        obeyed_changed_.notify_all();
      }
      // Few connections: looking at all of them is simpler than finding the one meant.
      for (auto it = connections_.begin(); it != connections_.end();) it = Serve(*it) ? std::next(it) : connections_.erase(it);
    }
  }

  void Register(int fd, uint32_t what) {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    ISLA_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  }

  int WaitMilliseconds() const {
    const auto now = SteadyClock::now();
    auto next = SteadyClock::time_point::max();
    for (const Connection& connection : connections_) {
      if (connection.close_at) next = std::min(next, *connection.close_at);
      for (const Side side : {kClient, kServer}) {
        const auto& pieces = connection.to[side].pieces;
        if (pieces.empty() || Held(side) || pieces.front().due <= now) continue;  // what is due waits for its socket
        next = std::min(next, pieces.front().due);
      }
    }
    if (next == SteadyClock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<milliseconds>(next - now).count();
    return static_cast<int>(std::clamp<int64_t>(left, 0, 1000));
  }

  void Accept() {
    for (;;) {
      UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!client.valid()) return;
      if (refuse_) continue;
      UniqueFd server = Connect(target_);
      if (!server.valid()) continue;  // etcd is down: so are we
      Connection& connection = connections_.emplace_back();
      connection.fd[kClient] = std::move(client);
      connection.fd[kServer] = std::move(server);
      for (const Side side : {kClient, kServer}) Register(connection.fd[side].get(), 0);
      ++proxy_.connections_;
    }
  }

  void Obey(const Order& order) {
    if (order.heal) {
      armed_.reset();
      delay_ = milliseconds(0);
      bytes_per_second_ = 0;
      refuse_ = held_[kClient] = held_[kServer] = false;
      return;
    }
    switch (order.fault) {
      case StreamFault::kReset:
        for (Connection& connection : connections_) connection.close_at = SteadyClock::now();
        break;
      case StreamFault::kHalfOpen:
        for (Connection& connection : connections_) connection.dead = true;
        break;
      case StreamFault::kDelay: delay_ = milliseconds(order.amount); break;
      case StreamFault::kThrottle: bytes_per_second_ = std::max<uint32_t>(order.amount, 1); break;
      case StreamFault::kHoldRequests: held_[kServer] = true; break;
      case StreamFault::kHoldAnswers: held_[kClient] = true; break;
      case StreamFault::kRefuse: refuse_ = true; break;
      default: armed_ = order; return;  // counted when it is done
    }
    Count(order.fault);
  }

  /// Bytes to this side wait for Heal.
  bool Held(Side to) const { return held_[to]; }

  /// Moves what can be moved; false: the connection is over.
  bool Serve(Connection& connection) {
    const auto now = SteadyClock::now();
    if (connection.close_at && now >= *connection.close_at) return false;
    for (const Side from : {kClient, kServer}) {
      if (!Receive(connection, from)) return false;
      if (connection.close_at && now >= *connection.close_at) return false;
    }
    for (const Side to : {kClient, kServer}) {
      if (!Send(connection, to, now)) return false;
    }
    // An end is passed on when everything before it has been.
    for (const Side from : {kClient, kServer}) {
      const Side to = from == kClient ? kServer : kClient;
      if (connection.ended[from] && connection.to[to].pieces.empty() && !connection.dead) return false;
    }
    if (connection.dead && connection.ended[kClient]) return false;
    if (connection.closing && connection.to[kClient].pieces.empty() && connection.to[kServer].pieces.empty()) return false;
    for (const Side side : {kClient, kServer}) Want(connection, side);
    return true;
  }

  void Want(Connection& connection, Side side) {
    const Side other = side == kClient ? kServer : kClient;
    uint32_t events = 0;
    if (!connection.ended[side] && connection.to[other].queued < kQueueLimit) events |= EPOLLIN;
    const auto& pieces = connection.to[side].pieces;
    if (!pieces.empty() && !Held(side) && pieces.front().due <= SteadyClock::now()) events |= EPOLLOUT;
    if (events == connection.events[side]) return;
    connection.events[side] = events;
    epoll_event event{};
    event.events = events;
    event.data.fd = connection.fd[side].get();
    // A hang-up is always reported: one that has ended is taken out, or the loop would spin.
    if (connection.ended[side] && events == 0) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd[side].get(), nullptr);
    } else if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd[side].get(), &event) != 0) {
      ISLA_CHECK(errno == ENOENT && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd[side].get(), &event) == 0);
    }
  }

  bool Receive(Connection& connection, Side from) {
    const Side to = from == kClient ? kServer : kClient;
    while (!connection.ended[from] && connection.to[to].queued < kQueueLimit) {
      char buffer[32 * 1024];
      const ssize_t got = recv(connection.fd[from].get(), buffer, sizeof buffer, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (got <= 0) {
        connection.ended[from] = true;
        return true;
      }
      if (connection.dead || connection.mangled || connection.closing) continue;
      connection.framer[from].Add(buffer, static_cast<size_t>(got));
      while (auto frame = connection.framer[from].Next()) {
        ++proxy_.frames_;
        if (!Forward(connection, from, std::move(*frame))) return false;
        if (connection.mangled || connection.closing) break;
      }
    }
    return true;
  }

  /// Does what is armed to the frame, or queues it. False: close the connection now.
  bool Forward(Connection& connection, Side from, Frame frame) {
    const Side to = from == kClient ? kServer : kClient;
    if (from == kServer && connection.asked_stream != 0 && frame.carries() && frame.stream() == connection.asked_stream) {
      Count(StreamFault::kCutAfterRequest);
      return false;
    }
    if (!armed_ || !Fits(armed_->fault, from, frame)) {
      Queue(connection, to, std::move(frame.bytes));
      return true;
    }
    if (armed_->amount > 0) {
      --armed_->amount;
      Queue(connection, to, std::move(frame.bytes));
      return true;
    }
    const StreamFault fault = armed_->fault;
    armed_.reset();
    if (fault == StreamFault::kCutAfterRequest) {
      connection.asked_stream = frame.stream();  // counted when the answer comes
      Queue(connection, to, std::move(frame.bytes));
      return true;
    }
    Count(fault);
    if (fault == StreamFault::kTruncateAnswer || fault == StreamFault::kTruncateRequest) {
      frame.bytes.resize(frame.bytes.size() / 2);
      connection.closing = true;
    } else {
      Mangle(fault, frame.bytes);
      connection.mangled = true;
      connection.close_at = SteadyClock::now() + kDeathRow;
    }
    Queue(connection, to, std::move(frame.bytes));
    return true;
  }

  static bool Fits(StreamFault fault, Side from, const Frame& frame) {
    if (!frame.carries()) return false;
    switch (fault) {
      case StreamFault::kCutAfterRequest:
        return from == kClient && frame.type() == kData && (frame.flags() & kEndStream) != 0;
      case StreamFault::kTruncateAnswer: return from == kServer;
      case StreamFault::kTruncateRequest: return from == kClient;
      // Of data it might pass: nine bytes more inside a long value, and the message ends before the stream breaks. No transport does
      // that, and HTTP/2 has no checksum that would tell.
      case StreamFault::kDuplicate: return frame.type() == kHeaders;
      default: return true;
    }
  }

  static void Mangle(StreamFault fault, std::string& bytes) {
    if (fault == StreamFault::kGarbage) {
      bytes.replace(0, kHeader, "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7", kHeader);
    } else if (fault == StreamFault::kDuplicate) {
      bytes.insert(0, bytes.substr(0, kHeader));
    } else {
      std::rotate(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(bytes.size() / 2), bytes.end());
    }
    bytes.append(64, '\xff');  // whatever was made of it, this is no frame
  }

  void Queue(Connection& connection, Side to, std::string bytes) {
    Outgoing& out = connection.to[to];
    auto due = SteadyClock::now() + delay_;
    if (bytes_per_second_ > 0) {
      out.free_at = std::max(out.free_at, SteadyClock::now()) +
                    std::chrono::microseconds(bytes.size() * 1'000'000 / bytes_per_second_);
      due = std::max(due, out.free_at);
    }
    if (!out.pieces.empty()) due = std::max(due, out.pieces.back().due);
    out.queued += bytes.size();
    out.pieces.push_back({due, std::move(bytes)});
  }

  bool Send(Connection& connection, Side to, SteadyClock::time_point now) {
    Outgoing& out = connection.to[to];
    if (connection.dead) {
      out.pieces.clear();
      out.queued = 0;
    }
    while (!out.pieces.empty() && !Held(to) && out.pieces.front().due <= now) {
      std::string& bytes = out.pieces.front().bytes;
      const ssize_t put = send(connection.fd[to].get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put < 0) return errno == EAGAIN || errno == EINTR;
      out.queued -= static_cast<size_t>(put);
      bytes.erase(0, static_cast<size_t>(put));
      if (bytes.empty()) out.pieces.pop_front();
    }
    return true;
  }

  FaultProxy& proxy_;
  const std::string target_;
  const UniqueFd listener_, epoll_, wake_;

  // Of the thread.
  std::list<Connection> connections_;
  std::optional<Order> armed_;
  milliseconds delay_{0};
  uint64_t bytes_per_second_ = 0;
  bool held_[2] = {false, false};
  bool refuse_ = false;

  std::mutex mu_;
  std::vector<Order> orders_;
  uint64_t given_ = 0, obeyed_ = 0;
  std::condition_variable obeyed_changed_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses all of the above
};

FaultProxy::FaultProxy(std::string listen_path, std::string target_path)
    : listen_path_(std::move(listen_path)), impl_(std::make_unique<Impl>(*this, std::move(target_path))) {}

FaultProxy::~FaultProxy() {
  impl_.reset();
  unlink(listen_path_.c_str());
}

void FaultProxy::Inject(StreamFault fault, uint32_t amount) { impl_->Inject(fault, amount); }
void FaultProxy::Heal() { impl_->Heal(); }

}  // namespace isla::testing
