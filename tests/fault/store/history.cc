#include "tests/fault/store/history.h"

#include "tests/fault/store/timeline.h"

namespace isla::store::torture {
namespace {

std::string Describe(const Transaction& txn) {
  std::string text;
  for (const Compare& compare : txn.compares) {
    text += fmt::format(" if({} target={} op={} number={} value='{}')", compare.key, static_cast<int>(compare.target), static_cast<int>(compare.op),
                        compare.number, compare.value.substr(0, 40));
  }
  for (const Operation& operation : txn.success) {
    static constexpr const char* kNames[] = {"put", "delete", "delete-prefix", "get"};
    text += fmt::format(" {}({}{}{})", kNames[static_cast<int>(operation.kind)], operation.key, operation.value.empty() ? "" : "=",
                        operation.value.substr(0, 40));
  }
  return text;
}

}  // namespace

void Dump(const History& history, std::ostream& out) {
  out << fmt::format("history of '{}' after revision {} up to {}; {} keys\n", history.prefix, history.base, history.last, history.state.size());
  for (const auto& kv : history.state) out << "  " << Describe(kv.get()) << "\n";
  for (const Op& op : history.ops) {
    static constexpr const char* kKinds[] = {"txn", "get", "list", "cache-list"};
    static constexpr const char* kOutcomes[] = {"ok", "unknown", "refused"};
    out << fmt::format("{}..{} {} {} {} {} revision={} succeeded={} {}{}\n", op.called, op.ended, op.client, kKinds[static_cast<int>(op.kind)], op.key,
                       kOutcomes[static_cast<int>(op.outcome)], op.revision, op.succeeded, op.error, Describe(op.txn));
    for (const auto& kv : op.kvs) out << "    " << torture::Describe(kv.get()) << "\n";
  }
  for (const Segment& segment : history.segments) {
    out << fmt::format("watch {} '{}' after {} to {}: {}\n", segment.client, segment.prefix, segment.after, segment.upto(), segment.end);
    for (const Segment::Batch& batch : segment.batches) {
      out << fmt::format("  {} batch {}\n", batch.at, batch.revision);
      for (const Event& event : batch.events) {
        out << "    " << (event.type == Event::Type::kPut ? "put " : "delete ") << torture::Describe(event.kv.get());
        out << (event.previous == nullptr ? "" : " was " + torture::Describe(event.previous.get())) << "\n";
      }
    }
  }
  for (const Belief& belief : history.beliefs) {
    out << fmt::format("belief {} {} created={} until={}\n", belief.client, belief.key, belief.created, belief.until);
  }
}

}  // namespace isla::store::torture
