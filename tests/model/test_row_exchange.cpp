#include "parallel/row_exchange.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "parallel/comm/communicators.h"
#include "tests/parallel/comm/recording_communicator.h"

namespace switchyard {
namespace {

using Trace = std::vector<std::string>;

// Writes down when exchanges are started and waited for.
class TracedWork final : public Handle::Work {
 public:
  TracedWork(Handle inner, std::string name, Trace& trace)
      : inner_(std::move(inner)), name_(std::move(name)), trace_(trace) {
    trace_.push_back("start " + name_);
  }
  void wait(Stream& stream) override {
    trace_.push_back("wait " + name_);
    inner_.wait(stream);
  }

 private:
  Handle inner_;
  std::string name_;
  Trace& trace_;
};

class TracingCommunicator final : public RecordingCommunicator {
 public:
  TracingCommunicator(std::unique_ptr<Communicator> inner, Counts& counts, Trace& trace)
      : RecordingCommunicator(std::move(inner), counts), trace_(trace) {}

  Handle reduce_scatter(Buffer in, Buffer out, ReduceOp op, Stream& stream, Label label) override {
    return traced(RecordingCommunicator::reduce_scatter(in, out, op, stream, label), "sum");
  }
  Handle all_gather(Buffer in, Buffer out, Stream& stream, Label label) override {
    return traced(RecordingCommunicator::all_gather(in, out, stream, label), "all");
  }
  Handle broadcast(Buffer inout, int root, Stream& stream, Label label) override {
    return traced(RecordingCommunicator::broadcast(inout, root, stream, label), "part");
  }
  void group_begin() override { trace_.push_back("{"); }
  void group_end() override { trace_.push_back("}"); }

 private:
  Handle traced(Handle inner, const char* name) {
    return Handle(std::make_shared<TracedWork>(std::move(inner),
                                               fmt::format("{} {}", name, started_++), trace_));
  }
  Trace& trace_;
  int started_ = 0;
};

constexpr int64_t width = 3;

// body(exchange, trace of it) on every rank.
template <class Body>
void on_ranks(int ranks, int64_t chunks, const Body& body) {
  run_thread_ranks(ranks, {.delay_and_poison = true}, [&](Communicator& world) {
    Trace trace;
    RecordingCommunicator::Counts counts;
    TracingCommunicator group(world.split(0, world.rank(), "tp"), counts, trace);
    Stream stream;
    RowExchange exchange(group, stream, chunks);
    body(exchange, trace);
  });
}

float element(int64_t row, int64_t column, int rank) {
  return static_cast<float>(100 * row + 10 * column + rank);
}

struct Rows {
  explicit Rows(int64_t count)
      : elements(static_cast<size_t>(count * width), -1.0f),
        tensor(elements.data(), DType::f32, {count, width}) {}
  float& at(int64_t row, int64_t column) {
    return elements[static_cast<size_t>(row * width + column)];
  }
  std::vector<float> elements;
  Tensor tensor;
};

// A chunk that travels is not waited for before the next one's product is queued.
TEST(RowExchange, SumsOfAChunkTravelWhileTheNextIsComputed) {
  on_ranks(2, 3, [](RowExchange& exchange, Trace& trace) {
    Rows own(5), all(10);
    exchange.reduce_scatter_product(
        own.tensor, all.tensor, {"test"}, [&](RowRange rows, const Tensor& to) {
          for (float& x : to.span<float>()) x = 0;
          trace.push_back(fmt::format("product {} {}", rows.begin, rows.end));
        });
    const Trace expected = {"product 0 2", "product 5 7", "start sum 0", "product 2 4",
                            "product 7 9", "start sum 1", "product 4 5", "product 9 10",
                            "start sum 2", "wait sum 0",  "wait sum 1",  "wait sum 2"};
    EXPECT_EQ(trace, expected);
  });
}

// All chunks are under way before the first product; each part's product waits for that part alone.
TEST(RowExchange, ChunksArriveWhileEarlierOnesAreComputed) {
  on_ranks(2, 2, [](RowExchange& exchange, Trace& trace) {
    Rows own(3), all(6);
    auto gathering = exchange.gather_for_product(own.tensor, all.tensor, {"test"});
    gathering.for_each_part([&](const Tensor&, RowRange rows) {
      trace.push_back(fmt::format("product {} {}", rows.begin, rows.end));
    });
    const Trace expected = {"{",           "start part 0", "start part 1", "}",
                            "{",           "start part 2", "start part 3", "}",
                            "wait part 0", "product 0 2",  "wait part 1",  "product 3 5",
                            "wait part 2", "product 2 3",  "wait part 3",  "product 5 6"};
    EXPECT_EQ(trace, expected);
  });
}

TEST(RowExchange, OneChunkIsOneCollective) {
  for (const int64_t own_rows : {1, 4}) {
    on_ranks(2, own_rows == 1 ? 4 : 1, [&](RowExchange& exchange, Trace& trace) {
      Rows own(own_rows), all(2 * own_rows);
      exchange.gather_for_product(own.tensor, all.tensor, {"test"}).rows();
      exchange.reduce_scatter_product(
          own.tensor, all.tensor, {"test"},
          [&](RowRange rows, const Tensor&) { EXPECT_EQ(rows.count(), 2 * own_rows); });
      EXPECT_EQ(trace, (Trace{"start all 0", "wait all 0", "start sum 1", "wait sum 1"}));
    });
  }
}

// Every row comes to its place, and every rank's share of it is in its sum.
TEST(RowExchange, RowsArriveInOrderWhateverTheChunks) {
  for (const int ranks : {1, 2, 3}) {
    for (const int64_t own_rows : {1, 2, 5, 7}) {
      for (const int64_t chunks : {1, 2, 3, 4, 9}) {
        SCOPED_TRACE(fmt::format("{} ranks, {} rows each, {} chunks", ranks, own_rows, chunks));
        on_ranks(ranks, chunks, [&](RowExchange& exchange, Trace&) {
          const int64_t first = exchange.rank() * own_rows;
          Rows own(own_rows), all(ranks * own_rows), seen(ranks * own_rows), sums(own_rows);
          for (int64_t i = 0; i < own_rows; ++i) {
            for (int64_t j = 0; j < width; ++j) own.at(i, j) = element(first + i, j, 0);
          }
          auto gathering = exchange.gather_for_product(own.tensor, all.tensor, {"test"});
          gathering.for_each_part([&](const Tensor& part, RowRange rows) {
            Stream stream;
            copy_bytes(rows.of(seen.tensor).data, part.data, part.bytes(), stream);
          });
          EXPECT_EQ(gathering.rows().shape[0], ranks * own_rows);
          exchange.reduce_scatter_product(
              sums.tensor, all.tensor, {"test"}, [&](RowRange rows, const Tensor& to) {
                for (int64_t i = 0; i < rows.count() * width; ++i) {
                  to.span<float>()[static_cast<size_t>(i)] =
                      element(rows.begin + i / width, i % width, exchange.rank());
                }
              });
          const auto of_ranks = static_cast<float>(ranks * (ranks - 1)) / 2;
          for (int64_t i = 0; i < ranks * own_rows; ++i) {
            for (int64_t j = 0; j < width; ++j) EXPECT_EQ(seen.at(i, j), element(i, j, 0));
          }
          for (int64_t i = 0; i < own_rows; ++i) {
            for (int64_t j = 0; j < width; ++j) {
              EXPECT_EQ(sums.at(i, j),
                        static_cast<float>(ranks) * element(first + i, j, 0) + of_ranks);
            }
          }
        });
      }
    }
  }
}

}  // namespace
}  // namespace switchyard
