#include "tests/e2e/agentd/fake_gateway.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "api/base/uuid.h"

namespace isla::testing {

using isla::v1::AgentMessage;
using isla::v1::DataFrame;
using isla::v1::Delta;
using isla::v1::DesiredContainer;
using isla::v1::GatewayMessage;

isla::v1::LaunchSpec MakeLaunch(std::vector<std::string> argv) {
  isla::v1::LaunchSpec launch;
  launch.set_namespace_("default");
  launch.set_session("test");
  launch.set_session_uid("6ba7b810-9dad-41d1-80b4-00c04fd430c8");
  launch.set_name("main");
  launch.set_image("host");
  for (auto& arg : argv) launch.add_argv(std::move(arg));
  launch.add_env("PATH=/usr/bin:/bin");
  launch.set_working_dir("/");
  launch.set_cpu_millis(200);
  launch.set_memory_bytes(int64_t{64} << 20);
  launch.set_tasks(64);
  launch.set_grace_period_msec(2000);
  launch.set_network("none");
  launch.set_sandbox_policy("default");
  return launch;
}

class FakeGateway::Service final : public isla::v1::AgentGateway::Service {
 public:
  explicit Service(FakeGateway& owner) : owner_(owner) {}

  grpc::Status Connect(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<GatewayMessage, AgentMessage>* stream) override {
    std::mutex writing;
    {
      std::lock_guard<std::mutex> lock(owner_.mu_);
      owner_.write_ = [stream, &writing](const GatewayMessage& message) {
        std::lock_guard<std::mutex> one(writing);
        stream->Write(message);
      };
      owner_.cancel_ = [context] { context->TryCancel(); };
    }
    AgentMessage message;
    while (stream->Read(&message)) owner_.HandleMessage(message);
    std::lock_guard<std::mutex> lock(owner_.mu_);
    owner_.write_ = nullptr;
    owner_.cancel_ = nullptr;
    return grpc::Status::OK;
  }

  grpc::Status Data(grpc::ServerContext*, grpc::ServerReaderWriter<DataFrame, DataFrame>* stream) override {
    DataFrame frame;
    std::string id;
    while (stream->Read(&frame)) {
      std::lock_guard<std::mutex> lock(owner_.mu_);
      if (!frame.stream_id().empty()) id = frame.stream_id();
      owner_.logs_[id] += frame.data();
      if (!frame.error().empty()) owner_.logs_[id] += "error: " + frame.error();
      if (frame.end()) owner_.logs_ended_[id] = true;
      owner_.changed_.notify_all();
    }
    return grpc::Status::OK;
  }

 private:
  FakeGateway& owner_;
};

FakeGateway::FakeGateway(const std::string& folder)
    : socket_(folder + "/gateway.sock"), service_(std::make_unique<Service>(*this)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket_, grpc::InsecureServerCredentials());
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
}

FakeGateway::~FakeGateway() {
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_->Wait();
}

bool FakeGateway::WaitFor(std::chrono::milliseconds timeout, const std::function<bool()>& holds) {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, timeout, holds);
}

// The stream may end meanwhile; what isn't written then is in the next full state.
void FakeGateway::Write(const GatewayMessage& message) {
  std::lock_guard<std::mutex> lock(mu_);
  if (write_) write_(message);
}

Delta FakeGateway::FullState() {
  Delta delta;
  delta.set_nonce(++nonce_);
  delta.set_term(term_);
  delta.set_full(true);
  delta.set_expected_count(desired_.size());
  for (const auto& [key, desired] : desired_) *delta.add_upserts() = desired;
  full_nonces_[delta.nonce()] = true;
  return delta;
}

void FakeGateway::HandleMessage(const AgentMessage& message) {
  std::lock_guard<std::mutex> lock(mu_);
  GatewayMessage answer;
  switch (message.message_case()) {
    case AgentMessage::kHello: {
      hello_ = message.hello();
      term_ = std::max(term_, hello_.highest_term()) + 1;
      answer.mutable_welcome()->set_protocol(1);
      answer.mutable_welcome()->set_term(term_);
      answer.mutable_welcome()->set_gateway_id("fake");
      write_(answer);
      GatewayMessage full;
      *full.mutable_delta() = FullState();
      write_(full);
      break;
    }
    case AgentMessage::kAck:
      acks_[message.ack().nonce()] = message.ack();
      if (full_nonces_.contains(message.ack().nonce())) ++full_acks_;
      break;
    case AgentMessage::kReport:
      reports_[{message.report().uid(), message.report().incarnation()}].push_back(message.report());
      if (acking_) {
        answer.mutable_report_ack()->set_sequence(message.report().sequence());
        write_(answer);
      }
      break;
    case AgentMessage::kPing:
      if (ponging_) {
        answer.mutable_pong()->set_sequence(message.ping().sequence());
        write_(answer);
      }
      break;
    case AgentMessage::kDigestReply: digests_[message.digest_reply().sequence()] = message.digest_reply().matches(); break;
    default: break;
  }
  changed_.notify_all();
}

bool FakeGateway::WaitServed(int count) {
  return WaitFor(std::chrono::seconds(20), [this, count] { return full_acks_ >= count; });
}

isla::v1::Hello FakeGateway::hello() {
  std::lock_guard<std::mutex> lock(mu_);
  return hello_;
}

std::optional<isla::v1::DeltaAck> FakeGateway::Send(Delta delta) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    delta.set_nonce(++nonce_);
    if (delta.term() == 0) delta.set_term(term_);
  }
  GatewayMessage message;
  *message.mutable_delta() = delta;
  Write(message);
  if (!WaitFor(std::chrono::seconds(10), [this, &delta] { return acks_.contains(delta.nonce()); })) return std::nullopt;
  std::lock_guard<std::mutex> lock(mu_);
  return acks_[delta.nonce()];
}

std::optional<isla::v1::DeltaAck> FakeGateway::Run(const Key& key, const isla::v1::LaunchSpec& launch) {
  DesiredContainer desired;
  desired.set_uid(key.first);
  desired.set_incarnation(key.second);
  desired.set_hash("h1");
  desired.set_desired(DesiredContainer::RUN);
  *desired.mutable_launch() = launch;
  {
    std::lock_guard<std::mutex> lock(mu_);
    desired_[key] = desired;
  }
  Delta delta;
  *delta.add_upserts() = desired;
  return Send(delta);
}

std::optional<isla::v1::DeltaAck> FakeGateway::Stop(const Key& key, int64_t grace_msec) {
  DesiredContainer desired;
  desired.set_uid(key.first);
  desired.set_incarnation(key.second);
  desired.set_hash("h2");
  desired.set_desired(DesiredContainer::STOP);
  desired.set_grace_period_msec(grace_msec);
  {
    std::lock_guard<std::mutex> lock(mu_);
    desired_[key] = desired;
  }
  Delta delta;
  *delta.add_upserts() = desired;
  return Send(delta);
}

std::optional<isla::v1::DeltaAck> FakeGateway::Remove(const Key& key) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    desired_.erase(key);
  }
  Delta delta;
  delta.add_removals()->set_uid(key.first);
  delta.mutable_removals(0)->set_incarnation(key.second);
  return Send(delta);
}

std::optional<isla::v1::Report> FakeGateway::WaitReport(const Key& key,
                                                        const std::function<bool(const isla::v1::Report&)>& holds,
                                                        std::chrono::milliseconds timeout) {
  std::optional<isla::v1::Report> found;
  WaitFor(timeout, [this, &key, &holds, &found] {
    const auto& reports = reports_[key];
    if (reports.empty() || !holds(reports.back())) return false;
    found = reports.back();
    return true;
  });
  return found;
}

std::optional<isla::v1::Report> FakeGateway::WaitState(const Key& key, isla::v1::ContainerState state,
                                                       std::chrono::milliseconds timeout) {
  return WaitReport(key, [state](const isla::v1::Report& report) { return report.state() >= state; }, timeout);
}

int FakeGateway::CountReports(const Key& key, isla::v1::ContainerState state) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto& reports = reports_[key];
  return static_cast<int>(std::count_if(reports.begin(), reports.end(),
                                        [state](const isla::v1::Report& r) { return r.state() == state; }));
}

std::string FakeGateway::Digest() {
  std::vector<std::string> lines;
  for (const auto& [key, desired] : desired_) {
    lines.push_back(key.first + " " + std::to_string(key.second) + " " + desired.hash() +
                    (desired.desired() == DesiredContainer::STOP ? " STOP\n" : " RUN\n"));
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const auto& line : lines) all += line;
  return Sha256Hex(all);
}

std::optional<bool> FakeGateway::AskDigest() {
  GatewayMessage message;
  uint64_t sequence = 0;
  {
    std::lock_guard<std::mutex> lock(mu_);
    sequence = ++digest_sequence_;
    message.mutable_digest()->set_sequence(sequence);
    message.mutable_digest()->set_count(desired_.size());
    message.mutable_digest()->set_digest(Digest());
  }
  Write(message);
  if (!WaitFor(std::chrono::seconds(5), [this, sequence] { return digests_.contains(sequence); })) return std::nullopt;
  std::lock_guard<std::mutex> lock(mu_);
  return digests_[sequence];
}

std::string FakeGateway::ReadLog(const Key& key, bool follow, int64_t tail, bool timestamps) {
  GatewayMessage message;
  std::string id;
  {
    std::lock_guard<std::mutex> lock(mu_);
    id = "stream-" + std::to_string(++stream_count_);
  }
  auto& open = *message.mutable_open_stream();
  open.set_stream_id(id);
  open.mutable_log()->set_uid(key.first);
  open.mutable_log()->set_incarnation(key.second);
  open.mutable_log()->set_follow(follow);
  open.mutable_log()->set_tail_lines(tail);
  open.mutable_log()->set_timestamps(timestamps);
  Write(message);
  const bool ended = WaitFor(std::chrono::seconds(20), [this, &id] { return logs_ended_[id]; });
  std::lock_guard<std::mutex> lock(mu_);
  return ended ? logs_[id] : "the stream did not end; so far: " + logs_[id];
}

void FakeGateway::SetAcking(bool acking) {
  std::lock_guard<std::mutex> lock(mu_);
  acking_ = acking;
}

void FakeGateway::SetPonging(bool ponging) {
  std::lock_guard<std::mutex> lock(mu_);
  ponging_ = ponging;
}

void FakeGateway::SetTerm(int64_t term) {
  std::lock_guard<std::mutex> lock(mu_);
  term_ = term;
}

void FakeGateway::Disconnect() {
  std::lock_guard<std::mutex> lock(mu_);
  if (cancel_) cancel_();
}

}  // namespace isla::testing
