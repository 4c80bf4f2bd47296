#include "training/initialize.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "fcc/random.hpp"
#include "text.h"
#include "training/call_text.h"

namespace fcc::runtime {
namespace {

using Draw = std::function<double(uint64_t element)>;

uint64_t name_hash(const char* name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *name != '\0'; ++name) h = (h ^ static_cast<unsigned char>(*name)) * 0x100000001b3u;
  return h;
}

int64_t elements_of(const std::vector<int64_t>& dims) {
  return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
}

struct Fans {
  double in, out;
};

Fans fans_of(const std::vector<int64_t>& dims, bool in_out) {
  auto receptive = static_cast<double>(elements_of({dims.begin() + 2, dims.end()}));
  double first = static_cast<double>(dims[0]) * receptive, second = static_cast<double>(dims[1]) * receptive;
  return in_out ? Fans{first, second} : Fans{second, first};
}

// torch.nn.init.calculate_gain
fcc_status gain_of(const std::string& nonlinearity, double a, double* gain) {
  struct Row {
    const char* name;
    double gain;
  };
  const Row rows[] = {{"linear", 1},
                      {"conv", 1},
                      {"sigmoid", 1},
                      {"tanh", 5.0 / 3},
                      {"relu", std::sqrt(2.0)},
                      {"selu", 0.75},
                      {"leaky_relu", std::sqrt(2 / (1 + a * a))}};
  for (const Row& row : rows)
    if (nonlinearity == row.name) {
      *gain = row.gain;
      return FCC_OK;
    }
  return fail(FCC_BAD_ARGUMENT,
              "there is no nonlinearity \"%s\"\n hint: linear, sigmoid, tanh, relu, leaky_relu and selu have a gain",
              nonlinearity.c_str());
}

fcc_status store(const InitTarget& target, const Draw& draw) {
  int64_t n = elements_of(target.dims);
  for (int64_t i = 0; i < n; ++i) {
    double value = draw(static_cast<uint64_t>(i));
    if (target.dtype == FCC_F32)
      static_cast<float*>(target.data)[i] = static_cast<float>(value);
    else if (target.dtype == FCC_F64)
      static_cast<double*>(target.data)[i] = value;
    else
      return fail(FCC_BAD_DTYPE, "parameter \"%s\" holds %s, only f32 and f64 can be drawn", target.name,
                  dtype_name(target.dtype));
  }
  return FCC_OK;
}

Draw uniform_draw(Philox random, double low, double high) {
  return [=](uint64_t i) { return low + (high - low) * random.uniform(i); };
}
Draw normal_draw(Philox random, double mean, double std) {
  return [=](uint64_t i) { return mean + std * random.normal(i); };
}

// By inversion, as torch does: a uniform value between the two bounds of the distribution function.
Draw truncated_draw(Philox random, double mean, double std, double a, double b) {
  auto below = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  double low = below((a - mean) / std), high = below((b - mean) / std);
  return [=](uint64_t i) {
    double p = low + (high - low) * (random.uniform(i) + 0x1p-54), left = (a - mean) / std, right = (b - mean) / std;
    for (int step = 0; step < 60; ++step) {  // bisection: no inverse of erf in the standard library
      double middle = (left + right) / 2;
      (below(middle) < p ? left : right) = middle;
    }
    return mean + std * (left + right) / 2;
  };
}

// Rows or columns orthonormal, whichever are fewer: Gram-Schmidt, twice, on normal values.
std::vector<double> orthogonal(Philox random, int64_t rows, int64_t columns) {
  bool wide = columns > rows;
  int64_t n = wide ? rows : columns, length = wide ? columns : rows;  // n vectors of this length
  std::vector<double> q(static_cast<size_t>(n * length));
  auto vector = [&](int64_t i) { return q.data() + i * length; };
  for (int64_t i = 0; i < n * length; ++i) q[static_cast<size_t>(i)] = random.normal(static_cast<uint64_t>(i));
  for (int64_t i = 0; i < n; ++i) {
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t j = 0; j < i; ++j) {
        double dot = std::inner_product(vector(i), vector(i) + length, vector(j), 0.0);
        for (int64_t k = 0; k < length; ++k) vector(i)[k] -= dot * vector(j)[k];
      }
    double norm = std::sqrt(std::inner_product(vector(i), vector(i) + length, vector(i), 0.0));
    for (int64_t k = 0; k < length; ++k) vector(i)[k] /= norm;
  }
  if (wide) return q;
  std::vector<double> columns_first(q.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) columns_first[static_cast<size_t>(r * columns + c)] = vector(c)[r];
  return columns_first;
}

bool ends_with(const std::string& text, const char* tail) {
  size_t n = std::strlen(tail);
  return text.size() >= n && text.compare(text.size() - n, n, tail) == 0;
}

fcc_status torch_default(const InitTarget& target, bool in_out, Philox random) {
  const std::vector<int64_t>& dims = target.dims.size() >= 2 ? target.dims : target.weight_dims;
  if (dims.size() >= 2) {
    double bound = 1 / std::sqrt(fans_of(dims, in_out).in);
    return store(target, uniform_draw(random, -bound, bound));
  }
  bool scale = ends_with(target.name, "weight") || ends_with(target.name, "running_var");
  return store(target, [scale](uint64_t) { return scale ? 1.0 : 0.0; });
}

}  // namespace

fcc_status initialize(const std::string& text, uint64_t seed, const InitTarget& target, bool* changed) {
  CallText call;
  FCC_RETURN_IF_FAILED(CallText::parse("initializer", text, &call));
  const std::string& name = call.name();
  Philox random(seed ^ 0x696e6974u, name_hash(target.name));
  std::string layout = "out_in", mode = "fan_in";
  *changed = true;
  double gain = 1, a = 0, mean = 0, std = 1, low = 0, high = 1, value = 0;
  auto takes_layout = [&] { return call.word("layout", &layout); };
  auto bad_layout = [&] {
    return fail(FCC_BAD_ARGUMENT, "initializer \"%s\": layout is out_in or in_out, mode is fan_in or fan_out",
                text.c_str());
  };

  if (name == "keep") {
    *changed = false;
    return call.all_used("nothing");
  }
  if (name == "zeros" || name == "ones" || name == "constant") {
    FCC_RETURN_IF_FAILED(call.number("value", &value));
    FCC_RETURN_IF_FAILED(call.all_used("value"));
    if (name != "constant") value = name == "ones";
    return store(target, [value](uint64_t) { return value; });
  }
  if (name == "normal" || name == "trunc_normal") {
    double from = -2, to = 2;
    FCC_RETURN_IF_FAILED(call.number("mean", &mean));
    FCC_RETURN_IF_FAILED(call.number("std", &std));
    if (name == "trunc_normal") {
      FCC_RETURN_IF_FAILED(call.number("a", &from));
      FCC_RETURN_IF_FAILED(call.number("b", &to));
    }
    FCC_RETURN_IF_FAILED(call.all_used(name == "normal" ? "mean, std" : "mean, std, a, b"));
    return store(target,
                 name == "normal" ? normal_draw(random, mean, std) : truncated_draw(random, mean, std, from, to));
  }
  if (name == "uniform") {
    FCC_RETURN_IF_FAILED(call.number("low", &low));
    FCC_RETURN_IF_FAILED(call.number("high", &high));
    FCC_RETURN_IF_FAILED(call.all_used("low, high"));
    return store(target, uniform_draw(random, low, high));
  }
  FCC_RETURN_IF_FAILED(takes_layout());
  bool in_out = layout == "in_out";
  if (!in_out && layout != "out_in") return bad_layout();
  if (name == "default") {
    FCC_RETURN_IF_FAILED(call.all_used("layout"));
    return torch_default(target, in_out, random);
  }
  bool kaiming = name == "kaiming_normal" || name == "kaiming_uniform";
  bool xavier = name == "xavier_normal" || name == "xavier_uniform";
  if (!kaiming && !xavier && name != "orthogonal")
    return fail(FCC_BAD_ARGUMENT,
                "there is no initializer \"%s\"\n hint: keep, default, kaiming_normal, kaiming_uniform, xavier_normal, "
                "xavier_uniform, orthogonal, normal, trunc_normal, uniform, constant, zeros and ones are known",
                name.c_str());
  std::string nonlinearity = "leaky_relu";
  if (kaiming) {
    FCC_RETURN_IF_FAILED(call.word("nonlinearity", &nonlinearity));
    FCC_RETURN_IF_FAILED(call.word("mode", &mode));
    FCC_RETURN_IF_FAILED(call.number("a", &a));
    FCC_RETURN_IF_FAILED(gain_of(nonlinearity, a, &gain));
    if (mode != "fan_in" && mode != "fan_out") return bad_layout();
  } else {
    FCC_RETURN_IF_FAILED(call.number("gain", &gain));
  }
  FCC_RETURN_IF_FAILED(call.all_used(kaiming ? "nonlinearity, mode, a, layout" : "gain, layout"));
  *changed = target.dims.size() >= 2 && elements_of(target.dims) > 0;
  if (!*changed) return FCC_OK;
  if (name == "orthogonal") {
    int64_t rows = target.dims[0];
    std::vector<double> q = orthogonal(random, rows, elements_of(target.dims) / rows);
    return store(target, [&](uint64_t i) { return gain * q[i]; });
  }
  Fans fans = fans_of(target.dims, in_out);
  double deviation =
      kaiming ? gain / std::sqrt(mode == "fan_in" ? fans.in : fans.out) : gain * std::sqrt(2 / (fans.in + fans.out));
  if (ends_with(name, "normal")) return store(target, normal_draw(random, 0, deviation));
  double bound = std::sqrt(3.0) * deviation;
  return store(target, uniform_draw(random, -bound, bound));
}

}  // namespace fcc::runtime
