// The kernels for every processor.
#include "cpu/pack_generic.inl"
#include "cpu/rank_scan_tile.inl"
#include "cpu/weighted_tile.inl"
