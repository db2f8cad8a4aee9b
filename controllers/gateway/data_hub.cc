#include "controllers/gateway/data_hub.h"

#include <utility>

namespace isla::controllers {

StatusOr<std::string> DataPipe::Next() {
  std::shared_ptr<DataCall> resume;
  std::string data;
  {
    MutexLock lock(mu_);
    if (frames_.empty()) {
      if (!ended_) return Error(Code::kDeadlineExceeded, "nothing yet");
      return end_.ok() ? Error(Code::kOutOfRange, "the end") : end_;
    }
    data = std::move(frames_.front());
    frames_.pop_front();
    bytes_ -= data.size();
    if (paused_ && bytes_ < kMaxQueuedBytes) {
      paused_ = false;
      resume = call_;
    }
  }
  if (resume != nullptr) resume->Resume();
  return data;
}

void DataPipe::Notify(std::function<void()> ready) {
  MutexLock lock(ready_mu_);
  ready_ = std::move(ready);
}

Status DataPipe::WaitAttached(Duration timeout) {
  MutexLock lock(mu_);
  while (!spoken_ && !ended_) {
    if (!changed_.WaitFor(mu_, timeout)) break;
  }
  // What came before an error is still worth reading.
  if (ended_ && frames_.empty()) return end_;
  if (spoken_) return OkStatus();
  return Error(Code::kUnavailable, "the node did not answer in time");
}

void DataPipe::Close() {
  {
    MutexLock lock(ready_mu_);
    ready_ = nullptr;
  }
  std::shared_ptr<DataCall> call;
  {
    MutexLock lock(mu_);
    closed_ = true;
    frames_.clear();
    bytes_ = 0;
    call = std::exchange(call_, nullptr);
  }
  if (call != nullptr) call->Finish(Error(Code::kCancelled, "the reader has gone"));
}

void DataPipe::Attach(std::shared_ptr<DataCall> call) {
  {
    MutexLock lock(mu_);
    if (!closed_) {
      call_ = std::move(call);
      return;
    }
  }
  call->Finish(Error(Code::kCancelled, "the reader has gone"));
}

void DataPipe::Finished(const Status& status) {
  if (std::exchange(ended_, true)) return;
  end_ = status;
  call_ = nullptr;
}

bool DataPipe::Push(isla::v1::DataFrame frame) {
  bool go_on = true;
  {
    MutexLock lock(mu_);
    if (closed_ || ended_) return true;
    spoken_ = spoken_ || !frame.end() || frame.error().empty();
    if (!frame.data().empty()) {
      bytes_ += frame.data().size();
      frames_.push_back(std::move(*frame.mutable_data()));
    }
    if (frame.end()) {
      Finished(frame.error().empty() ? OkStatus() : Errorf(Code::kNotFound, "{}", frame.error()));
    } else {
      go_on = bytes_ < kMaxQueuedBytes;
      paused_ = !go_on;
    }
    changed_.NotifyAll();
  }
  MutexLock lock(ready_mu_);
  if (ready_) ready_();
  return go_on;
}

void DataPipe::End(const Status& status) {
  {
    MutexLock lock(mu_);
    if (ended_) return;
    Finished(status.ok() ? Error(Code::kUnavailable, "the node's stream broke off") : status);
    changed_.NotifyAll();
  }
  MutexLock lock(ready_mu_);
  if (ready_) ready_();
}

StatusOr<std::pair<std::string, std::shared_ptr<DataPipe>>> DataHub::Expect(const std::string& node) {
  const std::string id = RandomHex(16);
  auto pipe = std::make_shared<DataPipe>();
  MutexLock lock(mu_);
  if (closed_) return Error(Code::kUnavailable, "the gateway is shutting down");
  if (waiting_.size() >= kMaxWaitingStreams) {
    return Error(Code::kResourceExhausted, "too many streams wait for their node");
  }
  waiting_[id] = {node, pipe};
  return std::make_pair(id, std::move(pipe));
}

std::shared_ptr<DataPipe> DataHub::Claim(const std::string& stream_id, const std::string& node) {
  MutexLock lock(mu_);
  const auto found = waiting_.find(stream_id);
  if (found == waiting_.end() || (!node.empty() && found->second.node != node)) return nullptr;
  std::shared_ptr<DataPipe> pipe = std::move(found->second.pipe);
  waiting_.erase(found);
  return pipe;
}

void DataHub::Close() {
  std::map<std::string, Waiting> waiting;
  {
    MutexLock lock(mu_);
    closed_ = true;
    waiting.swap(waiting_);
  }
  for (const auto& [id, entry] : waiting) entry.pipe->End(Error(Code::kUnavailable, "the gateway is shutting down"));
}

void DataHub::Forget(const std::string& stream_id) {
  MutexLock lock(mu_);
  waiting_.erase(stream_id);
}

}  // namespace isla::controllers
