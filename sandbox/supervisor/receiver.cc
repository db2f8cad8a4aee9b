// The receiving half of the supervisor, and the way of one call to its answer.
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "sandbox/supervisor/call_shape.h"
#include "sandbox/supervisor/supervisor.h"

namespace isla::supervisor {
namespace {

using Kind = Decision::Kind;
using sandbox::RuleId;

/// A successor tries a call that its predecessors died with this often, then refuses it: it may be what kills them.
constexpr uint32_t kMaxAttempts = 3;

std::string ErrnoText(int error) {
  const char* const name = strerrorname_np(error);
  return name != nullptr ? fmt::format("errno {}", name) : fmt::format("errno {}", error);
}

/// Who connects to the unspecified address reaches the loopback. So that is what is decided about, and connected to; else a rule
/// about 127.0.0.0/8 would have a way around it.
void NameTheLoopback(std::string& bytes) {
  sa_family_t family = AF_UNSPEC;
  if (bytes.size() >= sizeof family) std::memcpy(&family, bytes.data(), sizeof family);
  if (family == AF_INET && bytes.size() >= sizeof(sockaddr_in)) {
    in_addr ip{};
    char* const at = bytes.data() + offsetof(sockaddr_in, sin_addr);
    std::memcpy(&ip, at, sizeof ip);
    if (ip.s_addr == htonl(INADDR_ANY)) ip.s_addr = htonl(INADDR_LOOPBACK);
    std::memcpy(at, &ip, sizeof ip);
  } else if (family == AF_INET6 && bytes.size() >= offsetof(sockaddr_in6, sin6_addr) + sizeof(in6_addr)) {
    in6_addr ip{};
    char* const at = bytes.data() + offsetof(sockaddr_in6, sin6_addr);
    std::memcpy(&ip, at, sizeof ip);
    if (IN6_IS_ADDR_UNSPECIFIED(&ip)) ip = in6addr_loopback;
    if (IN6_IS_ADDR_V4MAPPED(&ip) && ip.s6_addr32[3] == htonl(INADDR_ANY)) ip.s6_addr32[3] = htonl(INADDR_LOOPBACK);
    std::memcpy(at, &ip, sizeof ip);
  }
}

int ReadAddress(ReceivedCall& call, const CallShape& shape) {
  const auto& arguments = call.arguments();
  const auto bytes = static_cast<int32_t>(arguments[shape.address_bytes]);
  if (bytes < 0 || static_cast<size_t>(bytes) > sizeof(sockaddr_storage)) return EINVAL;
  call.address.resize(static_cast<size_t>(bytes));
  if (const int error = call.caller().memory().Read(arguments[shape.address], call.address.data(), call.address.size()); error != 0) {
    return error;
  }
  if (call.facts.number == SYS_connect) NameTheLoopback(call.address);
  return call.KnowAddress(call.address) ? 0 : EINVAL;
}

int ReadFields(ReceivedCall& call, const CallShape& shape) {
  const auto& arguments = call.arguments();
  const uint64_t bytes = arguments[shape.fields_bytes], at = arguments[shape.fields];
  if (bytes < sizeof(open_how)) return EINVAL;
  if (bytes > 4096) return E2BIG;
  char buffer[4096];
  if (const int error = call.caller().memory().Read(at, buffer, bytes); error != 0) return error;
  for (size_t i = sizeof(open_how); i < bytes; ++i) {
    if (buffer[i] != 0) return E2BIG;
  }
  std::memcpy(call.facts.fields.data(), buffer, sizeof(open_how));
  call.facts.known |= sandbox::kFactFields;
  return 0;
}

bool HasPathAddress(const std::string& address) {
  constexpr size_t kPathAt = offsetof(sockaddr_un, sun_path);
  uint16_t family = AF_UNSPEC;
  if (address.size() <= kPathAt) return false;
  std::memcpy(&family, address.data(), sizeof family);
  return family == AF_UNIX && address[kPathAt] != '\0';
}

/// What a decision does, for the audit.
std::string VerdictText(const Decision& decision) {
  if (decision.kind == Kind::kContinue && decision.enforced != Kind::kContinue) {
    Decision enforced = decision;
    enforced.kind = decision.enforced;
    return "continue, enforced: " + VerdictText(enforced);
  }
  switch (decision.kind) {
    case Kind::kContinue: return "continue";
    case Kind::kErrno: return ErrnoText(decision.error);
    case Kind::kKill: return "kill";
    case Kind::kSpoof: return fmt::format("spoof {}", decision.value);
    case Kind::kEmulate: return fmt::format("emulate {}", decision.text);
    case Kind::kFile: return "file";
    case Kind::kRedirect: return fmt::format("redirect {}", decision.text);
    case Kind::kRedirectAddress: return fmt::format("redirect {}", decision.text);
    case Kind::kPerform: return "perform";
    case Kind::kProgram: return "errno EPERM";
  }
  return "errno EPERM";
}

/// What a function answered, as if a rule had said it.
Decision DecisionOf(const sandbox::Action& action, bool enforces) {
  using Of = sandbox::Action::Kind;
  Decision out;
  switch (action.kind) {
    case Of::kAllow:
    case Of::kLog: out.kind = Kind::kContinue; break;
    case Of::kErrno:
    case Of::kDeny:
    case Of::kProgram: out.kind = Kind::kErrno; break;
    case Of::kKill: out.kind = Kind::kKill; break;
    case Of::kSpoof: out.kind = Kind::kSpoof; break;
    case Of::kEmulate: out.kind = Kind::kEmulate; break;
    case Of::kFile: out.kind = Kind::kFile; break;
    case Of::kRedirect: out.kind = Kind::kRedirect; break;
    case Of::kRedirectAddress: out.kind = Kind::kRedirectAddress; break;
    case Of::kPerform: out.kind = Kind::kPerform; break;
  }
  out.enforced = out.kind;
  out.error = action.error != 0 ? action.error : uint16_t{EPERM};
  out.value = action.value;
  if (out.kind == Kind::kRedirectAddress) out.address = sandbox::AddressFromText(action.text).value_or(SocketAddress());
  out.audit = action.kind != Of::kAllow && action.kind != Of::kPerform;
  if (!enforces && action.Restricts()) out.kind = Kind::kContinue;
  return out;
}

bool NeedsWorker(Kind kind) { return kind == Kind::kPerform || kind == Kind::kRedirect || kind == Kind::kRedirectAddress; }

}  // namespace

uint64_t Supervisor::NowNs() const { return static_cast<uint64_t>(clock_.Monotonic().time_since_epoch().count()); }

void Supervisor::ReceiveLoop() {
  JournalSlot* slot = nullptr;
  while (!stopping_.load()) {
    // There is always one: see HandleInline and Enqueue.
    if (slot == nullptr) slot = journal_.Take();
    ISLA_CHECK(slot != nullptr);
    const Listener::Received received = listener_.Receive(&slot->notification);
    if (received == Listener::Received::kCall) {
      OnReceived(slot);
      slot = nullptr;
    } else if (received == Listener::Received::kEnd) {
      break;
    } else if (received == Listener::Received::kFailed) {
      log_.Error("the listener can't be received from, calls are not answered any more", "errno={}", errno);
      break;
    }
  }
  if (slot != nullptr) journal_.Return(slot);
  receiver_done_.store(true);
  const uint64_t one = 1;
  (void)!write(stop_event_.get(), &one, sizeof one);
}

std::shared_ptr<const Decider> Supervisor::CurrentDecider() {
  // The lock only after a change.
  const uint64_t generation = generation_.load(std::memory_order_acquire);
  if (generation != known_generation_) {
    const MutexLock lock(mu_);
    known_decider_ = decider_;
    known_generation_ = generation;
  }
  return known_decider_;
}

Supervisor::CallPtr Supervisor::MakeCall(JournalSlot* slot, uint64_t now_ns) {
  return std::make_shared<ReceivedCall>(listener_, slot->notification, slot, CurrentDecider(), now_ns);
}

void Supervisor::OnReceived(JournalSlot* slot) {
  At(TestStep::kReceived);
  const uint64_t now = NowNs();
  slot->received_ns = now;
  journal_.CountReceived();
  ++count_.received;
  const CallPtr call = MakeCall(slot, now);
  if (!rate_.Take(now) || journal_.free_slots() == 0) {
    ++count_.throttled;
    return Finish(*call, Outcome::Errno(EAGAIN), "throttled", true);
  }
  HandleInline(call);
}

/// Of a predecessor.
void Supervisor::TakeUp(JournalSlot* slot) {
  const uint64_t id = slot->notification.id;
  if (!listener_.IsValid(id)) return journal_.Return(slot);  // answered, or the caller is gone
  ++count_.inherited;
  ++slot->attempts;
  slot->received_ns = NowNs();  // its deadline begins anew, and the watchdog's patience
  const CallPtr call = MakeCall(slot, slot->received_ns);
  const auto stage = static_cast<Stage>(slot->stage.load(std::memory_order_acquire));
  if (slot->tag != 0 && (stage == Stage::kAdding || stage == Stage::kDone) && FinishAdded(*call, *slot)) return;
  if (stage == Stage::kDone) {
    const int64_t result = slot->result;
    return Finish(*call, result < 0 ? Outcome::Errno(static_cast<int>(-result)) : Outcome::Value(result), "performed", false);
  }
  if (journal_.free_slots() == 0) return Finish(*call, Outcome::Errno(EAGAIN), "throttled", true);
  if (slot->attempts > kMaxAttempts) return Finish(*call, Outcome::Errno(EPERM), "given up", true);
  call->performed_before = stage != Stage::kReceived;
  HandleInline(call);
}

void Supervisor::HandleInline(const CallPtr& call) {
  const Facts needs = call->decider().Needs(call->number());
  if ((needs & (sandbox::kFactPath0 | sandbox::kFactPath1)) != 0) return Enqueue(call);
  if (const int error = Gather(*call, needs); error != 0) return Finish(*call, Outcome::Errno(error), "unreadable", true);
  if (HasPathAddress(call->address)) return Enqueue(call);
  call->decision = call->decider().Decide(call->facts);
  call->decided = true;
  Carry(call, false);
}

/// All but paths.
int Supervisor::Gather(ReceivedCall& call, Facts needs) const {
  const CallShape& shape = ShapeOf(call.number());
  int error = 0;
  needs &= static_cast<Facts>(~call.facts.known);  // what was read is never read again
  if ((needs & sandbox::kFactAddress) != 0 && shape.address >= 0) error = ReadAddress(call, shape);
  if (error == 0 && (needs & sandbox::kFactFields) != 0 && shape.fields >= 0) error = ReadFields(call, shape);
  if (error == 0 && (needs & sandbox::kFactExecutable) != 0) {
    call.executable = call.caller().Executable();
    call.facts.executable = call.executable;
    call.facts.known |= sandbox::kFactExecutable;
  }
  CallerStatus status;
  if (error == 0 && (needs & sandbox::kFactUid) != 0) {
    error = call.caller().Status(status);
    call.facts.uid = status.uid;
    call.facts.known |= sandbox::kFactUid;
  }
  return error;
}

/// The decision becomes what the policy's function says. 0, or an errno that the caller gets.
int Supervisor::AskProgram(ReceivedCall& call) const {
  if (const int error = Gather(call, sandbox::kFactExecutable | sandbox::kFactUid); error != 0) return error;
  CallerStatus status;
  if (const int error = call.caller().Status(status); error != 0) return error;
  const std::string function(call.decision.text);
  sandbox::ProgramAnswer answer = call.decider().Run(function, call.facts, status.process);
  call.by_program = true;
  if (!answer.error.empty()) call.program_error = fmt::format("{}: {}", function, answer.error);
  const RuleId rule = call.decision.rule;
  call.decision = DecisionOf(answer.action, call.decider().enforces());
  call.decision.rule = rule;
  call.answer_text = std::move(answer.action.text);
  call.decision.text = call.answer_text;
  return 0;
}

/// From the decision to the answer.
void Supervisor::Carry(const CallPtr& pointer, bool on_worker) {
  ReceivedCall& call = *pointer;
  Decision& decision = call.decision;
  if (decision.kind == Kind::kProgram) {
    if (!on_worker) return Enqueue(pointer);
    if (const int error = AskProgram(call); error != 0) return Finish(call, Outcome::Errno(error), "unreadable", true);
  }
  const bool looked = (call.facts.known & sandbox::kPointerFacts) != 0;
  // The kernel would read it all again, and may find something else there.
  if (decision.kind == Kind::kContinue && looked && call.decider().enforces()) {
    decision.kind = CanPerform(call.number()) ? Kind::kPerform : Kind::kErrno;
    decision.error = EPERM;
    decision.audit = decision.audit || decision.kind == Kind::kErrno;
  }
  if (NeedsWorker(decision.kind) && !on_worker) return Enqueue(pointer);
  if (decision.kind == Kind::kFile) {
    if (const int error = Gather(call, sandbox::kFactFields); error != 0) return Finish(call, Outcome::Errno(error), "unreadable", true);
  }
  At(TestStep::kDecided);
  std::string verdict = VerdictText(decision);
  if (!call.program_error.empty()) verdict += ", as the program failed: " + call.program_error;
  Outcome outcome;
  switch (decision.kind) {
    case Kind::kContinue: outcome = Outcome::Continue(); break;
    case Kind::kErrno: outcome = Outcome::Errno(decision.error != 0 ? decision.error : EPERM); break;
    case Kind::kKill: outcome = Outcome::Kill(); break;
    case Kind::kSpoof: outcome = Outcome::Value(decision.value); break;
    case Kind::kEmulate: {
      uint64_t arguments[6];
      for (size_t i = 0; i < 6; ++i) arguments[i] = call.facts.arguments[i];
      const EmulatedResult result = Emulate(decision.text, options_.grant, call.caller(), arguments);
      outcome = result.error != 0 ? Outcome::Errno(result.error) : Outcome::Value(result.value);
      break;
    }
    case Kind::kFile: outcome = contents_.Open(call, decision.text, !call.by_program); break;
    case Kind::kRedirect: outcome = PerformOn(call, std::string(decision.text)); break;
    case Kind::kRedirectAddress: outcome = PerformAt(call, decision.address); break;
    case Kind::kPerform: outcome = Perform(call); break;
    case Kind::kProgram: outcome = Outcome::Errno(EPERM); break;  // AskProgram answers with no other function
  }
  // Interrupted to stop, in the middle of it: a successor goes on.
  if (stopping_.load() && outcome.kind == Outcome::Kind::kErrno && outcome.error == EINTR) return;
  call.performed = NeedsWorker(decision.kind);
  if (call.performed) At(TestStep::kPerformed);
  const bool refused = decision.kind == Kind::kErrno || decision.kind == Kind::kKill;
  Finish(call, std::move(outcome), verdict, decision.audit || refused || audit_.Sample());
}

int Supervisor::Send(ReceivedCall& call, Outcome& outcome, JournalSlot& slot) {
  const uint64_t id = call.id();
  switch (outcome.kind) {
    case Outcome::Kind::kContinue: return listener_.Continue(id);
    case Outcome::Kind::kValue: return listener_.Reply(id, outcome.value);
    case Outcome::Kind::kErrno: return listener_.Fail(id, outcome.error);
    case Outcome::Kind::kKill: {
      CallerStatus status;
      UniqueFd process;
      if (call.caller().Status(status) == 0) {
        process.Reset(static_cast<int>(syscall(SYS_pidfd_open, status.process, 0)));
        if (process.valid() && call.caller().StillWaits()) syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
      }
      return listener_.Fail(id, EPERM);
    }
    case Outcome::Kind::kDescriptor: return SendDescriptor(call, outcome, slot);
  }
  return EINVAL;
}

int Supervisor::SendDescriptor(ReceivedCall& call, const Outcome& outcome, JournalSlot& slot) {
  const uint64_t id = call.id();
  const int fd = outcome.descriptor.get();
  if (!listener_.wait_killable()) {
    // In one step, as a signal to the caller could come between two: see Listener::AddFdAndReply.
    const int result = listener_.AddFdAndReply(id, fd, outcome.close_on_exec);
    if (result >= 0) At(TestStep::kDescriptorAdded);
    if (result >= 0 || result == -ENOENT) return result < 0 ? ENOENT : 0;
    return listener_.Fail(id, -result);
  }
  const uint32_t tag = tags_.Take();
  slot.tag = tag;
  slot.stage.store(static_cast<uint32_t>(Stage::kAdding), std::memory_order_release);
  TagPool::Mark(fd, tag);
  const int added = listener_.AddFd(id, fd, outcome.close_on_exec);
  if (added >= 0) At(TestStep::kDescriptorAdded);
  slot.result = added;
  slot.stage.store(static_cast<uint32_t>(Stage::kDone), std::memory_order_release);
  TagPool::Mark(fd, 0);
  tags_.Return(tag);
  if (added == -ENOENT) return ENOENT;
  return added < 0 ? listener_.Fail(id, -added) : listener_.Reply(id, added);
}

/// A predecessor died while it gave the caller a descriptor. True if the caller has it, and now its answer.
bool Supervisor::FinishAdded(ReceivedCall& call, JournalSlot& slot) {
  UniqueFd descriptor;
  const int number = call.caller().FindDescriptor([&slot](int fd) { return TagPool::IsMarked(fd, slot.tag); }, descriptor);
  if (number < 0) return false;
  slot.result = number;
  slot.stage.store(static_cast<uint32_t>(Stage::kDone), std::memory_order_release);
  TagPool::Mark(descriptor.get(), 0);
  Finish(call, Outcome::Value(number), "performed", false);
  return true;
}

void Supervisor::Finish(ReceivedCall& call, Outcome outcome, std::string_view verdict, bool audit) {
  JournalSlot* slot = nullptr;
  if (!call.Claim(slot)) return;
  // After the answer the caller may be anything. Looking costs as much as all the rest, so only for a line that is written.
  audit = audit && audit_.Admit();
  if (audit && call.executable.empty()) call.executable = call.caller().Executable();
  if (call.performed && outcome.kind != Outcome::Kind::kDescriptor) {
    slot->result = outcome.kind == Outcome::Kind::kErrno ? -outcome.error : outcome.value;
    slot->stage.store(static_cast<uint32_t>(Stage::kDone), std::memory_order_release);
  }
  Verdict counted = Verdict::kRewritten;
  const int error = Send(call, outcome, *slot);
  At(TestStep::kAnswered);
  if (error != 0) {
    ++count_.gone;
    if (error != ENOENT) log_.Warn("a call could not be answered, its caller waits", "errno={} number={}", error, call.number());
  } else if (outcome.kind == Outcome::Kind::kContinue) {
    ++count_.continued;
    counted = Verdict::kContinued;
  } else if (outcome.kind == Outcome::Kind::kKill) {
    ++count_.killed;
    counted = Verdict::kKilled;
  } else if (call.decided && call.decision.kind == Kind::kPerform) {
    ++count_.performed;
    counted = Verdict::kPerformed;
  } else if (outcome.kind == Outcome::Kind::kErrno && (!call.decided || call.decision.kind == Kind::kErrno)) {
    ++count_.refused;
    counted = Verdict::kRefused;
  } else {
    ++count_.rewritten;
  }
  journal_.Return(slot);
  if (options_.counters != nullptr) {
    if (call.decided && call.decision.rule != sandbox::kUnreadable) options_.counters->Count(call.decision.rule, counted);
    else options_.counters->CountUndecided();
  }
  if (audit) WriteAudit(call, call.executable, error == ENOENT ? "gone" : verdict);
}

void Supervisor::WriteAudit(const ReceivedCall& call, std::string_view executable, std::string_view verdict) {
  AuditEvent event;
  event.policy_version = call.decider().version();
  event.rule = call.decided ? call.decider().RuleName(call.decision.rule) : std::string_view();
  event.tid = call.caller().tid();
  event.executable = executable;
  event.number = call.number();
  event.arguments = call.facts.arguments;
  event.paths = call.facts.paths;
  const std::string address = (call.facts.known & sandbox::kFactAddress) != 0 ? call.facts.address.ToText() : std::string();
  event.address = address;
  event.verdict = std::string(verdict);
  event.took = std::chrono::nanoseconds(NowNs() - call.received_ns());
  audit_.Write(event);
}

}  // namespace isla::supervisor
