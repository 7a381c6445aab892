#include "launch/health_check.h"

#include <fmt/core.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>

#include "core/error.h"
#include "core/logging.h"
#include "core/ops/cpu_identity.h"
#include "core/ops/elementwise.h"
#include "parallel/bits_hash.h"
#include "parallel/comm/control_plane.h"
#include "parallel/odd_ones.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double seconds_each = 0.1;
constexpr size_t most_named = 8;

int64_t copied_bytes(Device device) { return int64_t{device == Device::cpu ? 8 : 64} << 20; }
int64_t matrix_size(Device device) { return device == Device::cpu ? 256 : 4096; }

std::string describe(const std::vector<int>& ranks) {
  std::vector<int> some(ranks.begin(),
                        ranks.begin() + static_cast<int64_t>(std::min(ranks.size(), most_named)));
  std::string text = describe_ranks(some);
  if (some.size() < ranks.size()) text += fmt::format(" and {} more", ranks.size() - some.size());
  return text;
}

std::string place_of(size_t rank, std::span<const RankPlace> places) {
  return rank < places.size() ? fmt::format("rank {} on {}", rank, places[rank].host)
                              : fmt::format("rank {}", rank);
}

// One kind of rate over all ranks.
void judge_rate(const char* what, const char* unit, double scale, double RankHealth::*rate,
                std::span<const RankHealth> ranks, std::span<const RankPlace> places,
                HealthReport& report) {
  std::vector<double> sorted;
  sorted.reserve(ranks.size());
  for (const RankHealth& rank : ranks) sorted.push_back(rank.*rate);
  const auto worst = static_cast<size_t>(std::ranges::min_element(sorted) - sorted.begin());
  std::ranges::sort(sorted);
  if (sorted.back() <= 0) return;  // nothing of the kind
  const double median = sorted[sorted.size() / 2];
  report.summary +=
      fmt::format("{}{} {:.4g} {}", report.summary.empty() ? "" : "; ", what, median / scale, unit);
  if (ranks.size() > 1) {
    report.summary +=
        fmt::format(", worst {:.4g} ({})", ranks[worst].*rate / scale, place_of(worst, places));
  }
  std::vector<int> slow;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i].*rate * health_factor < median) slow.push_back(static_cast<int>(i));
  }
  if (slow.empty()) return;
  report.outliers.push_back(
      fmt::format("{} of {}: less than the median's {:.4g} {} by a factor of more than {}", what,
                  describe(slow), median / scale, unit, health_factor));
}

// Ranks of like hardware have to have the same bits.
std::string judge_products(std::span<const RankHealth> ranks) {
  std::map<int64_t, std::vector<int>> alike;
  for (size_t i = 0; i < ranks.size(); ++i) alike[ranks[i].hardware].push_back(static_cast<int>(i));
  for (const auto& [hardware, members] : alike) {
    std::vector<int64_t> products;
    products.reserve(members.size());
    for (const int rank : members) products.push_back(ranks[static_cast<size_t>(rank)].product);
    const auto odd = odd_ones(products);
    if (odd.empty()) continue;
    std::vector<int> wrong;
    wrong.reserve(odd.size());
    for (const size_t place : odd) wrong.push_back(members[place]);
    return fmt::format(
        "a fixed matrix product of {} {} among {} ranks of like hardware, which have to have the "
        "same: do not train on what computes it",
        describe(wrong), wrong.size() < members.size() ? "has other bits" : "has no bits in common",
        members.size());
  }
  return "";
}

}  // namespace

HealthReport judge_health(std::span<const RankHealth> ranks, std::span<const RankPlace> places) {
  HealthReport report;
  judge_rate("matrix products", "GFLOP/s", 1e9, &RankHealth::matrix, ranks, places, report);
  judge_rate("copies", "GB/s", 1e9, &RankHealth::copy, ranks, places, report);
  judge_rate("exchanges with neighbours", "GB/s", 1e9, &RankHealth::exchange, ranks, places,
             report);
  report.wrong = judge_products(ranks);
  report.summary = fmt::format("health of {} {}, medians: {}", ranks.size(),
                               ranks.size() == 1 ? "rank" : "ranks", report.summary);
  return report;
}

HealthCheck::HealthCheck(const Mesh& mesh, DType dtype, Device device)
    : mesh_(mesh),
      dtype_(dtype),
      device_(device),
      stream_(device),
      scratch_(device),
      from_(copied_bytes(device), device, "health check"),
      to_(copied_bytes(device), device, "health check"),
      rate_(matrix_size(device), dtype, device),
      product_(256, dtype, device) {}

double HealthCheck::matrix_rate() {
  const ops::Context context{stream_, scratch_};
  rate_.measure(context);  // the first call makes plans
  double best = 0, passed = 0;
  const auto begin = Clock::now();
  while (passed < seconds_each) {
    best = std::max(best, rate_.measure(context, 2));
    passed = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  return best;
}

double HealthCheck::copy_rate() {
  const int64_t bytes = from_.bytes();
  double best = 0, passed = 0;
  const auto begin = Clock::now();
  auto before = begin;
  while (passed < seconds_each) {
    ops::copy({stream_, scratch_}, Tensor(from_.data(), DType::u8, {bytes}, device_),
              Tensor(to_.data(), DType::u8, {bytes}, device_));
    stream_.synchronize();
    const auto now = Clock::now();
    best = std::max(best, 2.0 * static_cast<double>(bytes) /
                              std::chrono::duration<double>(now - before).count());
    before = now;
    passed = std::chrono::duration<double>(now - begin).count();
  }
  return best;
}

// Around the ring of all ranks, each with the next and the one before it.
double HealthCheck::exchange_rate() {
  Communicator& world = *mesh_.world;
  const int ranks = world.size(), next = (world.rank() + 1) % ranks;
  const int before = (world.rank() + ranks - 1) % ranks;
  if (ranks == 1) return 0;
  const int64_t bytes = from_.bytes() / 2;
  const Tensor sent(from_.data(), DType::u8, {bytes}, device_);
  const Tensor got(to_.data(), DType::u8, {bytes}, device_);
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    world.barrier({"health check"});
    const auto begin = Clock::now();
    world.group_begin();
    Handle out = world.send(sent, next, stream_, {"health check"});
    Handle in = world.recv(got, before, stream_, {"health check"});
    world.group_end();
    out.wait(stream_);
    in.wait(stream_);
    stream_.synchronize();
    best = std::max(best, 2.0 * static_cast<double>(bytes) /
                              std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

int64_t HealthCheck::product_hash() {
  product_.measure({stream_, scratch_});
  const Tensor& c = product_.product();
  return static_cast<int64_t>(hash_of_bits(c.data, c.bytes(), device_, stream_));
}

int64_t HealthCheck::hardware_hash() const {
  const ops::CpuIdentity cpu = ops::cpu_identity();
  std::string text = fmt::format("{} ", name_of(dtype_));
  if (device_ == Device::cpu) {
    text += fmt::format("{} {} {} {}", cpu.instruction_set, cpu.product_instruction_set,
                        cpu.onednn_version, omp_get_max_threads());
  } else {
    const GpuDescription gpu = describe_gpu();
    text += fmt::format("{} {} {}", gpu.name, gpu.driver_version, gpu.runtime_version);
  }
  Stream host;
  return static_cast<int64_t>(
      hash_of_bits(text.data(), static_cast<int64_t>(text.size()), Device::cpu, host));
}

RankHealth HealthCheck::measure() {
  RankHealth health;
  mesh_.world->control().agree([&] {
    health.product = product_hash();
    health.hardware = hardware_hash();
    health.matrix = matrix_rate();
    health.copy = copy_rate();
  });
  health.exchange = exchange_rate();
  return health;
}

void HealthCheck::run() {
  const RankHealth mine = measure();
  const auto ranks = static_cast<size_t>(mesh_.world->size());
  std::array<double, 3> rates = {mine.matrix, mine.copy, mine.exchange};
  std::array<int64_t, 2> hashes = {mine.product, mine.hardware};
  std::vector<double> all_rates(rates.size() * ranks);
  std::vector<int64_t> all_hashes(hashes.size() * ranks);
  Stream host;
  const Label label{"results of the health check"};
  mesh_.world->all_gather(std::span<double>(rates), std::span(all_rates), host, label).wait(host);
  mesh_.world->all_gather(std::span<int64_t>(hashes), std::span(all_hashes), host, label)
      .wait(host);
  std::vector<RankHealth> all(ranks);
  for (size_t i = 0; i < ranks; ++i) {
    all[i] = {all_rates[3 * i], all_rates[3 * i + 1], all_rates[3 * i + 2], all_hashes[2 * i],
              all_hashes[2 * i + 1]};
  }
  const HealthReport report = judge_health(all, rank_places());
  if (mesh_.world->rank() == 0) {
    log::info("{}", log::folded(report.summary));
    for (const auto& line : report.outliers) log::warning("{}", log::folded(line));
  }
  mesh_.world->control().agree([&] {
    if (!report.wrong.empty()) throw Error("[health] " + report.wrong, ExitCode::differs);
  });
}

}  // namespace switchyard
