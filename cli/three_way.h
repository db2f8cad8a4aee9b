// Client-side apply as kubectl does it for kinds of its own making: a JSON merge patch from three
// objects. Source of the rules: k8s.io/apimachinery jsonmergepatch and kubectl's
// GetModifiedConfiguration. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "api/base/json.h"

namespace isla::cli {

inline constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/// `manifest` with the annotation of what was applied: itself, without the annotation, as kubectl
/// writes it.
json::Value WithLastApplied(json::Value manifest);

/// The patch that makes `current` (the server's) what `modified` (the manifest with its annotation)
/// says: sets what differs, and removes what was in `original` (what was applied last; null if
/// nothing was) and isn't in `modified`. Lists are replaced whole. {} = nothing to do.
json::Value ThreeWayMergePatch(const json::Value& original, const json::Value& modified,
                               const json::Value& current);

/// RFC 7396's patch from `from` to `to`; both objects. Numbers are compared by their value.
json::Value CreateMergePatch(const json::Value& from, const json::Value& to);

/// What was applied last, from the annotation of `current`; null if there is none or it can't be
/// read.
json::Value LastAppliedOf(const json::Value& current);

}  // namespace isla::cli
