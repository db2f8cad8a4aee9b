// Errors as kubectl writes them, so that people and scripts that know its texts know ours. Pure
// functions.
#pragma once

#include <functional>
#include <string>

#include "api/base/status.h"
#include "api/client/api_error.h"

namespace isla::cli {

/// The lines for standard error, each ended. `server` is how the server is shown
/// ("127.0.0.1:6443"). "Error from server (NotFound): sessions \"x\" not found"; "The Session \"x\"
/// is invalid: ..." with one line for each cause; "The connection to the server H:P was refused -
/// did you specify the right host or port?"; "error: ..." for what is ours.
std::string ErrorText(const Status& status, const std::string& server);

/// The same error with `what` ("error when creating \"a.json\"") in front of the server's message,
/// and with `place(field)` (" (a.json:7:12)" or "") behind each cause that names a field.
Status WithSource(const Status& status, const std::string& what,
                  const std::function<std::string(const std::string& field)>& place);

/// Text for a terminal or a cell of a table: control characters (but tabs and newlines if `lines`)
/// made visible.
std::string Printable(std::string_view text, bool lines = false);

}  // namespace isla::cli
