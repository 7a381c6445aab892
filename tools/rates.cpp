#include <cstdio>

#include "core/json.h"
#include "core/ops/attention/attention.h"
#include "core/ops/matmul/tuning.h"
#include "launch/bench/device_rates.h"
#include "launch/path/run_settings.h"
#include "parallel/comm/communicators.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

std::vector<OptionSpec> rates_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {{"device", text, group, "", "cpu or cuda (cuda where there is one)"},
          {"size", integer, group, "", "of the square matrices (8192; on the CPU 2048)"},
          {"seconds", real, group, "5", "that the products of a dtype last"},
          {"copy-mib", integer, group, "", "MiB that are copied (1024; on the CPU 256)"},
          {"json", flag, group, "", "print one JSON object"}};
}

DeviceRatesOptions options_of(const Settings& s) {
  DeviceRatesOptions o;
  o.device = device_of(s);
  const bool gpu = o.device == Device::cuda;
  o.size = s.has("size") ? s.integer("size") : gpu ? 8192 : 2048;
  o.copy_mib = s.has("copy-mib") ? s.integer("copy-mib") : gpu ? 1024 : 256;
  o.seconds = s.real("seconds");
  if (gpu) o.dtypes = {DType::bf16, DType::f16, DType::f32};
  return o;
}

Json describe_device(Device device) {
  if (device == Device::cpu) return {{"device", "cpu"}};
  const GpuDescription gpu = describe_gpu();
  return {{"device", gpu.name},
          {"compute_capability", gpu.compute_capability},
          {"multiprocessors", gpu.multiprocessors},
          {"memory_bytes", gpu.total_bytes},
          {"driver", gpu.driver_version},
          {"runtime", gpu.runtime_version},
          {"cublaslt", ops::tuning_identity().cublaslt},
          {"cudnn", ops::cudnn_version()},
          {"nccl", nccl_version()}};
}

}  // namespace

int rates_command(Arguments arguments) {
  const auto specs = rates_options();
  const auto command = parse_or_help(specs, arguments, "rates [--device cuda]");
  if (!command) return 0;
  check(command->positional.empty(), "options", "'{}' was given; only options are allowed",
        command->positional.empty() ? "" : command->positional.front());
  const Settings settings = with_fallbacks(specs, command->given);
  const DeviceRatesOptions options = options_of(settings);
  const DeviceRates rates = measure_device_rates(options);
  Json all = describe_device(options.device);
  all["copy_gb_per_second"] = rates.copy_bytes_per_second / 1e9;
  for (const auto& m : rates.matrix) {
    all["matrix_tflops_" + std::string(name_of(m.dtype))] = m.operations_per_second / 1e12;
  }
  if (settings.flag("json")) {
    std::printf("%s\n", json_text(all).c_str());
    return 0;
  }
  for (const auto& [name, value] : all.items()) {
    std::printf("%-22s %s\n", name.c_str(), json_text(value).c_str());
  }
  return 0;
}

}  // namespace switchyard
