#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "tests/tools/program.h"

namespace switchyard::test {

// Four layers of 64 channels with dropout at a rate of 1e-3 after 10 steps of warm-up: what
// training tests of the whole program have in common; nothing is saved before the end. The other
// options replace these or add to them.
std::string tiny_path(const std::string& data, int global_batch, const std::string& others = "");

// `switchyard train RUN OPTIONS` on tp * pp * dp ranks; fails the test unless it ends well.
void train(const std::filesystem::path& run, const std::string& options, Layout layout = {});

// The same as words, for a Program of one's own.
std::vector<std::string> train_words(const std::filesystem::path& run, const std::string& options,
                                     Layout layout = {});

std::filesystem::path checkpoint_of(const std::filesystem::path& run, int64_t step);
std::vector<int64_t> saved_steps(const std::filesystem::path& run);
// Every tensor's bytes by name.
std::map<std::string, std::vector<char>> tensors_of(const std::filesystem::path& checkpoint);

// Every tensor of two checkpoints, bit for bit.
void expect_same_tensors(const std::filesystem::path& a, const std::filesystem::path& b);
// Loss, gradient norm, learning rate and samples of the steps first..last, bit for bit.
void expect_same_steps(const std::filesystem::path& a, const std::filesystem::path& b,
                       int64_t first, int64_t last);
// The largest relative differences of losses within 1e-5 and gradient norms within 1e-4.
void expect_close_steps(const std::filesystem::path& a, const std::filesystem::path& b,
                        int64_t first, int64_t last);
// metrics.jsonl has the steps first..last, each once and in order.
void expect_whole_log(const std::filesystem::path& run, int64_t first, int64_t last);

// Whether `condition` came true within the time.
bool wait_until(const std::function<bool()>& condition, double seconds);

}  // namespace switchyard::test
