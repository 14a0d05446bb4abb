// The sums of calibration errors for every processor.
#include "cpu/pack_generic.inl"
#include "cpu/calibration_rows.inl"
