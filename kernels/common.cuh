// What all kernels share.
#pragma once

// The dynamic shared memory of the block, as `name`, a pointer to elements of `type`. CUDA spells it as an extern array,
// which C++ cannot express, so the emulator has its own version of this macro. An array of 16-byte alignment is
// declared once for all types: CUDA wants the same declaration in every kernel of a file.
#ifdef __CUDACC__
extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(dynamic_shared_memory)
#endif
