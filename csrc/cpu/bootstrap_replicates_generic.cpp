// The operations of the bootstrap for every processor.
#include "cpu/pack_generic.inl"
#include "cpu/bootstrap_replicates.inl"
