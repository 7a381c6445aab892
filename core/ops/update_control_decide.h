#pragma once

#include <cmath>
#include <cstdint>

#include "core/ops/update_control.h"
#include "core/portable.h"

// Private to core/ops: update_control for one thread, on the host and in a kernel.
namespace switchyard::ops {

struct UpdateControlPointers {
  const double* totals;
  const double* learning_rate;
  int64_t* counters;
  float* loss_scale;
  float* scalars;
  double* report;

  explicit UpdateControlPointers(const UpdateControl& t)
      : totals(t.totals.as<double>()),
        learning_rate(t.learning_rate.as<double>()),
        counters(t.counters.as<int64_t>()),
        loss_scale(t.loss_scale.as<float>()),
        scalars(t.scalars.as<float>()),
        report(t.report.as<double>()) {}
};

// Megatron-LM's rules: see LossScaling.
SWITCHYARD_PORTABLE inline void adjust_loss_scale(int64_t* counters, float* loss_scale,
                                                  bool overflow, const LossScaling& scaling) {
  if (overflow) {
    counters[good_steps] = 0;
    if (--counters[hysteresis_left] > 0) return;
    const float halved = *loss_scale * 0.5f;
    *loss_scale = halved < scaling.least ? scaling.least : halved;
  } else if (++counters[good_steps] >= scaling.window) {
    counters[good_steps] = 0;
    counters[hysteresis_left] = scaling.hysteresis;
    // An infinite scale could never be halved again.
    if (std::isfinite(*loss_scale * 2.0f)) *loss_scale *= 2.0f;
  }
}

SWITCHYARD_PORTABLE inline void decide_update(const UpdateControlPointers& t,
                                              const UpdateControlOptions& options) {
  const double tokens = t.totals[total_tokens];
  const double scale = static_cast<double>(*t.loss_scale);
  // What turns the gradients as they are into those of the mean loss.
  const double to_mean = 1.0 / (tokens * options.multiplier * scale);
  const double norm = std::sqrt(t.totals[total_squares]) * to_mean;
  const double loss = t.totals[total_loss] / tokens;
  const bool overflow = !(std::isfinite(norm) && std::isfinite(loss));
  double clip = 1.0;
  if (options.clip_norm > 0 && norm > options.clip_norm) clip = options.clip_norm / (norm + 1e-6);

  t.report[report_scale] = scale;
  t.counters[overflow ? skipped_updates : applied_updates] += 1;
  if (options.scaling.dynamic) {
    adjust_loss_scale(t.counters, t.loss_scale, overflow, options.scaling);
  }
  const auto updates = static_cast<double>(t.counters[applied_updates]);
  t.scalars[learning_rate] = static_cast<float>(*t.learning_rate);
  t.scalars[gradient_scale] = static_cast<float>(to_mean * clip);
  t.scalars[exp_avg_factor] = static_cast<float>(1.0 / (1.0 - std::pow(options.beta1, updates)));
  t.scalars[exp_avg_sq_factor] = static_cast<float>(1.0 / (1.0 - std::pow(options.beta2, updates)));
  t.scalars[skip_update] = overflow ? 1.0f : 0.0f;
  t.report[report_loss] = loss;
  t.report[report_tokens] = tokens;
  t.report[report_norm] = norm;
  t.report[report_skipped] = overflow ? 1.0 : 0.0;
  t.report[report_applied] = updates;
}

}  // namespace switchyard::ops
