// Tables of objects: the columns and cells that `get` shows, made by the server for every client.
#pragma once

#include <string>
#include <vector>

#include "api/base/clock.h"
#include "api/base/json.h"
#include "api/object/kind.h"

namespace isla::api {

struct Column {
  std::string name;         // "Name", "Phase"
  std::string type;         // string, integer, date, boolean
  std::string format;       // "name" for the first
  std::string description;
  int priority = 0;         // 1: only with -o wide
};

const std::vector<Column>& ColumnsOf(const Kind& kind);
/// One cell a column (strings; ages already formatted against `now`).
json::Array CellsOf(const Kind& kind, const json::Value& object, WallTime now);

}  // namespace isla::api
