// Plots as SVG files: both axes logarithmic, a few panels side by side, one legend for all. No library.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "api/base/status.h"

namespace isla::bench {

struct Series {
  std::string name;  // the same name has the same colour in all panels
  std::vector<std::pair<double, double>> points;  // positive; ascending in x
};

struct Panel {
  std::string title;
  std::string x_label;
  std::vector<Series> series;  // y in microseconds
  bool counts = false;         // y is a number of things instead
};

/// The panels in rows of `columns`. An SVG text.
std::string Plot(const std::string& title, const std::vector<Panel>& panels, int columns);
Status WriteFile(const std::string& path, const std::string& text);

}  // namespace isla::bench
