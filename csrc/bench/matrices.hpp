// A score matrix and a label matrix for the benchmarks of the evaluation, with the shape of a
// long-tailed validation set.
#pragma once

#include "bench/bench.hpp"
#include "core/matrix.hpp"
#include "core/span.hpp"

namespace vltr::bench {

constexpr std::int64_t kRows = 16384;
constexpr std::int64_t kClasses = 1000;
constexpr const char* kShape = "16384 x 1000 float32, 1 % positives";

struct Matrices {
  Array<float> score_values;
  Array<std::uint8_t> label_values;
  Matrix scores;
  Matrix labels;

  // Positives score higher, as those of a good model: most negatives are below the lowest threshold of their class.
  Matrices() : score_values(kRows * kClasses), label_values(kRows * kClasses) {
    const std::vector<std::uint32_t> words = random_words(kRows * kClasses);
    for (std::int64_t i = 0; i < kRows * kClasses; ++i) {
      const std::uint32_t word = words[static_cast<std::size_t>(i)];
      label_values[i] = word % 100 == 0;
      const float uniform = static_cast<float>(word >> 8) * 0x1p-24f;
      score_values[i] = label_values[i] != 0 ? 0.5f + 0.5f * uniform : uniform * uniform;
    }
    scores.dtype = DType::kFloat32;
    labels.dtype = DType::kUInt8;
    scores.cols = labels.cols = kClasses;
    scores.append(reinterpret_cast<const std::byte*>(score_values.data()), kRows, 4 * kClasses, 4);
    labels.append(reinterpret_cast<const std::byte*>(label_values.data()), kRows, kClasses, 1);
  }
};

}  // namespace vltr::bench
