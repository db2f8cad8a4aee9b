#include "bench/common/plot.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>

namespace isla::bench {
namespace {

// In pixels. A panel's frame lies within its margins; one that is alone is larger.
constexpr double kWidth = 380, kHeight = 290, kLeft = 62, kRight = 14, kTop = 34, kBottom = 46;
constexpr double kLargeWidth = 620, kLargeHeight = 400;
constexpr double kTitleHeight = 40, kLegendLine = 20;
// Told apart by people who see colours differently, too (Okabe and Ito).
constexpr const char* kColours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"};

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else out += c;
  }
  return out;
}

std::string Text(double x, double y, const std::string& text, const std::string& attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, Escape(text));
}
std::string Line(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1, x2, y2, attributes);
}

std::string CountLabel(int decade) {
  static const char* const kLabels[] = {"1", "10", "100", "1k", "10k", "100k", "1M", "10M", "100M"};
  return decade >= 0 && decade < 9 ? kLabels[decade] : fmt::format("1e{}", decade);
}
std::string TimeLabel(int decade) {
  if (decade < 0) return fmt::format("{:g} µs", std::pow(10.0, decade));
  static const char* const kLabels[] = {"1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"};
  return decade < 9 ? kLabels[decade] : fmt::format("1e{} µs", decade);
}

/// A logarithmic axis: whole decades around what is shown.
struct Axis {
  int low = 0, high = 1;  // decades
  double from = 0, to = 0;  // pixels

  void Show(double value, bool first) {
    const double decade = std::log10(value);
    const int below = static_cast<int>(std::floor(decade + 1e-9)), above = static_cast<int>(std::ceil(decade - 1e-9));
    low = first ? below : std::min(low, below);
    high = first ? above : std::max(high, above);
  }
  double At(double value) const { return from + (to - from) * (std::log10(value) - low) / (high - low); }
};

std::string Frame(const Axis& x, const Axis& y, const Panel& panel, double left, double top) {
  std::string out;
  for (const bool across : {true, false}) {
    const Axis& axis = across ? x : y;
    for (int decade = axis.low; decade <= axis.high; ++decade) {
      for (int step = 1; step < 10 && (step == 1 || decade < axis.high); ++step) {
        const double at = axis.At(step * std::pow(10.0, decade));
        const std::string grid = step == 1 ? "stroke=\"#cccccc\"" : "stroke=\"#eeeeee\"";
        out += across ? Line(at, y.from, at, y.to, grid) : Line(x.from, at, x.to, at, grid);
      }
      const double at = axis.At(std::pow(10.0, decade));
      out += across ? Text(at, y.from + 16, CountLabel(decade), "text-anchor=\"middle\"")
                    : Text(x.from - 6, at + 4, panel.counts ? CountLabel(decade) : TimeLabel(decade), "text-anchor=\"end\"");
    }
  }
  out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"none\" stroke=\"#666666\"/>\n", x.from,
                     y.to, x.to - x.from, y.from - y.to);
  out += Text((x.from + x.to) / 2, y.from + 34, panel.x_label, "text-anchor=\"middle\" fill=\"#444444\"");
  out += Text(left + kLeft, top + 22, panel.title, "font-weight=\"bold\"");
  return out;
}

std::string Curve(const Axis& x, const Axis& y, const Series& series, const char* colour) {
  std::string path, marks;
  for (const auto& [a, b] : series.points) {
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x.At(a), y.At(b));
    marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", x.At(a), y.At(b), colour);
  }
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"/>\n{}", path, colour, marks);
}

/// Names with their colours, in lines of at most `width`, from `top` on, which is moved below them.
std::string Legend(const std::vector<std::string>& names, double width, double& top) {
  std::string out;
  double at = kLeft;
  top += kLegendLine / 2;
  for (size_t i = 0; i < names.size(); ++i) {
    const double wide = 50 + 6.5 * static_cast<double>(names[i].size());
    if (at > kLeft && at + wide > width) {
      at = kLeft;
      top += kLegendLine;
    }
    out += Line(at, top, at + 22, top, fmt::format("stroke=\"{}\" stroke-width=\"3\"", kColours[i % std::size(kColours)]));
    out += Text(at + 28, top + 4, names[i], "font-size=\"12\"");
    at += wide;
  }
  top += kLegendLine;
  return out;
}

}  // namespace

std::string Plot(const std::string& title, const std::vector<Panel>& panels, int columns) {
  std::vector<std::string> names;
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) {
      if (std::find(names.begin(), names.end(), series.name) == names.end()) names.push_back(series.name);
    }
  }
  const int rows = (static_cast<int>(panels.size()) + columns - 1) / columns;
  const double panel_width = panels.size() == 1 ? kLargeWidth : kWidth, panel_height = panels.size() == 1 ? kLargeHeight : kHeight;
  const double width = panel_width * columns;
  double height = kTitleHeight + panel_height * rows;
  const std::string legend = Legend(names, width, height);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" "
      "font-size=\"11\" fill=\"#222222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      width, height);
  out += Text(kLeft, 26, title, "font-size=\"15\" font-weight=\"bold\"");
  for (size_t i = 0; i < panels.size(); ++i) {
    const Panel& panel = panels[i];
    const double left = panel_width * static_cast<double>(i % static_cast<size_t>(columns));
    const double top = kTitleHeight + panel_height * static_cast<double>(i / static_cast<size_t>(columns));
    Axis x, y;
    bool first = true;
    for (const Series& series : panel.series) {
      for (const auto& [a, b] : series.points) {
        x.Show(a, first);
        y.Show(b, first);
        first = false;
      }
    }
    x.high = std::max(x.high, x.low + 1);
    y.high = std::max(y.high, y.low + 1);
    x.from = left + kLeft;
    x.to = left + panel_width - kRight;
    y.from = top + panel_height - kBottom;
    y.to = top + kTop;
    out += Frame(x, y, panel, left, top);
    for (const Series& series : panel.series) {
      const auto index = static_cast<size_t>(std::find(names.begin(), names.end(), series.name) - names.begin());
      out += Curve(x, y, series, kColours[index % std::size(kColours)]);
    }
  }
  return out + legend + "</svg>\n";
}

Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  file.close();
  return file ? OkStatus() : FromErrno(errno, "write " + path);
}

}  // namespace isla::bench
