#include "sandbox/proof/cells.h"

#include <unordered_map>

namespace isla::sandbox {
namespace {

constexpr int8_t kNotAsked = -1;

/// A condition with its tests by number: equal tests are one question.
struct Question {
  Condition::Kind kind = Condition::Kind::kTrue;
  size_t test = 0;
  std::vector<Question> parts;
};

class Questions {
 public:
  Question Of(const Condition& condition) {
    Question out;
    out.kind = condition.kind();
    if (out.kind == Condition::Kind::kTest) out.test = NumberOf(condition.test());
    for (const Condition& part : condition.parts()) out.parts.push_back(Of(part));
    return out;
  }
  const std::vector<const AnyTest*>& tests() const { return tests_; }

 private:
  static size_t HashOf(const AnyTest& test) {
    size_t hash = test.index();
    if (const auto* number = std::get_if<NumberTest>(&test)) {
      hash = hash * 31 + static_cast<size_t>(number->number) + number->mask;
      if (!number->values.empty()) hash = hash * 31 + number->values.intervals()[0].first;
    } else if (const auto* text = std::get_if<TextTest>(&test)) {
      hash = hash * 31 + std::hash<std::string>()(text->pattern);
    }
    return hash;
  }

  size_t NumberOf(const AnyTest& test) {
    std::vector<size_t>& same_hash = by_hash_[HashOf(test)];
    for (const size_t number : same_hash) {
      if (*tests_[number] == test) return number;
    }
    tests_.push_back(&test);
    same_hash.push_back(tests_.size() - 1);
    return tests_.size() - 1;
  }

  std::vector<const AnyTest*> tests_;
  std::unordered_map<size_t, std::vector<size_t>> by_hash_;
};

struct ListedRule {
  RuleId rule;
  Question when;
};

/// How far a list has been gone through: rules before `at` don't hold.
struct Progress {
  size_t at = 0;
  bool decided = false;
  RuleId rule = 0;
};

class Explorer {
 public:
  Explorer(const CellOptions& options, const std::function<bool(const Cell&)>& visit) : options_(options), visit_(visit) {}

  void AddList(const std::vector<CallRule>& rules) {
    std::vector<ListedRule>& list = lists_.emplace_back();
    for (const CallRule& rule : rules) {
      list.push_back({rule.rule, questions_.Of(rule.when)});
      if (rule.when.kind() == Condition::Kind::kTrue) break;
    }
  }

  Status Run() {
    answers_.assign(questions_.tests().size(), kNotAsked);
    Explore(options_.situation, std::vector<Progress>(lists_.size()));
    if (cells_ > options_.most_cells) return Errorf(Code::kResourceExhausted, "more than {} ways to decide", options_.most_cells);
    if (no_work_left_) return Error(Code::kResourceExhausted, "too much work to look at all ways to decide");
    return OkStatus();
  }

 private:
  enum class Value : uint8_t { kFalse, kTrue, kOpen };

  /// What the answers so far say of a condition; else `next` is the test to ask: of an argument, if there is one, since
  /// arguments are what the kernel decides by before anybody looks at the rest.
  Value Evaluate(const Question& when, size_t& next) const {
    switch (when.kind) {
      case Condition::Kind::kTrue: return Value::kTrue;
      case Condition::Kind::kFalse: return Value::kFalse;
      case Condition::Kind::kTest:
        next = when.test;
        return answers_[when.test] == kNotAsked ? Value::kOpen : answers_[when.test] == 1 ? Value::kTrue : Value::kFalse;
      case Condition::Kind::kNot: {
        const Value value = Evaluate(when.parts.front(), next);
        return value == Value::kOpen ? value : value == Value::kTrue ? Value::kFalse : Value::kTrue;
      }
      default: break;
    }
    const Value ends = when.kind == Condition::Kind::kAnd ? Value::kFalse : Value::kTrue;
    bool open = false;
    for (const Question& part : when.parts) {
      size_t of_part = 0;
      const Value value = Evaluate(part, of_part);
      if (value == ends) return value;
      if (value != Value::kOpen) continue;
      if (!open || (!IsOfArgument(next) && IsOfArgument(of_part))) next = of_part;
      open = true;
    }
    if (open) return Value::kOpen;
    return ends == Value::kFalse ? Value::kTrue : Value::kFalse;
  }

  bool IsOfArgument(size_t test) const { return FactsOf(*questions_.tests()[test]) == 0; }

  /// Goes on in a list. False if a test must be asked first.
  bool Advance(const std::vector<ListedRule>& list, Progress& progress, size_t& next) const {
    for (; !progress.decided && progress.at < list.size(); ++progress.at) {
      const Value value = Evaluate(list[progress.at].when, next);
      if (value == Value::kOpen) return false;
      if (value == Value::kTrue) {
        progress.rule = list[progress.at].rule;
        progress.decided = true;
      }
    }
    progress.decided = true;
    return true;
  }

  /// "Yes" is explored by recursion, "no" here: lists of rules are far longer than conditions are deep.
  void Explore(Situation situation, std::vector<Progress> progress) {
    const size_t asked_before = asked_.size();
    while (!stopped_) {
      size_t next = 0;
      bool decided = true;
      for (size_t i = 0; i < lists_.size() && decided; ++i) decided = Advance(lists_[i], progress[i], next);
      if (decided) {
        Visit(situation, progress);
        break;
      }
      asked_.push_back(next);
      if (!Spend(4 * asked_.size())) break;
      const AnyTest& test = *questions_.tests()[next];
      Situation yes = situation;
      if (Add(yes, test, true) != Answer::kNo) {
        answers_[next] = 1;
        Explore(std::move(yes), progress);
      }
      answers_[next] = 0;
      if (Add(situation, test, false) == Answer::kNo) break;
    }
    while (asked_.size() > asked_before) {
      answers_[asked_.back()] = kNotAsked;
      asked_.pop_back();
    }
  }

  Answer Add(Situation& situation, const AnyTest& test, bool holds) {
    const uint64_t before = situation.work();
    const Answer answer = situation.Add(test, holds);
    (void)Spend(situation.work() - before);
    return answer;
  }

  /// False, and the end, if there isn't so much left.
  bool Spend(uint64_t units) {
    if (options_.work_left == nullptr || no_work_left_) return !no_work_left_;
    no_work_left_ = *options_.work_left < units;
    *options_.work_left -= std::min(*options_.work_left, units);
    stopped_ = stopped_ || no_work_left_;
    return !no_work_left_;
  }

  void Visit(const Situation& situation, const std::vector<Progress>& progress) {
    if (++cells_ > options_.most_cells) {
      stopped_ = true;
      return;
    }
    Cell cell;
    cell.first = progress[0].rule;
    cell.second = progress.size() > 1 ? progress[1].rule : 0;
    cell.certain = situation.answer() == Answer::kYes;
    if (cell.certain) cell.example = situation.Example();
    for (const size_t test : asked_) cell.tests.emplace_back(questions_.tests()[test], answers_[test] == 1);
    if (!visit_(cell)) stopped_ = true;
  }

  const CellOptions& options_;
  const std::function<bool(const Cell&)>& visit_;
  Questions questions_;
  std::vector<std::vector<ListedRule>> lists_;
  std::vector<int8_t> answers_;
  std::vector<size_t> asked_;  // the tests that have an answer, in order
  size_t cells_ = 0;
  bool stopped_ = false;
  bool no_work_left_ = false;
};

}  // namespace

Status ForEachCell(const std::vector<CallRule>& first, const std::vector<CallRule>* second, const CellOptions& options,
                   const std::function<bool(const Cell&)>& visit) {
  Explorer explorer(options, visit);
  explorer.AddList(first);
  if (second != nullptr) explorer.AddList(*second);
  return explorer.Run();
}

Answer CanHold(const Condition& condition, uint64_t* work_left) {
  const std::vector<CallRule> rules = {{1, condition}};
  Answer out = Answer::kNo;
  const CellOptions options = {.work_left = work_left, .situation = {}};
  const Status status = ForEachCell(rules, nullptr, options, [&out](const Cell& cell) {
    if (cell.first == 1) out = std::max(out, cell.certain ? Answer::kYes : Answer::kUnknown);
    return out != Answer::kYes;
  });
  return status.ok() ? out : std::max(out, Answer::kUnknown);
}

uint64_t CostOf(const Condition& condition) {
  uint64_t cost = 0;
  for (const Condition& part : condition.parts()) cost += CostOf(part);
  if (condition.kind() != Condition::Kind::kTest) return cost;
  if (const auto* text = std::get_if<TextTest>(&condition.test())) {
    return text->match == Match::kGlob ? 8 * text->pattern.size() : 4;
  }
  return std::holds_alternative<NumberTest>(condition.test()) ? 1 : 2;
}

}  // namespace isla::sandbox
