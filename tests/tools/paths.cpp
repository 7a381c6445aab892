#include "tests/tools/paths.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>

#include "parallel/checkpoint/checkpoint.h"

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

std::string train_line(const fs::path& run, const std::string& options, Layout layout) {
  return "train " + run.string() + " " + options + " --tp " + std::to_string(layout.tp) + " --pp " +
         std::to_string(layout.pp);
}

int ranks_of(Layout layout) { return layout.tp * layout.pp * layout.dp; }

nlohmann::json line_of(const std::vector<nlohmann::json>& lines, int64_t step) {
  for (const auto& line : lines) {
    if (line.at("step") == step) return line;
  }
  ADD_FAILURE() << "step " << step << " is not in the log";
  return {};
}

double difference(const nlohmann::json& a, const nlohmann::json& b, const char* name) {
  const double x = a.at(name), y = b.at(name);
  return std::abs(x - y) / std::abs(x);
}

}  // namespace

std::string tiny_path(const std::string& data, int global_batch, const std::string& others) {
  const std::pair<std::string, std::string> usual[] = {{"--num-layers", "4"},
                                                       {"--hidden-size", "64"},
                                                       {"--num-attention-heads", "4"},
                                                       {"--seq-length", "32"},
                                                       {"--lr", "1e-3"},
                                                       {"--lr-warmup-iters", "10"},
                                                       {"--hidden-dropout", "0.1"},
                                                       {"--attention-dropout", "0.1"},
                                                       {"--clip-grad", "1"},
                                                       {"--save-interval", "0"}};
  std::string line = "--data-path " + data + " --global-batch-size " + std::to_string(global_batch);
  for (const auto& [name, value] : usual) {
    if (others.find(name + " ") == std::string::npos) line += " " + name + " " + value;
  }
  return line + " " + others;
}

std::vector<std::string> train_words(const fs::path& run, const std::string& options,
                                     Layout layout) {
  return words(train_line(run, options, layout));
}

void train(const fs::path& run, const std::string& options, Layout layout) {
  run_well(train_line(run, options, layout), ranks_of(layout));
}

fs::path checkpoint_of(const fs::path& run, int64_t step) {
  return checkpoint_folder(run / "checkpoints", step);
}

std::vector<int64_t> saved_steps(const fs::path& run) {
  std::vector<int64_t> steps;
  for (const auto& entry : list_checkpoints(run / "checkpoints")) {
    if (entry.complete) steps.push_back(entry.step);
  }
  return steps;
}

std::map<std::string, std::vector<char>> tensors_of(const fs::path& checkpoint) {
  const CheckpointReader reader(checkpoint);
  std::map<std::string, std::vector<char>> all;
  for (const auto& tensor : reader.tensors()) {
    auto& bytes = all[tensor.name];
    bytes.resize(static_cast<size_t>(tensor.shape.elements() * size_of(tensor.dtype)));
    reader.read(tensor.name, Box::whole(tensor.shape), bytes.data());
  }
  return all;
}

void expect_same_tensors(const fs::path& a, const fs::path& b) {
  const auto first = tensors_of(a), second = tensors_of(b);
  EXPECT_EQ(first.size(), second.size());
  EXPECT_GT(first.size(), 0u);
  for (const auto& [name, bytes] : first) {
    const auto found = second.find(name);
    ASSERT_NE(found, second.end()) << name;
    EXPECT_TRUE(bytes == found->second) << name << " differs between " << a << " and " << b;
  }
}

void expect_same_steps(const fs::path& a, const fs::path& b, int64_t first, int64_t last) {
  const auto mine = metrics_of(a), others = metrics_of(b);
  for (int64_t step = first; step <= last; ++step) {
    const auto x = line_of(mine, step), y = line_of(others, step);
    for (const char* name : {"loss", "grad_norm", "learning_rate", "samples", "tokens"}) {
      EXPECT_EQ(x.at(name), y.at(name)) << name << " of step " << step;
    }
  }
}

void expect_close_steps(const fs::path& a, const fs::path& b, int64_t first, int64_t last) {
  const auto mine = metrics_of(a), others = metrics_of(b);
  double loss = 0, norm = 0;
  for (int64_t step = first; step <= last; ++step) {
    const auto x = line_of(mine, step), y = line_of(others, step);
    loss = std::max(loss, difference(x, y, "loss"));
    norm = std::max(norm, difference(x, y, "grad_norm"));
    EXPECT_EQ(x.at("learning_rate"), y.at("learning_rate"));
    EXPECT_EQ(x.at("samples"), y.at("samples"));
  }
  EXPECT_LE(loss, 1e-5) << "losses of " << b;
  EXPECT_LE(norm, 1e-4) << "gradient norms of " << b;
  std::printf("%s: losses within %.1e, gradient norms within %.1e\n", b.filename().c_str(), loss,
              norm);
}

void expect_whole_log(const fs::path& run, int64_t first, int64_t last) {
  const auto lines = metrics_of(run);
  ASSERT_EQ(lines.size(), static_cast<size_t>(last - first + 1));
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("step"), first + static_cast<int64_t>(i));
  }
}

bool wait_until(const std::function<bool()>& condition, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

}  // namespace switchyard::test
