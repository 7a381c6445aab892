#pragma once

#include <memory>
#include <string>
#include <utility>

#include "parallel/comm/communicator.h"

namespace switchyard {

// Passes everything on to another communicator and counts what was started.
class RecordingCommunicator : public Communicator {
 public:
  struct Counts {
    int receives = 0;
    int reduce_scatters = 0;
  };
  RecordingCommunicator(std::unique_ptr<Communicator> inner, Counts& counts)
      : inner_(std::move(inner)), counts_(counts) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  const std::string& name() const override { return inner_->name(); }
  Handle all_reduce(Buffer inout, ReduceOp op, Stream& stream, Label label) override {
    return inner_->all_reduce(inout, op, stream, label);
  }
  Handle reduce_scatter(Buffer in, Buffer out, ReduceOp op, Stream& stream, Label label) override {
    ++counts_.reduce_scatters;
    return inner_->reduce_scatter(in, out, op, stream, label);
  }
  Handle all_gather(Buffer in, Buffer out, Stream& stream, Label label) override {
    return inner_->all_gather(in, out, stream, label);
  }
  Handle all_to_all(Buffer in, Buffer out, Stream& stream, Label label) override {
    return inner_->all_to_all(in, out, stream, label);
  }
  Handle broadcast(Buffer inout, int root, Stream& stream, Label label) override {
    return inner_->broadcast(inout, root, stream, label);
  }
  Handle send(Buffer buffer, int peer, Stream& stream, Label label) override {
    return inner_->send(buffer, peer, stream, label);
  }
  Handle recv(Buffer buffer, int peer, Stream& stream, Label label) override {
    ++counts_.receives;
    return inner_->recv(buffer, peer, stream, label);
  }
  void barrier(Label label) override { inner_->barrier(label); }
  std::unique_ptr<Communicator> split(int color, int key, std::string name) override {
    return inner_->split(color, key, std::move(name));
  }

 private:
  std::unique_ptr<Communicator> inner_;
  Counts& counts_;
};

}  // namespace switchyard
