#include "controllers/islad/config_follower.h"

namespace isla::islad {
namespace {

constexpr size_t kMostWarnings = 20;  // in one batch: there is no telling how many somebody puts

const Logger& Log() {
  static const Logger log("islad");
  return log;
}

}  // namespace

ConfigFollower::ConfigFollower(const controllers::ClusterState& state, controllers::Listeners& listeners, LogLevel level)
    : state_(state), listeners_(listeners), flag_(level), applied_(level) {
  listeners_.Add(*this);
}

ConfigFollower::~ConfigFollower() { listeners_.Remove(*this); }

void ConfigFollower::OnChanges(const std::vector<controllers::Change>& changes, store::Revision revision) {
  bool settings = false;
  size_t unusable = 0;
  for (const controllers::Change& change : changes) {
    if (change.key.key_class != store::KeyClass::kConfig) continue;
    settings = true;
    if (change.type == controllers::Change::Type::kDeleted) continue;
    const std::string error = state_.SettingError(change.key.name);
    if (error.empty() || ++unusable > kMostWarnings) continue;
    Log().Warn("setting can't be used", "key='{}' error='{}'; ignoring it", change.key.name.substr(0, 300), error);
  }
  if (unusable > kMostWarnings) {
    Log().Warn("more settings can't be used", "count={}; ignoring them", unusable - kMostWarnings);
  }
  if (settings) ApplyLogLevel(revision);
}

void ConfigFollower::ApplyLogLevel(store::Revision revision) {
  LogLevel level = flag_;
  std::string from = "--log-level";
  for (const config::Effective& effective : state_.Config("")) {
    if (effective.setting->name != config::kIsladLogLevel || !effective.from) continue;
    ParseLogLevel(effective.value->as_string(), level);
    from = config::ScopeText(*effective.from);
  }
  if (level == applied_) return;
  applied_ = level;
  SetLogLevel(level);
  Log().Announce("log level changed", "level={} from={} revision={}", LogLevelName(level), from, revision);
}

}  // namespace isla::islad
