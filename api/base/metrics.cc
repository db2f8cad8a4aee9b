#include "api/base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "api/base/status.h"

namespace isla {

void Counter::Increment(double by) const {
  if (counter_ != nullptr) counter_->Increment(by);
}
double Counter::value() const { return counter_ != nullptr ? counter_->Value() : 0; }

void Gauge::Set(double value) const {
  if (gauge_ != nullptr) gauge_->Set(value);
}
void Gauge::Add(double by) const {
  if (gauge_ != nullptr) gauge_->Increment(by);
}
double Gauge::value() const { return gauge_ != nullptr ? gauge_->Value() : 0; }

void Histogram::Observe(double value) const {
  if (histogram_ != nullptr) histogram_->Observe(value);
}

const std::vector<double>& LatencyBuckets() {
  static const std::vector<double> buckets = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                              0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10,   30};
  return buckets;
}

struct Metrics::State {
  // Merge: the same name asked for twice is one family (and throws, hence aborts, if the type differs).
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

Counter Metrics::AddCounter(const std::string& name, const std::string& help, const MetricLabels& labels) {
  Counter handle;
  handle.counter_ =
      &prometheus::BuildCounter().Name(name).Help(help).Register(state_->registry).Add(labels);
  return handle;
}

Gauge Metrics::AddGauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  Gauge handle;
  handle.gauge_ = &prometheus::BuildGauge().Name(name).Help(help).Register(state_->registry).Add(labels);
  return handle;
}

Histogram Metrics::AddHistogram(const std::string& name, const std::string& help, const MetricLabels& labels,
                                const std::vector<double>& buckets) {
  Histogram handle;
  handle.histogram_ = &prometheus::BuildHistogram().Name(name).Help(help).Register(state_->registry).Add(
      labels, prometheus::Histogram::BucketBoundaries(buckets));
  return handle;
}

std::string Metrics::Serialize() const {
  return prometheus::TextSerializer().Serialize(state_->registry.Collect());
}

}  // namespace isla
