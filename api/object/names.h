// The syntax of names: what Kubernetes allows, so that its tools work unchanged. Each function returns what
// is wrong, in words that fit after "Invalid value: ...: ", or "" if nothing is. Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace isla::api {

/// RFC 1123 label: 1 to 63 of a-z, 0-9, '-'; begins and ends with a letter or digit. Names of sessions,
/// projects: they end up in names of systemd units and cgroups.
std::string CheckDnsLabel(std::string_view name);
/// RFC 1123 subdomain: labels joined by '.', at most 253. Names of nodes.
std::string CheckDnsSubdomain(std::string_view name);
/// A label's or annotation's key: [subdomain/]name, the name 1 to 63 of letters, digits, '-', '_', '.'.
std::string CheckLabelKey(std::string_view key);
/// A label's value: "" or as the name of a key.
std::string CheckLabelValue(std::string_view value);
/// The name of an environment variable: letters, digits, '_', '-', '.'; begins with no digit.
std::string CheckEnvName(std::string_view name);
/// An absolute path without "." or ".." parts, double or final slashes, at most 4095 bytes.
std::string CheckAbsolutePath(std::string_view path);

}  // namespace isla::api
