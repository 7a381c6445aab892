#pragma once

#include "model/exchange/reference_weights.h"

// Private to model/exchange: definitions, one after the other, with sums in fp64.
namespace switchyard {

// (x - mean) / sqrt(variance + epsilon) * weight + bias, of each row.
Rows layer_norm(const Rows& x, const Rows& weight, const Rows& bias, double epsilon);
// x / sqrt(mean of squares + epsilon) * weight.
Rows rms_norm(const Rows& x, const Rows& weight, double epsilon);

// By the names of "activation_function" and "hidden_act".
void apply_activation(Rows& x, const std::string& name);
void add(Rows& x, const Rows& y);
void multiply(Rows& x, const Rows& y);  // element by element

// q [tokens, heads * head_dim]; k and v [tokens, key_heads * head_dim], of which each serves
// heads / key_heads query heads next to each other. A token sees itself and those before it.
Rows causal_attention(const Rows& q, const Rows& k, const Rows& v, size_t tokens, size_t heads,
                      size_t key_heads);
// Turns element i of each head and element i + frequencies.size() by position * frequencies[i].
void rotate_halves(Rows& x, size_t tokens, size_t heads, const std::vector<double>& frequencies);

}  // namespace switchyard
