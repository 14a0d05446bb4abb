// The reduction of views for every processor.
#include "cpu/pack_generic.inl"
#include "cpu/reduce_strip.inl"
