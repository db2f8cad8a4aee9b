// Judges a history (history.h). In the manner of etcd's robustness tests, revisions are the witness: they say in which order
// everything happened, so nothing has to be searched for, and the check takes time in proportion to the history.
//
//   watches       ordered, unique, atomic (a transaction's events come in one batch, all of them), reliable (every event of the
//                 prefix between a watch's start and what it claims to have delivered), with true previous values
//   transactions  each took effect at one revision, whole; its compares held just before it (or one of them didn't hold when it says so);
//                 one that was refused never shows, one whose outcome is unknown at most once
//   real time     what began after another had ended has a revision not below the other's; nothing is seen before it was asked for
//   reads         each is the store's content at its revision; a client of a cache never sees time run backwards
//   leases        a key isn't seen gone by anyone while its holder is sure of it; nothing but a lease's end deletes unasked
#pragma once

#include <string>
#include <vector>

#include "tests/fault/store/history.h"

namespace isla::store::torture {

/// What is wrong with it; empty: nothing. At most 30 texts.
std::vector<std::string> Check(const History& history);

}  // namespace isla::store::torture
