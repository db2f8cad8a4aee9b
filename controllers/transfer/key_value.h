// What each class of keys means for an export, an import and a repair: is it moved, does its value make sense, what of it
// belongs to processes. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "api/base/status.h"
#include "store/keys.h"
#include "store/store.h"

namespace isla::transfer {

/// "spec", "manifest-status", ...: as in a file and in messages; "other" for a key of no known shape.
std::string_view ClassName(store::KeyClass key_class);

/// Part of the cluster's content. Not: what belongs to a process (gateway/, lead/, barrier/), and meta/, which is about this
/// store's history; meta/cluster is the header of a file.
bool IsContent(store::KeyClass key_class);

/// Does the value mean what its class says, and belong to its key? INVALID_ARGUMENT with what is wrong: what isla would serve as
/// invalid, or keep as malformed. Inboxes and keys of unknown shape may hold anything.
Status CheckValue(const store::Keys& keys, const store::ParsedKey& parsed, const std::string& key,
                  const std::string& value);

/// The value without what belongs to processes: a node isn't connected, its term has no owner. As it is if it can't be read.
std::string AtRest(store::KeyClass key_class, const std::string& value);

/// The term of a nodeterm/ value; 0 if it can't be read.
int64_t TermOf(const std::string& value);

}  // namespace isla::transfer
