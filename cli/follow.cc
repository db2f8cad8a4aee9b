#include "cli/follow.h"

#include <algorithm>

#include "api/client/api_error.h"
#include "cli/targets.h"

namespace isla::cli {
namespace {

// A stream whose other end has silently vanished is noticed by looking at the session now and then.
constexpr Duration kLookAfter = std::chrono::seconds(10);
constexpr Duration kFirstBackoff = std::chrono::milliseconds(20);
constexpr Duration kMaxBackoff = std::chrono::seconds(1);
constexpr Duration kTellAfter = std::chrono::seconds(2);

bool Refused(const Status& status) { return client::ApiErrorOf(status).has_value(); }

}  // namespace

std::string LogPath(const client::Resource& resource, const std::string& ns,
                    const std::string& name) {
  return resource.ObjectPath(ns, name) + "/log";
}

Follower::Follower(Context& context, client::ApiClient& api, FollowTarget target,
                   client::LogOptions options)
    : context_(context),
      api_(api),
      target_(std::move(target)),
      reader_(api, LogPath(target_.resource, target_.ns, target_.name), options) {}

StatusOr<Follower::State> Follower::Look() {
  const auto object = api_.Get(target_.resource.ObjectPath(target_.ns, target_.name));
  if (!object.ok()) {
    if (object.status().code() == Code::kNotFound && Refused(object.status()) && printed_)
      return State::kEnded;
    return object.status();
  }
  if (IsFinal(PhaseOf(*object))) return State::kEnded;
  return HasStarted(*object) ? State::kRunning : State::kWaiting;
}

Status Follower::AwaitStart() {
  ASSIGN_OR_RETURN(NameWatch watch,
                   NameWatch::Open(context_, target_.resource, target_.ns, target_.name));
  bool told = false;
  for (;;) {
    if (watch.object() == nullptr) {
      return Errorf(Code::kNotFound, "{} is gone, it was never started",
                    PathName(target_.resource, target_.name));
    }
    if (HasStarted(*watch.object())) return OkStatus();
    const Status next = watch.Next(told ? kForever : kTellAfter);
    if (next.code() != Code::kDeadlineExceeded) {
      RETURN_IF_ERROR(next);
    } else {
      context_.Complain(fmt::format("waiting for {} to start: {}\n",
                                    PathName(target_.resource, target_.name),
                                    PendingReason(*watch.object())));
      told = true;
    }
  }
}

/// OK if it makes sense to go on.
Status Follower::OnError(const Status& error) {
  const auto refused = client::ApiErrorOf(error);
  if (refused && refused->reason == "BadRequest") {
    ASSIGN_OR_RETURN(const State state, Look());
    if (state == State::kWaiting) return AwaitStart();
    // Started by now: what was refused is said again if it stays so.
    if (backoff_ >= kMaxBackoff) return error;
  } else if (error.code() != Code::kUnavailable && error.code() != Code::kResourceExhausted &&
             client::FaultOf(error) != client::Fault::kTimeout) {
    return error;
  }
  const MonotonicTime now = Clock::Real().Monotonic();
  if (trouble_since_ == MonotonicTime{}) trouble_since_ = now;
  if (now - trouble_since_ >= kTellAfter && !std::exchange(told_, true))
    TellOutage(context_, Message(error));
  const Duration pause = backoff_;
  backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kMaxBackoff);
  return pause > Duration::zero() ? api_.http().Pause(pause) : OkStatus();
}

/// The body has ended: because the session has, or because the server was restarted.
Status Follower::OnEnd(bool& done) {
  auto watch = NameWatch::Open(context_, target_.resource, target_.ns, target_.name);
  if (!watch.ok()) return OnError(watch.status());
  const MonotonicTime deadline = Clock::Real().Monotonic() + kMaxBackoff;
  while (watch->object() != nullptr && !IsFinal(PhaseOf(*watch->object()))) {
    const Status next = watch->Next(deadline - Clock::Real().Monotonic());
    if (next.code() == Code::kDeadlineExceeded) return OkStatus();  // not ended: read on
    RETURN_IF_ERROR(next);
  }
  done = true;
  return OkStatus();
}

Status Follower::Run() {
  for (;;) {
    const auto text = reader_.Next(kLookAfter);
    if (text.ok() && !text->empty()) {
      context_.Print(*text);
      context_.io().Flush();
      printed_ = true;
      ended_ = false;
      told_ = false;
      backoff_ = Duration::zero();
      trouble_since_ = {};
    } else if (text.ok()) {
      bool done = false;
      RETURN_IF_ERROR(OnEnd(done));
      if (done) return OkStatus();
    } else if (text.status().code() == Code::kDeadlineExceeded &&
               client::FaultOf(text.status()) == client::Fault::kNone && !Refused(text.status())) {
      const auto state = Look();
      if (!state.ok()) {
        RETURN_IF_ERROR(OnError(state.status()));
        continue;
      }
      if (*state == State::kEnded && std::exchange(ended_, true)) return OkStatus();
    } else if (text.status().code() == Code::kNotFound && Refused(text.status()) && printed_) {
      return OkStatus();  // deleted while we followed
    } else {
      RETURN_IF_ERROR(OnError(text.status()));
    }
  }
}

}  // namespace isla::cli
