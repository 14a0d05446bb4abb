// The marks of trials for every processor.
#include "cpu/pack_generic.inl"
#include "cpu/trial_marks.inl"
