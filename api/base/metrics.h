// Metrics: counters, gauges and histograms of one process, printed in Prometheus' text format.
//
//   Metrics metrics;                                     // made by main(), passed down
//   Counter relists = metrics.AddCounter("isla_store_cache_relists_total", "...", {{"reason", "compacted"}});
//   relists.Increment();
//
// Names are isla_<component>_<what>_<unit>[_total]; units seconds and bytes; labels bounded (kind, result,
// node), never object names or keys. Handles are values: copied freely, safe from any thread, must not be
// used after their Metrics is gone. A handle made by default counts nothing, so code that was given no Metrics
// needs no ifs. Asking again for the same name and labels gives the same metric; the same name with
// another type is a programmer's error. prometheus-cpp stays in metrics.cc.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace isla {

using MetricLabels = std::map<std::string, std::string>;

class Counter {
 public:
  Counter() = default;
  void Increment(double by = 1) const;  // `by` must not be negative
  double value() const;                 // 0 for a handle made by default

 private:
  friend class Metrics;
  prometheus::Counter* counter_ = nullptr;
};

class Gauge {
 public:
  Gauge() = default;
  void Set(double value) const;
  void Add(double by) const;
  double value() const;

 private:
  friend class Metrics;
  prometheus::Gauge* gauge_ = nullptr;
};

class Histogram {
 public:
  Histogram() = default;
  void Observe(double value) const;

 private:
  friend class Metrics;
  prometheus::Histogram* histogram_ = nullptr;
};

/// 0.1 ms to 30 s: for the latency of calls and steps.
const std::vector<double>& LatencyBuckets();

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  Counter AddCounter(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  Gauge AddGauge(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  /// `buckets`: upper bounds, ascending.
  Histogram AddHistogram(const std::string& name, const std::string& help, const MetricLabels& labels = {},
                         const std::vector<double>& buckets = LatencyBuckets());

  /// The text format 0.0.4; serve it as "text/plain; version=0.0.4".
  std::string Serialize() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isla
