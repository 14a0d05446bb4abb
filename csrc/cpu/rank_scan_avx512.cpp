// The kernels for AVX-512.
#if defined(__x86_64__)
#include "cpu/pack_avx512.inl"
#include "cpu/dense_class.inl"
#include "cpu/score_order.inl"
#include "cpu/lane_columns.inl"
#include "cpu/class_details.inl"
#include "cpu/row_effects_tile.inl"
#include "cpu/weighted_tile.inl"
#include "cpu/bootstrap_lists.inl"
#endif
