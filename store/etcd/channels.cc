#include "store/etcd/channels.h"

#include <grpc/support/time.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/un.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "store/etcd/completion.h"
#include "store/etcd/tls.h"

namespace isla::store {
namespace {

using std::chrono::milliseconds;

/// How long to wait for one endpoint before looking at the next.
constexpr Duration kSlice = milliseconds(100);
/// How long the others are waited for before the one that failed is tried again: more than they pause between two attempts to connect.
constexpr Duration kOthersFirst = std::chrono::seconds(1);
/// A connection to one that is frozen looks alive for so long: the keepalive's time and time-out, below.
constexpr Duration kSuspicion = std::chrono::seconds(15);

/// For gRPC's URI parser: all but what a path may hold as it is.
std::string PercentEncode(std::string_view path) {
  constexpr std::string_view kPlain = "-._~/:@!$&'()*+,;=";
  std::string encoded;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (alphanumeric || kPlain.find(c) != std::string_view::npos) {
      encoded.push_back(c);
    } else {
      encoded += fmt::format("%{:02X}", byte);
    }
  }
  return encoded;
}

StatusOr<std::string> UnixTarget(const std::string& endpoint, std::string_view rest) {
  if (rest.starts_with("//") && !rest.starts_with("///")) {
    return Errorf(Code::kInvalidArgument, "endpoint '{}': write unix:///absolute/path or unix:relative/path", endpoint);
  }
  if (rest.starts_with("///")) rest.remove_prefix(2);
  if (rest.empty() || rest == "/") return Errorf(Code::kInvalidArgument, "endpoint '{}' names no socket", endpoint);
  if (rest.size() >= sizeof(sockaddr_un{}.sun_path)) {
    return Errorf(Code::kInvalidArgument, "endpoint '{}': the path is longer than {} bytes", endpoint,
                  sizeof(sockaddr_un{}.sun_path) - 1);
  }
  return "unix:" + PercentEncode(rest);
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments args;
  // gRPC shares connections between channels with equal arguments; calls and watches must not.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A lost connection is noticed by ping. etcd refuses pings more often than every 5 s, and those without a stream.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // no limit: an idle watch has no data
  // A restarted etcd is found again in well under a second. MIN is the time that one attempt may take.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  // Nothing is sent twice behind our back.
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetMaxReceiveMessageSize(-1);
  args.SetMaxSendMessageSize(-1);
  return args;
}

/// Makes gRPC's threads of the callback API read this channel's sockets. A channel of blocking calls alone is read by nobody between
/// two of them: a connection that has ended, or has gone silent, would only be noticed by a write that is lost on it. The call is
/// over before it begins, so nothing is sent. Waits for its end: its context must not be the last to hold the channel, which
/// would then go in a thread of its own.
void KeepRead(const Endpoint& endpoint) {
  grpc::ClientContext context;
  etcdserverpb::RangeRequest request;
  etcdserverpb::RangeResponse response;
  Completion ended;
  context.set_deadline(gpr_inf_past(GPR_CLOCK_MONOTONIC));
  endpoint.kv->async()->Range(&context, &request, &response, [&ended](const grpc::Status& status) { ended.Set(status); });
  ended.Wait();
}

}  // namespace

gpr_timespec GrpcDeadline(Duration after) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(std::max<int64_t>(after.count(), 0), GPR_TIMESPAN));
}

StatusOr<std::string> EndpointTarget(const std::string& endpoint, bool tls) {
  std::string_view rest = endpoint;
  if (rest.starts_with("unix:")) return UnixTarget(endpoint, rest.substr(5));
  if (rest.starts_with("https://")) {
    if (!tls) return Errorf(Code::kInvalidArgument, "endpoint '{}' needs TLS, and no certificates are given", endpoint);
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    if (tls) return Errorf(Code::kInvalidArgument, "endpoint '{}' is plain, and TLS is asked for", endpoint);
    rest.remove_prefix(7);
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const size_t colon = rest.rfind(':');
  const bool bare_v6 = rest.find(':') != colon && !rest.starts_with('[');
  int port = 0;
  if (colon != std::string_view::npos && colon + 1 < rest.size() && rest.size() - colon <= 6) {
    for (const char c : rest.substr(colon + 1)) port = c < '0' || c > '9' || port < 0 ? -1 : port * 10 + (c - '0');
  }
  if (colon == 0 || port <= 0 || port > 65535 || bare_v6 || rest.find_first_of("/?#%@ ") != std::string_view::npos) {
    return Errorf(Code::kInvalidArgument, "endpoint '{}': expected host:port, unix:///path or unix:path", endpoint);
  }
  return "dns:///" + std::string(rest);
}

StatusOr<std::unique_ptr<Channels>> Channels::Make(const EtcdOptions& options) {
  if (options.endpoints.empty()) return Error(Code::kInvalidArgument, "no etcd endpoint is given");
  RETURN_IF_ERROR(CheckTls(options));
  const bool tls = !options.ca_pem.empty() || !options.certificate_pem.empty() || !options.key_pem.empty();
  const auto credentials = tls ? grpc::SslCredentials({options.ca_pem, options.key_pem, options.certificate_pem})
                               : grpc::InsecureChannelCredentials();
  std::unique_ptr<Channels> channels(new Channels());
  for (const std::string& text : options.endpoints) {
    ASSIGN_OR_RETURN(const std::string target, EndpointTarget(text, tls));
    Endpoint endpoint;
    endpoint.index = channels->endpoints_.size();
    endpoint.channel = grpc::CreateCustomChannel(target, credentials, Arguments());
    endpoint.kv = etcdserverpb::KV::NewStub(endpoint.channel);
    endpoint.lease = etcdserverpb::Lease::NewStub(endpoint.channel);
    endpoint.watch = etcdserverpb::Watch::NewStub(endpoint.channel);
    endpoint.auth = etcdserverpb::Auth::NewStub(endpoint.channel);
    KeepRead(endpoint);
    channels->endpoints_.push_back(std::move(endpoint));
  }
  return channels;
}

StatusOr<const Endpoint*> Channels::Connected(Duration wait) {
  const size_t first = current_.load(std::memory_order_relaxed);
  if (endpoints_[first].channel->GetState(true) == GRPC_CHANNEL_READY) return &endpoints_[first];
  const gpr_timespec until = GrpcDeadline(wait), others_until = GrpcDeadline(std::min<Duration>(wait / 2, kOthersFirst));
  std::optional<size_t> suspect = SuspectNow();
  if (suspect == first) suspect.reset();
  for (size_t turn = 0;; ++turn) {
    // All are told to connect, so that waiting for one is no loss for the others.
    if (gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), others_until) >= 0) suspect.reset();
    for (const Endpoint& endpoint : endpoints_) {
      if (endpoint.channel->GetState(true) != GRPC_CHANNEL_READY || endpoint.index == suspect) continue;
      current_.store(endpoint.index, std::memory_order_relaxed);
      return &endpoint;
    }
    if (gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), until) >= 0) {
      return Error(Code::kUnavailable, "no connection to etcd");
    }
    const Endpoint& endpoint = endpoints_[(first + turn) % endpoints_.size()];
    const gpr_timespec slice = endpoints_.size() == 1 ? until : gpr_time_min(until, GrpcDeadline(kSlice));
    endpoint.channel->WaitForConnected(slice);
  }
}

void Channels::Failed(const Endpoint& endpoint) {
  size_t expected = endpoint.index;
  current_.compare_exchange_strong(expected, (endpoint.index + 1) % endpoints_.size(), std::memory_order_relaxed);
  const MutexLock lock(mu_);
  suspect_ = {endpoint.index, Clock::Real().Monotonic() + kSuspicion};
}

std::optional<size_t> Channels::SuspectNow() const {
  const MutexLock lock(mu_);
  if (!suspect_ || Clock::Real().Monotonic() >= suspect_->until) return std::nullopt;
  return suspect_->index;
}

}  // namespace isla::store
