// Sessions that run through the scheduler and the session controller, step by step.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "controllers/runtime/controller_set.h"
#include "controllers/scheduler/scheduler.h"
#include "controllers/session/session_controller.h"
#include "tests/unit/controllers/world.h"

namespace isla::controllers {

class SessionLife : public testing::Test {
 protected:
  SessionLife() {
    reconcilers_.push_back(std::make_unique<Scheduler>(world_.keys, world_.clock));
    reconcilers_.push_back(std::make_unique<SessionController>(world_.keys, world_.clock));
    ControllerSetOptions options;
    set_ = std::make_unique<ControllerSet>(reconcilers_, world_.state, *world_.store, world_.token(), world_.clock,
                                           options);
  }

  /// Runs until nothing is left to do at this time. The number of writes.
  int Settle() {
    int steps = 0;
    for (int idle = 0; idle < 3;) {
      const std::vector<Change> changes = world_.Sync();
      set_->OnChanges(changes, world_.state.revision());
      bool did = !changes.empty();
      for (size_t i = 0; i < set_->size(); ++i) {
        while (set_->Step(i)) {
          did = true;
          EXPECT_LT(++steps, 1000) << "does not settle";
          if (steps >= 1000) return steps;
        }
      }
      idle = did ? 0 : idle + 1;
    }
    return steps;
  }
  void Place(const std::string& name, const SessionOptions& options = {}) {
    world_.AddNode("n1");
    world_.AddSession(name, options);
    Settle();
    ASSERT_EQ(world_.PhaseOf(name), "Scheduled");
  }
  std::string SpecKey(const std::string& name) { return world_.keys.Spec("session", "default", name); }
  void MarkDeleted(const std::string& name, int64_t grace = -1) {
    world_.Put(SpecKey(name), json::Serialize(Deleted(SessionJson(name), grace)));
  }

  World world_;
  std::vector<std::unique_ptr<Reconciler>> reconcilers_;
  std::unique_ptr<ControllerSet> set_;
};

}  // namespace isla::controllers
