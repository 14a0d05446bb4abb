#pragma once

#include "core/matrix.hpp"
#include "cuda/device.hpp"

namespace vltr::cuda {

// Copies a (B, C) matrix of one shard and any strides to rows in C order. Asynchronous on the stream.
void copy_rows(const Matrix& from, std::byte* to, const Stream& stream);

}  // namespace vltr::cuda
