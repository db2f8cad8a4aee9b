// The versions of its sandbox policy that a container's entry in the journal has, with their texts: in its launch the one that it was accepted or started with, in
// `live` the one that it should have by now. Pure.
#pragma once

#include <isla/agent/journal.pb.h>

#include <string>

#include "agentd/policy_text.h"

namespace isla::agent {

/// The version that the container should have. Its text is empty if it was gone before it could be told.
PolicyText WantedPolicy(const journal::Entry& entry);
/// The one to start it with: that, or, without a text, the one that it was accepted with.
PolicyText PolicyToStart(const journal::Entry& entry);
/// The text of this version, if the entry has it.
PolicyText PolicyVersion(const journal::Entry& entry, const std::string& hash);
/// It may need the version that it was told, and hasn't got the text.
bool LacksPolicy(const journal::Entry& entry);

/// The text of a version in a delta; null if it isn't there. One that is too long, or another version's, isn't.
const std::string* TextIn(const isla::v1::Delta& delta, const std::string& hash);

/// Takes over what `desired` says of the policy of a container that is known. True: the entry has changed. `started_with`: the version that its shim was started
/// with, "" if that isn't known: its text is kept, as what is in force is compared with it.
bool TakeWantedPolicy(const isla::v1::Delta& delta, const isla::v1::DesiredContainer& desired, const std::string& started_with, journal::Entry& entry);

}  // namespace isla::agent
