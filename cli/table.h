// Columns for people: three spaces between them, widths remembered from one print to the next (a
// watch goes on with the columns of its first table). Of the server's Tables, and of our own. Pure
// but for those widths.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/base/json.h"
#include "api/base/status.h"

namespace isla::cli {

class Columns {
 public:
  /// Lines of cells; the last cell of a line isn't padded. Cells are made printable, longer texts
  /// cut at their first line.
  std::string Format(const std::vector<std::vector<std::string>>& lines);

 private:
  std::vector<size_t> widths_;
};

struct TableStyle {
  bool wide = false;
  bool headers = true;
  bool ns = false;          // NAMESPACE first
  bool labels = false;      // LABELS last
  std::string name_prefix;  // "session.isla/" before names, when several types are shown
  std::string event;        // not "": an EVENT column first, with this
};

/// The lines of a server's Table, headers first if the style wants them. INTERNAL if it isn't a
/// Table.
StatusOr<std::vector<std::vector<std::string>>> TableLines(const json::Value& table,
                                                           const TableStyle& style);

/// The number of rows of a Table; 0 if it isn't one.
size_t RowCount(const json::Value& table);

/// "a=b,c=d", or "<none>".
std::string LabelText(const json::Value* labels);

/// A value as text: strings as they are, the rest as JSON; "" for null.
std::string CellText(const json::Value& value);

}  // namespace isla::cli
