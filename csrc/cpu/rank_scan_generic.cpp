// The kernels for every processor.
#include "cpu/pack_generic.inl"
#include "cpu/dense_class.inl"
#include "cpu/score_order.inl"
#include "cpu/lane_columns.inl"
#include "cpu/row_effects_tile.inl"
#include "cpu/weighted_tile.inl"
