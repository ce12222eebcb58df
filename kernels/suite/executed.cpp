// Purpose: what a calibration needs to know of the kernels that `execute` times. Reference: the executor's own operators
// (tests/unit/fast_table_test.cpp). Version: the table's.
#include "kernels/suite/executed.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/executor/page_pool.hpp"
#include "kernels/suite/fast_table.hpp"

namespace gambrel::kernels {
namespace {

constexpr double base = 10000, width_of_float = sizeof(float);

/// Some values that no kernel is slow on.
Values<float> operand(std::size_t n) {
  Values<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i % 251) / 251 - 0.5f;
  return values;
}

class CallOf : public Call {
 public:
  explicit CallOf(std::function<void()> body) : body_(std::move(body)) {}
  void run() override { body_(); }

 private:
  std::function<void()> body_;
};

/// `make`: allocates operands and gives the call on them.
KernelCase executed(std::string kernel, std::vector<std::pair<std::string, double>> sizes, double elements, const std::function<std::function<void()>()>& make) {
  KernelCase row{.kernel = std::move(kernel), .type = "f32", .version = "executed", .sizes = std::move(sizes)};
  row.bytes = row.working_set = width_of_float * elements;
  row.prepare = [make] { return std::make_unique<CallOf>(make()); };
  return row;
}

double real(std::size_t n) { return static_cast<double>(n); }

}  // namespace

KernelCase executed_attention_case(const HeadShape& shape, std::size_t queries, std::size_t keys) {
  const std::size_t d = shape.head_dim, q_width = shape.heads * d, kv_width = 2 * shape.kv_heads * d;
  const double tokens = real(shape.batch * queries), cached = real(shape.batch * keys);
  KernelCase row = executed(queries > 1 ? "attention_prefill" : "attention_decode",
                            {{"batch_size", real(shape.batch)}, {"isl", real(queries)}, {"kv_tokens", real(keys)}, {"num_heads", real(shape.heads)},
                             {"num_key_value_heads", real(shape.kv_heads)}, {"head_dim", real(d)}},
                            2 * tokens * real(q_width) + cached * real(kv_width), [=] {
                              auto q = std::make_shared<Values<float>>(operand(shape.batch * queries * (q_width + kv_width)));
                              auto cache = std::make_shared<Values<float>>(operand(shape.batch * keys * kv_width));
                              auto out = std::make_shared<Values<float>>(shape.batch * queries * q_width);
                              return [=] {
                                for (std::size_t b = 0; b < shape.batch; ++b) {
                                  const float* k = cache->data() + b * keys * kv_width;
                                  fast_table().attention({.q = q->data() + b * queries * (q_width + kv_width), .k = k, .v = k + kv_width / 2, .out = out->data() + b * queries * q_width,
                                                          .queries = queries, .keys = keys, .heads = shape.heads, .kv_heads = shape.kv_heads, .qk_width = d, .v_width = d,
                                                          .q_stride = q_width + kv_width, .k_stride = kv_width, .v_stride = kv_width, .out_stride = q_width, .window = 0,
                                                          .scale = 1 / std::sqrt(static_cast<float>(d))});
                                }
                              };
                            });
  row.flops = 4 * real(shape.batch * shape.heads * d) * real(queries) * (real(keys) - (real(queries) - 1) / 2);
  return row;
}

KernelCase executed_rotary_case(std::size_t rows, std::size_t heads, std::size_t width) {
  return executed("rotary", {{"rows", real(rows)}, {"num_heads", real(heads)}, {"head_dim", real(width)}}, 2 * real(rows * heads * width), [=] {
    auto x = std::make_shared<Values<float>>(operand(rows * heads * width));
    return [=] {
      for (std::size_t row = 0; row < rows; ++row) fast_table().rotary(x->data() + row * heads * width, row, heads, width, base);
    };
  });
}

KernelCase executed_add_case(std::size_t rows, std::size_t columns) {
  return executed("add", {{"rows", real(rows)}, {"cols", real(columns)}}, 3 * real(rows * columns), [=] {
    auto a = std::make_shared<Values<float>>(operand(rows * columns)), b = std::make_shared<Values<float>>(operand(rows * columns));
    auto y = std::make_shared<Values<float>>(rows * columns);
    return [=] { fast_table().add(a->data(), b->data(), y->data(), rows * columns); };
  });
}

KernelCase executed_argmax_case(std::size_t rows, std::size_t columns) {
  return executed("argmax", {{"rows", real(rows)}, {"cols", real(columns)}}, real(rows * (columns + 1)), [=] {
    auto x = std::make_shared<Values<float>>(operand(rows * columns)), y = std::make_shared<Values<float>>(rows);
    return [=] {
      for (std::size_t row = 0; row < rows; ++row) (*y)[row] = static_cast<float>(fast_table().argmax(x->data() + row * columns, columns));
    };
  });
}

KernelCase executed_append_case(std::size_t rows, std::size_t columns) {
  return executed("kv_append", {{"rows", real(rows)}, {"cols", real(columns)}}, 2 * real(rows * columns), [=] {
    auto fresh = std::make_shared<Values<float>>(operand(rows * 3 * columns)), cache = std::make_shared<Values<float>>(rows * columns);
    return [=] {
      for (std::size_t row = 0; row < rows; ++row) std::copy_n(fresh->data() + row * 3 * columns + 2 * columns, columns, cache->data() + row * columns);
    };
  });
}

}  // namespace gambrel::kernels
