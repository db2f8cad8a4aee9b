#include "controllers/islad/session_logs.h"

#include <sys/stat.h>

#include <cstdlib>
#include <utility>

#include "controllers/islad/forwarded_log.h"

namespace isla::islad {

using controllers::BindContainer;
using controllers::SessionView;

namespace {

class Stream final : public server::LogStream {
 public:
  explicit Stream(std::unique_ptr<controllers::NodeStream> stream) : stream_(std::move(stream)) {}
  StatusOr<std::string> Next() override { return stream_->Next(); }
  void Notify(std::function<void()> ready) override { stream_->Notify(std::move(ready)); }

 private:
  const std::unique_ptr<controllers::NodeStream> stream_;
};

StatusOr<BindContainer> FindContainer(const SessionView& view, const server::LogRequest& request) {
  const std::string uid = request.object->StringAt({"metadata", "uid"});
  if (view.bind == nullptr || !view.bind->ok() || view.bind->value.uid != uid || view.bind->value.containers.empty()) {
    const std::string why = request.object->StringAt({"status", "message"});
    return Errorf(Code::kFailedPrecondition, "session '{}' has no node yet, so it has no log{}{}", request.session,
                  why.empty() ? "" : ": ", why);
  }
  for (const BindContainer& container : view.bind->value.containers) {
    if (request.container.empty() || request.container == container.name) return container;
  }
  return Errorf(Code::kNotFound, "session '{}' has no container '{}'", request.session, request.container);
}

/// The node has no log: not yet, or not any more?
Status NoLog(const SessionView& view, const BindContainer& container, const Status& status) {
  const controllers::Run* run = view.RunOf(container);
  if (run == nullptr) {
    return Errorf(Code::kFailedPrecondition, "session '{}' has not been started yet: node '{}' has not accepted it", view.name,
                  container.node);
  }
  if (run->nack) {
    return Errorf(Code::kFailedPrecondition, "session '{}' has not been started yet: node '{}' refused it: {}", view.name,
                  container.node, run->nack->message);
  }
  return status;
}

constexpr std::string_view kUnix = "unix://";
constexpr Duration kBehind = std::chrono::seconds(2);

/// The API socket of the islad that serves the node, if that is another one of this machine; else "".
std::string OtherIslad(const controllers::ClusterState& state, const std::string& node, const std::string& own_id) {
  const controllers::NodeView view = state.Node(node);
  if (view.node == nullptr || !view.node->ok() || !view.node->value.connected || view.node->value.gateway == own_id) return "";
  const auto gateway = state.Gateway(view.node->value.gateway);
  if (gateway == nullptr || !gateway->ok() || !gateway->value.api.starts_with(kUnix)) return "";
  const std::string path = gateway->value.api.substr(kUnix.size());
  struct stat found {};
  return stat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode) ? path : "";
}

}  // namespace

void SessionLogs::SetGateway(std::shared_ptr<controllers::Gateway> gateway) {
  MutexLock lock(mu_);
  gateway_.swap(gateway);
}

StatusOr<std::unique_ptr<server::LogStream>> SessionLogs::Open(const server::LogRequest& request) {
  std::shared_ptr<controllers::Gateway> gateway;
  {
    MutexLock lock(mu_);
    gateway = gateway_;
  }
  if (gateway == nullptr) return Error(Code::kUnavailable, "this islad serves no agents at the moment");
  // The object comes from the cache, which the state follows: whoever saw the session run gets its log.
  const std::string seen = request.object->StringAt({"metadata", "resourceVersion"});
  if (const Status ok = state_.WaitFor(std::strtoll(seen.c_str(), nullptr, 10), kBehind); !ok.ok()) {
    return Errorf(Code::kUnavailable, "this islad is behind its store: {}", Message(ok));
  }
  const SessionView view = state_.Session(request.ns + "/" + request.session);
  ASSIGN_OR_RETURN(const BindContainer container, FindContainer(view, request));
  isla::v1::LogRequest ask;
  ask.set_uid(container.uid);
  ask.set_incarnation(container.incarnation);
  ask.set_follow(request.follow);
  ask.set_timestamps(request.timestamps);
  ask.set_tail_lines(request.tail_lines.value_or(-1));
  if (request.since_seconds) {
    const WallTime since = clock_.Wall() - std::chrono::seconds(*request.since_seconds);
    ask.set_since_ns(since.time_since_epoch().count());
  }
  // Elsewhere, and within reach: fetched from there. Out of reach, OpenLog says where it is.
  const std::string other = OtherIslad(state_, container.node, gateway->id());
  if (!other.empty()) return ForwardLog(other, request);
  auto stream = gateway->OpenLog(container.node, ask);
  if (stream.status().code() == Code::kNotFound) return NoLog(view, container, stream.status());
  RETURN_IF_ERROR(stream.status());
  return std::unique_ptr<server::LogStream>(std::make_unique<Stream>(*std::move(stream)));
}

}  // namespace isla::islad
